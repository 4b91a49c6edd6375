"""A run to scores with intervals, by track."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import duplicate_groups
from gtzan_keras.training.fit import Run, write_json

__all__ = ["evaluate", "interval_scores"]

RESAMPLES = 2000
"""Bootstrap samples behind each interval."""


def evaluate(run: Run, batch_size: int = 32) -> dict[str, Any]:
    """Score a run on its validation and test tracks, and write ``result.json`` into its folder.

    Probabilities of a track's segments are averaged; every score is by track. Intervals are 95 %
    percentile bootstrap intervals over tracks.

    Parameters
    ----------
    run : Run
        From `train` or `load_run`.
    batch_size : int > 0
        For prediction.

    Returns
    -------
    dict
        What is in ``result.json``. ``result["scores"]["test"]`` holds ``accuracy``,
        ``macro_precision``, ``macro_recall`` and ``macro_f1`` (each ``value``, ``low``, ``high``),
        ``loss`` (cross-entropy, nats), ``count``, ``per_class``, ``confusion_matrix`` (rows true,
        columns predicted), ``segments`` and ``tracks`` (genre, predicted, probabilities, artist,
        title); None where the split has no such part.

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
    settings = run.settings
    result = {
        "format": 1,
        "name": run.name,
        "data": {
            "name": settings.get("data", store.path.name),
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
            "builder": settings.get("builder", run.model.name),
            "arguments": settings.get("arguments", {}),
            "parameters": settings["parameters"],
        },
        "training": settings["training"],
        "environment": settings["environment"],
        "date": settings["date"],
        "command": settings.get("command", ""),
        "scores": {
            part: _score(run, ids, batch_size) if sizes[part] else None
            for part, ids in (("validation", split.validation), ("test", split.test))
        },
    }
    write_json(run.folder / "result.json", result)
    return result


def _score(run: Run, track_ids: Sequence[str], batch_size: int) -> dict[str, Any]:
    from sklearn.metrics import precision_recall_fscore_support

    store = run.store
    rows = store.rows(track_ids)
    by_sample = run.model.predict(store.batches(track_ids, batch_size, in_memory=False), verbose=0)
    ids, first, place = np.unique(store.track_id[rows].astype(str), return_index=True, return_inverse=True)
    totals = np.zeros((len(ids), by_sample.shape[1]))
    np.add.at(totals, place, by_sample)
    probabilities = totals / np.bincount(place)[:, None]

    code = {genre: index for index, genre in enumerate(store.genres)}
    truth_by_sample = np.array([code[genre] for genre in store.genre[rows]])
    truth, predicted = truth_by_sample[first], probabilities.argmax(axis=1)
    count = len(store.genres)
    matrix = confusion(truth, predicted, count)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(count), zero_division=0
    )
    facts = store.tracks.set_index("track_id")
    has_segments = len(rows) > len(ids)
    return {
        **interval_scores(truth, predicted, count),
        "loss": float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-7)).mean()),
        "count": len(ids),
        "per_class": [
            {
                "genre": genre,
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, genre in enumerate(store.genres)
        ],
        "confusion_matrix": matrix.tolist(),
        "segments": {
            "count": len(rows),
            "accuracy": float((by_sample.argmax(axis=1) == truth_by_sample).mean()),
        }
        if has_segments
        else None,
        "tracks": [
            {
                "track_id": track_id,
                "genre": store.genres[truth[index]],
                "predicted": store.genres[predicted[index]],
                "artist": facts.at[track_id, "artist"],
                "title": facts.at[track_id, "title"],
                "probabilities": [round(float(p), 5) for p in probabilities[index]],
            }
            for index, track_id in enumerate(ids)
        ],
    }


def interval_scores(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    num_classes: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Accuracy and macro precision, recall and F1, each with its 95 % bootstrap interval.

    Macro averages run over the classes seen in labels or predictions, as scikit-learn's and
    `gtzan_keras.metrics` do; a class never predicted has precision 0.

    Parameters
    ----------
    truth, predicted : array_like of int [shape=(n,)]
        Class numbers, one a track.
    num_classes : int
        How many classes there are.
    resamples : int
        Bootstrap samples.
    seed : int
        Of the resampling.

    Returns
    -------
    dict
        ``{"accuracy": {"value": ..., "low": ..., "high": ...}, "macro_precision": ..., ...}``.

    Raises
    ------
    GtzanKerasError
        No tracks, the two differ in length, or a number is none of a class.

    Examples
    --------
    >>> from gtzan_keras.training.evaluate import interval_scores
    >>> scores = interval_scores([0, 0, 1, 1], [0, 1, 1, 1], 2)
    >>> scores["accuracy"]["value"], round(scores["macro_precision"]["value"], 3)
    (0.75, 0.833)
    """
    labels, guesses = np.asarray(truth), np.asarray(predicted)
    if labels.shape != guesses.shape or not len(labels):
        raise GtzanKerasError(
            f"{labels.shape} labels and {guesses.shape} predictions; expected one each a track, at least one"
        )
    if min(labels.min(), guesses.min()) < 0 or max(labels.max(), guesses.max()) >= num_classes:
        raise GtzanKerasError(f"labels and predictions are class numbers, from 0 to {num_classes - 1}")
    value = _macro_scores(confusion(labels, guesses, num_classes)[None])
    draws = np.random.default_rng(seed).integers(len(labels), size=(resamples, len(labels)))
    cells = labels * num_classes + guesses
    offset = np.arange(resamples)[:, None] * num_classes**2
    matrices = np.bincount((cells[draws] + offset).ravel(), minlength=resamples * num_classes**2)
    spread = _macro_scores(matrices.reshape(resamples, num_classes, num_classes))
    return {
        name: {
            "value": float(value[name][0]),
            "low": float(np.percentile(spread[name], 2.5)),
            "high": float(np.percentile(spread[name], 97.5)),
        }
        for name in value
    }


def confusion(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> npt.NDArray[np.int64]:
    """Confusion matrix (true, predicted)."""
    cells = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def _macro_scores(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of many confusion matrices at once (sample, true, predicted)."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    actual, guessed = matrices.sum(axis=2), matrices.sum(axis=1)
    seen = (actual + guessed) > 0

    def mean(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        return (numerator / np.maximum(denominator, 1)).sum(axis=1) / seen.sum(axis=1)

    return {
        "accuracy": right.sum(axis=1) / actual.sum(axis=1),
        "macro_precision": mean(right, guessed),
        "macro_recall": mean(right, actual),
        "macro_f1": mean(2 * right, actual + guessed),
    }
