"""The data that comes with the package, and what a notebook works on."""

from __future__ import annotations

import functools
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile

from gtzan_keras import datasets, preprocess, splits
from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS
from gtzan_keras.datasets import notebook_data
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.open import open_store
from gtzan_keras.tracks.catalogue import GENRES, facts, load_tracks
from gtzan_keras.tracks.demo import make
from tests.make_packaged_data import make_features, make_thumbnails


def test_thumbnails_are_a_store_of_999_tracks_and_small():
    store = datasets.thumbnails()
    assert store.shape == (999, 64, 64, 1)
    assert store.spec == SPECTROGRAM_SPECS["thumbnail-64"]
    assert store.genres == list(GENRES)
    assert set(facts().index) - set(store.track_id) == {"jazz.00054"}
    assert datasets.THUMBNAILS.stat().st_size < 4_000_000
    splits.fault_filtered(store.tracks).check(store.tracks)


def test_thumbnails_are_block_means_of_the_full_spectrograms(real_data):
    """Against means taken pixel by pixel: bands two by two, columns by where they fall."""
    store = datasets.thumbnails()
    with h5py.File(real_data / "gtzan_mel_128x387.h5") as file:
        assert list(file["track_id"].asstr()) == list(store.track_id)
        for row in (0, 500, 998):
            mel = file["mel"][row].astype(float)
            pairs = mel.reshape(64, 2, 387).mean(axis=1)[::-1]
            column = (np.arange(64) + 1) * 387 // 64
            expected = np.stack([part.mean(axis=1) for part in np.split(pairs, column[:-1], axis=1)], axis=1)
            np.testing.assert_allclose(store.read([row])[0, ..., 0], expected, atol=0.5001)


def test_thumbnails_are_what_preprocess_makes_from_audio(real_data, tmp_path):
    store = datasets.thumbnails()
    tracks = load_tracks(real_data / "gtzan_mini").groupby("genre").head(1)
    preprocess(tracks, tmp_path / "mini.h5", "thumbnail-64", jobs=1)
    with open_store(tmp_path / "mini.h5") as made:
        assert len(made) == 10
        packaged = store.read(store.rows(list(made.track_id)))
        difference = np.abs(made.read().astype(float) - packaged).mean(axis=(1, 2, 3))
    assert difference.mean() < 1
    assert difference.max() < 1.5


def test_the_feature_table_is_kaggles_without_loss(real_data):
    table = datasets.feature_table()
    pd.testing.assert_frame_equal(table, pd.read_csv(real_data / "features_30_sec.csv"))
    assert table["label"].value_counts().to_dict() == dict.fromkeys(GENRES, 100)
    assert datasets.FEATURES.stat().st_size < 600_000


def test_the_packaged_files_are_those_that_the_script_makes(real_data, tmp_path):
    make_features(real_data / "features_30_sec.csv", tmp_path / "features.csv.gz")
    assert (tmp_path / "features.csv.gz").read_bytes() == datasets.FEATURES.read_bytes()
    make_thumbnails(real_data / "gtzan_mel_128x387.h5", tmp_path / "thumbnails.h5")
    with open_store(tmp_path / "thumbnails.h5") as made:
        assert made.checksum == datasets.thumbnails().checksum


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two tracks that are not GTZAN's, named by the environment."""
    root = tmp_path / "music"
    for number, genre in enumerate(("fado", "polka")):
        (root / genre).mkdir(parents=True)
        noise = np.random.default_rng(number).normal(scale=0.1, size=2 * 22050)
        soundfile.write(root / genre / "one.wav", noise, 22050)
    monkeypatch.setenv("GTZAN_KERAS_DATA", str(root))
    monkeypatch.setenv("GTZAN_KERAS_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GTZAN_KERAS_DATA", raising=False)
    monkeypatch.setenv("GTZAN_KERAS_CACHE", str(tmp_path / "cache"))


def test_a_notebook_works_on_the_packaged_data(nothing_set):
    data = notebook_data()
    assert str(data) == "GTZAN, packaged thumbnails and features: 999 tracks"
    assert data.store("arrigo-v1").spec.name == "thumbnail-64"
    assert len(data.features()) == 1000
    assert data.choose(quick="small", full="large") == "small"
    assert data.split().name == "fault-filtered"


def test_a_notebook_that_needs_sound_works_on_the_demo_set(nothing_set, monkeypatch):
    monkeypatch.setattr(datasets, "_DEMO_TRACKS_PER_GENRE", 3)
    monkeypatch.setattr(datasets, "make", functools.partial(make, seconds=1.0))
    data = notebook_data(sound=True)
    assert str(data) == "demo set, synthesised, not GTZAN: 30 tracks"
    data.split().check(data.tracks)


def test_a_folder_that_the_environment_names_is_worked_on_from_audio(own):
    data = notebook_data()
    assert data.tracks["track_id"].tolist() == ["fado/one", "polka/one"]
    assert str(data) == "own collection of 2 tracks: 2 tracks"
    assert data.choose(quick="small", full="large") == "large"
    table = data.features()
    assert table["filename"].tolist() == ["fado/one.wav", "polka/one.wav"]
    pd.testing.assert_frame_equal(data.features(), table)
    soundfile.write(own / "fado" / "one.wav", np.random.default_rng(3).normal(size=44100), 22050)
    changed = data.features()
    assert (changed.iloc[0, 2:-1] != table.iloc[0, 2:-1]).any()
    pd.testing.assert_series_equal(changed.iloc[1], table.iloc[1])


def test_folders_that_share_a_name_keep_their_work_apart_and_a_missing_one_is_refused(own, monkeypatch):
    first, other = notebook_data(), own.parent / "elsewhere" / own.name
    other.parent.mkdir()
    own.rename(other)
    with pytest.raises(GtzanKerasError, match="no such folder"):
        notebook_data()
    monkeypatch.setenv("GTZAN_KERAS_DATA", str(other))
    assert notebook_data().folder != first.folder


def test_a_store_is_made_once_and_again_when_the_tracks_change(own):
    with notebook_data().store("zhang-128") as store:
        assert store.shape == (2, 128, 128, 1)
    before = store.path.stat().st_mtime_ns
    notebook_data().store("zhang-128").close()
    assert store.path.stat().st_mtime_ns == before
    soundfile.write(own / "fado" / "two.wav", np.random.default_rng(2).normal(size=22050), 22050)
    with notebook_data().store("zhang-128") as store:
        assert len(store) == 3
    rows = "track_id,genre,artist,title,wav_md5,fault_filtered,exact_duplicate_of\nfado/two,fado,Ada,,,,\n"
    (own / "tracks.csv").write_text(rows)
    with notebook_data().store("zhang-128") as store:
        assert dict(store.tracks[["track_id", "artist"]].to_numpy())["fado/two"] == "Ada"
    (own / "fado" / "two.wav").unlink()
    with notebook_data().store("zhang-128") as store:
        assert len(store) == 2
