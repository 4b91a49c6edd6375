"""A result as data: the record of a run in ``result.json``, ``tracks.csv`` and ``history.csv``.

``result.json`` (format 2) holds what cannot be computed from the two tables:

- ``format`` (2), ``name``, ``date``, ``command``, ``environment`` (versions and device);
- ``recipe``, ``protocol`` and ``seed`` if a recipe was run; ``departures``, a list of texts: how the run
  differs from the recipe; ``key``, what the runner compares before it uses a result again;
- ``data``: ``name``, ``tracks`` (number), ``genres``, ``refused`` (``track_id``, ``reason``),
  ``duplicates``; ``spec``: the store's spec, or None;
- ``split``: ``name``, ``leaky``, ``train``, ``validation``, ``test`` (numbers; of folds, see ``folds``),
  ``missing`` (ids);
- ``model``: ``builder``, ``arguments``, ``parameters`` (number, or None);
- ``settings``: the fields of `TrainingSettings`, or {} if nothing was trained with them; here and in
  ``arguments``, a value that a search chose differently in each fold is a list;
- ``outcome``: ``epochs`` (trained), ``best_epoch`` (both missing if there are none), ``seconds``;
- ``first_stage`` (``settings``, ``outcome``), ``kfold``, ``folds`` (a list of ``name``, ``train``,
  ``validation``, ``test``, and ``outcome``, ``kfold``, ``first_stage``), ``members`` (folders of an
  ensemble's members, relative to this one): only where there is such a thing;
- ``scores``: ``validation`` and ``test``, each None or ``accuracy``, ``macro_precision``,
  ``macro_recall``, ``macro_f1`` (each ``value``, ``low``, ``high``: intervals over tracks), ``by_artist``
  (None, or ``count`` and the same four over artists), ``loss``, ``ece``, ``count`` (of tracks),
  ``segments`` (None, or ``count``, ``value``, ``low``, ``high``: accuracy by segment), and ``ceiling``
  (the highest possible accuracy, if some genre of the part has no training track).

``tracks.csv`` has one row per test track: ``track_id``, ``fold`` (from 1), ``genre``, ``predicted``, one
column of probabilities per genre, in class order, to four digits; ``segments`` and ``segments_right`` if
tracks are cut; ``artist`` and ``title`` if they are not those of GTZAN's packaged facts.

``history.csv`` has one row per epoch, with a column ``fold`` if there are folds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.files import replacing, write_json
from gtzan_keras.tracks.catalogue import facts

__all__ = ["FORMAT", "RESULT", "TRACKS", "read_result", "read_summary", "write_result"]

FORMAT = 2
RESULT, TRACKS, HISTORY = "result.json", "tracks.csv", "history.csv"
NEAREST = "nearest.csv"
"""File in a run's folder: the training tracks that are nearest to its mistakes."""

_TEXT = ("track_id", "genre", "predicted", "artist", "title")
_COUNTS = ("segments", "segments_right")
_FACTS = ["artist", "title"]


def write_result(
    folder: str | os.PathLike[str],
    result: Mapping[str, Any],
    tracks: pd.DataFrame,
    history: pd.DataFrame | None = None,
) -> None:
    """Write a run's result into its folder; each file is replaced as a whole.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if it does not exist.
    result : mapping
        As described at the top of this module; ``format`` is added.
    tracks : pd.DataFrame
        One row per test track, with the columns of ``tracks.csv``; other columns are not written.
    history : pd.DataFrame, optional
        One row per epoch.

    Raises
    ------
    GtzanKerasError
        A genre has the name of another column.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from gtzan_keras.training.results import read_result, write_result
    >>> genres = ["metal", "rock"]
    >>> result = {"name": "one", "data": {"genres": genres}, "split": {"name": "s", "leaky": False},
    ...           "model": {"builder": "cnn"}, "scores": {"validation": None, "test": {"count": 1}}}
    >>> tracks = pd.DataFrame({"track_id": ["rock.00016"], "fold": 1, "genre": "rock", "predicted": "metal",
    ...                        "metal": 0.75, "rock": 0.25})
    >>> folder = tempfile.mkdtemp()
    >>> write_result(folder, result, tracks)
    >>> read_result(folder)[1][["predicted", "metal", "artist"]].values.tolist()
    [['metal', 0.75, 'Queen']]
    """
    folder = Path(folder)
    genres = list(result["data"]["genres"])
    if clash := set(genres) & {*_TEXT, *_COUNTS, "fold"}:
        raise GtzanKerasError(
            f"genre {min(clash)!r}: {TRACKS} has another column of this name; rename the genre's folder"
        )
    columns = ["track_id", "fold", "genre", "predicted", *genres]
    columns += [name for name in _COUNTS if name in tracks]
    if set(_FACTS) <= set(tracks) and not tracks[_FACTS].equals(_known(tracks["track_id"])):
        columns += _FACTS
    if history is not None:
        with replacing(folder / HISTORY) as temporary:
            history.to_csv(temporary, index=False)
    with replacing(folder / TRACKS) as temporary:
        table = tracks[columns].round(dict.fromkeys(genres, 4))
        table.to_csv(temporary, index=False, float_format=lambda share: f"{share:g}".lstrip("0") or "0")
    write_json(folder / RESULT, {"format": FORMAT, **result})  # last: if it exists, the result is complete


