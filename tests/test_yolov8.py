"""YOLOv8: the contract with KerasCV, which nobody develops any more, and the head on top of it."""

from __future__ import annotations

import sys
from typing import Any

import kagglehub
import keras
import keras_cv
import numpy as np
import pytest
from keras_cv.src.utils.preset_utils import save_to_preset

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.saving import load_model, save_model
from gtzan_keras.models.yolov8_classifier import yolov8

SPEC = SpectrogramSpec(name="small", n_mels=8, height=64, width=96)
RNG = np.random.default_rng(0)
GREY = RNG.random((2, *SPEC.shape), dtype=np.float32)
RGB = GREY.repeat(3, axis=-1)
DEEPEST = "stack4_spp_fast_output"


def small(**arguments: Any) -> keras.Model:
    return yolov8(**{"input_shape": SPEC.shape, "num_classes": 3, "size": "xs", **arguments})


def names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers]


def features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(keras.Model(model.input, model.get_layer(DEEPEST).output)(images))


def with_statistics(model: keras.Model) -> keras.Model:
    """Normalisation statistics as after training, not the neutral ones that hide a wrong order."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return with_statistics(small())


@pytest.fixture(scope="module")
def kerascv() -> keras.Model:
    """KerasCV's own backbone, size xs, which takes images of 0 to 255 as its presets do."""
    channels, depth = [32, 64, 128, 256], [1, 2, 2, 1]
    return with_statistics(keras_cv.models.YOLOV8Backbone(channels, depth, True, input_shape=(64, 96, 3)))


@pytest.mark.parametrize(
    ("size", "channels", "parameters"),
    [
        ("xs", 256, 1_277_680),
        ("s", 512, 5_089_760),
        ("m", 576, 11_872_464),
        ("l", 512, 19_831_744),
        ("xl", 640, 30_972_080),
    ],
)
def test_backbones_have_the_published_number_of_parameters(size, channels, parameters):
    model = yolov8((31, 65, 3), 10, size=size, head=())
    assert model.get_layer(DEEPEST).output.shape == (None, 1, 3, channels)  # a 32nd, rounded up
    assert model.count_params() == parameters + channels * 10 + 10
    assert model.output_shape == (None, 10)


def test_a_saved_model_opens_without_kerascv(model, tmp_path, monkeypatch):
    for package in ("keras_cv", "gtzan_keras"):
        assert package not in model.to_json()  # none of its layers comes from there
    path = save_model(model, tmp_path / "model.keras", SPEC, ["disco", "metal", "rock"])
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    again = load_model(path).model
    assert names(again) == names(model)
    np.testing.assert_allclose(again(GREY), model(GREY), rtol=1e-5)


def test_a_training_step_reaches_the_first_layer_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")  # until the end of the test: see conftest.py
    model = small(norm="layer", head=(4,))
    model.compile("sgd", "categorical_crossentropy", run_eagerly=True)  # tracing takes ten times as long
    np.testing.assert_allclose(np.asarray(model(GREY)).sum(axis=1), 1, rtol=1e-5)
    stem = model.get_layer("stem_1_conv")
    before = np.array(stem.kernel)
    assert np.isfinite(model.train_on_batch(GREY, np.eye(3)[:2]))
    assert (stem.compute_dtype, stem.kernel.dtype, model.output.dtype) == ("bfloat16", "float32", "float32")
    assert not np.array_equal(stem.kernel, before)


def test_features_are_those_of_kerascv_for_its_weights(kerascv, tmp_path):
    path = tmp_path / "model.weights.h5"
    kerascv.save_weights(path)
    with pytest.raises(GtzanKerasError, match=r"h5: not the weights of .* size 's' \(5,089,760 par"):
        small(weights=path, size="s")
    expected = kerascv(RGB * 255)
    np.testing.assert_allclose(features(small(weights=path), GREY), expected, rtol=1e-4, atol=1e-6)


def test_coco_takes_the_weights_of_kerascvs_preset(kerascv, monkeypatch, tmp_path):
    save_to_preset(kerascv, str(tmp_path))

    def download(handle: str, file: str) -> str:
        assert handle == "keras/yolov8/keras/yolo_v8_xs_backbone_coco/2"
        return str(tmp_path / file)

    monkeypatch.setattr(kagglehub, "model_download", download)
    expected = kerascv(RGB * 255)
    np.testing.assert_allclose(features(small(weights="coco"), GREY), expected, rtol=1e-4, atol=1e-6)


def test_without_network_coco_says_which_file_is_wanted(monkeypatch):
    def download(*_: str) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(kagglehub, "model_download", download)
    file = r"model\.weights\.h5 .*kaggle\.com/models/keras/yolov8/keras/yolo_v8_s_backbone_coco/2, "
    message = rf"preset yolo_v8_s_backbone_coco could .*ConnectionError: no route.*{file}and pass its path"
    with pytest.raises(GtzanKerasError, match=message):
        small(weights="coco", size="s", input_shape=(32, 32, 3))


def test_layers_stand_in_the_order_of_the_source():
    # Model 18: dropout before GAP; dense with ReLU, layer normalisation after each, dropout on the first two.
    model = small(norm="layer", dropout=0.4, dropout_before_pooling=0.2)
    layers = names(model)
    assert layers[layers.index(DEEPEST) + 1 :] == [
        *("pooling_dropout", "pooling"),
        *("dense_1", "dense_1_norm", "dense_1_dropout"),
        *("dense_2", "dense_2_norm", "dense_2_dropout"),
        *("dense_3", "dense_3_norm"),
        "predictions",
    ]
    assert {model.get_layer(f"dense_{n}").activation for n in (1, 2, 3)} == {keras.activations.relu}
    assert isinstance(model.get_layer("dense_1_norm"), keras.layers.LayerNormalization)
    assert [model.get_layer(f"{name}_dropout").rate for name in ("pooling", "dense_2")] == [0.2, 0.4]


def test_each_layer_can_have_its_own_dropout_and_the_output_one_more():
    model = small(head=(8, 4), dropout=(0.0, 0.2), dropout_before_output=0.1)
    assert names(model)[-5:] == ["dense_1", "dense_2", "dense_2_dropout", "output_dropout", "predictions"]
    assert model.get_layer("dense_2_dropout").rate == 0.2
    assert model.get_layer("output_dropout").rate == 0.1


@pytest.mark.parametrize(
    ("pooling", "vector", "norm", "each"),  # 64x96 -> 2x3 maps; numbers that normalize a unit
    [("avg", 256, None, 0), ("flatten", 2 * 3 * 256, "layer", 2), ("avg+max", 2 * 256, "batch", 4)],
)
def test_the_head_has_the_parameters_counted_by_hand(pooling, vector, norm, each):
    head = (vector * 8 + 8) + (8 * 4 + 4) + (4 * 3 + 3) + each * (8 + 4)
    assert small(pooling=pooling, norm=norm, head=(8, 4)).count_params() == 1_277_680 + head


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (64, 96, 2)}, r"input_shape=\(64, 96, 2\): expected 1 or 3 channels"),
        ({"size": "n"}, "size='n': expected xs, s, m, l or xl"),
        ({"dropout": (0.1, 0.2)}, "expected one number, or one for each of the 3 layers"),
        ({"weights": "imagenet"}, "weights='imagenet': no such file; expected None, 'coco', or the"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(arguments, message):
    with pytest.raises(GtzanKerasError, match=message):
        small(**arguments)
