"""Several results side by side: two runs against each other, seeds averaged, probabilities averaged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.training.evaluate import (
    RESAMPLES,
    artist_groups,
    interval,
    macro_scores,
    resampled,
    score_tracks,
    unit_matrices,
)

__all__ = ["across_seeds", "compare", "ensemble", "in_words"]

Source: TypeAlias = str | os.PathLike[str] | Mapping[str, Any]
"""A run's folder, its ``result.json``, or what that holds."""


def compare(first: Source, second: Source, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Two runs on the same test tracks: is one better, or could that be chance?

    McNemar's exact test asks whether the tracks that only one of the two got right are fairly dealt;
    the intervals are of the differences when tracks (or whole artists) are drawn again, the same for
    both runs. That is about these two trained models: what other seeds would have given is in
    `across_seeds`.

    Parameters
    ----------
    first, second : path or mapping
        A run's folder, its ``result.json``, or what that holds.
    resamples : int
        Bootstrap samples.
    seed : int
        Of the resampling.

    Returns
    -------
    dict
        ``first`` and ``second`` (each ``name`` and ``leaky``); ``count`` of tracks; ``scores``, by
        name ``first``, ``second`` and ``difference`` (first minus second: ``value``, ``low``,
        ``high``); ``by_artist``, the same differences over artists and their ``count``, None where
        no artist is known; ``right``, the number of tracks that ``both``, ``only_first``,
        ``only_second`` or ``neither`` got right; ``p_value`` of McNemar's test; and
        ``disagreements``, the tracks with different answers (``track_id``, ``artist``, ``title``,
        ``genre``, ``first``, ``second``).

    Raises
    ------
    GtzanKerasError
        A result can not be read or has no test part, or the two are not of the same tracks.

    References
    ----------
    McNemar: "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947. Dietterich: "Approximate statistical tests for comparing
    supervised classification learning algorithms", Neural Computation 10(7), 1998.

    Examples
    --------
    >>> from gtzan_keras.training.compare import compare
    >>> def result(name, *answers):
    ...     facts = {"genre": "rock", "artist": "Queen", "title": ""}
    ...     tracks = [
    ...         {"track_id": f"rock.0000{number}", "predicted": answer, **facts}
    ...         | {"probabilities": [float(answer == "pop"), float(answer == "rock")]}
    ...         for number, answer in enumerate(answers)
    ...     ]
    ...     facts = {"data": {"genres": ["pop", "rock"]}, "split": {"leaky": False}}
    ...     return {"name": name, **facts, "scores": {"test": {"tracks": tracks}}}
    >>> found = compare(result("one", "rock", "rock", "pop"), result("other", "pop", "rock", "pop"))
    >>> found["right"], found["p_value"]
    ({'both': 1, 'only_first': 1, 'only_second': 0, 'neither': 1}, 1.0)
    """
    from scipy.stats import binomtest

    results = [_read(first), _read(second)]
    one, other = _matched(results)
    genres = results[0]["data"]["genres"]
    truth = _codes(one["genre"], genres)
    answers = [_codes(table["predicted"], genres) for table in (one, other)]
    tracks = one.reset_index()
    rows: Any = tracks.to_dict("records")

    def differences(units: np.ndarray) -> dict[str, dict[str, Any]]:
        matrices = np.stack([unit_matrices(units, truth, answer, len(genres)) for answer in answers])
        value, draws = macro_scores(matrices.sum(axis=1)), resampled(matrices, resamples, seed)
        return {
            name: {"first": float(value[name][0]), "second": float(value[name][1])}
            | {"difference": interval(value[name][0] - value[name][1], draws[name][0] - draws[name][1])}
            for name in value
        }

    artists = artist_groups(rows)
    is_right = [answer == truth for answer in answers]
    only_first, only_second = (int((a & ~b).sum()) for a, b in (is_right, is_right[::-1]))
    discordant = only_first + only_second
    tracks = tracks.rename(columns={"predicted": "first"}).assign(second=other["predicted"].to_numpy())
    columns = ["track_id", "artist", "title", "genre", "first", "second"]
    return {
        **{
            key: {"name": _name(result), "leaky": result["split"]["leaky"]}
            for key, result in zip(("first", "second"), results, strict=True)
        },
        "count": len(tracks),
        "scores": differences(np.arange(len(tracks))),
        "by_artist": None
        if artists is None
        else {
            "count": int(artists.max()) + 1,
            **{name: score["difference"] for name, score in differences(artists).items()},
        },
        "right": {
            "both": int((is_right[0] & is_right[1]).sum()),
            "only_first": only_first,
            "only_second": only_second,
            "neither": int((~is_right[0] & ~is_right[1]).sum()),
        },
        "p_value": float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
        "disagreements": tracks.loc[tracks["first"] != tracks["second"], columns].to_dict("records"),
    }


def in_words(comparison: Mapping[str, Any]) -> str:
    """The outcome of `compare` as one sentence.

    Parameters
    ----------
    comparison : mapping
        From `compare`.

    Returns
    -------
    str
        A leaky run is called so.

    Examples
    --------
    >>> from gtzan_keras.training.compare import in_words
    >>> in_words(
    ...     {
    ...         "first": {"name": "a", "leaky": False}, "second": {"name": "b", "leaky": False},
    ...         "count": 290, "right": {"only_first": 40, "only_second": 28}, "p_value": 0.182,
    ...     }
    ... )
    'Of 290 tracks, 40 were right only with a and 28 only with b: that could well be chance (p = 0.18), so neither is shown to be better.'
    """  # noqa: E501
    names = [
        comparison[key]["name"] + (" (leaky)" if comparison[key]["leaky"] else "")
        for key in ("first", "second")
    ]
    only = [comparison["right"][key] for key in ("only_first", "only_second")]
    p = comparison["p_value"]
    shown = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
    if p < 0.05:
        better = names[int(only[1] > only[0])]
        outcome = (
            f"chance would rarely do that ({shown}), so {better} is the better of these two trained "
            "models; what other seeds would give, this does not tell"
        )
    else:
        outcome = f"that could well be chance ({shown}), so neither is shown to be better"
    return (
        f"Of {comparison['count']} tracks, {only[0]} were right only with {names[0]} and {only[1]} only "
        f"with {names[1]}: {outcome}."
    )


def across_seeds(results: Sequence[Source], resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Several seeds of one experiment: mean and spread of each score, and an interval of the mean.

    The intervals draw tracks (or whole artists) again and average each sample's scores over the
    seeds: they say how sure the mean is on such tracks. What the seeds alone change is in ``sd``. Where
    each seed had a test part of its own, a track is drawn together with all that was said about it.

    Parameters
    ----------
    results : sequence of path or mapping
        One a seed: a run's folder, its ``result.json``, or what that holds.
    resamples : int
        Bootstrap samples.
    seed : int
        Of the resampling.

    Returns
    -------
    dict
        ``seeds``; ``tracks``, how many different ones; ``accuracy``, ``macro_precision``,
        ``macro_recall``, ``macro_f1`` (each ``value``, the mean, ``low``, ``high``, ``sd`` (n - 1, None
        for a single seed), ``min``, ``max`` and ``by_seed``), ``loss`` and ``ece`` (the same without
        ``low`` and ``high``); and ``by_artist`` (``count``, and the four scores with ``value``, ``low``
        and ``high`` over artists), None where no artist is known.

    Raises
    ------
    GtzanKerasError
        There is no result, one can not be read or has no test part, or their genres differ.

    References
    ----------
    Bouthillier et al.: "Accounting for variance in machine learning benchmarks", MLSys 2021.

    Examples
    --------
    >>> from gtzan_keras.training.compare import across_seeds
    >>> seeds = [f"reports/gtzan-cnn/fault-filtered-seed{seed}" for seed in range(3)]
    >>> across_seeds(seeds)["accuracy"]["by_seed"]  # doctest: +SKIP
    [0.5586206896551724, 0.5413793103448276, 0.5137931034482759]
    """
    found = [_read(source) for source in results]
    genres = _genres(found)
    parts = [result["scores"]["test"] for result in found]
    every = [track for part in parts for track in part["tracks"]]
    bounds = np.cumsum([len(part["tracks"]) for part in parts])[:-1]
    truth, predicted = (_codes([track[field] for track in every], genres) for field in ("genre", "predicted"))

    def drawn(units: np.ndarray) -> dict[str, dict[str, float]]:
        count = int(units.max()) + 1
        by_seed = zip(*(np.split(column, bounds) for column in (units, truth, predicted)), strict=True)
        matrices = np.stack([unit_matrices(u, t, p, len(genres), count) for u, t, p in by_seed])
        value, draws = macro_scores(matrices.sum(axis=1)), resampled(matrices, resamples, seed)
        return {
            name: interval(value[name].mean(), draws[name].mean(axis=0)) | _spread(value[name])
            for name in value
        }

    ids, by_track = np.unique([track["track_id"] for track in every], return_inverse=True)
    artists = artist_groups(every)
    scored = [
        part if "calibration" in part else {**score_tracks(part["tracks"], genres), **part} for part in parts
    ]
    return {
        "seeds": len(found),
        "tracks": len(ids),
        **drawn(by_track),
        "loss": _spread([part["loss"] for part in scored]),
        "ece": _spread([part["calibration"]["ece"] for part in scored]),
        "by_artist": None
        if artists is None
        else {
            "count": int(artists.max()) + 1,
            **{
                name: {key: score[key] for key in ("value", "low", "high")}
                for name, score in drawn(artists).items()
            },
        },
    }


def ensemble(results: Sequence[Source]) -> dict[str, Any]:
    """Average several models' probabilities of each track, and score the average.

    Parameters
    ----------
    results : sequence of path or mapping
        One a model: a run's folder, its ``result.json``, or what that holds.

    Returns
    -------
    dict
        As `gtzan_keras.training.evaluate.score_tracks`.

    Raises
    ------
    GtzanKerasError
        There is no result, one can not be read or has no test part, or they are not of the same tracks.

    Examples
    --------
    >>> from gtzan_keras.training.compare import ensemble
    >>> seeds = [f"reports/gtzan-cnn/fault-filtered-seed{seed}" for seed in range(3)]
    >>> ensemble(seeds)["accuracy"]["value"]  # doctest: +SKIP
    0.5517241379310345
    """
    found = [_read(source) for source in results]
    genres = _genres(found)
    tables = _matched(found)
    mean = np.mean([np.stack(table["probabilities"].to_list()) for table in tables], axis=0)
    tracks: Any = tables[0].reset_index().to_dict("records")
    for track, probabilities in zip(tracks, mean, strict=True):
        track |= {"predicted": genres[probabilities.argmax()], "probabilities": probabilities}
    return score_tracks(tracks, genres)


def _read(source: Source) -> Mapping[str, Any]:
    """A result with a test part."""
    if isinstance(source, Mapping):
        result, where = source, _name(source)
    else:
        path = Path(source)
        if path.is_dir():
            path = path / ("scores.json" if (path / "scores.json").is_file() else "result.json")
        where = str(path)
        try:
            result = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise GtzanKerasError(f"{path}: no such file; name the folder of a run") from error
        except ValueError as error:
            raise GtzanKerasError(f"{path}: not readable as JSON ({error})") from error
        if not isinstance(result, dict) or not {"data", "split", "scores"} <= set(result):
            raise GtzanKerasError(f"{path}: not the result of a run; name its folder or its result.json")
    if not result["scores"].get("test"):
        raise GtzanKerasError(f"{where}: the run was scored on no test part, so there is nothing to compare")
    return result


def _name(result: Mapping[str, Any]) -> str:
    return str(result.get("name", "a result"))


def _genres(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The genres of all results, which must be the same."""
    if not results:
        raise GtzanKerasError("no results given; expected at least one")
    first, *others = results
    for other in others:
        if other["data"]["genres"] != first["data"]["genres"]:
            raise GtzanKerasError(
                f"{_name(first)} tells {', '.join(first['data']['genres'])} apart, {_name(other)} "
                f"{', '.join(other['data']['genres'])}; compare runs on the same genres"
            )
    return list(first["data"]["genres"])


def _matched(results: Sequence[Mapping[str, Any]]) -> list[pd.DataFrame]:
    """Each result's test tracks by id, in the same order; refused unless they are the same tracks."""
    _genres(results)
    tables = [
        pd.DataFrame(result["scores"]["test"]["tracks"]).set_index("track_id").sort_index()
        for result in results
    ]
    for result, table in zip(results, tables, strict=True):
        if twice := sorted(set(table.index[table.index.duplicated()])):
            raise GtzanKerasError(
                f"{_name(result)}: {len(twice)} tracks were tested more than once, e.g. {twice[0]}; only "
                "runs with one answer a track can be matched"
            )
        names = f"{_name(results[0])} and {_name(result)}"
        if differ := sorted(set(table.index) ^ set(tables[0].index)):
            raise GtzanKerasError(
                f"{names} were not tested on the same tracks: {len(differ)} are in one of them only, e.g. "
                f"{', '.join(differ[:3])}; compare runs on the same split of the same data"
            )
        if unlike := table.index[table["genre"] != tables[0]["genre"]].tolist():
            raise GtzanKerasError(
                f"{names} do not agree on the true genre of {len(unlike)} tracks, e.g. {unlike[0]}; "
                "compare runs on the same data"
            )
    return tables


def _codes(names: Sequence[str] | pd.Series, genres: Sequence[str]) -> np.ndarray:
    code = {genre: index for index, genre in enumerate(genres)}
    return np.array([code[name] for name in names])


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Mean and spread over seeds; `value` comes first wherever there is no interval."""
    return {
        "value": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "by_seed": [float(value) for value in values],
    }
