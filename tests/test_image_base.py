"""Keras' own base inside, its preprocessing too, frozen where it is to be."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import h5py
import keras
import numpy as np
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.image_bases import IMAGE_BASES, freeze, image_base, image_features, vgg16
from gtzan_keras.training.frozen import frozen_part

SHAPE = (32, 32, 3)


def trained(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if layer.trainable_weights]


@pytest.fixture(scope="module")
def keras_vgg16() -> keras.Model:
    """Keras' own, of random weights with biases that are not 0."""
    keras.utils.set_random_seed(3)
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=SHAPE)
    random = np.random.default_rng(0)
    model.set_weights([w if w.ndim > 1 else random.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def weights_file(keras_vgg16: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vgg16.weights.h5"
    keras_vgg16.save_weights(path)
    return path


@pytest.fixture(scope="module")
def legacy_file(keras_vgg16: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of the file that Keras publishes: a group a layer, names as attributes."""
    path = tmp_path_factory.mktemp("legacy") / "vgg16_notop.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in keras_vgg16.layers]
        for layer in keras_vgg16.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}_{kind}_1:0" for kind in "Wb"][: len(layer.weights)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, layer.get_weights(), strict=True):
                group[name] = array
    return path


@pytest.fixture(scope="module")
def model(weights_file: Path) -> keras.Model:
    return vgg16(SHAPE, 4, weights=weights_file, pooling="flatten", name="transfer")


def of_base(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, model.get_layer("block5_pool").output)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(2, *SHAPE)).astype(np.float32)


def test_images_of_0_to_1_are_preprocessed_as_keras_says(model, keras_vgg16, images):
    expected = keras_vgg16(keras.applications.vgg16.preprocess_input(255 * images))
    np.testing.assert_allclose(of_base(model)(images), expected, rtol=1e-3, atol=1e-3)


def test_the_published_file_layout_loads(legacy_file, model, images):
    other = vgg16(SHAPE, 4, weights=legacy_file)
    np.testing.assert_array_equal(of_base(other)(images), of_base(model)(images))


def test_colours_are_not_rounded_in_bfloat16(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = vgg16(SHAPE, 4, weights=None)
    given = keras.Model(model.input, model.get_layer("block1_conv1").input)(images)
    expected = keras.applications.vgg16.preprocess_input(255 * images)
    np.testing.assert_allclose(given, expected, atol=1e-3)


PREPROCESSING = {
    "vgg19": keras.applications.vgg19,
    "resnet50": keras.applications.resnet50,
    "resnet50v2": keras.applications.resnet_v2,
    "mobilenet_v2": keras.applications.mobilenet_v2,
}


@pytest.mark.parametrize("base", PREPROCESSING)
def test_preprocessing_is_that_of_keras(base, images):
    entry = IMAGE_BASES[base]
    ours = (images - entry.mean) / entry.deviation
    expected = PREPROCESSING[base].preprocess_input(255 * images)
    np.testing.assert_allclose(ours[..., ::-1] if entry.backwards else ours, expected, rtol=1e-4, atol=1e-4)


class Built(NamedTuple):
    base: str
    own: keras.Model  # Keras', with Keras' preprocessing
    model: keras.Model  # ours, with the weights of that
    trained: list[str]  # layers, before any test changed it


LAYERS = {
    "efficientnetv2b0": "block6h_expand_conv",
    "mobilenetv3small": "conv_1",
    "convnexttiny": "convnext_tiny_downsampling_block_2",
}
"""Bases with preprocessing inside, and a layer to train from."""


slow = pytest.param("convnexttiny", marks=pytest.mark.nightly)  # half a minute


@pytest.fixture(scope="module", params=["efficientnetv2b0", "mobilenetv3small", slow])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    build = getattr(keras.applications, IMAGE_BASES[request.param].application)
    own, random = build(include_top=False, weights=None, input_shape=SHAPE), np.random.default_rng(0)
    weights = own.get_weights()
    own.set_weights([w + 0.1 * random.uniform(size=w.shape) if w.ndim == 1 else w for w in weights])
    path = tmp_path_factory.mktemp("weights") / "own.weights.h5"
    own.save_weights(path)
    model = image_base(request.param, SHAPE, 4, weights=path, trainable_from=LAYERS[request.param])
    path.unlink()
    return Built(request.param, own, model, trained(model))


def test_each_base_gives_what_keras_does(built, images):
    expected = np.asarray(built.own(255 * images))
    ours = keras.Model(built.model.input, built.model.get_layer("pooling").input)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(ours(images), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_each_base_is_trained_from_the_named_layer_on_but_for_its_statistics(built):
    layers = {layer.name: layer for layer in built.model.layers if layer.weights}
    names = list(layers)
    place = names.index(LAYERS[built.base])
    assert 0 < place < names.index("head_norm")
    kinds = {name: isinstance(layers[name], keras.layers.BatchNormalization) for name in names[place:]}
    assert built.trained == [name for name, kept in kinds.items() if not kept or name == "head_norm"]


def test_a_pretrained_base_keeps_its_statistics_while_it_is_trained(real_data):
    weights = real_data / "weights" / "mobilenet_v2_imagenet_notop.weights.h5"
    model = image_base("mobilenet_v2", (32, 48, 1), 4, weights=weights, trainable_from="block_13_expand")
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.get_weights() for layer in layers if layer.name != "head_norm"]
    assert len(before) == 52
    images, labels = np.random.default_rng(0).random((8, 32, 48, 1), "float32"), np.eye(4)[[0, 1, 2, 3] * 2]
    model.compile("adam", "categorical_crossentropy", run_eagerly=True)  # tracing takes longer
    model.fit(images, labels, verbose=0)
    after = [layer.get_weights() for layer in layers if layer.name != "head_norm"]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_mobilenet_v2_with_real_weights_gives_keras_features_at_any_size(real_data):
    weights = real_data / "weights" / "mobilenet_v2_imagenet_notop.weights.h5"
    own = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 96, 3))
    own.load_weights(weights)
    images = np.random.default_rng(0).random((2, 64, 96, 1), "float32")
    expected = own(keras.applications.mobilenet_v2.preprocess_input(np.repeat(255 * images, 3, axis=-1)))
    model = image_base("mobilenet_v2", (64, 96, 1), 4, weights=weights)
    found = keras.Model(model.input, model.get_layer("out_relu").output)(images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_each_frozen_base_can_be_kept(built, images):
    freeze(built.model, "head_norm")
    parts = frozen_part(built.model)
    assert parts is not None
    assert parts[0].output is built.model.get_layer("pooling").output
    np.testing.assert_array_equal(parts[0](images, training=True), parts[0](images))
    np.testing.assert_allclose(parts[1](parts[0](images)), built.model(images), rtol=1e-4)


def test_a_saved_model_has_nothing_of_this_package_and_is_frozen_as_before(model, images, tmp_path):
    freeze(model, "head_norm")
    freeze(model, "block5_conv3")  # which thaws what was frozen
    assert trained(model) == ["block5_conv3", "head_norm", "dense_1", "predictions"]
    model.save(tmp_path / "model.keras")
    assert "gtzan_keras" not in model.to_json()
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert trained(again) == trained(model)
    np.testing.assert_array_equal(again(images), model(images))


def test_the_head_normalises_drops_out_and_penalises(model):
    head = [layer.name for layer in model.layers if layer.name.startswith(("head", "dense", "predictions"))]
    assert head == ["head_norm", "dense_1", "dense_1_relu", "dense_1_dropout", "predictions"]
    kernels = [np.asarray(model.get_layer(name).kernel.value) for name in ("dense_1", "predictions")]
    assert float(sum(model.losses)) == pytest.approx(1e-4 * sum((k**2).sum() for k in kernels), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trainable_from": "block3"}, "trainable_from='block3': expected None or one of block1_conv1, "),
        ({"base": "vgg11"}, "base='vgg11': expected one of vgg16, vgg19, resnet50"),
        ({"input_shape": (31, 64, 3)}, r"input_shape=\(31, 64, 3\): expected at least 32 x 32"),
        ({"input_shape": (64, 64, 2)}, "1 or 3 channels"),
        ({"pooling": "mean"}, "pooling='mean'"),
        ({"l2": -1.0}, "l2=-1.0: expected a number >= 0"),
        (
            {"weights": "nowhere.h5"},
            "'nowhere.h5': no such file; expected 'imagenet', None, or a file of VGG",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(GtzanKerasError, match=message):
        image_base(**{"base": "vgg16", "input_shape": SHAPE, "weights": None, **arguments})


def test_imagenet_weights_that_can_not_be_had_say_where_to_get_them(monkeypatch, tmp_path):
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", offline)
    with pytest.raises(GtzanKerasError) as caught:
        vgg16(SHAPE)
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16"
    assert f"{folder}/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5" in str(caught.value)
    assert "~/.keras/models" in str(caught.value)


def test_a_file_of_another_model_is_refused(tmp_path):
    other = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(4, 3)])
    other.save_weights(tmp_path / "other.weights.h5")
    with h5py.File(tmp_path / "legacy.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        file.create_group("conv").attrs["weight_names"] = [b"w"]
        file["conv"]["w"] = np.zeros(3)
    (tmp_path / "weights.npz").write_bytes(b"PK")
    for name in ("other.weights.h5", "legacy.h5", "weights.npz"):
        with pytest.raises(GtzanKerasError, match=f"{name}: not the weights of VGG16 without its top"):
            vgg16(SHAPE, weights=tmp_path / name)


def test_features_of_what_is_no_feature_map_are_refused():
    with pytest.raises(GtzanKerasError, match="layers: mobilenet_v2 has no pooling; its layers are input, "):
        image_features("mobilenet_v2", (64, 64, 1), ["pooling"], weights=None)
    with pytest.raises(GtzanKerasError, match=r"input_shape=\(64, 64\)"):
        image_features("mobilenet_v2", (64, 64), weights=None)
