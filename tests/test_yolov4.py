"""YOLOv4 against Darknet's yolov4.cfg: parameters, shapes, and the whole wiring once more in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.yolov4_classifier import csp_darknet53, yolov4

RNG = np.random.default_rng(0)
PICTURES = RNG.random((2, 64, 96, 1), dtype=np.float32)
SMALL = {"input_shape": (64, 96, 1), "num_classes": 3, "width": 0.125, "depth": 0.1, "head": (16, 8)}


def small(**arguments: Any) -> keras.Model:
    return yolov4(**{**SMALL, **arguments})


def names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers]


def map_shape(model: keras.Model, layer: str) -> tuple[int, ...]:
    return model.get_layer(layer).output.shape[1:]


def test_the_network_has_the_published_parameters_and_maps():
    full = yolov4()
    backbone = keras.Model(full.input, [full.get_layer(f"stage{n}_out_mish").output for n in (3, 4, 5)])
    assert backbone.count_params() == 26_652_512
    assert backbone.output_shape == [(None, 52, 52, 256), (None, 26, 26, 512), (None, 13, 13, 1024)]
    # 64,429,405 is what the Keras ports of YOLOv4 for COCO count. A detector: a 3x3 convolution of twice the
    # filters with its normalisation, then 3 anchors x (80 classes + 4 sides + 1 score) by a 1x1 with bias.
    detectors = sum(9 * c * 2 * c + 4 * 2 * c + 2 * c * 255 + 255 for c in (128, 256, 512))
    head = ((128 + 256 + 512) * 256 + 256) + (256 * 64 + 64) + (64 * 10 + 10)
    assert full.count_params() == 64_429_405 - detectors + head


def test_width_scales_filters_to_multiples_of_8_and_depth_the_number_of_blocks():
    backbone = csp_darknet53((64, 64, 3), width=0.3, depth=0.4)
    # 32, 64, 128, 256, 512, 1024 filters x 0.3 are 9.6, 19.2, 38.4, 76.8, 153.6, 307.2.
    assert map_shape(backbone, "stem_conv") == (64, 64, 8)
    filters = [map_shape(backbone, f"stage{number}_out_conv")[-1] for number in range(1, 6)]
    assert filters == [16, 40, 80, 152, 304]
    added = [name.split("_")[0] for name in names(backbone) if name.endswith("_add")]
    # 1, 2, 8, 8, 4 blocks x 0.4 are 0.4, 0.8, 3.2, 3.2, 1.6.
    assert [added.count(f"stage{number}") for number in range(1, 6)] == [1, 1, 3, 3, 2]


def test_images_of_any_size_fit():
    model = small(input_shape=(8, 33, 2))
    maps = [map_shape(model, f"stage{number}_out_mish")[:2] for number in (3, 4, 5)]
    assert maps == [(1, 5), (1, 3), (1, 2)]  # rounded up
    assert map_shape(model, "pan_up8_5_leaky")[:2] == (1, 5)


class Darknet:
    """Layers in the order of the file; -1 is the layer before, a number from 0 counts from the first."""

    def __init__(self, model: keras.Model, images: np.ndarray) -> None:
        self.model, self.images = model, images.astype(float)
        self.maps: list[np.ndarray] = []

    def convolutional(self, name: str, activation: str = "mish", stride: int = 1) -> None:
        convolution, norm = self.model.get_layer(f"{name}_conv"), self.model.get_layer(f"{name}_norm")
        kernel = np.asarray(convolution.kernel, float)
        side = kernel.shape[0]
        x = self.maps[-1] if self.maps else self.images
        x = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
        x = np.einsum("bhwcij,ijco->bhwo", windows[:, ::stride, ::stride], kernel, optimize=True)
        gamma, beta, mean, variance = (np.asarray(weight, float) for weight in norm.get_weights())
        x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        softplus = np.logaddexp(0, x)
        self.maps.append(x * np.tanh(softplus) if activation == "mish" else np.maximum(x, 0.1 * x))

    def route(self, *layers: int) -> None:
        self.maps.append(np.concatenate([self.maps[layer] for layer in layers], axis=-1))

    def shortcut(self, layer: int) -> None:
        self.maps.append(self.maps[-1] + self.maps[layer])

    def maxpool(self, size: int) -> None:
        around = (size // 2, size // 2)
        x = np.pad(self.maps[-1], ((0, 0), around, around, (0, 0)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
        self.maps.append(windows.max((-1, -2)))

    def upsample(self) -> None:
        self.maps.append(self.maps[-1].repeat(2, axis=1).repeat(2, axis=2))

    def detector(self) -> np.ndarray:
        """Two convolutions and the [yolo] that we do not have, counted all the same. What went in."""
        x = self.maps[-1]
        self.maps += [np.empty(0)] * 3
        return x

    def five(self, name: str) -> None:
        for number in range(1, 6):
            self.convolutional(f"{name}_{number}", "leaky")


def yolov4_cfg(model: keras.Model, images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The backbone's three maps and the neck's."""
    net = Darknet(model, images)
    net.convolutional("stem")
    for number, (blocks, back) in enumerate([(1, -7), (2, -10), (8, -28), (8, -28), (4, -16)], start=1):
        net.convolutional(f"stage{number}_down", stride=2)
        net.convolutional(f"stage{number}_skip")
        net.route(-2)
        net.convolutional(f"stage{number}_main")
        for block in range(1, blocks + 1):
            net.convolutional(f"stage{number}_block{block}_1")
            net.convolutional(f"stage{number}_block{block}_2")
            net.shortcut(-3)
        net.convolutional(f"stage{number}_post")
        net.route(-1, back)
        net.convolutional(f"stage{number}_out")
    backbone = [net.maps[54], net.maps[85], net.maps[-1]]
    for number in (1, 2, 3):
        net.convolutional(f"spp_{number}", "leaky")
    net.maxpool(5)
    net.route(-2)
    net.maxpool(9)
    net.route(-4)
    net.maxpool(13)
    net.route(-1, -3, -5, -6)
    for number in (4, 5, 6):
        net.convolutional(f"spp_{number}", "leaky")
    for name, finer in (("pan_up16", 85), ("pan_up8", 54)):
        net.convolutional(f"{name}_reduce", "leaky")
        net.upsample()
        net.route(finer)
        net.convolutional(f"{name}_lateral", "leaky")
        net.route(-1, -3)
        net.five(name)
    neck = [net.detector()]
    for name, coarser in (("pan_down16", -16), ("pan_down32", -37)):
        net.route(-4)
        net.convolutional(f"{name}_shrink", "leaky", stride=2)
        net.route(-1, coarser)
        net.five(name)
        neck.append(net.detector())
    return backbone, neck


