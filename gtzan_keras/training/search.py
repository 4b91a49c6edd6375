"""Grid search over arguments of a builder and of the training, on KerasTuner."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.hdf5 import SpectrogramStore
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.fit import train

if TYPE_CHECKING:
    import keras

__all__ = ["grid_search"]


def grid_search(
    build: Callable[..., keras.Model],
    store: SpectrogramStore,
    split: Split,
    grid: Mapping[str, Sequence[Any]],
    *,
    out: str | os.PathLike[str],
    seed: int = 0,
    **training: Any,
) -> pd.DataFrame:
    """Train once for every combination of some values, and rank them on the validation part.

    The test part is not looked at. An interrupted search continues with the next combination: KerasTuner
    keeps its state in `out`.

    Parameters
    ----------
    build : callable
        Makes an uncompiled model from keyword arguments, such as ``dropout``.
    store : SpectrogramStore
        Where the pictures are.
    split : Split
        With a validation part.
    grid : mapping of str to sequence
        Values by name. A name that `train` takes (``learning_rate``, ``batch_size``) goes there, every
        other to `build`.
    out : str or os.PathLike
        Folder for KerasTuner's state, one run a combination, and ``grid.csv``.
    seed : int
        The same for all combinations.
    **training
        Further arguments of `train`.

    Returns
    -------
    pd.DataFrame
        One row a combination, best first: the grid's names, ``val_loss``, ``val_accuracy``,
        ``best_epoch``, ``seconds``. Ranked by the training's ``monitor`` (``val_loss``).

    Raises
    ------
    GtzanKerasError
        The grid is empty or not of single values, the split has no validation part, or as `train`.

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

    if not grid or any(not values for values in grid.values()):
        raise GtzanKerasError(f"grid is {dict(grid)}; expected at least one name, each with values")
    if not split.validation:
        raise GtzanKerasError(f"split {split.name!r} has no validation part, on which a search is ranked")
    monitor = training.get("monitor", "val_loss")
    # Another grid is another search, with trials of its own.
    key = hashlib.sha256(repr((sorted(grid.items()), monitor, seed)).encode()).hexdigest()[:8]
    folder = Path(out) / f"grid-{key}"
    of_training = set(inspect.signature(train).parameters)

    class Trials(keras_tuner.GridSearch):
        def run_trial(self, trial: Any, *_: Any, **__: Any) -> dict[str, float]:
            values = {name: trial.hyperparameters.get(name) for name in grid}
            keras.utils.set_random_seed(seed)
            model = build(**{name: value for name, value in values.items() if name not in of_training})
            chosen = {name: value for name, value in values.items() if name in of_training}
            run = train(
                model,
                store,
                split,
                out=folder / f"trial-{trial.trial_id}",
                seed=seed,
                **{**training, **chosen},
            )
            facts = run.settings["training"]
            best = run.history.iloc[facts["best_epoch"] - 1]
            return {
                **{name: float(best[name]) for name in ("val_loss", "val_accuracy", monitor)},
                "best_epoch": facts["best_epoch"],
                "seconds": facts["seconds"],
            }

    space = keras_tuner.HyperParameters()
    for name, values in grid.items():
        space.Choice(name, list(values))
    direction = "min" if monitor.endswith("loss") else "max"
    tuner = Trials(
        lambda _: None,  # run_trial builds
        objective=keras_tuner.Objective(monitor, direction),
        hyperparameters=space,
        tune_new_entries=False,
        max_consecutive_failed_trials=1,
        directory=folder,
        project_name="tuner",
        overwrite=False,
    )
    tuner.search()
    rows = []
    for trial in tuner.oracle.trials.values():
        if trial.status == "COMPLETED":
            metrics = {
                name: trial.metrics.get_best_value(name)
                for name in dict.fromkeys(("val_loss", "val_accuracy", monitor, "best_epoch", "seconds"))
            }
            rows.append({**{name: trial.hyperparameters.get(name) for name in grid}, **metrics})
    table = pd.DataFrame(rows).sort_values(monitor, ascending=direction == "min", ignore_index=True)
    table.to_csv(Path(out) / "grid.csv", index=False)
    return table
