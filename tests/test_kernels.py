"""Fused kernels: Keras' own layers and derivatives are the judge."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gtzan_keras import SpectrogramSpec, SpectrogramStore, models, train
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training import fit, precision
from gtzan_keras.training.kernels import fused_kernels, mish
from gtzan_keras.training.precision import computing_in

SHAPE = (3, 5, 7, 4)


def normalising(trainable: bool = True, **options: Any) -> keras.Model:
    """One batch normalisation that is not at its start any more."""
    layer = keras.layers.BatchNormalization(trainable=trainable, **options)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.5, 2, weights.shape) for weights in model.get_weights()])
    return model


def step(model: keras.Model, training: bool, dtype: str = "float32") -> list[np.ndarray]:
    """Output, derivatives by input and weights, and all weights after one call."""
    random = np.random.default_rng(2)
    images = tf.constant(random.normal(3, 2, SHAPE), dtype)
    weigh = tf.constant(random.normal(0, 1, SHAPE), "float32")

    @tf.function
    def call() -> tuple[Any, ...]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            out = model(images, training=training)
            loss = tf.reduce_sum(tf.cast(out, "float32") * weigh)
        return out, tape.gradient(loss, [images, *[v.value for v in model.trainable_variables]])

    out, slopes = call()
    return [np.asarray(tf.cast(value, "float32")) for value in (out, *slopes)] + model.get_weights()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": False},
        {"center": False},
        {"momentum": 0.5, "epsilon": 0.1},
        {"axis": 3},
        {"trainable": False},
    ],
    ids=str,
)
def test_batch_normalisation_is_that_of_keras(training: bool, options: dict[str, Any]) -> None:
    expected = step(normalising(**options), training)
    model = normalising(**options)
    with fused_kernels(model) as count:
        found = step(model, training)
    assert count == 1
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_in_bfloat16_statistics_and_scale_are_not_rounded() -> None:
    expected = step(normalising(), training=True)
    model = normalising()
    with computing_in(model, "mixed_bfloat16"), fused_kernels(model, "mixed_bfloat16"):
        assert model.layers[0].compute_dtype == "bfloat16"
        found = step(model, training=True, dtype="bfloat16")
    assert model.layers[0].compute_dtype == "float32"
    np.testing.assert_allclose(found[0], expected[0], rtol=2**-7, atol=2**-7)  # the feature map is
    for one, other in zip(found[-2:], expected[-2:], strict=True):  # moving mean and variance
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_one_value_a_channel_has_no_variance() -> None:
    model = keras.Sequential([keras.Input((1, 1, 2)), keras.layers.BatchNormalization(momentum=0.5)])
    with fused_kernels(model):
        model(np.array([[[[2.0, 4.0]]]], "float32"), training=True)
    np.testing.assert_allclose(model.layers[0].moving_mean, [1, 2])
    np.testing.assert_allclose(model.layers[0].moving_variance, [0.5, 0.5])


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(axis=1),
        keras.layers.BatchNormalization(synchronized=True),
        keras.layers.BatchNormalization(renorm=True),
        keras.layers.BatchNormalization(dtype="float64"),
        type("Own", (keras.layers.BatchNormalization,), {})(),
        keras.layers.Activation("relu"),
    ],
    ids=["axis", "synchronized", "renorm", "float64", "subclass", "relu"],
)
def test_what_the_kernels_do_not_know_stays_with_keras(layer: keras.layers.Layer) -> None:
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    with fused_kernels(model) as count:
        assert (count, "call" in vars(layer)) == (0, False)


def test_a_mask_is_left_to_keras() -> None:
    images = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    mask = np.random.default_rng(1).random(SHAPE[:3]) > 0.5
    outs = []
    for enter in (False, True):
        model = normalising()
        with fused_kernels(model if enter else keras.Sequential()):
            outs.append(np.asarray(model.layers[0](images, training=True, mask=mask)))
    np.testing.assert_array_equal(*outs)


def test_layers_are_as_before_even_after_an_error() -> None:
    model = models.yolov4((32, 32, 1), 3, width=0.125, depth=0.1)
    policies = [layer.dtype_policy.name for layer in model._flatten_layers()]
    with contextlib.suppress(ZeroDivisionError), fused_kernels(model, "mixed_bfloat16") as count:
        assert sum("call" in vars(layer) for layer in model._flatten_layers()) == count > 50
        raise ZeroDivisionError
    assert not any("call" in vars(layer) for layer in model._flatten_layers())
    assert [layer.dtype_policy.name for layer in model._flatten_layers()] == policies


# ---- Mish


def test_mish_and_its_derivative_are_those_of_keras_in_float64() -> None:
    points = np.concatenate([np.linspace(-30, 30, 2001), [-1e4, -100, -88, 88, 100, 1e4]])
    values = {}
    for function, dtype in ((mish, "float32"), (keras.activations.mish, "float64")):
        x = tf.constant(points, dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        values[dtype] = np.asarray(y), np.asarray(tape.gradient(y, x))
    for one, other in zip(values["float32"], values["float64"], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)


def test_mish_of_bfloat16_is_rounded_once() -> None:
    x = tf.constant(np.linspace(-8, 8, 101), "bfloat16")
    exact = keras.activations.mish(tf.cast(x, "float64"))
    np.testing.assert_array_equal(mish(x), tf.cast(tf.cast(exact, "float32"), "bfloat16"))


# ---- training


@pytest.mark.parametrize(
    ("backend", "gpus", "jit", "expected"),
    [
        ("tensorflow", 0, False, True),
        ("tensorflow", 0, True, False),
        ("tensorflow", 1, False, False),
        ("jax", 0, False, False),
    ],
)
def test_kernels_are_for_tensorflow_on_a_cpu_without_xla(
    monkeypatch: pytest.MonkeyPatch, backend: str, gpus: int, jit: bool, expected: bool
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(precision, "count_gpus", lambda: gpus)
    assert fit._has_kernels(jit) is expected


@pytest.mark.parametrize("computing", ["float32", "bfloat16"])
def test_training_goes_the_same_way_with_and_without(tmp_path: Path, computing: Any) -> None:
    spec = SpectrogramSpec(name="tiny", n_mels=16, height=16, width=16)
    ids = [f"{genre}.{number:05d}" for genre in ("pop", "rock") for number in range(20)]
    images = np.random.default_rng(0).integers(256, size=(40, 16, 16), dtype=np.uint8)
    images[20:, :8] //= 2
    store = SpectrogramStore.from_arrays(tmp_path / "tiny.h5", images, ids, spec)
    split = Split("by hand", tuple(ids[2:20] + ids[22:]), tuple(ids[:2] + ids[20:22]), ())
    histories = []
    for fused in (False, True):
        keras.utils.set_random_seed(0)
        inputs = keras.Input(spec.shape)
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, use_bias=False)(inputs))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("mish")(x))
        model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
        run = train(
            *(model, store, split), out=tmp_path / str(fused), epochs=3, learning_rate=0.01,
            fused=fused, precision=computing, verbose=0,
        )  # fmt: skip
        assert not any("call" in vars(layer) for layer in model.layers)
        histories.append(run.history[["loss", "val_loss"]].to_numpy())
    tolerance = 1e-4 if computing == "float32" else 0.02
    np.testing.assert_allclose(*histories, rtol=tolerance)
