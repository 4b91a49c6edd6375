"""Tracks to a table of hand-crafted features."""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import pandas as pd

from gtzan_keras.audio.decode import MINIMUM_SECONDS, AudioError
from gtzan_keras.audio.features import FEATURE_COLUMNS, FEATURE_RATE, TABLE_COLUMNS, extract
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import check_columns, check_jobs, load_track, row_name

__all__ = ["feature_table", "load_feature_table"]

logger = logging.getLogger(__name__)


def feature_table(
    tracks: pd.DataFrame,
    segment: float | None = None,
    jobs: int = -1,
    path: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The features of many tracks, as one table in the layout of Kaggle's.

    Worker processes take a track each. Files that can not be read, or hold no whole segment, are left
    out, one log line each, and never end the run. With `path`, what is done lies in ``<path>.partial``
    until the table is complete: killed at any moment and run again, it goes on from there.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    segment : float >= 1 [seconds], optional
        Cut each track into pieces of this length, one row each; what remains at the end is dropped.
        Kaggle's other table has 3. The whole track when left out.
    jobs : int
        Worker processes as joblib counts them; -1 uses every core.
    path : str or os.PathLike, optional
        CSV file to write. A file of that name is replaced once the new table is complete.
    progress : bool
        Show a bar when the output is a terminal.

    Returns
    -------
    pd.DataFrame [shape=(rows, 60)]
        `TABLE_COLUMNS`, in the order of `tracks`. ``filename`` is the track id with the file's suffix,
        for segments with their number, from 0: ``blues.00000.3.wav`` for GTZAN's tracks, as Kaggle has
        it, ``jazz/one#3.wav`` for others. ``attrs["refused"]`` maps the ids of tracks left out to the reason.

    Raises
    ------
    GtzanKerasError
        `tracks` lacks a column, `segment` is too short, ``<path>.partial`` belongs to something else,
        or no track could be read.

    See Also
    --------
    load_feature_table : read such a table, or Kaggle's own.

    Examples
    --------
    >>> import numpy as np, soundfile, tempfile, pathlib
    >>> from gtzan_keras import load_tracks
    >>> from gtzan_keras.store.feature_table import feature_table
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "jazz").mkdir()
    >>> soundfile.write(root / "jazz" / "one.wav", np.random.uniform(-1, 1, 22050 * 5), 22050)
    >>> _ = (root / "jazz" / "two.wav").write_text("not music")
    >>> table = feature_table(load_tracks(root), segment=2, jobs=1)
    >>> table["filename"].tolist(), list(table.attrs["refused"])
    (['jazz/one#0.wav', 'jazz/one#1.wav'], ['jazz/two'])
    """
    check_columns(tracks, ["track_id", "genre", "path"])
    if segment is not None and not MINIMUM_SECONDS <= segment < math.inf:
        raise GtzanKerasError(
            f"segment is {segment!r}; expected at least {MINIMUM_SECONDS:g} second, or None for whole tracks"
        )
    check_jobs(jobs)
    target = None if path is None else Path(path)
    if target is not None and target.is_dir():
        raise GtzanKerasError(f"{target} is a folder; name the CSV file to write")

    refused: dict[str, str] = {}
    with _Journal(target, segment) as journal:
        to_do = [
            (track_id, file)
            for track_id, file in zip(tracks["track_id"], tracks["path"], strict=True)
            if file not in journal.done
        ]
        if len(to_do) < len(tracks):
            logger.info("%s: %d of %d tracks are there already", path, len(tracks) - len(to_do), len(tracks))
        for (track_id, file), result in zip(to_do, _work(to_do, segment, jobs, progress), strict=True):
            if isinstance(result, str):
                refused[track_id] = result
                logger.warning("left out %s: %s", track_id, result)
            else:
                journal.append(file, result)

        table = _assemble(tracks, segment, journal.done)
        if table.empty:
            reasons = "; ".join(f"{track}: {reason}" for track, reason in list(refused.items())[:3])
            raise GtzanKerasError(f"not one of {len(tracks)} tracks could be read ({reasons})")
        if target is not None:
            _write(table, target)
            journal.remove()
    table.attrs["refused"] = refused
    return table


def load_feature_table(path: str | os.PathLike[str], genres: Iterable[str] | None = None) -> pd.DataFrame:
    """Read a table of features: Kaggle's ``features_30_sec.csv``, its 3 s sibling, or our own.

    Parameters
    ----------
    path : str or os.PathLike
        The CSV file. Columns other than `TABLE_COLUMNS` are ignored.
    genres : iterable of str, optional
        The labels to accept; any when omitted.

    Returns
    -------
    pd.DataFrame [shape=(rows, 60)]
        `TABLE_COLUMNS`, in the order of the file.

    Raises
    ------
    GtzanKerasError
        There is no such file or it is no CSV; it lacks a column or has no rows; a cell is empty or
        holds no finite number; a label is not known; a file name stands there twice. The message
        names the file, the column, and the row by its file name and line.

    Examples
    --------
    >>> import pandas as pd, tempfile, pathlib
    >>> from gtzan_keras.audio.features import TABLE_COLUMNS
    >>> from gtzan_keras.store.feature_table import load_feature_table
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "features.csv"
    >>> row = ["blues.00000.wav", 661794, *[0.5] * 57, "blues"]
    >>> pd.DataFrame([row], columns=TABLE_COLUMNS).to_csv(path, index=False)
    >>> load_feature_table(path).shape
    (1, 60)
    """
    path = Path(path)
    if not path.is_file():
        raise GtzanKerasError(f"{path}: no such file; expected a table of features (CSV)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            table = pd.read_csv(
                path,
                index_col=False,
                dtype={"filename": str, "label": str},
                keep_default_na=False,  # a cell that says "NA" is shown as it stands
                na_values=[""],
            )
    except (ValueError, pd.errors.ParserWarning) as error:
        raise GtzanKerasError(f"{path}: not a CSV table ({str(error).strip()})") from error
    missing = [column for column in TABLE_COLUMNS if column not in table]
    if missing:
        raise GtzanKerasError(
            f"{path}: column(s) {', '.join(missing)} missing; a table of features has the columns "
            f"{', '.join(TABLE_COLUMNS)}"
        )
    if table.empty:
        raise GtzanKerasError(f"{path}: holds no rows")
    table = table[list(TABLE_COLUMNS)]

    def check(column: str, good: pd.Series, expected: str) -> None:
        if not good.all():
            row = int(np.argmin(good))
            raise GtzanKerasError(
                f"{path}: column {column!r}, row {table['filename'].iloc[row]!r} (line {row + 2}): "
                f"{table[column].tolist()[row]!r}; expected {expected}"
            )

    check("filename", table["filename"].notna(), "a file name")
    check("filename", ~table["filename"].duplicated(), "each file name once")
    check("label", table["label"].notna(), "a genre")
    if genres is not None:
        allowed = list(genres)
        check("label", table["label"].isin(allowed), f"one of {', '.join(allowed)}")
    for column in ("length", *FEATURE_COLUMNS):
        numbers = pd.to_numeric(table[column], errors="coerce")
        check(column, numbers.abs() < math.inf, "a finite number")
    return table.astype(dict.fromkeys(FEATURE_COLUMNS, "float64"))


def _extract_file(file: str, segment: float | None) -> list[list[float]] | str:
    """What a worker does for one track: its rows, or why there are none."""
    try:
        audio = load_track(file, FEATURE_RATE)
        length = len(audio) if segment is None else round(segment * FEATURE_RATE)
        pieces = [audio[start : start + length] for start in range(0, len(audio) - length + 1, length)]
        if not pieces:
            seconds = len(audio) / FEATURE_RATE
            raise AudioError(file, f"too short: {seconds:.2f} s of sound, a segment has {segment:g} s")
    except AudioError as error:
        return error.reason
    return [list(extract(piece, FEATURE_RATE).values()) for piece in pieces]


def _work(
    to_do: list[tuple[str, str]], segment: float | None, jobs: int, progress: bool
) -> Iterator[list[list[float]] | str]:
    import joblib
    from tqdm import tqdm

    results = joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1, pre_dispatch="2*n_jobs")(
        joblib.delayed(_extract_file)(file, segment) for _, file in to_do
    )
    bar_off = None if progress else True
    yield from tqdm(results, total=len(to_do), desc="features", unit="track", disable=bar_off)


def _assemble(
    tracks: pd.DataFrame, segment: float | None, done: dict[str, list[list[float]]]
) -> pd.DataFrame:
    """The table, in the order of the tracks."""
    rows = []
    for track_id, genre, file in zip(tracks["track_id"], tracks["genre"], tracks["path"], strict=True):
        for number, features in enumerate(done.get(file, [])):
            name = row_name(track_id, Path(file).suffix, None if segment is None else number)
            rows.append([name, *features, genre])
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def _write(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV file that is there whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    try:
        table.to_csv(unfinished, index=False)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


class _Journal:
    """Rows of finished tracks, by the track's file; in ``<path>.partial`` too, unless path is None.

    A line of JSON a track, after one that says what the rows are of. A file that only grows loses
    nothing when the run is killed: what follows the last whole line is cut off.
    """

    def __init__(self, path: Path | None, segment: float | None) -> None:
        self.path = None if path is None else path.with_name(path.name + ".partial")
        self.done: dict[str, list[list[float]]] = {}
        pieces = "whole tracks" if segment is None else f"segments of {float(segment)} s"
        self._head = json.dumps({"features of": pieces}).encode() + b"\n"
        self._file: BinaryIO | None = None

    def __enter__(self) -> _Journal:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")
            try:
                self._read(self._file)
            except BaseException:
                self._file.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self, file: BinaryIO) -> None:
        file.seek(0)
        head = file.readline()
        if not self._head.startswith(head):
            raise GtzanKerasError(
                f"{self.path} is left from another run: it begins with {head[:80]!r}, not with "
                f"{self._head!r}; choose another file name, or delete it"
            )
        if head != self._head:  # a new file, or one killed at its first breath
            file.truncate(0)
            file.write(self._head)
            return
        end = len(head)
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self.done[record["path"]] = record["rows"]
            end += len(line)
        file.truncate(end)

    def append(self, file: str, rows: list[list[float]]) -> None:
        self.done[file] = rows
        if self._file is not None:
            self._file.write(json.dumps({"path": file, "rows": rows}).encode() + b"\n")
            self._file.flush()

    def remove(self) -> None:
        if self._file is not None and self.path is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)
