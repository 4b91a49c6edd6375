"""K folds that choose how long to train, then one training on everything."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Store
from gtzan_keras.tracks.splits import Split, folds
from gtzan_keras.training.fit import train
from gtzan_keras.training.run import Run

if TYPE_CHECKING:
    import keras

__all__ = ["train_kfold_then_full"]


def train_kfold_then_full(
    build: Callable[[], keras.Model],
    store: Store,
    split: Split,
    *,
    out: str | os.PathLike[str],
    k: int = 5,
    group: Literal["artist"] | None = None,
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    **training: Any,
) -> Run:
    """Train k times with early stopping, then once on all but the test part for the mean of the best epochs.

    Parameters
    ----------
    build : callable
        Makes a new, uncompiled model; called once a fold and once more, after the seed is set.
    store : Store
        Where the pictures are.
    split : Split
        Its training and validation parts together are cut into folds of tracks; its test part is
        kept for the final model.
    out : str or os.PathLike
        Folder of the final run; the folds' runs lie below it, in ``fold1``, ``fold2``, ...
    k : int >= 2
        How many folds.
    group : "artist" or None
        As for `gtzan_keras.tracks.splits.folds`. Known near-duplicates stay together in any case.
    seed : int
        Of the folds and of every training.
    settings : dict, optional
        As for `train`.
    **training
        Further arguments of `train`, for the folds; the final training stops at no patience.

    Returns
    -------
    Run
        The final one. ``run.settings["kfold"]`` holds the folds' best epochs, what they reached, and
        the seconds that they took.

    Raises
    ------
    GtzanKerasError
        As `train`, or there are fewer tracks than folds.

    References
    ----------
    Arrigo, "Using CNN Networks for Music Genre Classification", 2025, section 4.8. That the epoch of
    the best validation counts, and not the one at which training stopped, is ours.

    Examples
    --------
    >>> from gtzan_keras.training.epochs_by_folds import train_kfold_then_full
    >>> run = train_kfold_then_full(build, store, split, out="reports/kfold")  # doctest: +SKIP
    >>> run.settings["kfold"]["best_epochs"]  # doctest: +SKIP
    [12, 15, 9, 14, 11]
    """
    import keras

    if split.leaky:
        raise GtzanKerasError(f"split {split.name!r} is leaky; folds are cut from tracks, take an honest one")
    pool = tuple(sorted({*split.train, *split.validation}))
    tracks = store.tracks[store.tracks["track_id"].isin(pool)]
    best_epochs, best_values, seconds = [], [], 0.0
    monitor = training.get("monitor", "val_loss")
    for number, fold in enumerate(folds(tracks, k, group=group, seed=seed), start=1):
        keras.utils.set_random_seed(seed)
        part = Split(f"{split.name}, fold {number} of {k}", fold.train, fold.test, ())
        run = train(build(), store, part, out=Path(out) / f"fold{number}", seed=seed, **training)
        facts = run.settings["training"]
        best_epochs.append(facts["best_epoch"])
        best_values.append(float(run.history[monitor].iloc[facts["best_epoch"] - 1]))
        seconds += facts["seconds"]
    keras.utils.set_random_seed(seed)
    return train(
        build(),
        store,
        dataclasses.replace(split, train=pool, validation=()),
        out=out,
        seed=seed,
        settings={
            **(settings or {}),
            "kfold": {
                "k": k,
                "best_epochs": best_epochs,
                "monitor": monitor,
                "best_values": best_values,
                "seconds": round(seconds, 1),
            },
        },
        **{**training, "epochs": max(1, round(float(np.mean(best_epochs)))), "patience": None},
    )
