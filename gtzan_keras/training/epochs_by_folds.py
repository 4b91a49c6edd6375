"""K folds that choose how long to train, then one training run on everything."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Store
from gtzan_keras.tracks.splits import Split, folds
from gtzan_keras.training.fit import train
from gtzan_keras.training.run import Run
from gtzan_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    import keras

__all__ = ["train_kfold_then_full"]


def train_kfold_then_full(
    build: Callable[[], keras.Model],
    store: Store,
    split: Split,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    *,
    out: str | os.PathLike[str],
    k: int = 5,
    group: Literal["artist"] | None = None,
    facts: Mapping[str, Any] | None = None,
    **options: Any,
) -> Run:
    """Train k times with early stopping, then once on all but the test part for the mean of the best epochs.

    Parameters
    ----------
    build : callable
        Makes a new, uncompiled model; called once per fold and once more, after the seed is set.
    store : Store
        The samples.
    split : Split
        Its training and validation parts together are cut into folds of tracks; its test part is
        kept for the final model.
    settings : TrainingSettings
        Settings of the folds; the final training runs for the mean of their best epochs, without
        patience. The seed also decides the folds.
    out : str or os.PathLike
        Folder of the final run; the folds' runs are inside it, in ``fold1``, ``fold2``, ...
    k : int >= 2
        Number of folds.
    group : "artist" or None
        As for `gtzan_keras.tracks.splits.folds`. Known near-duplicates stay together in any case.
    facts : mapping, optional
        As for `train`, for the final run.
    **options
        Options of every training: `resume`, `verbose`, `cache_frozen` of `train`.

    Returns
    -------
    Run
        The final one. ``run.facts["kfold"]`` holds the folds' best epochs, the values they reached, and
        the seconds they took.

    Raises
    ------
    GtzanKerasError
        The split is leaky, there are fewer tracks than folds, or as `train`.

    References
    ----------
    Arrigo, "Using CNN Networks for Music Genre Classification", 2025, section 4.8. Counting the epoch of
    the best validation, not the one at which training stopped, is our choice.

    Examples
    --------
    >>> from gtzan_keras.training.epochs_by_folds import train_kfold_then_full
    >>> run = train_kfold_then_full(build, store, split, out="runs/kfold")  # doctest: +SKIP
    >>> run.facts["kfold"]["best_epochs"]  # doctest: +SKIP
    [12, 15, 9, 14, 11]
    """
    import keras

    if split.leaky:
        raise GtzanKerasError(f"split {split.name!r} is leaky; folds are made of tracks, use another split")
    pool = tuple(sorted({*split.train, *split.validation}))
    tracks = store.tracks[store.tracks["track_id"].isin(pool)]
    seed, runs = settings.seed, []
    for number, fold in enumerate(folds(tracks, k, group=group, seed=seed), start=1):
        keras.utils.set_random_seed(seed)
        part = Split(f"{split.name}, fold {number} of {k}", fold.train, fold.test, ())
        runs.append(train(build(), store, part, settings, out=Path(out) / f"fold{number}", **options))
    best_epochs = [run.outcome.best_epoch for run in runs]
    best_values = [float(run.history[settings.monitor].iloc[run.outcome.best_epoch - 1]) for run in runs]
    kfold = {
        "k": k,
        "best_epochs": best_epochs,
        "monitor": settings.monitor,
        "best_values": best_values,
        "seconds": round(sum(run.outcome.seconds for run in runs), 1),
    }
    keras.utils.set_random_seed(seed)
    return train(
        build(),
        store,
        dataclasses.replace(split, train=pool, validation=()),
        dataclasses.replace(settings, epochs=max(1, round(float(np.mean(best_epochs)))), patience=None),
        out=out,
        facts={**(facts or {}), "kfold": kfold},
        **options,
    )
