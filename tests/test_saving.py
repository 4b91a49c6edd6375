"""Model files: spec and genres inside, opened by Keras alone, and no surprises on loading."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from gtzan_keras import models
from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.metrics import MacroPrecision
from gtzan_keras.models.saving import load_model, save_model

SPEC = SpectrogramSpec(name="small", n_mels=8, height=8, width=12, db_range=60.0)
GENRES = ["rock", "fado", "disco"]  # in an order that nothing would sort them into
IMAGES = np.random.default_rng(0).random((4, *SPEC.shape), dtype=np.float32)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return models.cnn(SPEC.shape, 3, filters=(4,), dense_units=(5,), normalization="batch")


@pytest.fixture
def saved(model: keras.Model, tmp_path: Path) -> Path:
    return save_model(model, tmp_path / "made" / "model.keras", SPEC, GENRES)


def test_model_spec_and_genres_come_back(saved, model):
    again, spec, genres = load_model(saved)
    assert spec == SPEC
    assert genres == GENRES
    with zipfile.ZipFile(saved) as archive:
        assert json.loads(archive.read("gtzan_keras.json"))["spec"] == SPEC.to_dict()
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
    np.testing.assert_array_equal(keras.saving.load_model(saved)(IMAGES), model(IMAGES))  # Keras alone


def test_a_model_compiled_with_our_metrics_is_loaded(tmp_path):
    model = models.dense(SPEC.shape, 3, units=())
    model.compile("sgd", "categorical_crossentropy", metrics=[MacroPrecision(3)])
    again = load_model(save_model(model, tmp_path / "x.keras", SPEC, GENRES)).model
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))


def test_an_existing_file_is_replaced_and_nothing_else_is_left(saved, model):
    save_model(model, saved, SPEC, ["a", "b", "c"])
    assert load_model(saved).genres == ["a", "b", "c"]
    assert list(saved.parent.iterdir()) == [saved]


def test_a_failure_leaves_the_old_file_and_nothing_else(saved, model):
    before = saved.read_bytes()
    unfit: Any = [object()] * 3  # no JSON
    with pytest.raises(TypeError):
        save_model(model, saved, SPEC, unfit)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize(
    ("name", "shape", "genres", "message"),
    [
        ("x.h5", (8, 12, 1), GENRES, r"x\.h5: expected a file name that ends in \.keras"),
        ("x.keras", (8, 10, 1), GENRES, r"maps \(8, 10, 1\) .* but the samples are \(8, 12, 1\)"),
        ("x.keras", (8, 12, 1), GENRES[:2], "to 3 classes, but .* of 2 genres"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_not_saved(tmp_path, name, shape, genres, message):
    with pytest.raises(GtzanKerasError, match=message):
        save_model(models.dense(shape, 3, units=()), tmp_path / name, SPEC, genres)
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_or_no_archive_is_refused(tmp_path, saved):
    with pytest.raises(GtzanKerasError, match=r"x\.keras: no such model"):
        load_model(tmp_path / "x.keras")
    for content in (b"", b"hello", saved.read_bytes()[:-200]):
        (tmp_path / "x.keras").write_bytes(content)
        with pytest.raises(GtzanKerasError, match=r"x\.keras: not a \.keras file"):
            load_model(tmp_path / "x.keras")


def test_a_model_that_does_not_say_what_its_input_is_is_refused(tmp_path, model):
    model.save(tmp_path / "x.keras")
    with pytest.raises(GtzanKerasError, match=r"does not describe its input.*save_model\("):
        load_model(tmp_path / "x.keras")


def test_code_in_a_file_is_not_run(tmp_path):
    inputs = keras.Input(SPEC.shape)
    x = keras.layers.Lambda(lambda x: x + 1)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    save_model(model, tmp_path / "x.keras", SPEC, GENRES)
    with pytest.raises(ValueError, match="safe_mode"):
        load_model(tmp_path / "x.keras")
