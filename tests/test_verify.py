from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import describe, duplicate_groups, load_tracks
from gtzan_keras.tracks.verify import verify


def tone(path: Path, seconds: float = 2.0, pitch: float = 440.0, level: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * 22050)) / 22050
    soundfile.write(path, level * np.sin(2 * np.pi * pitch * times), 22050)
    return path


def statuses(tracks: pd.DataFrame, jobs: int = 1) -> dict[str, str]:
    return verify(tracks, jobs=jobs).set_index("track_id")["status"].to_dict()


def test_every_kind_of_fault_is_named(tmp_path):
    tone(tmp_path / "own" / "fine.wav")
    tone(tmp_path / "own" / "short.wav", seconds=0.25)
    tone(tmp_path / "own" / "gone.wav", pitch=100)
    tone(tmp_path / "own" / "silent.wav", level=0)
    tone(tmp_path / "own" / "faint.wav", level=1e-3)
    cut = tone(tmp_path / "own" / "cut.wav")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 6 // 10])
    (tmp_path / "own" / "empty.wav").touch()
    soundfile.write(tmp_path / "own" / "nan.wav", np.full(44100, np.nan), 22050, subtype="FLOAT")
    tone(tmp_path / "blues" / "blues.00000.wav")  # not what GTZAN has under that name
    (tmp_path / "jazz").mkdir()
    (tmp_path / "jazz" / "jazz.00054.wav").write_bytes(np.random.default_rng(0).bytes(200_000))
    tracks = load_tracks(tmp_path)
    (tmp_path / "own" / "gone.wav").unlink()

    assert statuses(tracks) == {
        "blues.00000": "checksum differs",
        "jazz.00054": "unreadable: not readable as sound (Format not recognised)",
        "own/cut": "damaged: ends at 1.20 s; its header declares 2.00 s",
        "own/empty": "unreadable: the file is empty (0 bytes)",
        "own/faint": "ok",
        "own/fine": "ok",
        "own/gone": "missing",
        "own/nan": "unreadable: holds NaN or infinite samples, or some over 2^40",
        "own/short": "too short: 0.25 s of sound, at least 1 s needed",
        "own/silent": "silent: every sample is below half a 16-bit step",
    }
    assert statuses(tracks, jobs=2) == statuses(tracks)


def test_wav_files_and_no_others_are_compared_with_the_checksum_of_own_facts(tmp_path):
    md5 = hashlib.md5(tone(tmp_path / "rock" / "a.wav").read_bytes()).hexdigest()
    tone(tmp_path / "rock" / "b.wav", pitch=500)
    tone(tmp_path / "rock" / "c.au")
    (tmp_path / "tracks.csv").write_text(
        "track_id,genre,artist,title,wav_md5,fault_filtered,exact_duplicate_of\n"
        + "".join(f"rock/{name},rock,,,{md5.upper()},,\n" for name in "abc")
    )
    assert list(statuses(load_tracks(tmp_path)).values()) == ["ok", "checksum differs", "ok"]


def test_facts_that_are_not_next_to_the_genre_folders_are_not_used(tmp_path):
    tone(tmp_path / "songs" / "rock" / "album" / "a.wav")
    tone(tmp_path / "songs" / "pop" / "b.wav")
    header = "track_id,genre,artist,title,wav_md5,fault_filtered,exact_duplicate_of\n"
    row = f"rock/album/a,rock,,,{'0' * 32},,\n"  # a wrong checksum
    (tmp_path / "tracks.csv").write_text(header + row)
    (tmp_path / "songs" / "rock" / "tracks.csv").write_text(header + row)
    assert list(statuses(load_tracks(tmp_path / "songs")).values()) == ["ok", "ok"]
    (tmp_path / "songs" / "tracks.csv").write_text(header + row)
    assert statuses(load_tracks(tmp_path / "songs"))["rock/album/a"] == "checksum differs"


def test_copies_that_the_facts_do_not_know_are_found(tmp_path):
    first = tone(tmp_path / "rock" / "a.wav")
    (tmp_path / "pop").mkdir()
    shutil.copy(first, tmp_path / "pop" / "b.wav")
    shutil.copy(first, tmp_path / "pop" / "c.wav")
    tone(tmp_path / "pop" / "d.wav", pitch=500)
    for name in ("e", "f"):  # two broken files are not copies
        (tmp_path / "rock" / f"{name}.wav").write_bytes(b"not music")
    tracks = load_tracks(tmp_path)
    tracks["duplicates"] = [()] * len(tracks)  # as if it had not looked
    before = tracks.copy()
    verified = verify(tracks, jobs=1)
    assert dict(zip(verified["track_id"], verified["duplicates"], strict=True)) == {
        "pop/b": ("pop/c", "rock/a"),
        "pop/c": ("pop/b", "rock/a"),
        "pop/d": (),
        "rock/a": ("pop/b", "pop/c"),
        "rock/e": (),
        "rock/f": (),
    }
    assert duplicate_groups(verified) == [("pop/b", "pop/c", "rock/a")]
    pd.testing.assert_frame_equal(tracks, before)


def test_a_track_known_by_id_only_is_missing_and_jobs_of_0_are_refused():
    assert statuses(describe({"pop.00000": "pop"})) == {"pop.00000": "missing"}
    with pytest.raises(GtzanKerasError, match="jobs=0"):
        verify(describe({"pop.00000": "pop"}), jobs=0)


def test_a_genre_of_the_mini_set_is_as_it_was_published(real_data):
    tracks = load_tracks(real_data / "gtzan_mini")
    assert set(statuses(tracks[tracks["genre"] == "blues"]).values()) == {"ok"}
