"""Tracks to a store. What happens when it is interrupted is in test_parts.py."""

from __future__ import annotations

import hashlib
import json
import logging
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
OTHER = SpectrogramSpec(
    name="other",
    n_fft=512,
    window_length=512,
    hop_length=256,
    n_mels=16,
    clip_seconds=1.0,
    height=16,
    width=24,
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


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sounds")
    for seed, track_id in enumerate(GOOD):
        write_sound(root / track_id.split(".")[0] / f"{track_id}.wav", seed)
    (root / "jazz").mkdir()
    (root / "jazz" / f"{BROKEN}.wav").write_bytes(b"this is no music " * 999)
    return root


@pytest.fixture(scope="session")
def tracks(folder: Path) -> pd.DataFrame:
    return load_tracks(folder)


def contents(path: Path) -> dict[str, Any]:
    """Everything in an HDF5 file: datasets and attributes."""
    with h5py.File(path) as file:
        found: dict[str, Any] = {name: np.asarray(file[name][()]).tolist() for name in file}
        found["dtypes"] = {name: str(file[name].dtype) for name in file}
        found["attributes"] = dict(file.attrs)
    return found


@pytest.fixture(scope="session")
def reference(tracks: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an uninterrupted run makes of the tracks."""
    path = tmp_path_factory.mktemp("reference") / "x.h5"
    preprocess(tracks, path, SPEC, jobs=1)
    return contents(path)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the tracks that were decoded."""
    ids: list[str] = []

    def record(path: str, *arguments: Any) -> np.ndarray:
        ids.append(Path(path).stem)
        return load_audio(path, *arguments)

    monkeypatch.setattr(module, "load_track", record)
    return ids


# ---- what is written


def test_samples_are_the_spectrograms_of_the_tracks(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    store = open_store(tmp_path / "x.h5")
    path = tracks.set_index("track_id")["path"]
    expected = [mel_image(load_audio(path[track_id], 22050), SPEC) for track_id in GOOD]
    np.testing.assert_array_equal(store.read(), expected)


def test_samples_of_a_spec_with_segments_are_the_spectrograms_of_the_segments(
    tmp_path: Path, tracks: pd.DataFrame
) -> None:
    report = preprocess(tracks, tmp_path / "x.h5", PIECES, jobs=1)
    store = open_store(tmp_path / "x.h5")
    sound = load_audio(tracks.set_index("track_id").at["rock.00007", "path"], 22050)
    expected = [mel_image(piece, PIECES) for piece in segments(sound, PIECES)]
    rows = store.rows(["rock.00007"])
    assert len(expected) == 4
    assert store.segment[rows].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(store.read(rows), expected)
    assert (report.written, report.samples) == (5, len(store))


def test_the_file_is_in_the_order_of_the_table(tmp_path: Path, tracks: pd.DataFrame) -> None:
    shuffled = tracks.sample(frac=1, random_state=3)
    preprocess(shuffled, tmp_path / "x.h5", SPEC, jobs=1)
    store = open_store(tmp_path / "x.h5")
    order = [track_id for track_id in shuffled["track_id"] if track_id != BROKEN]
    assert order != GOOD
    assert store.track_id.tolist() == order
    assert store.tracks["track_id"].tolist() == shuffled["track_id"].tolist()


def test_the_md5_of_every_source_is_recorded(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    expected = {
        row.track_id: hashlib.md5(Path(row.path).read_bytes()).hexdigest() for row in tracks.itertuples()
    }
    assert open_store(tmp_path / "x.h5").source_md5 == expected


def test_two_jobs_make_the_same_contents(
    tmp_path: Path, tracks: pd.DataFrame, reference: dict[str, Any]
) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=2)
    assert contents(tmp_path / "x.h5") == reference


# ---- files that are not sound


def test_a_broken_file_is_left_out_with_one_line_and_its_genre_stays(
    tmp_path: Path, tracks: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    report = preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    store = open_store(tmp_path / "x.h5")
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert BROKEN in lines[0]
    assert store.genres == ["blues", "jazz", "metal", "rock"]
    assert BROKEN not in store.track_id
    assert list(store.refused) == list(report.refused) == [BROKEN]
    assert "not readable as sound" in store.refused[BROKEN]
    assert (report.written, report.samples) == (5, 5)


@pytest.mark.parametrize("content", [b"", b"cut short", None], ids=["empty", "cut short", "missing"])
def test_other_broken_files_are_left_out_too(
    tmp_path: Path, tracks: pd.DataFrame, content: bytes | None
) -> None:
    file = tmp_path / "blues" / "blues.00099.wav"
    if content == b"cut short":
        content = Path(tracks["path"][0]).read_bytes()[:100]
    if content is not None:
        file.parent.mkdir()
        file.write_bytes(content)
    table = tracks.assign(path=[str(file), *tracks["path"][1:]])
    report = preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    assert set(report.refused) == {"blues.00000", BROKEN}


def test_nothing_but_broken_files_is_an_error_that_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    table = load_tracks(folder).query("genre == 'jazz'")
    with pytest.raises(GtzanKerasError, match=r"x\.h5: not one of 1 tracks could be read \(jazz.00054: not"):
        preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    assert list(tmp_path.iterdir()) == []


def three_tracks(folder: Path) -> pd.DataFrame:
    for seed, name in enumerate(["one", "two", "three"]):
        write_sound(folder / "pop" / f"{name}.wav", seed)
    return load_tracks(folder)


def test_a_broken_file_that_was_fixed_is_added(tmp_path: Path, loaded: list[str]) -> None:
    table = three_tracks(tmp_path)
    (tmp_path / "pop" / "two.wav").write_bytes(b"no music")
    assert list(preprocess(table, tmp_path / "x.h5", SPEC, jobs=1).refused) == ["pop/two"]
    write_sound(tmp_path / "pop" / "two.wav", 1)
    loaded.clear()
    assert preprocess(table, tmp_path / "x.h5", SPEC, jobs=1).refused == {}
    assert loaded == ["two"]
    preprocess(table, tmp_path / "fresh.h5", SPEC, jobs=1)
    assert contents(tmp_path / "x.h5") == contents(tmp_path / "fresh.h5")


# ---- more tracks, other tracks


def test_tracks_added_later_cost_only_those(
    tmp_path: Path, tracks: pd.DataFrame, reference: dict[str, Any], loaded: list[str]
) -> None:
    preprocess(tracks.iloc[[0, 3]], tmp_path / "x.h5", SPEC, jobs=1)
    loaded.clear()
    report = preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    assert loaded == [
        track_id for track_id in tracks["track_id"] if track_id not in set(tracks["track_id"][[0, 3]])
    ]
    assert report.resumed == 2
    assert contents(tmp_path / "x.h5") == reference


def test_tracks_added_to_a_store_with_segments_keep_theirs(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks.iloc[[1, 4]], tmp_path / "x.h5", PIECES, jobs=1)
    preprocess(tracks, tmp_path / "x.h5", PIECES, jobs=1)
    preprocess(tracks, tmp_path / "fresh.h5", PIECES, jobs=1)
    assert contents(tmp_path / "x.h5") == contents(tmp_path / "fresh.h5")


def test_a_file_that_changed_is_done_again(tmp_path: Path, loaded: list[str]) -> None:
    table = three_tracks(tmp_path)
    preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    write_sound(tmp_path / "pop" / "two.wav", 7)
    loaded.clear()
    assert preprocess(table, tmp_path / "x.h5", SPEC, jobs=1).resumed == 2
    assert loaded == ["two"]
    preprocess(table, tmp_path / "fresh.h5", SPEC, jobs=1)
    assert contents(tmp_path / "x.h5") == contents(tmp_path / "fresh.h5")


def test_a_complete_store_costs_nothing_and_stays_as_it_is(
    tmp_path: Path, tracks: pd.DataFrame, loaded: list[str]
) -> None:
    first = preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    before = (tmp_path / "x.h5").stat()
    loaded.clear()
    again = preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    assert loaded == []  # the broken file has not changed either
    assert (again.written, again.samples, again.refused) == (first.written, first.samples, first.refused)
    assert again.resumed == len(tracks)
    assert (tmp_path / "x.h5").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_a_store_of_an_earlier_version_has_its_refused_tracks_tried_again(
    tmp_path: Path, tracks: pd.DataFrame, loaded: list[str]
) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        table = json.loads(file["tracks"].asstr()[()])
        del table["md5"][BROKEN], file["tracks"]  # earlier versions recorded no MD5 for them
        file["tracks"] = json.dumps(table)
    loaded.clear()
    assert list(preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1).refused) == [BROKEN]
    assert loaded == [BROKEN]


def test_other_facts_about_the_tracks_are_written_without_decoding(
    tmp_path: Path, tracks: pd.DataFrame, loaded: list[str]
) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    loaded.clear()
    preprocess(tracks.assign(artist="somebody"), tmp_path / "x.h5", SPEC, jobs=1)
    assert loaded == []
    assert set(open_store(tmp_path / "x.h5").tracks["artist"]) == {"somebody"}


def test_spectrograms_of_files_that_are_gone_are_kept(tmp_path: Path) -> None:
    table = three_tracks(tmp_path)
    preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    before = contents(tmp_path / "x.h5")
    (tmp_path / "pop" / "two.wav").unlink()
    assert preprocess(table, tmp_path / "x.h5", SPEC, jobs=1).refused == {}
    assert contents(tmp_path / "x.h5") == before


def test_a_store_with_other_tracks_is_refused_and_left_alone(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    before = (tmp_path / "x.h5").read_bytes()
    with pytest.raises(
        GtzanKerasError, match=r"x\.h5 holds 3 track\(s\).*metal.00058, rock.00007, rock.00016"
    ):
        preprocess(tracks.query("genre in ('blues', 'jazz')"), tmp_path / "x.h5", SPEC, jobs=1)
    assert (tmp_path / "x.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


# ---- what is refused


def test_a_store_of_another_spec_is_refused_with_both_named(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    before = (tmp_path / "x.h5").read_bytes()
    with pytest.raises(GtzanKerasError) as caught:
        preprocess(tracks, tmp_path / "x.h5", OTHER, jobs=1)
    message = str(caught.value)
    assert "x.h5 was made with spec 'small', not 'other'" in message
    assert "hop_length: 256 against 512" in message
    assert (tmp_path / "x.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


@pytest.mark.parametrize("kind", ["text", "hdf5", "folder"])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, tracks: pd.DataFrame, kind: str) -> None:
    path = tmp_path / "x.h5"
    if kind == "text":
        path.write_text("my diary")
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["mel"] = np.arange(3)
    else:
        path.mkdir()
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(GtzanKerasError, match=r"x\.h5: (not an HDF5 file|an HDF5 file, but not|a folder)"):
        preprocess(tracks, path, SPEC, jobs=1)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"spec": "arrigo-v9"}, "spec='arrigo-v9': not known; expected one of arrigo-v1"),
        ({}, {"spec": SpectrogramSpec(name="png", from_audio=False)}, "'png' describes imported images"),
        ({}, {"jobs": 0}, "jobs=0: expected"),
        (
            {"track_id": "rock.00007"},
            {},
            "track_id 'rock.00007' is duplicated in the table of tracks",
        ),
        (None, {}, "no column genre, path, artist"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, tracks: pd.DataFrame, change: dict | None, arguments: dict[str, Any], message: str
) -> None:
    table = tracks[["track_id"]] if change is None else tracks.assign(**change)
    with pytest.raises(GtzanKerasError, match=message):
        preprocess(table, tmp_path / "x.h5", **{"spec": SPEC, "jobs": 1, **arguments})
    assert list(tmp_path.iterdir()) == []
