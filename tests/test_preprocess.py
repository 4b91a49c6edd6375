"""Tracks to a store. What happens when it is interrupted is in test_parts.py and test_faults.py."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile

from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.spectrogram import SpectrogramSpec, mel_image, segments
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store import preprocess as module
from gtzan_keras.store.open import open_store
from gtzan_keras.store.preprocess import preprocess
from gtzan_keras.tracks.catalogue import load_tracks

SPEC = SpectrogramSpec(
    name="small", n_fft=512, window_length=512, n_mels=16, clip_seconds=1.0, height=16, width=24
)
PIECES = SpectrogramSpec(
    name="pieces", n_fft=512, window_length=512, n_mels=16, height=16, width=8,
    clip_seconds=None, segment_seconds=0.5, segment_hop_seconds=0.25,
)  # fmt: skip
GOOD = ["blues.00000", "blues.00001", "metal.00058", "rock.00007", "rock.00016"]
BROKEN = "jazz.00054"  # the only jazz there is


def write_sound(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-1, 1, 26460 + 100 * seed)  # 1.2 s and more
    soundfile.write(file, noise, 22050)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("sounds")
    for seed, track_id in enumerate(GOOD):
        write_sound(root / track_id.split(".")[0] / f"{track_id}.wav", seed)
    (root / "jazz").mkdir()
    (root / "jazz" / f"{BROKEN}.wav").write_bytes(b"this is no music " * 999)
    return load_tracks(root)


@pytest.fixture
def made(tmp_path: Path, tracks: pd.DataFrame) -> Path:
    """The store of these tracks."""
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    return tmp_path / "x.h5"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the tracks that are decoded from here on."""
    ids: list[str] = []

    def record(path: str, *arguments: Any) -> np.ndarray:
        ids.append(Path(path).stem)
        return load_audio(path, *arguments)

    monkeypatch.setattr(module, "load_track", record)
    return ids


# ---- what is written


def test_samples_are_the_tracks_spectrograms_in_the_order_of_the_table_with_their_md5(tmp_path, tracks):
    shuffled = tracks.sample(frac=1, random_state=3)
    preprocess(shuffled, tmp_path / "x.h5", SPEC, jobs=1)
    store = open_store(tmp_path / "x.h5")
    path = shuffled.set_index("track_id")["path"]
    md5 = {track_id: hashlib.md5(Path(file).read_bytes()).hexdigest() for track_id, file in path.items()}
    assert store.source_md5 == md5
    assert store.tracks["track_id"].tolist() == list(path.index)
    assert store.track_id.tolist() == list(path.index.drop(BROKEN)) != GOOD
    expected = [mel_image(load_audio(file, 22050), SPEC) for file in path.drop(BROKEN)]
    np.testing.assert_array_equal(store.read(), expected)


def test_a_silent_track_is_left_out_and_named(tmp_path, tracks):
    write_sound(tmp_path / "own" / "loud.wav", 0)
    soundfile.write(tmp_path / "own" / "silent.wav", np.zeros(44100), 22050)
    report = preprocess(load_tracks(tmp_path), tmp_path / "x.h5", SPEC, jobs=1)
    assert report.refused == {"own/silent": "silent: every sample is below half a 16-bit step"}
    assert open_store(tmp_path / "x.h5").track_id.tolist() == ["own/loud"]


def test_samples_of_a_spec_with_segments_are_the_spectrograms_of_the_segments(tmp_path, tracks):
    report = preprocess(tracks, tmp_path / "x.h5", PIECES, jobs=1)
    store = open_store(tmp_path / "x.h5")
    sound = load_audio(tracks.set_index("track_id").at["rock.00007", "path"], 22050)
    expected = [mel_image(piece, PIECES) for piece in segments(sound, PIECES)]
    rows = store.rows(["rock.00007"])
    assert len(expected) == 4
    assert store.segment[rows].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(store.read(rows), expected)
    assert (report.written, report.samples) == (5, len(store))


def test_two_jobs_make_the_same_file_also_from_paths_relative_to_another_folder(
    tmp_path, tracks, made, monkeypatch
):
    preprocess(tracks, tmp_path / "2.h5", SPEC, jobs=2)
    assert (tmp_path / "2.h5").read_bytes() == made.read_bytes()
    folder = Path(tracks["path"].iat[0]).parent
    monkeypatch.chdir(folder)  # not the folder that the workers were started in
    relative = tracks.assign(path=[os.path.relpath(path, folder) for path in tracks["path"]])
    preprocess(relative, tmp_path / "relative.h5", SPEC, jobs=2)
    assert open_store(tmp_path / "relative.h5").source_md5 == open_store(made).source_md5


# ---- files that are not sound


def test_broken_and_missing_files_are_left_out_with_one_line_and_their_genre_stays(tmp_path, tracks, caplog):
    table = tracks.replace(tracks["path"].iat[-1], str(tmp_path / "missing.wav"))
    report = preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    store = open_store(tmp_path / "x.h5")
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "left out jazz.00054",
        "left out rock.00016",
    ]
    assert store.genres == ["blues", "jazz", "metal", "rock"]
    assert store.track_id.tolist() == GOOD[:-1]
    assert store.refused == report.refused
    assert store.refused == {
        "jazz.00054": "not readable as sound (Format not recognised)",
        "rock.00016": "no such file",
    }
    assert (report.written, report.samples) == (4, 4)


