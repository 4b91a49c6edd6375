"""Interruptible jobs: finished parts are used again, changed files are not, one process at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import soundfile

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store import feature_table as feature_module
from gtzan_keras.store import parts as module
from gtzan_keras.store.feature_table import feature_table
from gtzan_keras.store.parts import Parts, Task
from gtzan_keras.tracks.catalogue import load_tracks


@pytest.fixture(autouse=True)
def two_tracks_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRACKS", 2)
    monkeypatch.setattr(module, "_TRACKS_A_WORKER", 2)


def tasks(folder: Path) -> list[Task]:
    for number in range(5):
        (folder / str(number)).write_text(f"content {number}")
    return [Task(f"track {number}", str(folder / str(number))) for number in range(5)]


class Writer:
    """Writes the ids of a part's tracks, until it breaks."""

    def __init__(self, breaks_at: int = 99) -> None:
        self.parts: list[list[str]] = []
        self.breaks_at = breaks_at

    def __call__(self, part: Path, some: list[Task]) -> None:
        if len(self.parts) == self.breaks_at:
            raise KeyboardInterrupt
        self.parts.append([task.track_id for task in some])
        part.write_text(json.dumps(self.parts[-1]))


def run(path: Path, some: list[Task], writer: Writer, key: Any = "key") -> list[str]:
    with Parts(path) as parts:
        found = [
            track_id
            for part, _ in parts.make(key, some, 1, writer)
            for track_id in json.loads(part.read_text())
        ]
        parts.whole.write_text("\n".join(found))
    return found


# ---- the mechanism


def test_parts_are_made_in_order_joined_and_deleted(tmp_path):
    writer, some = Writer(), tasks(tmp_path)
    assert run(tmp_path / "out", some, writer) == [task.track_id for task in some]
    assert [len(part) for part in writer.parts] == [2, 2, 1]
    assert (tmp_path / "out").read_text().splitlines() == [task.track_id for task in some]
    assert not (tmp_path / "out.parts").exists()


@pytest.mark.parametrize(
    ("change", "key", "made"),
    [
        ("nothing", "key", ["4"]),
        ("content", "key", ["01", "4"]),
        ("a file that appears", "key", ["01", "4"]),
        ("nothing", "other settings", ["01", "23", "4"]),
    ],
)
def test_after_an_interruption_the_finished_parts_are_used_that_still_hold(tmp_path, change, key, made):
    some, writer = tasks(tmp_path), Writer()
    if change == "a file that appears":
        Path(some[1].file).unlink()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", some, Writer(breaks_at=2))
    if change != "nothing":
        Path(some[1].file).write_text("changed")
    assert run(tmp_path / "out", some, writer, key) == [task.track_id for task in some]
    assert writer.parts == [[f"track {number}" for number in part] for part in made]


def test_a_whole_that_a_killed_run_left_does_not_become_the_output(tmp_path):
    (tmp_path / "out").write_text("complete")
    (tmp_path / "out.parts").mkdir()
    (tmp_path / "out.parts" / "whole").write_text("of other tracks")
    with Parts(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "complete"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_second_maker_of_one_file_is_refused_in_one_line(tmp_path):
    message = r"out: another process is making this file; wait.*\Z"
    with Parts(tmp_path / "out"), pytest.raises(GtzanKerasError, match=message), Parts(tmp_path / "out"):
        pass
    with Parts(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_maker_that_was_waiting_is_left_alone(tmp_path, monkeypatch):
    release = filelock.FileLock.release

    def and_another_takes_it(lock, force=False):
        release(lock, force)
        Path(lock.lock_file).touch()

    monkeypatch.setattr(filelock.FileLock, "release", and_another_takes_it)
    with Parts(tmp_path / "out"):
        pass
    assert list((tmp_path / "out.parts").iterdir()) == [tmp_path / "out.parts" / "lock"]


# ---- a job


def test_a_feature_table_goes_on_where_it_stopped(tmp_path, monkeypatch):
    (tmp_path / "pop").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "pop" / f"{number}.wav", np.random.default_rng(0).random(26460), 22050)
    done: list[str] = []
    original = feature_module._extract_file

    def extract(track_id: str, *rest: Any, **options: Any) -> Any:
        done.append(track_id)
        if len(done) == 3:
            raise KeyboardInterrupt
        return original(track_id, *rest, **options)

    monkeypatch.setattr(feature_module, "_extract_file", extract)
    with pytest.raises(KeyboardInterrupt):
        feature_table(load_tracks(tmp_path), path=tmp_path / "x.csv", jobs=1)
    table = feature_table(load_tracks(tmp_path), path=tmp_path / "x.csv", jobs=1)
    assert (len(table), done) == (3, ["pop/0", "pop/1", "pop/2", "pop/2"])
