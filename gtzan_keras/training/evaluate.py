"""A run to scores with intervals, by track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.files import write_json
from gtzan_keras.tracks.catalogue import duplicate_groups
from gtzan_keras.tracks.splits import _units
from gtzan_keras.training.run import Run

__all__ = ["calibration", "evaluate", "interval_scores", "rescore", "score_tracks"]

RESAMPLES = 2000
"""Bootstrap samples behind each interval."""

SCORES = "scores.json"
"""What folds, an ensemble, or a model of hand-crafted features leaves in place of ``result.json``."""

BINS = 15
"""Of confidence; as many as in Guo et al."""


def evaluate(run: Run, batch_size: int = 32) -> dict[str, Any]:
    """Score a run on its validation and test tracks, and write ``result.json`` into its folder.

    Probabilities of a track's segments are averaged; every score is by track. Intervals are 95 %
    percentile bootstrap intervals over tracks, and beside them over artists, whose tracks resemble
    each other.

    Parameters
    ----------
    run : Run
        From `train` or `load_run`.
    batch_size : int > 0
        For prediction.

    Returns
    -------
    dict
        What is in ``result.json``. ``result["scores"]["test"]`` holds what `score_tracks` returns;
        None where the split has no such part.

    Raises
    ------
    GtzanKerasError
        The split names tracks that the store does not know.

    References
    ----------
    Efron, Tibshirani: "An Introduction to the Bootstrap", 1993, chapter 13 (percentile intervals).

    Examples
    --------
    >>> from gtzan_keras import evaluate
    >>> evaluate(run)["scores"]["test"]["accuracy"]  # doctest: +SKIP
    {'value': 0.62, 'low': 0.56, 'high': 0.68}
    """
    store, split = run.store, run.split
    refused = store.refused
    sizes = {
        part: len([track_id for track_id in ids if track_id not in refused])
        for part, ids in split.parts().items()
    }
    facts = run.facts
    training = {**asdict(run.outcome), **run.settings.to_dict(), "max_epochs": run.settings.epochs}
    training |= {"epochs": run.outcome.epochs, "precision": run.outcome.precision}
    result = {
        "format": 1,
        "name": run.name,
        "data": {
            "name": facts.get("data", store.path.name),
            "tracks": len(store.tracks),
            "genres": store.genres,
            "refused": [{"track_id": key, "reason": reason} for key, reason in refused.items()],
            "duplicates": [list(group) for group in duplicate_groups(store.tracks)],
        },
        "spec": store.spec.to_dict(),
        "split": {
            "name": split.name,
            "leaky": split.leaky,
            **sizes,
            "missing": sorted(
                track_id for ids in split.parts().values() for track_id in ids if track_id in refused
            ),
        },
        "model": {
            "builder": facts.get("builder", run.model.name),
            "arguments": facts.get("arguments", {}),
            "parameters": run.outcome.parameters,
        },
        "training": training,
        "environment": dict(run.outcome.environment),
        "date": run.outcome.date,
        "command": facts.get("command", ""),
        "scores": {
            part: _score(run, ids, batch_size) if sizes[part] else None
            for part, ids in (("validation", split.validation), ("test", split.test))
        },
    }
    write_json(run.folder / "result.json", result)
    return result


def _score(run: Run, track_ids: Sequence[str], batch_size: int) -> dict[str, Any]:
    store = run.store
    rows = store.rows(track_ids)
    by_sample = run.model.predict(store.batches(track_ids, batch_size, in_memory=False), verbose=0)
    ids, place = np.unique(store.track_id[rows].astype(str), return_inverse=True)
    totals = np.zeros((len(ids), by_sample.shape[1]))
    np.add.at(totals, place, by_sample)
    probabilities = totals / np.bincount(place)[:, None]

    facts = store.tracks.set_index("track_id")
    tracks = [
        {
            "track_id": track_id,
            "genre": facts.at[track_id, "genre"],
            "predicted": store.genres[probabilities[index].argmax()],
            "artist": facts.at[track_id, "artist"],
            "title": facts.at[track_id, "title"],
            "probabilities": probabilities[index],
        }
        for index, track_id in enumerate(ids)
    ]
    segments = None
    if len(rows) > len(ids):
        guesses = np.array(store.genres)[by_sample.argmax(axis=1)]
        segments = _segment_accuracy(guesses == store.genre[rows], place)
    return {**score_tracks(tracks, store.genres), "segments": segments}


def _segment_accuracy(right: np.ndarray, place: np.ndarray) -> dict[str, Any]:
    """Accuracy by segment, with a bootstrap interval over tracks: segments of one track stand together."""
    counts, hits = np.bincount(place), np.bincount(place, weights=right)
    draws = np.random.default_rng(0).integers(len(counts), size=(RESAMPLES, len(counts)))
    spread = hits[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(spread, [2.5, 97.5])
    return {"count": len(right), "accuracy": float(right.mean()), "low": float(low), "high": float(high)}


def result_path(folder: Path) -> Path:
    """Where a folder's scores lie: ``result.json`` of a run, `SCORES` of what is no single training."""
    return folder / ("result.json" if (folder / "history.csv").is_file() else SCORES)


