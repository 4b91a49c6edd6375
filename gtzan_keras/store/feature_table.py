"""Tracks to a table of hand-crafted features."""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from gtzan_keras.audio.decode import MINIMUM_SECONDS, AudioError
from gtzan_keras.audio.features import FEATURE_COLUMNS, FEATURE_RATE, TABLE_COLUMNS, extract
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.files import replacing, write_json
from gtzan_keras.store.parts import Parts, Task, by_track, hashed, none_read, tasks_of
from gtzan_keras.tracks.catalogue import load_track, read_table, row_name

__all__ = ["feature_table", "kept_feature_table", "load_feature_table"]

logger = logging.getLogger(__name__)

_COLUMNS = ["track_id", "genre", "path"]

_Results = dict[str, Any]
"""By track: a list of the features of its segments, or the reason why there are none."""

_COMPRESSIONS: Any = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}  # as pandas reads them


def feature_table(
    tracks: pd.DataFrame,
    segment: float | None = None,
    jobs: int = -1,
    path: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the features of many tracks as one table, in the layout of Kaggle's.

    Worker processes take a track each. Files that cannot be read, or are shorter than a segment, are left
    out, one log line each, and never end the run. With `path`, finished parts are in the folder
    ``<path>.parts`` until the table is complete: a run that is interrupted at any moment and started
    again continues from there; tracks whose files have changed are done again.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    segment : float >= 1 [seconds], optional
        Cut each track into segments of this length, one row each; a shorter remainder is dropped. Kaggle's
        other table has 3. The whole track by default.
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
        `tracks` lacks a column or has a duplicated track, `segment` is too short, `jobs` is 0, another
        process is making the file, or no track could be read.

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
    tasks = tasks_of(tracks, _COLUMNS, jobs)
    if segment is not None and not MINIMUM_SECONDS <= segment < math.inf:
        raise GtzanKerasError(
            f"segment={segment!r}: expected at least {MINIMUM_SECONDS:g} second, or None for whole tracks"
        )
    rows_of = functools.partial(_extract_file, segment=segment)
    results: _Results = {}
    with (
        tempfile.TemporaryDirectory() as unnamed,
        Parts(Path(path or os.path.join(unnamed, "features.csv"))) as parts,
        tqdm(total=len(tasks), desc="features", unit="track", disable=None if progress else True) as bar,
    ):

        def write(part: Path, some: list[Task]) -> None:
            found = {}
            for task, result in zip(some, by_track(rows_of, some, jobs), strict=True):
                found[task.track_id] = result
                bar.update()
            write_json(part, found)

        for part, _ in parts.make(["features", segment], tasks, jobs, write):
            results |= json.loads(part.read_text("utf-8"))
        table = _assemble(tracks, segment, results)
        if len(table):
            with replacing(parts.whole) as temporary:
                table.to_csv(temporary, index=False, compression=_COMPRESSIONS.get(Path(path or "").suffix))
    if table.empty:
        raise none_read(len(tracks), table.attrs["refused"])
    return table


def kept_feature_table(
    tracks: pd.DataFrame, folder: Path, stem: str, segment: float | None = None, jobs: int = -1
) -> pd.DataFrame:
    """Return the table that `feature_table` made of these very files, or make it and keep it in a folder.

    Parameters
    ----------
    tracks : pd.DataFrame
        With ``track_id``, ``genre`` and ``path``.
    folder : Path
        Where tables are kept.
    stem : str
        Start of the file's name, which ends in a checksum of the tracks and the contents of their files.
    segment : float, optional
        Length of a segment [s]; whole tracks by default.
    jobs : int
        Worker processes; -1 uses one per core.

    Returns
    -------
    pd.DataFrame [shape=(rows, 60)]

    Raises
    ------
    GtzanKerasError
        As `feature_table`.
    """
    tasks = hashed(tasks_of(tracks, _COLUMNS, jobs), jobs)
    contents = json.dumps([(task.track_id, task.md5) for task in tasks])
    name = f"{stem}-features-{segment or 30:g}-sec-{zlib.crc32(contents.encode()):08x}.csv"
    if not (folder / name).is_file():
        feature_table(tracks, segment=segment, jobs=jobs, path=folder / name)
    return load_feature_table(folder / name)


def load_feature_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table of features: Kaggle's ``features_30_sec.csv``, its 3 s counterpart, or our own.

    Parameters
    ----------
    path : str or os.PathLike
        The CSV file. Columns other than `TABLE_COLUMNS` are ignored.

    Returns
    -------
    pd.DataFrame [shape=(rows, 60)]
        `TABLE_COLUMNS`, in the order of the file.

    Raises
    ------
    GtzanKerasError
        The file is missing or not CSV; it lacks a column or has no rows; a cell is empty or not a finite
        number; a file name is duplicated. The message names the file, the column,
        and the row by its file name and line.

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
    text = {"filename": str, "label": str}
    table = read_table(path, "features", TABLE_COLUMNS, dtype=text, na_values=[""])
    if table.empty:
        raise GtzanKerasError(f"{path}: holds no rows")
    numbers = table[["length", *FEATURE_COLUMNS]].apply(pd.to_numeric, errors="coerce")
    good = table.notna()
    good["filename"] &= ~table["filename"].duplicated()
    good[numbers.columns] = numbers.abs() < math.inf
    if not good.to_numpy().all():
        row, place = np.argwhere(~good.to_numpy())[0]
        column = TABLE_COLUMNS[place]
        expected = {"filename": "a file name, each once", "label": "a genre"}.get(column, "a finite number")
        raise GtzanKerasError(
            f"{path}: column {column!r}, row {table['filename'].iloc[row]!r} (line {row + 2}): "
            f"{table[column].tolist()[row]!r}; expected {expected}"
        )
    return table.astype(dict.fromkeys(FEATURE_COLUMNS, "float64"))


def _extract_file(track_id: str, file: str, md5: str, segment: float | None) -> list[list[float]] | str:
    """What a worker does for one track: its rows, or why there are none."""
    try:
        audio = load_track(file, FEATURE_RATE)
    except AudioError as error:
        return error.reason
    length = len(audio) if segment is None else round(segment * FEATURE_RATE)
    if len(audio) < length:
        return f"too short: {len(audio) / FEATURE_RATE:.2f} s of sound, a segment has {segment:g} s"
    pieces = [audio[start : start + length] for start in range(0, len(audio) - length + 1, length)]
    return [list(extract(piece, FEATURE_RATE).values()) for piece in pieces]


def _assemble(tracks: pd.DataFrame, segment: float | None, results: _Results) -> pd.DataFrame:
    """Return the table, in the order of the tracks."""
    refused = {track_id: reason for track_id, reason in results.items() if isinstance(reason, str)}
    for track_id, reason in refused.items():
        logger.warning("left out %s: %s", track_id, reason)
    rows = [
        [row_name(track_id, Path(file).suffix, None if segment is None else number), *features, genre]
        for track_id, genre, file in zip(tracks["track_id"], tracks["genre"], tracks["path"], strict=True)
        if track_id not in refused
        for number, features in enumerate(results[track_id])
    ]
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    table.attrs["refused"] = refused
    return table