def test_nothing_but_broken_files_is_an_error_that_leaves_nothing(tmp_path, tracks):
    with pytest.raises(GtzanKerasError, match=r"none of the 1 tracks could be read \(jazz.00054: not"):
        preprocess(tracks[tracks["track_id"] == BROKEN], tmp_path / "x.h5", SPEC, jobs=1)
    assert list(tmp_path.iterdir()) == []


# ---- more tracks, other tracks


def three_tracks(folder: Path) -> pd.DataFrame:
    for seed, name in enumerate(["one", "two", "three"]):
        write_sound(folder / "pop" / f"{name}.wav", seed)
    return load_tracks(folder)


@pytest.mark.parametrize("spec", [SPEC, PIECES], ids=lambda spec: spec.name)
def test_tracks_added_later_cost_only_those(tmp_path, tracks, loaded, spec):
    preprocess(tracks, tmp_path / "fresh.h5", spec, jobs=1)
    preprocess(tracks.iloc[[0, 3]], tmp_path / "x.h5", spec, jobs=1)
    loaded.clear()
    report = preprocess(tracks, tmp_path / "x.h5", spec, jobs=1)
    assert loaded == tracks["track_id"].drop([0, 3]).tolist()
    assert report.resumed == 2
    assert (tmp_path / "x.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


@pytest.mark.parametrize("first", [None, b"no music"], ids=["another sound", "no sound"])
def test_a_file_that_changed_is_done_again(tmp_path, loaded, first):
    table = three_tracks(tmp_path)
    file = tmp_path / "pop" / "two.wav"
    if first:
        file.write_bytes(first)
    assert len(preprocess(table, tmp_path / "x.h5", SPEC, jobs=1).refused) == bool(first)
    write_sound(file, 7)
    loaded.clear()
    report = preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    assert (report.resumed, report.refused, loaded) == (2, {}, ["two"])
    preprocess(table, tmp_path / "fresh.h5", SPEC, jobs=1)
    assert (tmp_path / "x.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_a_complete_store_costs_nothing_and_stays_as_it_is(made, tracks, loaded):
    before = made.stat().st_mtime_ns
    again = preprocess(tracks, made, SPEC, jobs=1)
    assert loaded == []  # the broken file has not changed either
    assert (again.written, again.samples, list(again.refused), again.resumed) == (5, 5, [BROKEN], 6)
    assert made.stat().st_mtime_ns == before
    assert list(made.parent.iterdir()) == [made]


def test_other_facts_about_the_tracks_are_written_without_decoding(made, tracks, loaded):
    preprocess(tracks.assign(artist="somebody"), made, SPEC, jobs=1)
    assert loaded == []
    assert set(open_store(made).tracks["artist"]) == {"somebody"}


def test_spectrograms_of_files_that_are_gone_are_kept(tmp_path):
    table = three_tracks(tmp_path)
    preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    before = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "pop" / "two.wav").unlink()
    assert preprocess(table, tmp_path / "x.h5", SPEC, jobs=1).refused == {}
    assert (tmp_path / "x.h5").read_bytes() == before


# ---- what is refused


def test_another_store_is_refused_and_left_alone(made, tracks):
    before = made.read_bytes()
    with pytest.raises(GtzanKerasError, match=r"x\.h5 holds 3 track\(s\).*metal.00058, rock.00007"):
        preprocess(tracks[tracks["genre"].isin(["blues", "jazz"])], made, SPEC, jobs=1)
    with pytest.raises(GtzanKerasError, match=r"'small', not 'other' \(.*hop_length: 256 against 512\)"):
        preprocess(tracks, made, dataclasses.replace(SPEC, name="other", hop_length=256), jobs=1)
    assert made.read_bytes() == before
    assert list(made.parent.iterdir()) == [made]


def test_a_foreign_file_is_refused_and_left_alone(tmp_path, tracks):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["mel"] = np.arange(3)
    before = path.read_bytes()
    with pytest.raises(GtzanKerasError, match=r"x\.h5: an HDF5 file, but not"):
        preprocess(tracks, path, SPEC, jobs=1)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"spec": "arrigo-v9"}, "spec='arrigo-v9': not known; expected one of arrigo-v1"),
        ({}, {"spec": SpectrogramSpec(name="png", from_audio=False)}, "'png' describes imported images"),
        ({}, {"jobs": 0}, "jobs=0: expected"),
        ({"track_id": "rock.00007"}, {}, "track_id 'rock.00007' is duplicated in the table of tracks"),
        (None, {}, "no column genre, path, artist"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, tracks, change, arguments, message):
    table = tracks[["track_id"]] if change is None else tracks.assign(**change)
    with pytest.raises(GtzanKerasError, match=message):
        preprocess(table, tmp_path / "x.h5", **{"spec": SPEC, "jobs": 1, **arguments})
    assert list(tmp_path.iterdir()) == []
