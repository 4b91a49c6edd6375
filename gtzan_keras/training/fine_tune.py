"""The second stage of transfer learning."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gtzan_keras.training.fit import Stage, train_stage
from gtzan_keras.training.run import Run
from gtzan_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    import keras

__all__ = ["fine_tune"]


def fine_tune(
    run: Run,
    trainable_from: str = "block3_conv1",
    settings: TrainingSettings | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    name: str | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 2,
    cache_frozen: bool | str | os.PathLike[str] = True,
) -> Run:
    """Continue a run at a low learning rate, with part of its base unfrozen.

    The first stage's model is not changed; the second's has the best weights of the second stage.

    Parameters
    ----------
    run : Run
        The first stage: the head was trained on a frozen base.
    trainable_from : str
        The first layer that is trained from now on; those before it stay frozen, and batch normalization
        in them keeps its statistics.
    settings : TrainingSettings, optional
        Settings of this stage; by default those of the first with 30 epochs and a learning rate of 1e-5.
    out : str or os.PathLike, optional
        Folder of the run; by default the first stage's, whose files are replaced at the end.
    name : str, optional
        Name of the run; by default the first stage's, or the name of `out`.
    resume, callbacks, verbose, cache_frozen
        As for `gtzan_keras.train`.

    Returns
    -------
    Run
        Its history holds both stages: epochs are numbered through, column ``stage`` is 1 or 2.

    Raises
    ------
    GtzanKerasError
        The model has no such layer, or as `gtzan_keras.train`.

    References
    ----------
    Malvezzi, course project, University of Milan-Bicocca: from ``block3_conv1``; the rate is ours.

    Examples
    --------
    >>> from gtzan_keras import fine_tune
    >>> run = train(models.vgg16(), store, split, out="runs/vgg16")  # doctest: +SKIP
    >>> run = fine_tune(run)  # doctest: +SKIP
    """
    from gtzan_keras.models.image_bases import freeze
    from gtzan_keras.models.layers import clone

    if settings is None:
        settings = dataclasses.replace(run.settings, learning_rate=1e-5, epochs=30)
    model = clone(run.model, lambda _: "float32")
    freeze(model, trainable_from)
    folder = run.folder if out is None else Path(out)
    name = name or (run.name if out is None else folder.resolve().name)
    facts = {**run.facts, "trainable_from": trainable_from}
    stage = Stage(
        run.store, run.split, settings, folder, name, facts, resume, callbacks, verbose, cache_frozen, run
    )
    return train_stage(model, stage)
