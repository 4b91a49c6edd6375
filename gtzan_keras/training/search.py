"""Grid search over arguments of a builder and settings of the training."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Store
from gtzan_keras.store.files import replacing
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.fit import train
from gtzan_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    import keras

__all__ = ["grid_search"]

logger = logging.getLogger(__name__)


def grid_search(
    build: Callable[..., keras.Model],
    store: Store,
    split: Split,
    grid: Mapping[str, Sequence[Any]],
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    *,
    out: str | os.PathLike[str],
    verbose: int = 2,
    cache_frozen: bool | str | os.PathLike[str] = True,
) -> pd.DataFrame:
    """Train once for every combination of some values, and rank them on the validation part.

    The test part is not used. Every combination is a run in its own folder, which `train` resumes: an
    interrupted search continues in the middle of a training, and a larger grid trains only new combinations.

    Parameters
    ----------
    build : callable
        Makes an uncompiled model from keyword arguments, such as ``dropout``.
    store : Store
        The samples.
    split : Split
        A split with a validation part.
    grid : mapping of str to sequence
        Values by name. A field of `TrainingSettings` (``learning_rate``, ``batch_size``) replaces that of
        `settings`, every other name goes to `build`.
    settings : TrainingSettings
        Settings that the grid does not vary. The seed is set before each model is built.
    out : str or os.PathLike
        Folder of ``grid.csv`` and of one run per combination (``dropout=0.4,learning_rate=0.001``).
    verbose, cache_frozen
        As for `train`.

    Returns
    -------
    pd.DataFrame
        One row per combination, best first: the grid's names, ``val_loss``, ``val_accuracy``, the
        settings' ``monitor`` if it is another, ``best_epoch``, ``seconds``, ``run`` (name of its
        folder). Ranked by the monitor (``val_loss``) at the best epoch.

    Raises
    ------
    GtzanKerasError
        The grid is empty, or varies the seed or the monitor; the split has no validation part; or as
        `train`. Combinations that were trained before the error are kept.

    See Also
    --------
    gtzan_keras.report.plots.grid_heat_map : draws it.

    References
    ----------
    Malvezzi searched dropout and learning rate.

    Examples
    --------
    >>> from gtzan_keras.training.search import grid_search
    >>> grid = {"dropout": (0.2, 0.4), "learning_rate": (1e-3, 1e-4)}
    >>> grid_search(build, store, split, grid, out="runs/search")  # doctest: +SKIP
    """
    import keras
    from sklearn.model_selection import ParameterGrid

    monitor = settings.monitor
    if fixed := sorted({"seed", "monitor"} & set(grid)):
        raise GtzanKerasError(f"grid: {fixed[0]} must be the same for all combinations; set it in settings")
    if not monitor.startswith("val_") or not len(store.rows(split.validation)):
        raise GtzanKerasError(
            f"monitor={monitor!r}, split {split.name!r}: a search is ranked on the validation part; expected "
            "a validation part, and val_loss, val_accuracy or val_macro_precision"
        )
    if not grid:
        raise GtzanKerasError("grid is empty; expected at least one name with its values")
    try:
        points = list(ParameterGrid(dict(grid)))
    except (TypeError, ValueError) as error:
        raise GtzanKerasError(f"grid={dict(grid)}: {error}") from error
    folder, rows = Path(out), []
    for values in [{name: point[name] for name in grid} for point in points]:
        of_build, of_training = divided(values)
        keras.utils.set_random_seed(settings.seed)  # before building: the initial weights are drawn there
        model, chosen = build(**of_build), dataclasses.replace(settings, **of_training)
        label = ",".join(f"{name}={value}" for name, value in values.items())
        target = folder / re.sub(r"[^\w.,=()-]+", "_", label)
        options: dict[str, Any] = {"resume": True, "verbose": verbose, "cache_frozen": cache_frozen}
        run = train(model, store, split, chosen, out=target, **options)
        best = run.history.iloc[run.outcome.best_epoch - 1]
        figures = {name: float(best[name]) for name in dict.fromkeys(("val_loss", "val_accuracy", monitor))}
        logger.info("%s: %s %.4f", label, monitor, figures[monitor])
        outcome = {"best_epoch": run.outcome.best_epoch, "seconds": run.outcome.seconds, "run": target.name}
        rows.append({**values, **figures, **outcome})
    table = pd.DataFrame(rows)
    for name in grid:  # dtype object, so that None stays None and 1 stays 1
        table[name] = pd.Series([row[name] for row in rows], dtype=object)
    table = table.sort_values(monitor, ascending=monitor.endswith("loss"), kind="stable", ignore_index=True)
    with replacing(folder / "grid.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table


def divided(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide a grid's values into those for the builder and fields of `TrainingSettings`.

    Examples
    --------
    >>> from gtzan_keras.training.search import divided
    >>> divided({"dropout": 0.4, "learning_rate": 1e-4})
    ({'dropout': 0.4}, {'learning_rate': 0.0001})
    """
    fields = {field.name for field in dataclasses.fields(TrainingSettings)}
    of_training = {name: value for name, value in values.items() if name in fields}
    return {name: value for name, value in values.items() if name not in fields}, of_training