def test_every_map_is_that_of_darknets_configuration():
    model = small(depth=1.0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # as after training: neutral ones hide much
            size = layer.gamma.shape
            scale, variance = RNG.uniform(0.5, 1.5, size), RNG.uniform(0.5, 1.5, size)
            layer.set_weights([scale, RNG.normal(0, 0.2, size), RNG.normal(0, 0.2, size), variance])
    backbone, neck = yolov4_cfg(model, PICTURES)
    layers = [f"stage{number}_out_mish" for number in (3, 4, 5)]
    layers += [f"pan_{where}_5_leaky" for where in ("up8", "down16", "down32")] + ["pooling"]
    found = keras.Model(model.input, [model.get_layer(name).output for name in layers])(PICTURES)
    pooled = np.concatenate([x.mean((1, 2)) for x in neck], axis=-1)
    for output, expected in zip(found, [*backbone, *neck, pooled], strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


DROPBLOCK = {"dropblock": 0.2, "dropblock_size": 3, "dropblock_steps": 5}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small(**DROPBLOCK)


def test_dropblock_stands_in_each_of_the_four_blocks_of_panet(model):
    order = names(model)
    for where in ("up16", "up8", "down16", "down32"):
        place = order.index(f"pan_{where}_3_leaky") + 1
        assert order[place : place + 2] == [f"pan_{where}_dropblock", f"pan_{where}_4_conv"]
        layer = model.layers[place]
        assert (layer.rate, layer.block_size, layer.schedule_steps) == (0.2, 3, 5)


def test_rates_of_0_add_no_layer():
    assert not [name for name in names(small(dropblock=0, dropout=0)) if "drop" in name]


def test_the_head_has_one_dropout_between_two_dense_layers_with_relu(model):
    assert names(model)[-5:] == ["pooling", "dense_1", "dense_1_dropout", "dense_2", "predictions"]
    assert model.get_layer("dense_1_dropout").rate == 0.3
    assert {model.get_layer(f"dense_{n}").activation for n in (1, 2)} == {keras.activations.relu}


def test_a_training_step_in_mixed_precision_reaches_the_first_layer():
    keras.config.set_dtype_policy("mixed_bfloat16")  # until the end of the test: see conftest.py
    model = small(dropblock_steps=10, name="mine")
    assert (model.name, model.compiled) == ("mine", False)
    np.testing.assert_allclose(np.asarray(model(PICTURES)).sum(axis=1), 1, rtol=1e-5)
    model.compile("sgd", "categorical_crossentropy", run_eagerly=True)  # tracing takes longer
    stem = model.get_layer("stem_conv")
    before = np.array(stem.kernel)
    assert np.isfinite(model.train_on_batch(PICTURES, np.eye(3)[:2]))
    assert not np.array_equal(stem.kernel, before)
    assert float(model.get_layer("pan_up8_dropblock").steps) == 1
    assert (stem.compute_dtype, stem.kernel.dtype, model.output.dtype) == ("bfloat16", "float32", "float32")


def test_weights_load_from_a_file_and_dropblock_goes_on_counting(model, tmp_path):
    model(PICTURES, training=True)
    model.save(tmp_path / "x.keras")
    again = small(**DROPBLOCK, weights=tmp_path / "x.keras")
    np.testing.assert_allclose(again(PICTURES), model(PICTURES), rtol=1e-5)
    assert float(again.get_layer("pan_up8_dropblock").steps) == 1


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "x.weights.h5"
    csp_darknet53(SMALL["input_shape"], SMALL["width"], SMALL["depth"]).save_weights(path)
    with pytest.raises(GtzanKerasError, match=r"h5: not the weights of this YOLOv4 \(.* parameters\)"):
        small(weights=path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes=1: expected at least 2"),
        ({"width": 0.0}, r"width=0\.0: expected a factor > 0"),
        ({"input_shape": (64, 96)}, r"input_shape=\(64, 96\): expected 3 numbers"),
        ({"depth": -1.0}, r"depth=-1\.0: expected a factor > 0"),
        ({"head": (8, 0)}, r"head=\(8, 0\): expected whole numbers >= 1"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(arguments, message):
    with pytest.raises(GtzanKerasError, match=message):
        small(**arguments)
