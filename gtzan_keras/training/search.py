"""Grid search over arguments of a builder and of the training, on KerasTuner."""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Store
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.fit import train

if TYPE_CHECKING:
    import keras

__all__ = ["grid_search"]

logger = logging.getLogger(__name__)

_FIXED = ("model", "store", "split", "out", "seed", "monitor", "resume", "settings")


def grid_search(
    build: Callable[..., keras.Model],
    store: Store,
    split: Split,
    grid: Mapping[str, Sequence[Any]],
    *,
    out: str | os.PathLike[str],
    seed: int = 0,
    **training: Any,
) -> pd.DataFrame:
    """Train once for every combination of some values, and rank them on the validation part.

    The test part is not looked at. Every combination is a run in a folder of its own, which `train`
    resumes: an interrupted search goes on in the middle of a training, and a larger grid trains only
    what is new. KerasTuner's own record cannot do this: its grid search does not go on after a reload.

    Parameters
    ----------
    build : callable
        Makes an uncompiled model from keyword arguments, such as ``dropout``.
    store : Store
        Where the pictures are.
    split : Split
        With a validation part.
    grid : mapping of str to sequence
        Values by name. A name that `train` takes (``learning_rate``, ``batch_size``) goes there, every
        other to `build`.
    out : str or os.PathLike
        Folder of ``grid.csv``, of one run a combination (``dropout=0.4,learning_rate=0.001``), and of
        KerasTuner's record (``tuner``).
    seed : int
        The same for all combinations.
    **training
        Further arguments of `train`.

    Returns
    -------
    pd.DataFrame
        One row a combination, best first: the grid's names, ``val_loss``, ``val_accuracy``, the
        training's ``monitor`` where it is another, ``best_epoch``, ``seconds``, ``run`` (name of its
        folder). Ranked by the monitor (``val_loss``) at the best epoch.

    Raises
    ------
    GtzanKerasError
        The grid is empty, or asks for what a search keeps fixed; the split has no validation part; or
        as `train`. Combinations that were trained before the error are kept.

    See Also
    --------
    gtzan_keras.report.grid.grid_heat_map : the picture of it.

    References
    ----------
    Malvezzi searched dropout and learning rate. O'Malley et al., KerasTuner, 2019.

    Examples
    --------
    >>> from gtzan_keras.training.search import grid_search
    >>> grid = {"dropout": (0.2, 0.4), "learning_rate": (1e-3, 1e-4)}
    >>> grid_search(build, store, split, grid, out="reports/search")  # doctest: +SKIP
    """
    import keras
    import keras_tuner

    monitor = training.get("monitor", "val_loss")
    _check(grid, monitor, store, split)
    folder = Path(out)
    rows: list[dict[str, Any]] = []

    class Trials(keras_tuner.GridSearch):
        def run_trial(self, trial: Any, *_: Any, **__: Any) -> dict[str, float]:
            named = {name: trial.hyperparameters.get(name) for name in grid}
            values = {name: choices[name][text] for name, text in named.items()}
            try:
                row = one(values)
            except Exception as error:  # which KerasTuner would swallow
                raise keras_tuner.errors.FatalError(str(error)) from error
            rows.append({**values, **row})
            return {monitor: row[monitor]}

    def one(values: Mapping[str, Any]) -> dict[str, Any]:
        keras.utils.set_random_seed(seed)  # before building: the initial weights are drawn there
        of_build, of_training = divided(values)
        model = build(**of_build)
        name = ",".join(f"{name}={value}" for name, value in values.items())
        target = folder / re.sub(r"[^\w.,=()-]+", "_", name)
        run = train(model, store, split, out=target, seed=seed, resume=True, **{**training, **of_training})
        facts = run.settings["training"]
        best = run.history.iloc[facts["best_epoch"] - 1]
        figures = {name: float(best[name]) for name in dict.fromkeys(("val_loss", "val_accuracy", monitor))}
        logger.info("%s: %s %.4f", name, monitor, figures[monitor])
        facts = {name: facts[name] for name in ("best_epoch", "seconds")}
        return {**figures, **facts, "run": target.name}

    # As text, for KerasTuner knows neither None nor tuples, and no mixed types.
    choices = {name: {str(value): value for value in values} for name, values in grid.items()}
    space = keras_tuner.HyperParameters()
    for name, by_text in choices.items():
        space.Choice(name, list(by_text))
    direction = "min" if monitor.endswith("loss") else "max"
    tuner = Trials(
        objective=keras_tuner.Objective(monitor, direction),
        hyperparameters=space,
        tune_new_entries=False,
        directory=folder,
        project_name="tuner",
        overwrite=True,
    )
    try:
        tuner.search(verbose=0)
    except keras_tuner.errors.FatalError as error:
        raise (error.__cause__ or error) from None
    table = pd.DataFrame(rows).sort_values(
        monitor, ascending=direction == "min", kind="stable", ignore_index=True
    )
    table.to_csv(folder / "grid.csv", index=False)
    return table


def divided(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A grid's values for the builder, and those for `train`: whatever `train` takes goes there.

    Examples
    --------
    >>> from gtzan_keras.training.search import divided
    >>> divided({"dropout": 0.4, "learning_rate": 1e-4})
    ({'dropout': 0.4}, {'learning_rate': 0.0001})
    """
    of_training = {name: values[name] for name in values if name in inspect.signature(train).parameters}
    return {name: values[name] for name in values if name not in of_training}, of_training


def _check(grid: Mapping[str, Sequence[Any]], monitor: str, store: Store, split: Split) -> None:
    single = any(isinstance(values, str) or not isinstance(values, Sequence) for values in grid.values())
    if not grid or single or not all(grid.values()):
        raise GtzanKerasError(
            f"grid is {dict(grid)}; expected at least one name, each with a sequence of values, such as "
            "{'dropout': (0.2, 0.4)}"
        )
    if fixed := [name for name in grid if name in _FIXED]:
        raise GtzanKerasError(f"grid: {fixed[0]} is the same for all combinations; take it out of the grid")
    if not monitor.startswith("val_"):
        raise GtzanKerasError(
            f"monitor is {monitor!r}; a search is ranked on the validation part, expected 'val_loss', ..."
        )
    if not len(store.rows(split.validation)):
        raise GtzanKerasError(f"split {split.name!r} has no validation part, on which a search is ranked")
