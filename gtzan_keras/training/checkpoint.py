"""A training's state after each epoch, to continue from."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from gtzan_keras.store.files import replacing

__all__ = ["Checkpoint", "fingerprint"]

logger = logging.getLogger(__name__)

_COUNTERS = (int, float, type(None))  # what is kept of other callbacks, besides weights


class Checkpoint(keras.callbacks.Callback):
    """Keep a training's state in one file, so that it continues after an interruption as if there were none.

    The state consists of weights, random seeds, the optimizer, counters and best weights of other callbacks,
    and the history so far. Keras' ``BackupAndRestore`` keeps weights and optimizer only. The file is
    replaced in one step.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        Identifies the training; a file with another key is ignored. Without one, only the history is kept,
        and an old file is removed.
    watched : sequence of keras.callbacks.Callback
        Callbacks whose counters are kept too; they come before this one in ``fit``'s list.
    """

    def __init__(self, path: Path, key: str, watched: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__()
        self.path, self.key, self.watched = path, key, watched
        self.rows: list[dict[str, float]] = []
        self.stopped = False
        self._earlier_seconds, self._begin = 0.0, time.perf_counter()
        self._counters: list[dict[str, Any]] = []
        self._arrays: list[npt.NDArray[Any]] = []
        if not key:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self._read()

    def seconds(self) -> float:
        """Return the duration of the training so far."""
        return self._earlier_seconds + time.perf_counter() - self._begin

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the state; by now the other callbacks have reset their counters."""
        if not self._arrays:
            return
        self.model.optimizer.build(self.model.trainable_variables)
        variables = self._variables()
        for variable, value in zip(variables, self._arrays, strict=False):
            variable.assign(value)
        for callback, counters in zip(self.watched, self._counters, strict=True):
            vars(callback).update(counters)
            if hasattr(callback, "best_weights"):
                callback.best_weights = self._arrays[len(variables) :] or None
        self._arrays = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write the file."""
        self.rows.append({name: float(value) for name, value in (logs or {}).items()})
        if not self.key:
            return
        state = {
            "key": self.key,
            "rows": self.rows,
            "stopped": self.model.stop_training,
            "seconds": self.seconds(),
            "callbacks": [
                {name: value for name, value in vars(callback).items() if isinstance(value, _COUNTERS)}
                for callback in self.watched
            ],
        }
        arrays = [*map(keras.ops.convert_to_numpy, self._variables())]
        for callback in self.watched:  # only one of them keeps weights
            arrays += getattr(callback, "best_weights", None) or []
        # NumPy's files have no bfloat16.
        arrays = [array.astype("float32") if array.dtype.kind == "V" else array for array in arrays]
        with replacing(self.path) as temporary:
            np.savez(temporary, np.array(json.dumps(state)), *arrays)

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _read(self) -> None:
        try:
            with open(self.path, "rb") as raw, np.load(raw) as file:  # np.load leaves a damaged file open
                state = json.loads(str(file["arr_0"]))
                arrays = [file[f"arr_{number}"] for number in range(1, len(file.files))]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("%s: not readable (%s); training starts again", self.path, error)
            return
        if state["key"] != self.key:
            logger.warning("%s: made by another training; training starts again", self.path)
            return
        self.rows, self.stopped, self._earlier_seconds = state["rows"], state["stopped"], state["seconds"]
        self._counters, self._arrays = state["callbacks"], arrays
        logger.info("%s: continuing after epoch %d", self.path, len(self.rows))


def fingerprint(model: keras.Model, *facts: Any) -> str:
    """Return a SHA-256 of a model's graph without its names, of its weights, and of further facts.

    Keras numbers automatic names within a session: two builds of one model differ in them.

    Examples
    --------
    >>> import keras
    >>> from gtzan_keras.training.checkpoint import fingerprint
    >>> inputs = [keras.Input((3,)) for _ in range(2)]
    >>> one, other = (keras.Model(x, keras.layers.Dense(2, kernel_initializer="ones")(x)) for x in inputs)
    >>> fingerprint(one) == fingerprint(other), fingerprint(one) == fingerprint(one, "more")
    (True, False)
    """
    text = model.to_json()
    parts = getattr(model, "operations", model.layers)
    for number, name in enumerate([model.name, *(part.name for part in parts)]):
        text = text.replace(f'"{name}"', f'"{number}"')
    digest = hashlib.sha256(text.encode())
    for array in model.get_weights():
        digest.update(array.tobytes())
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    return digest.hexdigest()
