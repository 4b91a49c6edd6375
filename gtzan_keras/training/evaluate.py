"""From a run, or a table of test tracks, to scores with intervals. Every score is by track."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import duplicate_groups
from gtzan_keras.tracks.splits import Split, ceiling, kept_together
from gtzan_keras.training.results import write_result
from gtzan_keras.training.run import Run, load_run

__all__ = [
    "calibration",
    "class_scores",
    "confidences",
    "confusion_matrix",
    "evaluate",
    "interval_scores",
    "run_result",
    "score_tracks",
]

RESAMPLES = 2000
"""Bootstrap samples behind each interval."""

BINS = 15
"""Bins of confidence; as many as in Guo et al."""


def evaluate(run: Run | str | os.PathLike[str], batch_size: int = 32) -> dict[str, Any]:
    """Score a run on its validation and test tracks, and write the result into its folder.

    The probabilities of a track's segments are averaged. Intervals are 95 % percentile bootstrap
    intervals, over tracks and over artists: tracks of one artist are not independent.

    Parameters
    ----------
    run : Run, str or os.PathLike
        From `train`, or its folder.
    batch_size : int > 0
        Samples per batch of prediction.

    Returns
    -------
    dict
        What ``result.json`` holds; see `gtzan_keras.training.results`. ``result["scores"]["test"]`` is
        what `score_tracks` returns, or None if the split has no such part.

    Raises
    ------
    GtzanKerasError
        The split names tracks that the store does not have.

    References
    ----------
    Efron, Tibshirani: "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals).

    Examples
    --------
    >>> from gtzan_keras import evaluate
    >>> evaluate(run)["scores"]["test"]["accuracy"]  # doctest: +SKIP
    {'value': 0.62, 'low': 0.56, 'high': 0.68}
    """
    run = load_run(run) if isinstance(run, (str, os.PathLike)) else run
    result, tracks = run_result(run, batch_size)
    write_result(run.folder, result, tracks)
    return result


def run_result(run: Run, batch_size: int = 32) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score a run without writing anything.

    Parameters
    ----------
    run : Run
        From `train` or `load_run`.
    batch_size : int > 0
        Samples per batch of prediction.

    Returns
    -------
    dict
        As `evaluate`.
    pd.DataFrame
        One row per test track, for `gtzan_keras.training.results.write_result`.
    """
    store, split, outcome = run.store, run.split, run.outcome
    refused = store.refused
    parts = {
        part: tuple(track_id for track_id in ids if track_id not in refused)
        for part, ids in split.parts().items()
    }
    tables = {part: _track_table(run, parts[part], batch_size) for part in ("validation", "test")}
    result: dict[str, Any] = {
        "name": run.name,
        "data": {
            "name": run.facts.get("data", store.path.name),
            "tracks": len(store.tracks),
            "genres": store.genres,
            "refused": [{"track_id": key, "reason": reason} for key, reason in refused.items()],
            "duplicates": [list(group) for group in duplicate_groups(store.tracks)],
        },
        "spec": store.spec.to_dict(),
        "split": {
            "name": split.name,
            "leaky": split.leaky,
            **{part: len(ids) for part, ids in parts.items()},
            "missing": sorted({*split.train, *split.validation, *split.test} & set(refused)),
        },
        "model": {
            "builder": run.facts.get("builder", run.model.name),
            "arguments": run.facts.get("arguments", {}),
            "parameters": outcome.parameters,
        },
        "settings": run.settings.to_dict(),
        "outcome": {"epochs": outcome.epochs, "best_epoch": outcome.best_epoch, "seconds": outcome.seconds}
        | {"precision": outcome.precision},
        **{key: run.facts[key] for key in ("kfold", "trainable_from") if key in run.facts},
        **({"first_stage": outcome.first_stage} if outcome.first_stage else {}),
        "environment": outcome.environment,
        "date": outcome.date,
        "command": run.facts.get("command", ""),
        "scores": {
            part: score_tracks(table, store.genres) if len(table) else None for part, table in tables.items()
        },
    }
    known = Split(split.name, parts["train"], parts["validation"], parts["test"])
    if (highest := ceiling(known, store.tracks)) < 1:
        result["scores"]["test"]["ceiling"] = highest
    return result, tables["test"]


