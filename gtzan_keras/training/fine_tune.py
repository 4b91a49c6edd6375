"""The second stage of transfer learning."""

from __future__ import annotations

import os
from typing import Any

from gtzan_keras.models.image_bases import freeze
from gtzan_keras.training.fit import clone, train
from gtzan_keras.training.run import Run

__all__ = ["fine_tune"]


def fine_tune(
    run: Run,
    trainable_from: str = "block3_conv1",
    learning_rate: float = 1e-5,
    *,
    out: str | os.PathLike[str] | None = None,
    epochs: int = 30,
    **training: Any,
) -> Run:
    """Go on with a run at a low rate, with part of its base thawed.

    The first stage's settings hold where nothing else is said. Its model is not changed; that of the
    second stage has the best weights of the second stage.

    Parameters
    ----------
    run : Run
        The first stage: the head was trained on a frozen base.
    trainable_from : str
        The first layer that is trained from now on; those before it stay frozen, batch normalisation in
        them keeps its statistics.
    learning_rate : float > 0
        To begin with.
    out : str or os.PathLike, optional
        Folder of the run; the first stage's, whose files are replaced at the end, when left out.
    epochs : int > 0
        At most, of this stage.
    **training
        Further arguments of `train`.

    Returns
    -------
    Run
        Its history holds both stages: epochs count on, column ``stage`` is 1 or 2.

    Raises
    ------
    GtzanKerasError
        The model has no such layer, or as `train`.

    References
    ----------
    Malvezzi, course project, University of Milan-Bicocca: from ``block3_conv1``; the rate is ours.

    Examples
    --------
    >>> from gtzan_keras.training.fine_tune import fine_tune
    >>> run = train(models.vgg16(), store, split, out="reports/vgg16")  # doctest: +SKIP
    >>> run = fine_tune(run)  # doctest: +SKIP
    """
    from gtzan_keras.store.augmentation import Augmentation

    model = clone(run.model, lambda _: "float32")
    freeze(model, trainable_from)
    first = run.settings["training"]
    names = (
        "optimizer",
        "weight_decay",
        "schedule",
        "ema",
        "batch_size",
        "monitor",
        "patience",
        "keep_best",
        "plateau_patience",
        "class_weights",
        "seed",
        "jit_compile",
    )
    options = {name: first[name] for name in names if name in first}
    words = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
    options["precision"] = words.get(first.get("precision"), "auto")
    if first.get("augmentation"):
        options["augmentation"] = Augmentation(**first["augmentation"])
    said = ("data", "builder", "arguments", "command", "kfold")
    settings = {key: run.settings[key] for key in said if key in run.settings}
    return train(
        model,
        run.store,
        run.split,
        out=run.folder if out is None else out,
        name=run.name if out is None else None,
        learning_rate=learning_rate,
        epochs=epochs,
        after=run,
        **{"settings": {**settings, "trainable_from": trainable_from}, **options, **training},
    )
