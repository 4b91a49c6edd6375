"""Stores of embeddings, which work wherever stores of spectrograms do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.vggish_network import vggish_classifier
from gtzan_keras.store import batches as batches_module
from gtzan_keras.store.augmentation import STRONG_AUGMENTATION
from gtzan_keras.store.embeddings import EmbeddingSpec, EmbeddingsStore
from gtzan_keras.store.open import open_store
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.evaluate import evaluate
from gtzan_keras.training.fit import train
from gtzan_keras.training.run import load_run
from gtzan_keras.training.settings import TrainingSettings

SPEC = EmbeddingSpec(name="small", patches=4, size=6)
IDS = ["blues.00000", "jazz.00000", "rock.00000"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingsStore:
    """Of 1, 2 and 7 patches."""
    random = np.random.default_rng(0)
    arrays = [random.normal(size=(count, 6)) for count in (1, 2, 7)]
    return EmbeddingsStore.from_arrays(tmp_path_factory.mktemp("store") / "x.h5", arrays, IDS, SPEC)


def test_tracks_are_padded_with_zeros_or_cut_and_the_mask_says_so(store):
    assert store.mask.tolist() == [[True, False, False, False], [True, True, False, False], [True] * 4]
    np.testing.assert_array_equal((store.read() != 0).any(axis=2), store.mask)
    assert store.without(["jazz"]).mask.tolist() == store.mask[[0, 2]].tolist()


def test_open_store_knows_either_kind(store, make_store):
    spectrograms = make_store(["rock.00000"])
    assert type(open_store(store.path)) is EmbeddingsStore
    assert type(open_store(spectrograms.path)) is SpectrogramStore
    with pytest.raises(GtzanKerasError, match=r"not a store of spectrograms; .* with open_store"):
        SpectrogramStore(store.path)
    with pytest.raises(GtzanKerasError, match=r"not a store of embeddings; .* with open_store"):
        EmbeddingsStore(spectrograms.path)


@pytest.mark.parametrize("limit", [2 * 4 * 6 * 4, 2 * 4 * 6 * 4 - 1], ids=["held", "read"])
def test_batches_are_the_embeddings_as_they_are(store, monkeypatch, limit):
    monkeypatch.setattr(batches_module, "IN_MEMORY_BYTES", limit)  # two tracks, four bytes a number
    batches = store.batches(["rock.00000", "blues.00000"], batch_size=2)
    embeddings, labels = batches[0]
    assert (batches.held is None) == (limit % 2 == 1)
    assert embeddings.dtype == labels.dtype == np.float32
    np.testing.assert_array_equal(embeddings, store.read([0, 2]))
    assert labels.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_augmentation_is_for_spectrograms(store):
    with pytest.raises(GtzanKerasError, match=r"spectrograms only, but x\.h5 holds embeddings; set"):
        store.batches(["rock.00000"], augmentation=STRONG_AUGMENTATION)


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    path, good = tmp_path / "x.h5", np.ones((2, 6))
    for arrays, ids, message in [
        ([good, good], ["pop.00000"], "1 track ids, but a different number"),
        ([good, good], ["pop.00000"] * 2, "is duplicated"),
        ([np.ones((2, 5))], ["pop.00000"], r"pop\.00000: embeddings of shape \(2, 5\).*\(patches, 6\)"),
        ([good * np.inf], ["pop.00000"], "NaN or infinite"),
        ([good], ["my/song"], "not a GTZAN track: pass genres="),
    ]:
        with pytest.raises(GtzanKerasError, match=message):
            EmbeddingsStore.from_arrays(path, arrays, ids, SPEC)
    assert not list(tmp_path.iterdir())


def test_a_spec_comes_back_from_its_fields_and_says_how_another_differs():
    assert EmbeddingSpec.from_dict(SPEC.to_dict()) == SPEC
    for fields, message in (
        ({"name": "x", "n_mels": 3}, r"unknown field\(s\) n_mels"),
        ({}, "no field 'name'"),
        ({"name": "x", "patches": 0}, "patches is 0; expected a whole number above 0"),
        ({"name": "x", "patches": 10**9}, "patches is 1000000000; expected at most"),
    ):
        with pytest.raises(GtzanKerasError, match=message):
            EmbeddingSpec.from_dict(fields)
    assert SPEC.difference(dataclasses.replace(SPEC, trim=True)) == "trim: False against True"
    assert "patches: 4 against None" in SPEC.difference(SPECTROGRAM_SPECS["zhang-128"])


def test_embeddings_train_evaluate_and_load_as_spectrograms_do(tmp_path, make_store):
    random = np.random.default_rng(0)
    ids = [f"{genre}.{number:05d}" for genre in ("disco", "rock") for number in range(12)]
    arrays = [random.normal(size=(random.integers(2, 5), 6)) for _ in ids]
    store = EmbeddingsStore.from_arrays(tmp_path / "x.h5", arrays, ids, SPEC)
    split = Split("by hand", tuple(ids[:8] + ids[12:20]), tuple(ids[8:10]), tuple(ids[10:12] + ids[20:]))
    settings = TrainingSettings(epochs=1)
    run = train(vggish_classifier(SPEC.shape, 2), store, split, settings, out=tmp_path / "run", verbose=0)
    correct = run.model(store.read(store.rows(split.test))).numpy().argmax(axis=1) == [0, 0, 1, 1, 1, 1]
    assert evaluate(run)["scores"]["test"]["accuracy"]["value"] == pytest.approx(correct.mean())
    again = load_run(tmp_path / "run")
    assert again.store.spec == SPEC
    np.testing.assert_allclose(again.model(store.read()), run.model(store.read()), rtol=1e-5)
    other = make_store(["disco.00000", "rock.00000"])
    with pytest.raises(GtzanKerasError, match=r"the model expects spec 'small'.*patches: 4 against None"):
        load_run(tmp_path / "run", other)
