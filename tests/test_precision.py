"""Which precision a training computes in."""

import logging
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from gtzan_keras import models
from gtzan_keras.models.layers import clone
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training import precision as module
from gtzan_keras.training.fit import train
from gtzan_keras.training.precision import dtypes_in, policy_of, training_policy
from gtzan_keras.training.settings import TrainingSettings


@pytest.mark.parametrize(
    ("word", "built", "able", "name"),
    [
        ("float32", "mixed_float16", True, "float32"),
        ("bfloat16", "mixed_float16", False, "mixed_bfloat16"),
        ("auto", "float32", True, "mixed_bfloat16"),
        ("auto", "float32", False, "float32"),
        ("auto", "mixed_float16", True, "mixed_float16"),
    ],
)
def test_the_requested_precision_wins_over_the_models_and_that_over_the_machine(
    monkeypatch, word, built, able, name
):
    monkeypatch.setattr(module, "_has_bfloat16", lambda: able)
    assert training_policy(word, built)[0] == name


@pytest.mark.parametrize(
    ("capabilities", "able"),
    [
        ([(8, 0), (9, 0)], True),
        ([(8, 0), (7, 5)], False),
        ([None], False),
    ],
)
def test_a_gpu_from_before_ampere_has_no_bfloat16(monkeypatch, capabilities, able):
    details = [{} if found is None else {"compute_capability": found} for found in capabilities]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(range(len(details))))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    assert module._has_bfloat16() is able


# ---- a model in another policy than it was built in

BUILDS = {
    "cnn": lambda: models.cnn((16, 16, 1), filters=(4,), dense_units=(8,), normalization="batch"),
    "vgg16": lambda: models.vgg16((32, 32, 1), weights=None),
    "vggish_classifier": lambda: models.vggish_classifier((4, 8)),
}


def dtypes(model):
    computing = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return [(type(layer), layer.compute_dtype) for layer in computing]


@pytest.mark.parametrize("name", BUILDS)
def test_layers_compute_as_in_a_model_that_was_built_in_the_policy(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    expected = dtypes(BUILDS[name]())
    assert {"bfloat16", "float32"} == {dtype for _, dtype in expected}
    keras.config.set_dtype_policy("float32")
    model = BUILDS[name]()
    before, trainable = dtypes(model), [layer.trainable for layer in model.layers[1:]]
    copied = clone(model, dtypes_in(model, "mixed_bfloat16"))
    assert dtypes(copied) == expected
    assert {weights.dtype for weights in copied.weights} == {"float32"}
    assert [layer.trainable for layer in copied.layers[1:]] == trainable  # all but the input
    assert policy_of(copied) == "mixed_bfloat16"
    assert dtypes(model) == before


def test_the_last_layer_of_a_nested_model_stays_in_float32():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2, "softmax")])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner(inputs))
    copied = clone(model, dtypes_in(model, "mixed_bfloat16")).get_layer(inner.name)
    assert [layer.compute_dtype for layer in copied.layers] == ["bfloat16", "float32"]


# ---- training


def fit(store, out):
    keras.utils.set_random_seed(1)
    model = models.cnn(store.spec.shape, 3, filters=(4,), dense_units=(8,), normalization="batch")
    ids = tuple(store.track_id)
    settings = TrainingSettings(epochs=2, batch_size=8, learning_rate=0.03)
    return train(model, store, Split("by hand", ids[::2], ids[1::4], ()), settings, out=out, verbose=0)


def test_a_float32_model_trains_as_if_it_had_been_built_in_the_policy(
    separable, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(module, "_has_bfloat16", lambda: False)
    keras.config.set_dtype_policy("mixed_bfloat16")
    built = fit(separable, tmp_path / "built")
    monkeypatch.setattr(module, "_has_bfloat16", lambda: True)
    keras.config.set_dtype_policy("float32")
    with caplog.at_level(logging.INFO, "gtzan_keras"):
        run = fit(separable, tmp_path / "run")
    assert "precision mixed_bfloat16 (this machine computes in it), fused kernels " in caplog.text
    pd.testing.assert_frame_equal(run.history, built.history, check_exact=True)
    for one, other in zip(run.model.get_weights(), built.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert run.outcome.precision == "mixed_bfloat16"
    assert {layer.compute_dtype for layer in run.model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_jax_on_a_processor_trains_in_float32(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras, "distribution", SimpleNamespace(list_devices=lambda: ["cpu:0"]))
    assert training_policy("auto")[0] == "float32"
