"""Model files: spec and genres inside, opened by Keras alone, and no surprises on loading."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from gtzan_keras import models
from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.saving import load_model, save_model
from tests.outside_hdf5 import link_outside, store_outside, view_outside

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
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
    np.testing.assert_array_equal(keras.saving.load_model(saved)(IMAGES), model(IMAGES))  # Keras alone


def test_an_existing_file_is_replaced_unless_saving_fails(saved, model):
    save_model(model, saved, SPEC, ["a", "b", "c"])
    with pytest.raises(TypeError):
        save_model(model, saved, SPEC, [object()] * 3)  # no JSON
    assert load_model(saved).genres == ["a", "b", "c"]
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize(
    ("name", "shape", "genres", "message"),
    [
        ("x.h5", (8, 12, 1), GENRES, r"x\.h5: expected a file name that ends in \.keras"),
        ("x.keras", (8, 10, 1), GENRES, r"takes samples of \(8, 10, 1\), but these are \(8, 12, 1\)"),
        ("x.keras", (8, 12, 1), GENRES[:2], "has 3 classes; build it with num_classes=2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_not_saved(tmp_path, name, shape, genres, message):
    with pytest.raises(GtzanKerasError, match=message):
        save_model(models.dense(shape, 3, units=()), tmp_path / name, SPEC, genres)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_an_input_is_not_saved(tmp_path):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(GtzanKerasError, match=r"takes samples of .'not known yet'"):
        save_model(model, tmp_path / "x.keras", SPEC, GENRES)


def test_what_is_missing_or_no_archive_is_refused(tmp_path, saved):
    with pytest.raises(GtzanKerasError, match=r"x\.keras: no such model"):
        load_model(tmp_path / "x.keras")
    whole = saved.read_bytes()
    for content in (b"", b"hello", whole[:-200], whole.replace(b"PK\1\2", b"PK\1\3")):
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
    with pytest.raises(
        GtzanKerasError, match=r"x\.keras: cannot be loaded \(.*Python lambda.*code execution"
    ):
        load_model(tmp_path / "x.keras")


def rewritten(saved: Path, **members: Any) -> Path:
    """Write the file's archive again, deflated, with other members: by a function of what each one holds."""
    with zipfile.ZipFile(saved) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    path = saved.with_name("strange.keras")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, members[name](content) if name in members else content)
    return path


def test_a_file_that_was_packed_again_is_loaded(saved, model):
    np.testing.assert_array_equal(load_model(rewritten(saved)).model(IMAGES), model(IMAGES))


def huge(file: h5py.File, name: str) -> None:
    """Replace weights by 6 GB of zeros that the file does not hold."""
    del file[name]
    file.create_dataset(name, (40000, 40000), "float32", chunks=(100, 100))


@pytest.mark.parametrize("change", [link_outside, store_outside, view_outside, huge])
def test_weights_in_other_files_or_larger_than_their_data_are_refused(saved, tmp_path, change):
    def changed(content: bytes) -> bytes:
        weights = tmp_path / "weights.h5"
        weights.write_bytes(content)
        with h5py.File(weights, "r+") as file:
            change(file, "layers/dense/vars/0")
        return weights.read_bytes()

    path = rewritten(saved, **{"model.weights.h5": changed})
    with pytest.raises(
        GtzanKerasError, match=r"strange\.keras: cannot be loaded \(weights .*/0 are in another file, or"
    ):
        load_model(path)


FUNCTION = {"class_name": "function", "registered_name": "function"}


def configured(**changes: Any) -> Callable[[bytes], str]:
    """Change the first dense layer in a configuration."""

    def changed(content: bytes) -> str:
        config = json.loads(content)
        layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
        kept = {"name": layer["name"]} if "class_name" in changes else layer["config"]
        for name, value in changes.items():
            layer[name] = {**kept, **value} if name == "config" else value
        return json.dumps(config)

    return changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # the next layer takes any number of values
        ({"config": {"units": 10**9}}, r"its layers have \d+ numbers, its weights only \d+ bytes"),
        ({"module": "os", "class_name": "mkdir", "registered_name": None}, "mkdir"),
        ({"config": {"activation": {**FUNCTION, "module": "os", "config": "mkdir"}}}, "mkdir"),
        ({"class_name": "TFSMLayer", "config": {"filepath": "code"}}, "TFSMLayer"),
        ({"class_name": "StringLookup", "config": {"vocabulary": "secret.txt"}}, "vocabulary"),
    ],
)  # fmt: skip
def test_a_configuration_that_asks_for_memory_code_or_other_files_is_refused(
    tmp_path, monkeypatch, changes, message
):
    monkeypatch.chdir(tmp_path)
    Path("secret.txt").write_text("a\nb\n")
    inputs = keras.Input(SPEC.shape)
    x = keras.layers.GlobalMaxPooling1D()(keras.layers.Reshape((-1, 1))(keras.layers.Dense(4)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    saved = save_model(model, tmp_path / "x.keras", SPEC, GENRES)
    path = rewritten(saved, **{"config.json": configured(**changes)})
    with pytest.raises(GtzanKerasError, match=rf"strange\.keras: cannot be loaded \(.*{message}") as refusal:
        load_model(path)
    assert "\n" not in str(refusal.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["secret.txt", "strange.keras", "x.keras"]


@pytest.mark.parametrize("member", ["config.json", "gtzan_keras.json"])
def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(saved, member):
    path = rewritten(saved, **{member: lambda content: content + b" " * 2**24})
    with pytest.raises(
        GtzanKerasError, match=r"strange\.keras: cannot be loaded \(it would unpack to \d+ bytes\)"
    ):
        load_model(path)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("gtzan_keras.json", b"["),
        ("gtzan_keras.json", b'{"spec": {"name": "x", "n_fft": 0}, "genres": []}'),
        ("config.json", b"[]"),
        ("model.weights.h5", b"nothing"),
    ],
)
def test_a_damaged_member_is_one_clear_error(saved, member, content):
    path = rewritten(saved, **{member: lambda _: content})
    with pytest.raises(
        GtzanKerasError, match=r"strange\.keras: cannot be loaded \(.*\); expected a model written by"
    ):
        load_model(path)