def read_result(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Read a run's result, and one row per test track.

    Parameters
    ----------
    folder : str or os.PathLike
        As `write_result` left it.

    Returns
    -------
    dict
        What ``result.json`` holds.
    pd.DataFrame [shape=(test tracks, 6 + genres)]
        The columns of ``tracks.csv``, always with ``artist`` and ``title`` ("" if not known).

    Raises
    ------
    GtzanKerasError
        A file is missing or cannot be read, is of another format, or its fields, columns, genres,
        probabilities or number of tracks are not as expected.
    """
    folder = Path(folder)
    result = read_summary(folder)
    path = folder / TRACKS
    try:
        genres, scores = result["data"]["genres"], result["scores"]
    except (KeyError, TypeError) as error:
        raise GtzanKerasError(f"{folder / RESULT}: no field {error}; run the experiment again") from error
    try:
        tracks = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False)
    except (OSError, ValueError) as error:
        raise GtzanKerasError(f"{path}: not readable as CSV ({error})") from error
    columns = ("track_id", "fold", "genre", "predicted", *genres)
    if missing := [name for name in columns if name not in tracks]:
        raise GtzanKerasError(f"{path}: column(s) {', '.join(missing)} missing; run the experiment again")
    if strange := sorted({*tracks["genre"], *tracks["predicted"]} - set(genres)):
        raise GtzanKerasError(f"{path}: genre {strange[0]!r}: expected one of {', '.join(genres)}")
    flat = pd.to_numeric(tracks[genres].to_numpy().ravel(), errors="coerce")
    right = ((flat >= 0) & (flat <= 1)).reshape(len(tracks), len(genres)).all(axis=1)
    if bad := tracks["track_id"][~right].tolist():
        raise GtzanKerasError(f"{path}: probabilities of {bad[0]}: expected {len(genres)} numbers, 0 to 1")
    count = (scores.get("test") or {}).get("count", 0)
    if len(tracks) != count:
        raise GtzanKerasError(
            f"{path}: {len(tracks)} rows, but {folder / RESULT} reports {count} test tracks; the files "
            "belong to different runs"
        )
    if "artist" not in tracks:
        tracks = tracks.join(_known(tracks["track_id"]))
    return result, tracks


def _known(track_ids: pd.Series[str]) -> pd.DataFrame:
    """Return artist and title from the packaged facts, "" if they have none."""
    return facts()[_FACTS].reindex(track_ids.tolist()).fillna("").set_axis(track_ids.index)


def read_summary(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a run's ``result.json``, without its tracks; see `read_result`."""
    path = Path(folder) / RESULT
    try:
        result = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise GtzanKerasError(
            f"{path}: no such file; name the folder of a run, which `gtzan-keras run` or `gtzan-keras train` "
            "makes"
        ) from error
    except (OSError, ValueError) as error:
        raise GtzanKerasError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise GtzanKerasError(
            f"{path}: not a result of format {FORMAT}; it was made by another version of gtzan_keras or "
            "another program, run the experiment again"
        )
    return result
