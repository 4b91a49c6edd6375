"""Interruptible jobs over tracks: finished parts are kept next to the output until they are joined."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd

import gtzan_keras
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.parallel import check_jobs, cluster, count_workers, in_parallel
from gtzan_keras.store.files import file_to_write, make_folder, replace
from gtzan_keras.tracks.catalogue import check_columns, file_md5, files_of

__all__ = ["Parts", "Task", "by_track", "check_here", "hashed", "none_read", "tasks_of"]

_TRACKS = 128
_TRACKS_A_WORKER = 32  # all wait for the last track of a part, which costs under 2 %


class Task(NamedTuple):
    """A track to work on."""

    track_id: str
    file: str
    md5: str = ""
    """MD5 of the file; "" if it cannot be read, or is not known yet."""


def tasks_of(tracks: pd.DataFrame, columns: Sequence[str], jobs: int) -> list[Task]:
    """Check a table of tracks, which must have `columns`, and `jobs`; return one task per row."""
    check_columns(tracks, columns)
    check_jobs(jobs)
    ids = tracks["track_id"]
    if twice := ids[ids.duplicated()].tolist():
        raise GtzanKerasError(
            f"track_id {twice[0]!r} is duplicated in the table of tracks; expected one row per track"
        )
    return [Task(*pair) for pair in zip(ids, tracks["path"], strict=True)]


def none_read(count: int, refused: Mapping[str, str]) -> GtzanKerasError:
    """Return the error that says why no track could be read."""
    reasons = "; ".join(f"{track_id}: {reason}" for track_id, reason in list(refused.items())[:3])
    return GtzanKerasError(f"none of the {count} tracks could be read ({reasons})")


def hashed(tasks: Sequence[Task], jobs: int) -> list[Task]:
    """Return the tasks with the MD5 of their files.

    A cluster's workers read the files: a large cluster would wait for one machine that reads them all.
    """
    if cluster() is None:
        with ThreadPoolExecutor(min(32, count_workers(jobs))) as pool:
            return list(pool.map(_with_md5, tasks))
    there = [task._replace(md5="expected" if files_of(task.file)[0].exists() else "") for task in tasks]
    groups = [there[first : first + _TRACKS_A_WORKER] for first in range(0, len(there), _TRACKS_A_WORKER)]
    found = in_parallel(_with_md5s, [(group,) for group in groups], [group[0].file for group in groups])
    return [task for group in found for task in group]


def _with_md5(task: Task) -> Task:
    try:
        return task._replace(md5=file_md5(task.file))
    except OSError:
        return task._replace(md5="")


def _with_md5s(tasks: Sequence[Task]) -> list[Task]:
    for task in tasks:
        check_here(task)
    return [_with_md5(task) for task in tasks]


def by_track(function: Callable[..., Any], tasks: Sequence[Task], jobs: int) -> Iterator[Any]:
    """Yield the results of ``function(track_id, file, md5)`` in the order of the tasks; see `in_parallel`."""
    files = [task.file for task in tasks]
    return in_parallel(functools.partial(_on_file, function), tasks, files, jobs)


def _on_file(function: Callable[..., Any], *task: Any) -> Any:
    check_here(Task(*task))
    return function(*task)


def check_here(task: Task) -> None:
    """Refuse a file that the machine that began the job could read, but this worker cannot find."""
    if task.md5 and not files_of(task.file)[0].exists():
        raise GtzanKerasError(
            f"{task.file}: not found on {socket.gethostname()} in {os.getcwd()}, where a worker of the "
            "cluster runs; mount the files there under the same path, or give a relative path, and start "
            "each worker in the folder that it is relative to"
        )


class Parts:
    """The finished parts of one output, in the folder ``<output>.parts``, for this process alone.

    A part holds some hundred tracks and is a complete file; its name is a checksum of the settings, the
    tracks and the contents of their files. An interrupted job reuses its finished parts; a part with a
    changed file is processed again. When the ``with`` block ends without an error, `whole` becomes the
    output and the folder is deleted.

    Parameters
    ----------
    path : Path
        The output.

    Raises
    ------
    GtzanKerasError
        Another process is making this output, or it cannot be made there.
    """

    def __init__(self, path: Path) -> None:
        self.path = file_to_write(path)
        self.folder = path.with_name(path.name + ".parts")
        self.whole = self.folder / "whole"
        """Where to write the output; nothing is replaced if nothing is there."""
        self.reused = 0
        """Tracks of parts that an earlier run had finished."""

    def __enter__(self) -> Self:
        from filelock import FileLock, Timeout

        make_folder(self.folder)
        self._lock = FileLock(self.folder / "lock")
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise GtzanKerasError(
                f"{self.path}: another process is making this file; wait for it, or choose another name"
            ) from None
        self.whole.unlink(missing_ok=True)  # left by a killed run
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                if self.whole.exists():
                    replace(self.whole, self.path)
                self.clear()
        finally:
            lock = self.folder / "lock"
            left = False
            try:
                lock.unlink()
            except OSError:  # Windows refuses to delete an open file
                left = True
            self._lock.release()
            with contextlib.suppress(OSError):  # finished parts are kept, or another process was faster
                if left:
                    lock.unlink()
                self.folder.rmdir()

    def clear(self) -> None:
        """Delete the parts."""
        for file in self.folder.iterdir():
            if file.name != "lock":
                file.unlink()

    def make(
        self, key: Any, tasks: Sequence[Task], jobs: int, write: Callable[[Path, list[Task]], None]
    ) -> Iterator[tuple[Path, list[Task]]]:
        """Yield the parts in order; ``write(part, its tasks)`` makes those that are missing.

        Parameters
        ----------
        key
            What the parts depend on besides the tracks; plain values.
        tasks : sequence of Task
            The tracks.
        jobs : int
            As joblib counts workers. A part is large enough to keep all of them busy.
        write : callable
            Write a complete file, under another name until it is complete.
        """
        size = max(_TRACKS, _TRACKS_A_WORKER * count_workers(jobs))
        for first in range(0, len(tasks), size):
            some = hashed(tasks[first : first + size], jobs)
            contents = [gtzan_keras.__version__, key, [(task.track_id, task.md5) for task in some]]
            name = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:24]
            part = self.folder / f"{name}.part"
            if part.exists():
                self.reused += len(some)
            else:
                write(part, some)
            yield part, some