def _track_table(run: Run, track_ids: Sequence[str], batch_size: int) -> pd.DataFrame:
    """Return one row per track: facts, its segments' mean probabilities, and how many were right."""
    import keras

    from gtzan_keras.store.batches import tensorflow_dataset

    store = run.store
    rows = store.rows(track_ids)
    by_sample = np.zeros((0, len(store.genres)))
    if len(rows):
        batches: Any = store.batches(track_ids, batch_size, in_memory=False)
        batches = tensorflow_dataset(batches) if keras.backend.backend() == "tensorflow" else batches
        by_sample = run.model.predict(batches, verbose=0)
    samples, track_id = pd.DataFrame(by_sample, columns=store.genres, dtype=float), store.track_id[rows]
    means = samples.groupby(track_id).mean()
    table = store.tracks.set_index("track_id").loc[means.index, ["genre", "artist", "title"]].assign(fold=1)
    table["predicted"] = means.idxmax(axis=1)
    table[store.genres] = means
    if len(samples) > len(means):
        right = samples.idxmax(axis=1) == store.genre[rows]
        table[["segments", "segments_right"]] = right.groupby(track_id).agg(["size", "sum"])
    return table.rename_axis("track_id").reset_index()


def score_tracks(tracks: pd.DataFrame, genres: Sequence[str]) -> dict[str, Any]:
    """Return all scores of a model, from its predictions for each track.

    Parameters
    ----------
    tracks : pd.DataFrame
        ``track_id``, ``genre``, ``predicted``, ``artist`` ("" if not known) and one column of
        probabilities per genre; if tracks are cut, also ``segments`` and ``segments_right``. Rows of
        one track are drawn together.
    genres : sequence of str
        In class order.

    Returns
    -------
    dict
        ``accuracy``, ``macro_precision``, ``macro_recall`` and ``macro_f1`` (each ``value``, ``low``,
        ``high``: 95 % intervals over tracks), ``by_artist`` (the same four over artists, and their
        ``count``; a track without a known artist is its own; None if no artist is known),
        ``loss`` (cross-entropy, nats), ``ece`` (see `calibration`), ``count``, and ``segments`` (None, or
        ``count`` and their accuracy as ``value``, ``low``, ``high``).

    Raises
    ------
    GtzanKerasError
        There are no tracks.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.training.evaluate import score_tracks
    >>> tracks = pd.DataFrame({
    ...     "track_id": ["rock.00000", "rock.00001"], "artist": "Chuck Berry", "genre": "rock",
    ...     "predicted": ["rock", "blues"], "blues": [0.3, 0.8], "rock": [0.7, 0.2],
    ... })
    >>> scores = score_tracks(tracks, ["blues", "rock"])
    >>> scores["accuracy"]["value"], scores["by_artist"]["count"], round(scores["loss"], 3)
    (0.5, 1, 0.983)
    """
    truth, predicted = answers(tracks, genres)
    chosen = tracks[list(genres)].to_numpy(float)[np.arange(len(tracks)), truth]
    scores = partial(interval_scores, truth, predicted, len(genres))
    return {
        **scores(track_groups(tracks)),
        "by_artist": over_artists(tracks, scores),
        "loss": float(-np.log(np.maximum(chosen, 1e-7)).mean()),
        "ece": calibration(*confidences(tracks, genres), resamples=1)["ece"],
        "count": len(tracks),
        "segments": segment_scores([tracks]) if "segments" in tracks else None,
    }