def score_tracks(tracks: Sequence[Mapping[str, Any]], genres: Sequence[str]) -> dict[str, Any]:
    """All scores of a model, from what it said about each track.

    Parameters
    ----------
    tracks : sequence of mapping
        ``track_id``, ``genre``, ``predicted``, ``artist``, ``title`` (both may be None or empty) and
        ``probabilities``, one a genre. A track that stands there twice is drawn again as one.
    genres : sequence of str
        In the order of the probabilities.

    Returns
    -------
    dict
        ``accuracy``, ``macro_precision``, ``macro_recall`` and ``macro_f1`` (each ``value``, ``low``,
        ``high``: 95 % intervals over tracks), ``by_artist`` (the same four over artists, and their
        ``count``; a track without a known artist is its own; None where no artist is known),
        ``loss`` (cross-entropy, nats), ``count``, ``calibration`` (see `calibration`), ``per_class``,
        ``confusion_matrix`` (rows true, columns predicted), ``segments`` (None: not known here) and
        ``tracks``, the probabilities to five decimals.

    Raises
    ------
    GtzanKerasError
        There are no tracks, or a genre, true or predicted, is not among `genres`.

    Examples
    --------
    >>> from gtzan_keras.training.evaluate import score_tracks
    >>> track = {"artist": "Chuck Berry", "title": "", "genre": "rock", "predicted": "rock"}
    >>> tracks = [
    ...     track | {"track_id": "rock.00000", "probabilities": [0.3, 0.7]},
    ...     track | {"track_id": "rock.00001", "probabilities": [0.8, 0.2], "predicted": "blues"},
    ... ]
    >>> scores = score_tracks(tracks, ["blues", "rock"])
    >>> scores["accuracy"]["value"], scores["confusion_matrix"], scores["by_artist"]["count"]
    (0.5, [[0, 0], [1, 1]], 1)
    """
    from sklearn.metrics import precision_recall_fscore_support

    if not tracks:
        raise GtzanKerasError("no tracks to score; expected at least one")
    truth, predicted = _codes(tracks, genres, "genre"), _codes(tracks, genres, "predicted")
    probabilities = np.array([track["probabilities"] for track in tracks], dtype=float)
    place = np.arange(len(tracks))
    by_track = np.unique([track["track_id"] for track in tracks], return_inverse=True)[1]
    by_artist = artist_groups(tracks)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(len(genres)), zero_division=0
    )
    return {
        **interval_scores(truth, predicted, len(genres), groups=by_track),
        "by_artist": None
        if by_artist is None
        else {
            "count": int(by_artist.max()) + 1,
            **interval_scores(truth, predicted, len(genres), groups=by_artist),
        },
        "loss": float(-np.log(np.maximum(probabilities[place, truth], 1e-7)).mean()),
        "count": len(tracks),
        "calibration": calibration(probabilities[place, predicted], truth == predicted),
        "per_class": [
            {
                "genre": genre,
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, genre in enumerate(genres)
        ],
        "confusion_matrix": confusion(truth, predicted, len(genres)).tolist(),
        "segments": None,
        "tracks": [
            {**track, "probabilities": [round(float(p), 5) for p in track["probabilities"]]}
            for track in tracks
        ],
    }


def rescore(result: Mapping[str, Any]) -> dict[str, Any]:
    """An older result with all scores of today, from its tracks' probabilities.

    Parameters
    ----------
    result : mapping
        What a ``result.json`` holds.

    Returns
    -------
    dict
        A copy with new ``scores``. Loss and segments, of which it holds more digits and more facts
        than its tracks tell, are kept.

    Examples
    --------
    >>> import json
    >>> from gtzan_keras.training.evaluate import rescore
    >>> result = json.load(open("reports/my-run/result.json"))  # doctest: +SKIP
    >>> rescore(result)["scores"]["test"]["calibration"]["ece"]  # doctest: +SKIP
    0.083
    """
    genres = result["data"]["genres"]
    scores = {
        name: part
        and {**score_tracks(part["tracks"], genres), "loss": part["loss"], "segments": part["segments"]}
        for name, part in result["scores"].items()
    }
    return {**result, "scores": scores}


def calibration(
    confidence: npt.ArrayLike, right: npt.ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Expected calibration error: how far a model's confidence is from how often it is right.

    Few tracks give even a model whose confidences are exactly right an error well above 0; what it
    would show is given beside it, by drawing right and wrong with those very probabilities.

    Parameters
    ----------
    confidence : array_like of float [shape=(n,), 0..1]
        Probability of the predicted class.
    right : array_like of bool [shape=(n,)]
        Whether it was the true one.
    resamples : int
        Draws.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        ``ece``; ``calibrated``, the 95 % range (``low``, ``high``) of a model with exactly the right
        confidences; ``bins``, 15 of equal width, each ``low`` (not in it), ``high`` (in it),
        ``count``, and the means ``confidence`` and ``accuracy`` (None in an empty one).

    Raises
    ------
    GtzanKerasError
        No tracks, the two differ in length, or a confidence lies outside 0..1.

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
    if sure.shape != correct.shape or sure.ndim != 1 or not len(sure):
        raise GtzanKerasError(
            f"{sure.shape} confidences and {correct.shape} answers; expected one each a track, at least one"
        )
    if not (sure.min() >= 0 and sure.max() <= 1 + 1e-6):  # a softmax may sum to a little more than 1
        raise GtzanKerasError(f"confidences lie within {sure.min():g} and {sure.max():g}; expected 0 to 1")
    edges = np.arange(BINS + 1) / BINS
    place = np.clip(np.digitize(sure, edges, right=True) - 1, 0, BINS - 1)
    member = np.eye(BINS)[place]
    counts, expected, hits = member.sum(axis=0), sure @ member, correct @ member
    draws = np.random.default_rng(seed).random((resamples, len(sure))) < sure
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
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> dict[str, dict[str, float]]:
    """Accuracy and macro precision, recall and F1, each with its 95 % bootstrap interval.

    Macro averages run over the classes seen in labels or predictions, as scikit-learn's and
    `gtzan_keras.metrics` do; a class never predicted has precision 0.

    Parameters
    ----------
    truth : array_like of int [shape=(n,)]
        Class numbers, one a track.
    predicted : array_like of int [shape=(n,) or (seeds, n)]
        Class numbers, one a track, of one model or of several, whose scores are averaged.
    num_classes : int
        How many classes there are.
    resamples : int
        Bootstrap samples.
    seed : int
        Of the resampling.
    groups : array_like of int [shape=(n,)], optional
        What is drawn again as a whole, such as the number of each track's artist; each track by
        itself when left out.

    Returns
    -------
    dict
        ``{"accuracy": {"value": ..., "low": ..., "high": ...}, "macro_precision": ..., ...}``.

    Raises
    ------
    GtzanKerasError
        No tracks, the arguments differ in length, or a number is none of a class.

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
    units = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if labels.ndim != 1 or guesses.shape[-1:] != labels.shape or guesses.ndim > 2 or not len(labels):
        raise GtzanKerasError(
            f"{labels.shape} labels and {guesses.shape} predictions; expected one each a track, at least one"
        )
    if units.shape != labels.shape:
        raise GtzanKerasError(f"{units.shape} groups and {labels.shape} labels; expected one each a track")
    if min(labels.min(), guesses.min()) < 0 or max(labels.max(), guesses.max()) >= num_classes:
        raise GtzanKerasError(f"labels and predictions are class numbers, from 0 to {num_classes - 1}")
    units = np.unique(units, return_inverse=True)[1]
    matrices = np.stack([unit_matrices(units, labels, row, num_classes) for row in np.atleast_2d(guesses)])
    value, draws = macro_scores(matrices.sum(axis=1)), resampled(matrices, resamples, seed)
    return {name: interval(value[name].mean(), draws[name].mean(axis=0)) for name in value}


def interval(value: float, draws: np.ndarray) -> dict[str, float]:
    """A score with its 95 % percentile interval."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"value": float(value), "low": float(low), "high": float(high)}


def unit_matrices(
    units: np.ndarray, truth: np.ndarray, predicted: np.ndarray, num_classes: int, count: int | None = None
) -> npt.NDArray[np.float64]:
    """Confusion matrix of each unit that is drawn as a whole (unit, true, predicted)."""
    matrices = np.zeros((units.max() + 1 if count is None else count, num_classes, num_classes))
    np.add.at(matrices, (units, truth, predicted), 1)
    return matrices


def resampled(matrices: np.ndarray, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Scores of several models on the same units drawn again: (model, unit, true, predicted) ->
    score -> (model, sample).
    """
    models, units, classes, _ = matrices.shape
    draws = np.random.default_rng(seed).integers(units, size=(resamples, units))
    offset = np.arange(resamples)[:, None] * units
    times = np.bincount((draws + offset).ravel(), minlength=resamples * units).reshape(resamples, units)
    sums = times.astype(float) @ matrices.reshape(models, units, classes**2)
    scores = macro_scores(sums.reshape(models * resamples, classes, classes))
    return {name: values.reshape(models, resamples) for name, values in scores.items()}


def artist_groups(tracks: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.int64] | None:
    """Number of each track's artist, as `gtzan_keras.tracks.splits.folds` tells artists apart.

    None where no artist is known: each track would be its own, and nothing learnt.
    """
    columns = ("track_id", "genre", "artist")
    table = pd.DataFrame([{key: track.get(key) or "" for key in columns} for track in tracks])
    if not table["artist"].any():
        return None
    table["duplicates"] = ""  # GTZAN's exact copies are of one artist each
    units = _units(table, "artist")
    number = {track_id: index for index, unit in enumerate(units) for track_id in unit.ids}
    return np.array([number[track_id] for track_id in table["track_id"]], dtype=np.int64)


def _codes(tracks: Sequence[Mapping[str, Any]], genres: Sequence[str], field: str) -> npt.NDArray[np.int64]:
    code = {genre: index for index, genre in enumerate(genres)}
    for track in tracks:
        if track[field] not in code:
            raise GtzanKerasError(
                f"track {track['track_id']}: {field} is {track[field]!r}, expected one of {', '.join(genres)}"
            )
    return np.array([code[track[field]] for track in tracks], dtype=np.int64)


def confusion(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> npt.NDArray[np.int64]:
    """Confusion matrix (true, predicted)."""
    cells = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def macro_scores(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of many confusion matrices at once (sample, true, predicted)."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    actual, guessed = matrices.sum(axis=2), matrices.sum(axis=1)
    seen = (actual + guessed) > 0

    def mean(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        return (numerator / np.maximum(denominator, 1)).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)

    return {
        "accuracy": right.sum(axis=1) / np.maximum(actual.sum(axis=1), 1),
        "macro_precision": mean(right, guessed),
        "macro_recall": mean(right, actual),
        "macro_f1": mean(2 * right, actual + guessed),
    }
