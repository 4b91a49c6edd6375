"""Builders: parameters counted by hand, stable layer names, errors, and nothing else imported."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from gtzan_keras import models
from gtzan_keras.errors import GtzanKerasError

# A 3x3 convolution has 9 * in * out weights and out biases; a dense layer in * out and out.
PARAMETERS = {
    # 224 -> 112 -> 56 -> 28 -> 14
    ("malvezzi", (224, 224, 3)): (9 * 3 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 128 + 128)
    + (9 * 128 * 128 + 128) + (14 * 14 * 128 * 512 + 512) + (512 * 10 + 10),
    # 416 -> 208 -> 104 -> 52 -> 26
    ("arrigo", (416, 416, 1)): (9 * 1 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 128 + 128)
    + (9 * 128 * 256 + 256) + (26 * 26 * 256 * 128 + 128) + (128 * 10 + 10),
    # without padding: 128 -> 126 -> 63 -> 61 -> 30
    ("zhang", (128, 128, 1)): (9 * 1 * 32 + 32) + (9 * 32 * 64 + 64) + (30 * 30 * 64 * 128 + 128)
    + (128 * 10 + 10),
    # 128 -> 64 -> 32 -> 16
    ("uncu", (128, 128, 1)): (9 * 1 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 128 + 128)
    + (16 * 16 * 128 * 128 + 128) + (128 * 10 + 10),
}  # fmt: skip


def names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers]


def small_cnn(**arguments: Any) -> keras.Model:
    return models.cnn(
        **{"input_shape": (16, 24, 1), "num_classes": 3, "filters": (4, 6), "dense_units": (5,), **arguments}
    )


def small_dense(**arguments: Any) -> keras.Model:
    return models.dense(**{"input_shape": (16, 24, 1), "num_classes": 3, "units": (7, 5), **arguments})


@pytest.mark.parametrize(("source", "shape"), PARAMETERS)
def test_the_sources_networks_have_the_parameters_counted_by_hand(source, shape):
    model = models.cnn(shape, **models.CNN_ARGUMENTS[source])
    assert model.count_params() == PARAMETERS[source, shape]


def test_every_named_argument_set_is_counted():
    assert {source for source, _ in PARAMETERS} == set(models.CNN_ARGUMENTS)


def test_dense_has_the_parameters_counted_by_hand():
    assert models.dense().count_params() == (
        (224 * 224 * 3 * 512 + 512) + (512 * 256 + 256) + (256 * 10 + 10)
    )
    assert models.dense((57,), units=(64,)).count_params() == (57 * 64 + 64) + (64 * 10 + 10)
    assert models.dense((57,), units=()).count_params() == 57 * 10 + 10


@pytest.mark.parametrize(("normalization", "each"), [(None, 0), ("batch", 4), ("layer", 2)])
def test_normalisation_adds_its_parameters_to_every_layer_but_the_last(normalization, each):
    # Scale and shift a channel; batch normalisation also keeps mean and variance.
    convolution = (9 * 1 * 4 + 4) + (9 * 4 * 6 + 6) + (4 * 6 * 6 * 5 + 5) + (5 * 3 + 3)
    plain = (384 * 7 + 7) + (7 * 5 + 5) + (5 * 3 + 3)
    assert small_cnn(normalization=normalization).count_params() == convolution + each * (4 + 6 + 5)
    assert small_dense(normalization=normalization).count_params() == plain + each * (384 + 7 + 5)


@pytest.mark.parametrize("pooling", ["avg", "max", "avg+max"])
def test_global_pooling_leaves_one_number_a_channel_and_statistic(pooling):
    model, kinds = small_cnn(pooling=pooling), pooling.split("+")
    head = (6 * len(kinds) * 5 + 5) + (5 * 3 + 3)
    assert model.count_params() == (9 * 1 * 4 + 4) + (9 * 4 * 6 + 6) + head
    maps = keras.Model(model.input, model.get_layer("block2_relu").output)
    vector = keras.Model(model.input, model.get_layer("pooling").output)
    images = np.random.default_rng(0).random((2, 16, 24, 1), dtype=np.float32)
    found = [{"avg": np.mean, "max": np.max}[kind](np.asarray(maps(images)), axis=(1, 2)) for kind in kinds]
    np.testing.assert_allclose(vector(images), np.concatenate(found, axis=1), rtol=1e-5)


def test_kernel_size_and_padding_count():
    model = small_cnn(kernel_size=5, padding="valid")  # 16x24 -> 12x20 -> 6x10 -> 2x6 -> 1x3
    assert model.get_layer("block2_pool").output.shape == (None, 1, 3, 6)
    assert model.count_params() == (25 * 1 * 4 + 4) + (25 * 4 * 6 + 6) + (1 * 3 * 6 * 5 + 5) + (5 * 3 + 3)


def test_layers_of_the_cnn_have_stable_names():
    assert names(small_cnn(normalization="batch", dropout=0.1, dropout_before_head=0.2)) == [
        "input",
        "centre",
        *("block1_conv", "block1_pool", "block1_norm", "block1_relu"),
        *("block2_conv", "block2_pool", "block2_norm", "block2_relu"),
        *("flatten", "head_dropout"),
        *("dense_1", "dense_1_norm", "dense_1_relu", "dense_1_dropout"),
        "predictions",
    ]


@pytest.mark.parametrize("build", [small_cnn, small_dense])
def test_under_mixed_precision_probabilities_stay_float32(build):
    keras.config.set_dtype_policy("mixed_bfloat16")  # until the end of the test: see conftest.py
    model = build(normalization="batch", name="mine")
    assert (model.name, model.compiled) == ("mine", False)
    outputs = model(np.random.default_rng(0).random((2, 16, 24, 1), dtype=np.float32))
    assert model.get_layer("dense_1").compute_dtype == "bfloat16"
    assert outputs.dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    np.testing.assert_allclose(np.asarray(outputs).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (16, 24)}, r"input_shape=\(16, 24\): expected 3 numbers, \(height, width, chan"),
        ({"input_shape": (16, 0, 1)}, r"input_shape=\(16, 0, 1\): expected whole numbers >= 1"),
        ({"input_shape": (16, None, 1)}, r"input_shape=\(16, None, 1\): expected whole numbers"),  # flatten
        ({"input_shape": (3, 24, 1)}, r"too small for 2 blocks, nothing remains to pool in block 2"),
        ({"input_shape": (9, 24, 1), "padding": "valid"}, "nothing remains to pool in block 2"),
        ({"num_classes": 1}, "num_classes=1: expected at least 2"),
        ({"dense_units": (0.5,)}, r"dense_units=\(0.5,\): expected whole numbers >= 1"),
        ({"kernel_size": 0}, r"kernel_size=\(0,\): expected whole numbers >= 1"),
        ({"dropout": 1.0}, r"dropout=1.0 \(dense_1_dropout\): expected 0 <= dropout < 1"),
        ({"normalization": "group"}, "normalization='group': expected batch, layer or None"),
        ({"pooling": "sum"}, "pooling='sum': expected flatten, avg, max or avg.max"),
        ({"padding": "full"}, "padding='full': expected same or valid"),
    ],
)
def test_cnn_arguments_out_of_range_are_refused_by_name(arguments, message):
    with pytest.raises(GtzanKerasError, match=message):
        small_cnn(**arguments)


def test_numpys_numbers_are_taken_and_channels_first_is_refused(monkeypatch):
    assert small_cnn(num_classes=np.int64(3)).output_shape == (None, 3)
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(GtzanKerasError, match="set channels_last in keras"):
        small_cnn()