def segment_scores(seeds: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Return the accuracy by segment, a mean over seeds, with its interval over tracks.

    Tracks are drawn once for all seeds, each with all of its segments.
    """
    ids, place = np.unique(np.concatenate([table["track_id"] for table in seeds]), return_inverse=True)
    bounds = np.cumsum([len(table) for table in seeds])[:-1]
    draws = np.random.default_rng(0).integers(len(ids), size=(RESAMPLES, len(ids)))
    values, spreads = [], []
    for table, units in zip(seeds, np.split(place, bounds), strict=True):
        counts, hits = (
            np.bincount(units, weights=table[name], minlength=len(ids))
            for name in ("segments", "segments_right")
        )
        values.append(hits.sum() / counts.sum())
        spreads.append(hits[draws].sum(axis=1) / np.maximum(counts[draws].sum(axis=1), 1))
    return {
        "count": int(seeds[0]["segments"].sum()),
        **interval(float(np.mean(values)), np.mean(spreads, axis=0)),
    }


def confusion_matrix(tracks: pd.DataFrame, genres: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the number of tracks by true genre (rows) and predicted genre (columns)."""
    from sklearn.metrics import confusion_matrix as count

    return count(tracks["genre"], tracks["predicted"], labels=list(genres))


def class_scores(tracks: pd.DataFrame, genres: Sequence[str]) -> pd.DataFrame:
    """Return precision, recall and F1 of each genre; 0 where they are not defined.

    Returns
    -------
    pd.DataFrame [shape=(genres, 5)]
        ``genre``, ``precision``, ``recall``, ``f1``, ``support`` (number of tracks).
    """
    from sklearn.metrics import precision_recall_fscore_support

    names = list(genres)
    scores = precision_recall_fscore_support(
        tracks["genre"], tracks["predicted"], labels=names, zero_division=0
    )
    columns = ("genre", "precision", "recall", "f1", "support")
    return pd.DataFrame(dict(zip(columns, (names, *scores), strict=True)))


def confidences(
    tracks: pd.DataFrame, genres: Sequence[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the probability of each track's predicted genre, and whether it is the true one."""
    truth, predicted = answers(tracks, genres)
    return tracks[list(genres)].to_numpy(float)[np.arange(len(tracks)), predicted], truth == predicted


def answers(tracks: pd.DataFrame, genres: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the class numbers of true and predicted genres."""
    code = {genre: index for index, genre in enumerate(genres)}
    truth, predicted = (tracks[column].map(code).to_numpy(np.int64) for column in ("genre", "predicted"))
    return truth, predicted


def track_groups(tracks: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return an integer for each row that identifies its track."""
    return np.unique(tracks["track_id"], return_inverse=True)[1].astype(np.int64)


def artist_groups(tracks: pd.DataFrame) -> npt.NDArray[np.int64] | None:
    """Return an integer for each row that identifies its artist, as in `gtzan_keras.tracks.splits.folds`.

    None if no artist is known: each track would be its own.
    """
    if not tracks["artist"].any():
        return None
    table = tracks[["track_id", "genre", "artist"]].drop_duplicates("track_id")
    sets = kept_together(table.assign(duplicates=""), "artist")  # GTZAN's exact copies are of one artist each
    number = {track_id: index for index, ids in enumerate(sets) for track_id in ids}
    return np.array([number[track_id] for track_id in tracks["track_id"]], dtype=np.int64)


def over_artists(
    tracks: pd.DataFrame, scores_of: Callable[[np.ndarray], Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return the number of artists, and scores over them; None if none is known."""
    artists = artist_groups(tracks)
    return None if artists is None else {"count": int(artists.max()) + 1, **scores_of(artists)}


def calibration(
    confidence: npt.ArrayLike, right: npt.ArrayLike, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Return the expected calibration error: how far confidence is from the share of correct predictions.

    On few tracks even a perfectly calibrated model has an error well above 0. The range that such a model
    would show is returned too, from random draws of right and wrong with these probabilities.

    Parameters
    ----------
    confidence : array_like of float [shape=(n,), 0..1]
        Probability of the predicted class.
    right : array_like of bool [shape=(n,)]
        Whether it is the true one.
    resamples : int
        Number of draws.

    Returns
    -------
    dict
        ``ece``; ``calibrated``, the 95 % range (``low``, ``high``) of a perfectly calibrated
        model; ``bins``, 15 of equal width, each with ``low`` (excluded), ``high`` (included),
        ``count``, and the means ``confidence`` and ``accuracy`` (None in an empty bin).

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: "On calibration of modern neural networks", ICML 2017.
    Bröcker, Smith: "Increasing the reliability of reliability diagrams", Weather and Forecasting
    22(3), 2007 (drawing right and wrong from the confidences).

    Examples
    --------
    >>> from gtzan_keras.training.evaluate import calibration
    >>> found = calibration([0.75, 0.75, 0.5, 0.5], [True, True, True, False])
    >>> found["ece"], [bin["count"] for bin in found["bins"] if bin["count"]]
    (0.125, [2, 2])
    """
    sure, correct = np.asarray(confidence, dtype=float), np.asarray(right, dtype=bool)
    edges = np.arange(BINS + 1) / BINS
    place = np.clip(np.digitize(sure, edges, right=True) - 1, 0, BINS - 1)
    member = np.eye(BINS)[place]
    counts, expected, hits = member.sum(axis=0), sure @ member, correct @ member
    draws = np.random.default_rng(0).random((resamples, len(sure))) < sure
    by_chance = np.abs(draws @ member - expected).sum(axis=1) / len(sure)
    low, high = np.percentile(by_chance, [2.5, 97.5])
    return {
        "ece": float(np.abs(hits - expected).sum() / len(sure)),
        "calibrated": {"low": float(low), "high": float(high)},
        "bins": [
            {
                "low": float(edges[index]),
                "high": float(edges[index + 1]),
                "count": int(count),
                "confidence": float(expected[index] / count) if count else None,
                "accuracy": float(hits[index] / count) if count else None,
            }
            for index, count in enumerate(counts)
        ],
    }


def interval_scores(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    num_classes: int,
    groups: npt.ArrayLike | None = None,
) -> dict[str, dict[str, float]]:
    """Return accuracy and macro precision, recall and F1, each with its 95 % bootstrap interval.

    Macro averages are over the classes seen in labels or predictions, as in scikit-learn and
    `gtzan_keras.metrics`; a class never predicted has precision 0.

    Parameters
    ----------
    truth : array_like of int [shape=(n,)]
        Class numbers, one per track.
    predicted : array_like of int [shape=(n,)]
        Class numbers, one per track.
    num_classes : int
        How many classes there are.
    groups : array_like of int [shape=(n,)], optional
        Groups that are drawn as a whole, such as the number of each track's artist; by default each track.

    Returns
    -------
    dict
        ``{"accuracy": {"value": ..., "low": ..., "high": ...}, "macro_precision": ..., ...}``.

    Raises
    ------
    GtzanKerasError
        There are no tracks, the arguments differ in length, or a class number is out of range.

    References
    ----------
    Davison, Hinkley: "Bootstrap methods and their application", 1997, section 3.8 (whole groups).

    Examples
    --------
    >>> from gtzan_keras.training.evaluate import interval_scores
    >>> scores = interval_scores([0, 0, 1, 1], [0, 1, 1, 1], 2)
    >>> scores["accuracy"]["value"], round(scores["macro_precision"]["value"], 3)
    (0.75, 0.833)
    """
    labels, guesses = np.asarray(truth), np.asarray(predicted)
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    if labels.ndim != 1 or not len(labels) or not labels.shape == guesses.shape == units.shape:
        raise GtzanKerasError(
            f"{labels.shape} labels, {guesses.shape} predictions and {units.shape} groups; expected one "
            "of each per track, at least one"
        )
    if min(labels.min(), guesses.min()) < 0 or max(labels.max(), guesses.max()) >= num_classes:
        raise GtzanKerasError(f"labels and predictions are class numbers, from 0 to {num_classes - 1}")
    value, draws = bootstrapped([(units, labels, guesses)], num_classes)
    return {name: interval(value[name][0], draws[name][0]) for name in value}


def interval(value: float, draws: np.ndarray) -> dict[str, float]:
    """Return a score with its 95 % percentile interval."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"value": float(value), "low": float(low), "high": float(high)}


def bootstrapped(
    models: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], num_classes: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return each model's scores from (units, truth, predicted), and those of samples of units, drawn once.

    Returns
    -------
    dict of str to np.ndarray [shape=(models,)]
        The scores.
    dict of str to np.ndarray [shape=(models, RESAMPLES)]
        Those of each sample.
    """
    count = max(int(units.max()) for units, _, _ in models) + 1
    matrices = np.stack([unit_matrices(*codes, num_classes, count) for codes in models])
    draws = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    offset = np.arange(RESAMPLES)[:, None] * count
    times = np.bincount((draws + offset).ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count)
    # Counts below 2**24 are exact in float32, which is twice as fast.
    sums = times.astype(np.float32) @ matrices.astype(np.float32).reshape(len(models), count, -1)
    samples = sums.astype(float).reshape(len(models), RESAMPLES, num_classes, num_classes)
    return macro_scores(matrices.sum(axis=1)), macro_scores(samples)


def unit_matrices(
    units: np.ndarray, truth: np.ndarray, predicted: np.ndarray, num_classes: int, count: int
) -> npt.NDArray[np.float64]:
    """Return the confusion matrix of each unit (unit, true, predicted)."""
    matrices = np.zeros((count, num_classes, num_classes))
    np.add.at(matrices, (units, truth, predicted), 1)
    return matrices


def macro_scores(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of many confusion matrices (..., true, predicted) at once."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    actual, guessed = matrices.sum(axis=-1), matrices.sum(axis=-2)
    seen = ((actual + guessed) > 0).sum(axis=-1)

    def mean(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        return (numerator / np.maximum(denominator, 1)).sum(axis=-1) / np.maximum(seen, 1)

    return {
        "accuracy": right.sum(axis=-1) / np.maximum(actual.sum(axis=-1), 1),
        "macro_precision": mean(right, guessed),
        "macro_recall": mean(right, actual),
        "macro_f1": mean(2 * right, actual + guessed),
    }
