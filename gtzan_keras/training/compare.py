"""Several results side by side: two runs against each other, seeds averaged, probabilities averaged."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.training.evaluate import (
    answers,
    bootstrapped,
    interval,
    over_artists,
    score_tracks,
    segment_scores,
    track_groups,
)
from gtzan_keras.training.results import read_result

__all__ = ["across_seeds", "compare", "ensemble", "in_words"]

Source: TypeAlias = str | os.PathLike[str] | tuple[Mapping[str, Any], pd.DataFrame]
"""A run's folder, or what `read_result` returns for it."""


def compare(first: Source, second: Source) -> dict[str, Any]:
    """Compare two runs on the same test tracks: is one better, or could that be chance?

    McNemar's exact test asks whether the tracks that only one of the two got right are evenly divided. The
    intervals of the differences draw the same artists, or tracks, for both runs. The outcome is about these
    two trained models; for the variation between seeds see `across_seeds`.

    Parameters
    ----------
    first, second : path or pair
        A run's folder, or what `read_result` returns for it.

    Returns
    -------
    dict
        ``first`` and ``second`` (each ``name`` and ``leaky``); ``count`` of tracks; ``scores``, by
        name ``first``, ``second`` and ``difference`` (first minus second: ``value``, ``low``,
        ``high``, over tracks); ``by_artist``, the same differences over artists and their ``count``, None
        if no artist is known; ``right``, the number of tracks that ``both``, ``only_first``,
        ``only_second`` or ``neither`` got right; ``p_value`` of McNemar's test; and
        ``disagreements``, the tracks with different answers (``track_id``, ``artist``, ``title``,
        ``genre``, ``first``, ``second``).

    Raises
    ------
    GtzanKerasError
        A result cannot be read or has no test part, or the test tracks differ.

    References
    ----------
    McNemar: "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947. Dietterich: "Approximate statistical tests for comparing
    supervised classification learning algorithms", Neural Computation 10(7), 1998.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.training.compare import compare
    >>> def result(name, *answers):
    ...     ids = [f"rock.0000{number}" for number in range(len(answers))]
    ...     tracks = pd.DataFrame({"track_id": ids, "genre": "rock", "predicted": answers,
    ...                            "artist": "Queen", "title": ""})
    ...     return {"name": name, "data": {"genres": ["pop", "rock"]}, "split": {"leaky": False}}, tracks
    >>> found = compare(result("one", "rock", "rock", "pop"), result("other", "pop", "rock", "pop"))
    >>> found["right"], found["p_value"]
    ({'both': 1, 'only_first': 1, 'only_second': 0, 'neither': 1}, 1.0)
    """
    from scipy.stats import binomtest

    results, tables, genres = _read([first, second])
    one, other = _matched(results, tables)
    truth, *predicted = answers(one, genres)[0], *(answers(table, genres)[1] for table in (one, other))

    def differences(units: np.ndarray) -> dict[str, dict[str, Any]]:
        value, draws = bootstrapped([(units, truth, answer) for answer in predicted], len(genres))
        return {
            name: {"first": float(value[name][0]), "second": float(value[name][1])}
            | {"difference": interval(value[name][0] - value[name][1], draws[name][0] - draws[name][1])}
            for name in value
        }

    wrong_first, wrong_second = (answer != truth for answer in predicted)
    counts = np.bincount(2 * wrong_first + wrong_second, minlength=4).tolist()
    right = dict(zip(("both", "only_first", "only_second", "neither"), counts, strict=True))
    discordant = right["only_first"] + right["only_second"]
    tracks = one.rename(columns={"predicted": "first"}).assign(second=other["predicted"])
    columns = ["track_id", "artist", "title", "genre", "first", "second"]
    return {
        **{
            key: {"name": result["name"], "leaky": result["split"]["leaky"]}
            for key, result in zip(("first", "second"), results, strict=True)
        },
        "count": len(one),
        "scores": differences(np.arange(len(one))),
        "by_artist": over_artists(
            one, lambda units: {name: score["difference"] for name, score in differences(units).items()}
        ),
        "right": right,
        "p_value": float(binomtest(right["only_first"], discordant).pvalue) if discordant else 1.0,
        "disagreements": tracks.loc[tracks["first"] != tracks["second"], columns].to_dict("records"),
    }


