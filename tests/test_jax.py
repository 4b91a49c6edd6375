"""Builders, layers and metrics where Keras runs on JAX: as on TensorFlow, for the same weights."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest

from gtzan_keras import models
from gtzan_keras.inference.attribution import METHODS, attribution
from gtzan_keras.metrics import MacroF1, MacroPrecision, MacroRecall
from gtzan_keras.models.layers import DropBlock2D

BUILDS: dict[str, Callable[[], keras.Model]] = {
    "cnn": lambda: models.cnn((16, 16, 1), **models.CNN_ARGUMENTS["uncu"]),
    "cnn-any-width": lambda: models.cnn((16, None, 1), filters=(4,), dense_units=(8,), pooling="avg+max"),
    "tags": lambda: keras.Sequential(
        [
            keras.Input((24, 8)),
            keras.layers.Conv1D(12, 3, activation="relu"),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(3, "sigmoid"),
        ]
    ),
    "dropblock": lambda: keras.Sequential(
        [
            keras.Input((12, 12, 2)),
            DropBlock2D(0.2, block_size=3, schedule_steps=5, name="drop"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, "softmax"),
        ]
    ),
    "vggish_classifier": lambda: models.vggish_classifier((31, 16)),
    "two_branch": lambda: models.two_branch((51,), (16, 16, 1)),
}
PLAIN: dict[str, Callable[[], keras.Model]] = {
    "dense": lambda: models.dense((8, 8, 1), units=(16,), normalization="batch"),
    "vggish": lambda: models.vggish(include_top=False),
    "musicnn": models.musicnn,
    "musicnn_vgg": models.musicnn_vgg,
    "feature_cnn": lambda: models.feature_cnn((51,)),
    "vgg16": lambda: models.vgg16((32, 32, 1), weights=None),
    "yolov4": lambda: models.yolov4((32, 32, 1), width=0.125, depth=0.125),
    "yolov8": lambda: models.yolov8((32, 32, 1), size="xs", head=(8,)),
}
"""Their layers are all Keras' own, and many. They take JAX a minute: `make test-nightly`."""

FITTED = ("cnn", "dropblock", "vggish_classifier", "two_branch")
"""With these two steps are trained too: dropout, DropBlock with its count of steps, masking, two inputs."""

EXPLAINED = ("cnn-any-width", "tags")
"""Of these, attributions are computed too: of genres that exclude each other, and of tags without bands."""


def sample(model: keras.Model) -> object:
    """Two samples of what a model takes, the same under every backend."""
    random = np.random.default_rng(0)
    arrays = {
        tensor.name: random.random((2, *(side or 24 for side in tensor.shape[1:])), dtype="float32")
        for tensor in model.inputs
    }
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def counted() -> dict[str, float]:
    """Scores of three hundred guesses, in batches of unequal size."""
    random = np.random.default_rng(0)
    labels, guesses = random.integers(4, size=300), random.random((300, 4))
    metrics = [MacroPrecision(4), MacroRecall(4), MacroF1(4)]
    for metric in metrics:
        for part in (slice(0, 7), slice(7, 300)):
            metric.update_state(labels[part], guesses[part])
    return {metric.name: float(metric.result()) for metric in metrics}


def attributions(model: keras.Model, given: np.ndarray) -> np.ndarray:
    """Computed with each method, for the second output."""
    return np.stack([attribution(model, given, 1, method) for method in METHODS])


def under_jax(folder: Path, names: Sequence[str]) -> None:
    """Builds, reads the weights that TensorFlow left, predicts, trains a step, saves and opens again."""
    done: dict[str, float] = {"backend": keras.backend.backend(), **counted()}  # type: ignore[dict-item]
    dropped = np.asarray(
        DropBlock2D(0.2, block_size=3, seed=0)(np.ones((1, 8, 16, 64), "float32"), training=True)
    )
    done["dropped"], done["mean"] = float((dropped == 0).mean()), float(dropped.mean())
    for name in names:
        model = (BUILDS | PLAIN)[name]()
        model.load_weights(folder / f"{name}.weights.h5")
        given = sample(model)
        np.save(folder / f"{name}.npy", model.predict_on_batch(given))
        if name in EXPLAINED:
            np.save(folder / f"{name}-explained.npy", attributions(model, given))
        if name in FITTED:
            model.compile("adam", "categorical_crossentropy", metrics=[MacroPrecision(10)])
            done[name] = model.fit(given, np.eye(10)[[0, 1]], epochs=2, verbose=0).history["loss"][1]
            done[f"{name} steps"] = float(model.optimizer.iterations)
            expected = model.predict_on_batch(given)
            model.save(folder / f"{name}.keras")
            again = keras.saving.load_model(folder / f"{name}.keras")
            np.testing.assert_allclose(again.predict_on_batch(given), expected, atol=1e-5)
        if name == "dropblock":
            done["counted"] = float(model.get_layer("drop").steps)
    (folder / "done.json").write_text(json.dumps(done), "utf-8")


if __name__ == "__main__":
    under_jax(Path(sys.argv[1]), sys.argv[2:])
    sys.exit()


def under_both(folder: Path, builds: dict[str, Callable[[], keras.Model]]) -> Path:
    """Weights and predictions of TensorFlow, and what one process under JAX made of them."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs JAX: pip install 'gtzan-keras[test]'")
    for name, build in builds.items():
        keras.utils.set_random_seed(0)
        model = build()
        model.save_weights(folder / f"{name}.weights.h5")
        np.save(folder / f"{name}-tensorflow.npy", model(sample(model)))
        if name in EXPLAINED:
            np.save(folder / f"{name}-explained-tensorflow.npy", attributions(model, sample(model)))
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": quick}
    command = [sys.executable, __file__, str(folder), *builds]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def equal_predictions(folder: Path, name: str) -> None:
    expected, found = np.load(folder / f"{name}-tensorflow.npy"), np.load(folder / f"{name}.npy")
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return under_both(tmp_path_factory.mktemp("jax"), BUILDS)


@pytest.mark.parametrize("name", BUILDS)
def test_a_builders_model_predicts_the_same(compared, name):
    equal_predictions(compared, name)


@pytest.mark.nightly
def test_networks_of_layers_of_keras_predict_the_same(tmp_path):
    under_both(tmp_path, PLAIN)
    for name in PLAIN:
        equal_predictions(tmp_path, name)


@pytest.mark.parametrize("name", EXPLAINED)
def test_attributions_are_the_same(compared, name):
    expected = np.load(compared / f"{name}-explained-tensorflow.npy")
    found = np.load(compared / f"{name}-explained.npy")
    assert np.abs(expected).max(axis=(1, 2, 3)).min() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())


def test_models_are_trained_metrics_count_and_layers_drop(compared):
    done = json.loads((compared / "done.json").read_text("utf-8"))
    assert done["backend"] == "jax"
    for name in FITTED:
        assert np.isfinite(done[name])
        assert done[f"{name} steps"] == 2
    for name, value in counted().items():
        assert done[name] == pytest.approx(value, rel=1e-6)
    assert done["counted"] == 2
    assert 0.1 < done["dropped"] < 0.25
    assert done["mean"] == pytest.approx(1, rel=1e-4)
