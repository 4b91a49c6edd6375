"""The folder of a run: model, history, record."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import gtzan_keras
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.saving import load_model, save_model
from gtzan_keras.store.base import Store
from gtzan_keras.store.files import replacing, write_json
from gtzan_keras.store.open import open_store
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.results import NEAREST, RESULT, TRACKS
from gtzan_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    import keras

__all__ = ["Outcome", "Run", "load_run"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a training, besides the model.

    Parameters
    ----------
    epochs : int
        Epochs trained, over all stages.
    best_epoch : int
        The epoch whose weights were kept, from 1.
    seconds : float
        Training time of all stages.
    parameters : int
        Number of the model's parameters.
    precision : str
        Policy of the computation, "float32" or "mixed_bfloat16".
    frozen_part_cached : bool
        Whether the frozen part of the model was computed once per sample; see `gtzan_keras.training.frozen`.
    date : str
        Date of the training, ISO 8601.
    environment : mapping
        Versions and machine.
    first_stage : mapping, optional
        ``settings`` and ``outcome`` of the stage before; see `gtzan_keras.fine_tune`.
    """

    epochs: int
    best_epoch: int
    seconds: float
    parameters: int
    precision: str
    frozen_part_cached: bool
    date: str
    environment: Mapping[str, Any]
    first_stage: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Run:
    """One training: what went in, what came out, and the folder that holds it.

    Parameters
    ----------
    folder : Path
        Holds ``model.keras``, ``history.csv`` and ``run.json``; `evaluate` and the report add their files.
    name : str
        Its name in tables.
    model : keras.Model
        With its best weights, in float32, not compiled.
    store : Store
        The training data.
    split : Split
        Training, validation and test tracks.
    history : pd.DataFrame
        One row per epoch: ``epoch`` (from 1), ``loss``, ``accuracy``, ``macro_precision``, the same
        with ``val_`` when there is a validation part, ``learning_rate``; ``stage`` after `fine_tune`.
    settings : TrainingSettings
        How it was trained.
    outcome : Outcome
        Epochs, best epoch, seconds, environment, date.
    facts : mapping
        Further facts for the record: ``data`` (a name), ``builder``, ``arguments``, ``command``, ...

    See Also
    --------
    gtzan_keras.train : makes one.
    gtzan_keras.load_run : reads one.
    """

    folder: Path
    name: str
    model: keras.Model
    store: Store
    split: Split
    history: pd.DataFrame
    settings: TrainingSettings
    outcome: Outcome
    facts: Mapping[str, Any] = field(default_factory=dict)


def save_run(run: Run, key: str = "") -> None:
    """Write a run's folder; `key` identifies what it was made from, see `complete_run`."""
    record = {
        "name": run.name,
        "store": str(run.store.path.resolve()),
        "split": asdict(run.split),
        "settings": run.settings.to_dict(),
        "outcome": asdict(run.outcome),
        "facts": dict(run.facts),
        "key": key,
    }
    # The old files stay until all new ones are complete. run.json is last: if it exists, all are there.
    with replacing(run.folder / "run.json") as temporary, replacing(run.folder / "history.csv") as history:
        write_json(temporary, record)
        run.history.to_csv(history, index=False)
        save_model(run.model, run.folder / "model.keras", run.store.spec, run.store.genres)
    for name in (RESULT, TRACKS, NEAREST):  # of the model that was here before
        (run.folder / name).unlink(missing_ok=True)


def complete_run(folder: Path, key: str, store: Store) -> Run | None:
    """Return the run that a folder holds, if it is complete and has the same key."""
    try:
        found = json.loads((folder / "run.json").read_text("utf-8")).get("key")
    except (OSError, ValueError):
        return None
    if found == key:
        return load_run(folder, store)
    logger.warning("%s: holds another training, which is replaced when this one is complete", folder)
    return None


def load_run(folder: str | os.PathLike[str], store: Store | None = None) -> Run:
    """Open a run's folder.

    Parameters
    ----------
    folder : str or os.PathLike
        As `gtzan_keras.train` left it.
    store : Store, optional
        Needed if the store has moved.

    Returns
    -------
    Run

    Raises
    ------
    GtzanKerasError
        The folder holds no run, its store is missing, or the store has another spec or other genres
        than the model.

    Examples
    --------
    >>> from gtzan_keras import load_run
    >>> run = load_run("runs/first")  # doctest: +SKIP
    >>> run.split.name, run.settings.epochs  # doctest: +SKIP
    ('fault-filtered', 20)
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise GtzanKerasError(f"{folder}: run.json is missing, so this is not a run; make one with train()")
    try:
        record = json.loads((folder / "run.json").read_text("utf-8"))
        parts = {key: tuple(record["split"][key]) for key in ("train", "validation", "test")}
        split = Split(record["split"]["name"], **parts, leaky=record["split"]["leaky"])
        settings, outcome = TrainingSettings.from_dict(record["settings"]), Outcome(**record["outcome"])
        # as text first: before pandas 3 the last digit of a number could be read differently
        text = pd.read_csv(folder / "history.csv", dtype=str)
        history = text.astype({name: int if name in ("epoch", "stage") else float for name in text})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GtzanKerasError(
            f"{folder}: not a complete run ({type(error).__name__}: {error}); copy the whole folder, or "
            "train again"
        ) from error
    model, spec, genres = load_model(folder / "model.keras")
    if store is None:
        if not Path(record["store"]).is_file():
            raise GtzanKerasError(
                f"{folder}: its store {record['store']} is missing; move it back, or pass the store where it "
                'is now: load_run(folder, open_store("..."))'
            )
        store = open_store(record["store"])
    if set(genres) < set(store.genres):
        store = store.without(set(store.genres) - set(genres))
    if spec != store.spec or genres != store.genres:
        raise GtzanKerasError(
            f"{folder}: the model expects spec {spec.name!r} and genres {', '.join(genres)}, but "
            f"{store.path} has spec {store.spec.name!r} and genres {', '.join(store.genres)} "
            f"({spec.difference(store.spec)}); pass the store it was trained on"
        )
    return Run(folder, record["name"], model, store, split, history, settings, outcome, record["facts"])


def environment() -> dict[str, Any]:
    """Return the versions and the machine, for the record of a training."""
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