def in_words(comparison: Mapping[str, Any]) -> str:
    """Return the outcome of `compare` as one sentence; a leaky run is called leaky.

    Parameters
    ----------
    comparison : mapping
        From `compare`.

    Returns
    -------
    str

    Examples
    --------
    >>> from gtzan_keras.training.compare import in_words
    >>> in_words(
    ...     {
    ...         "first": {"name": "a", "leaky": False}, "second": {"name": "b", "leaky": False},
    ...         "count": 290, "right": {"only_first": 40, "only_second": 28}, "p_value": 0.182,
    ...     }
    ... )
    'Of 290 tracks, a alone is right on 40, b alone on 28: this could be chance (p = 0.18), so neither is shown to be better.'
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
            f"this is unlikely to be chance ({shown}), so {better} is the better of these two trained "
            "models; other seeds may differ"
        )
    else:
        outcome = f"this could be chance ({shown}), so neither is shown to be better"
    return (
        f"Of {comparison['count']} tracks, {names[0]} alone is right on {only[0]}, {names[1]} alone on "
        f"{only[1]}: {outcome}."
    )


def across_seeds(results: Sequence[Source]) -> dict[str, Any]:
    """Average several seeds of one experiment: mean and spread of each score, and the mean's interval.

    Each bootstrap sample draws tracks (or artists) once and averages the seeds' scores on them: the
    intervals say how certain the mean is, given such tracks. ``sd`` says how much the seed alone changes. If
    every seed has its own test part, a track is drawn with all its predictions.

    Parameters
    ----------
    results : sequence of path or pair
        One per seed: a run's folder, or what `read_result` returns for it.

    Returns
    -------
    dict
        ``seeds``; ``tracks``, the number of different ones; ``accuracy``, ``macro_precision``,
        ``macro_recall``, ``macro_f1`` (each ``value``, the mean, ``low``, ``high``, ``sd`` (n - 1, None
        for a single seed), ``min``, ``max`` and ``by_seed``), ``loss`` and ``ece`` (the same without
        ``low`` and ``high``); ``by_artist`` (``count``, and the four scores with ``value``, ``low``
        and ``high`` over artists), None if no artist is known; and ``segments`` (``count`` of one seed,
        ``value``, ``low``, ``high``), None if tracks are not cut.

    Raises
    ------
    GtzanKerasError
        There is no result, one cannot be read or has no test part, or their genres differ.

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
    found, tables, genres = _read(results)
    parts = [result["scores"]["test"] for result in found]
    every = pd.concat(tables, ignore_index=True)
    bounds = np.cumsum([len(table) for table in tables])[:-1]
    codes = answers(every, genres)

    def drawn(units: np.ndarray) -> dict[str, dict[str, Any]]:
        by_seed = zip(*(np.split(column, bounds) for column in (units, *codes)), strict=True)
        value, draws = bootstrapped(list(by_seed), len(genres))
        return {name: interval(value[name].mean(), draws[name].mean(axis=0)) for name in value}

    segments = parts[0].get("segments") if len(parts) == 1 else None
    if all("segments" in table for table in tables):
        segments = segment_scores(tables)
    return {
        "seeds": len(found),
        "tracks": every["track_id"].nunique(),
        **{
            name: score | _spread([part[name]["value"] for part in parts])
            for name, score in drawn(track_groups(every)).items()
        },
        **{name: _spread([part[name] for part in parts]) for name in ("loss", "ece")},
        "by_artist": over_artists(every, drawn),
        "segments": segments,
    }


def ensemble(results: Sequence[Source]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Average several models' probabilities of each track, and score the average.

    Parameters
    ----------
    results : sequence of path or pair
        One per model: a run's folder, or what `read_result` returns for it.

    Returns
    -------
    dict
        As `gtzan_keras.training.evaluate.score_tracks`.
    pd.DataFrame
        One row per track, with the averaged probabilities.

    Raises
    ------
    GtzanKerasError
        There is no result, one cannot be read or has no test part, or the test tracks differ.

    Examples
    --------
    >>> from gtzan_keras.training.compare import ensemble
    >>> seeds = [f"reports/gtzan-cnn/fault-filtered-seed{seed}" for seed in range(3)]
    >>> ensemble(seeds)[0]["accuracy"]["value"]  # doctest: +SKIP
    0.5517241379310345
    """
    found, tables, genres = _read(results)
    matched = _matched(found, tables)
    mean = np.mean([table[genres].to_numpy(float) for table in matched], axis=0)
    tracks = matched[0][["track_id", "genre", "artist", "title"]].assign(fold=1)
    tracks["predicted"] = np.array(genres, dtype=object)[mean.argmax(axis=1)]
    tracks[genres] = mean
    return score_tracks(tracks, genres), tracks


def _read(sources: Sequence[Source]) -> tuple[list[Mapping[str, Any]], list[pd.DataFrame], list[str]]:
    """Return results that have a test part, their tables of tracks, and the genres they share."""
    if not sources:
        raise GtzanKerasError("no results given; expected at least one")
    pairs = [source if isinstance(source, tuple) else read_result(source) for source in sources]
    first = pairs[0][0]
    for result, tracks in pairs:
        if not len(tracks):
            raise GtzanKerasError(f"{result['name']}: the run has no test part; expected one to compare")
        if result["data"]["genres"] != first["data"]["genres"]:
            raise GtzanKerasError(
                f"{first['name']} has the genres {', '.join(first['data']['genres'])}, {result['name']} has "
                f"{', '.join(result['data']['genres'])}; compare runs on the same genres"
            )
    return [result for result, _ in pairs], [tracks for _, tracks in pairs], list(first["data"]["genres"])


def _matched(results: Sequence[Mapping[str, Any]], tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables in order of track id; refuse them unless they have the same tracks, once each."""
    tables = [table.sort_values("track_id", kind="stable", ignore_index=True) for table in tables]
    first = set(zip(tables[0]["track_id"], tables[0]["genre"], strict=True))
    for result, table in zip(results, tables, strict=True):
        ids = table["track_id"]
        if twice := sorted(set(ids[ids.duplicated()])):
            raise GtzanKerasError(
                f"{result['name']}: {len(twice)} tracks were tested more than once, e.g. {twice[0]}; compare "
                "runs with one prediction per track"
            )
        if differ := sorted({track_id for track_id, _ in first ^ set(zip(ids, table["genre"], strict=True))}):
            raise GtzanKerasError(
                f"{results[0]['name']} and {result['name']} were not tested on the same tracks: "
                f"{len(differ)} are in one of them only, or of another genre, e.g. {', '.join(differ[:3])}; "
                "compare runs on the same split of the same data"
            )
    return tables


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean and spread over seeds."""
    return {
        "value": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "by_seed": list(values),
    }
