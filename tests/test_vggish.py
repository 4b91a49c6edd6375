"""VGGish: its front end against other derivations, its network against bare TensorFlow, its weights."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gtzan_keras.audio.patches import vggish_patches
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models import weights as weights_module
from gtzan_keras.models.vggish_network import vggish, vggish_classifier

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.uniform(-1, 1, 16000 * 3).astype(np.float32)

# The reference's variables (tensorflow/models, research/audioset/vggish/vggish_slim.py) and their shapes.
REFERENCE = {
    "vggish/conv1": (3, 3, 1, 64),
    "vggish/conv2": (3, 3, 64, 128),
    "vggish/conv3/conv3_1": (3, 3, 128, 256),
    "vggish/conv3/conv3_2": (3, 3, 256, 256),
    "vggish/conv4/conv4_1": (3, 3, 256, 512),
    "vggish/conv4/conv4_2": (3, 3, 512, 512),
    "vggish/fc1/fc1_1": (6 * 4 * 512, 4096),
    "vggish/fc1/fc1_2": (4096, 4096),
    "vggish/fc2": (4096, 128),
}
POOLED = {"vggish/conv1", "vggish/conv2", "vggish/conv3/conv3_2", "vggish/conv4/conv4_2"}
CONVOLUTIONS = [scope for scope in REFERENCE if "conv" in scope]


def draw_variables(scopes: list[str]) -> dict[str, np.ndarray]:
    """Random weights that keep the size of what passes through."""
    drawn = {}
    for scope in scopes:
        shape = REFERENCE[scope]
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        some = RANDOM.standard_normal(2**19 + 1, np.float32) * np.float32(spread)
        drawn[f"{scope}/weights"] = np.resize(some, shape)  # over and over: 67 million take a second
        drawn[f"{scope}/biases"] = RANDOM.standard_normal(shape[-1], np.float32)
    return drawn


def by_hand(patches: np.ndarray, variables: dict[str, np.ndarray]) -> np.ndarray:
    """The network in bare TensorFlow operations."""
    x = tf.constant(patches)[..., None]
    for scope in REFERENCE:
        if f"{scope}/weights" not in variables:
            break
        weights, biases = variables[f"{scope}/weights"], variables[f"{scope}/biases"]
        if "conv" in scope:
            x = tf.nn.relu(tf.nn.conv2d(x, weights, 1, "SAME") + biases)
        else:
            x = tf.reshape(x, (len(patches), -1)) @ weights + biases
            x = x if scope == "vggish/fc2" else tf.nn.relu(x)
        if scope in POOLED:
            x = tf.nn.max_pool2d(x, 2, 2, "SAME")
    return x.numpy()


@pytest.fixture(scope="module")
def base_variables() -> dict[str, np.ndarray]:
    return draw_variables(CONVOLUTIONS)


@pytest.fixture(scope="module")
def base_features(base_variables: dict[str, np.ndarray]) -> np.ndarray:
    return by_hand(vggish_patches(NOISE[:16000]), base_variables)


@pytest.fixture(scope="module")
def base(base_variables: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    return vggish(write_checkpoint(tmp_path_factory.mktemp("base") / "v2", base_variables), include_top=False)


def write_checkpoint(prefix: Path, variables: dict[str, np.ndarray]) -> Path:
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=list(variables.values()),
    )
    return prefix


def assert_same_features(model: keras.Model, features: np.ndarray) -> None:
    np.testing.assert_allclose(model(vggish_patches(NOISE[:16000])), features, rtol=1e-3, atol=1e-3)


def test_patches_agree_with_tensorflow_signal_as_the_hub_model_computes_them():
    noise = RANDOM.uniform(-1, 1, 16000 * 5).astype(np.float32)  # 5 patches, computed 4 at a time
    magnitude = tf.abs(tf.signal.stft(noise, 400, 160, 512))
    bank = tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 125.0, 7500.0)
    expected = tf.signal.frame(tf.math.log(magnitude @ bank + 0.01), 96, 96, axis=0)
    np.testing.assert_allclose(vggish_patches(noise), expected, rtol=0, atol=1e-3)


def test_an_incomplete_patch_is_dropped_and_stereo_refused():
    # 96 windows of 400 samples, one every 160.
    assert [len(vggish_patches(NOISE[:samples])) for samples in (15599, 15600)] == [0, 1]
    with pytest.raises(GtzanKerasError, match=r"shape \(2, 5\): expected mono samples"):
        vggish_patches(np.zeros((2, 5), np.float32))


def test_embeddings_agree_with_bare_tensorflow_and_take_both_signs():
    variables = draw_variables(list(REFERENCE))
    with tempfile.TemporaryDirectory() as folder:  # 289 MB, which tmp_path would keep
        model = vggish(write_checkpoint(Path(folder) / "x.ckpt", variables))
    assert model.count_params() == 72_141_184
    patches = vggish_patches(NOISE)
    embeddings = model(patches).numpy()
    np.testing.assert_allclose(embeddings, by_hand(patches, variables), rtol=1e-3, atol=1e-3)
    assert embeddings.shape == (3, 128)
    assert embeddings.min() < 0 < embeddings.max()


def test_without_the_top_it_ends_with_feature_maps(base, base_features):
    assert base.output_shape == (None, 6, 4, 512)
    assert_same_features(base, base_features)


def test_weights_are_read_from_a_checkpoint_of_tensorflow_1(base_variables, base_features, tmp_path):
    # The format of the reference's own file, one file and no index.
    names, values = list(base_variables), list(base_variables.values())
    tf.raw_ops.Save(filename=str(tmp_path / "vggish_model.ckpt"), tensor_names=names, data=values)
    assert_same_features(vggish(tmp_path / "vggish_model.ckpt", include_top=False), base_features)


def test_audioset_is_the_saved_model_of_the_hub_by_name(base_variables, base_features, tmp_path, monkeypatch):
    network = tf.Module()
    # As the reference exports it to TensorFlow Hub: a list of variables that keep their names.
    network._variables = [tf.Variable(values, name=name) for name, values in base_variables.items()][::-1]
    tf.saved_model.save(network, tmp_path)
    asked = []
    monkeypatch.setattr(weights_module, "hub_folder", lambda handle: asked.append(handle) or tmp_path)
    assert_same_features(vggish("audioset", include_top=False), base_features)
    assert asked == ["https://tfhub.dev/google/vggish/1"]


def test_a_file_that_is_missing_or_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "x.ckpt").write_text("no weights " * 99)
    with pytest.raises(GtzanKerasError, match=r"x\.ckpt: cannot read VGGish's weights.*not an sstable"):
        vggish(tmp_path / "x.ckpt", include_top=False)
    for name, message in (("gone.ckpt", ": cannot read VGGish's weights"), ("gone.keras", "': no such file")):
        with pytest.raises(GtzanKerasError, match=f"{name}{message}.*expected the checkpoint"):
            vggish(tmp_path / name, include_top=False)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("resnet/conv1", "no variable vggish/conv1/weights; .* 1 is resnet/conv1"),
        ("vggish/conv1/weights", r"vggish/conv1/weights is \(3,\); VGGish's is \(3, 3, 1, 64\)"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(variable, message, tmp_path):
    path = write_checkpoint(tmp_path / "other", {variable: np.zeros(3, np.float32)})
    with pytest.raises(GtzanKerasError, match=message):
        vggish(path, include_top=False)


def test_the_authors_head_has_the_parameters_counted_by_hand():
    filters = [1, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512]
    convolutions = sum(9 * a * b + b for a, b in itertools.pairwise(filters))
    # 31x128: three pairs -> 25x122, pooled 12x61; a pair -> 10x59, pooled 5x29; a pair -> 3x27, pooled 1x13
    dense = (1 * 13 * 512 * 1200 + 1200) + (1200 * 10 + 10)
    assert convolutions + dense == 12_712_058
    model = vggish_classifier(head="cnn")
    assert model.count_params() == 12_712_058
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(layer.padding, layer.activation.__name__) for layer in layers] == [
        *(("same", "relu"), ("valid", "relu"))
    ] * 5


def test_the_heads_have_their_dropout():
    for head, expected in (
        ("cnn", {"block1_dropout": 0.3, "block3_dropout": 0.3, "dense_1_dropout": 0.45}),
        ("dense", {"dense_1_dropout": 0.3}),
    ):
        layers = vggish_classifier(head=head).layers
        assert {layer.name: layer.rate for layer in layers if hasattr(layer, "rate")} == expected


def test_the_dense_head_sees_the_mean_without_padding():
    model = vggish_classifier((5, 8), 3, name="mine")
    assert (model.name, model.output_shape) == ("mine", (None, 3))
    track = RANDOM.normal(size=(1, 3, 8)).astype(np.float32)
    padded = np.pad(track, ((0, 0), (0, 2), (0, 0)))
    mean = keras.Model(model.input, model.get_layer("mean").output)
    np.testing.assert_allclose(mean(padded), track.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "lstm"}, "head='lstm': expected dense or cnn"),
        ({"input_shape": (31,)}, "expected two numbers"),
        ({"num_classes": 1}, "num_classes=1: expected at least 2"),
        ({"input_shape": (25, 128), "head": "cnn"}, r"\(25, 128\): too small .* block 3"),
    ],
)
def test_unfit_arguments_are_refused(arguments, message):
    with pytest.raises(GtzanKerasError, match=message):
        vggish_classifier(**arguments)
