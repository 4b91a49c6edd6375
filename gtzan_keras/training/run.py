"""The folder of a run: model, history, settings."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import gtzan_keras
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.saving import load_model
from gtzan_keras.store.base import Store
from gtzan_keras.store.open import open_store
from gtzan_keras.tracks.splits import Split

if TYPE_CHECKING:
    import keras

__all__ = ["Run", "load_run"]


@dataclass(frozen=True)
class Run:
    """One execution of a training: what went in, what came out, and the folder that holds it.

    Parameters
    ----------
    folder : Path
        Holds ``model.keras``, ``history.csv`` and ``run.json``; `evaluate` and the report add theirs.
    name : str
        How tables call it.
    model : keras.Model
        With its best weights, in float32, not compiled.
    store : Store
        What it was trained on.
    split : Split
        Who was in training, validation and test.
    history : pd.DataFrame
        One row an epoch: ``epoch`` (from 1), ``loss``, ``accuracy``, ``macro_precision``, the same
        with ``val_`` when there is a validation part, ``learning_rate``; ``stage`` after `fine_tune`.
    settings : dict
        All that is needed to repeat it: model, training, environment, date, command.
    """

    folder: Path
    name: str
    model: keras.Model
    store: Store
    split: Split
    history: pd.DataFrame
    settings: dict[str, Any]


def load_run(folder: str | os.PathLike[str], store: Store | None = None) -> Run:
    """Open a run's folder again.

    Parameters
    ----------
    folder : str or os.PathLike
        As `train` left it.
    store : Store, optional
        When the store is no longer where it was.

    Returns
    -------
    Run

    Raises
    ------
    GtzanKerasError
        The folder holds no run, its store is gone, or the store is of another spec or other genres
        than the model.
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise GtzanKerasError(
            f"{folder}: no run here (run.json is missing); make one with `gtzan-keras train`"
        )
    record = json.loads((folder / "run.json").read_text("utf-8"))
    parts = {key: tuple(record["split"][key]) for key in ("train", "validation", "test")}
    split = Split(record["split"]["name"], **parts, leaky=record["split"]["leaky"])
    model, spec, genres = load_model(folder / "model.keras")
    store = open_store(record["store"]) if store is None else store
    if set(genres) < set(store.genres):
        store = store.without(set(store.genres) - set(genres))
    if spec != store.spec or genres != store.genres:
        raise GtzanKerasError(
            f"{folder}: the model takes spec {spec.name!r} and knows {', '.join(genres)}, but {store.path} "
            f"is of spec {store.spec.name!r} with {', '.join(store.genres)} ({spec.difference(store.spec)})"
        )
    history = pd.read_csv(folder / "history.csv")
    return Run(folder, record["name"], model, store, split, history, record["settings"])


def environment() -> dict[str, Any]:
    """What a training ran on, for its record."""
    import keras

    from gtzan_keras.models.device import count_gpus

    backend, gpus = keras.backend.backend(), count_gpus()
    return {
        "python": platform.python_version(),
        "gtzan_keras": gtzan_keras.__version__,
        "keras": keras.__version__,
        backend: importlib.metadata.version(backend),
        "device": f"{gpus} GPU" if gpus else f"CPU ({platform.machine()})",
        "cores": os.cpu_count(),
    }
