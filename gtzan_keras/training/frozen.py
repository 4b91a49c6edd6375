"""Transfer learning: the output of a frozen base is computed once per sample and kept in a file."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from gtzan_keras import datasets
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.layers import all_layers
from gtzan_keras.store.base import Store
from gtzan_keras.store.batches import Batches
from gtzan_keras.store.files import replacing
from gtzan_keras.training.checkpoint import fingerprint

__all__ = ["FrozenFeatures", "frozen_part"]

logger = logging.getLogger(__name__)

_SAMPLES_A_STEP = 32
_LARGEST = 2  # values kept per sample, as a multiple of the sample's own


def frozen_part(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Cut a model in two where its frozen part ends.

    The frozen part is the longest one from the input to a single tensor in which nothing is trained and
    nothing is random, and whose output is at most twice as large as the sample: VGG16 up to its end, but
    not its first blocks alone.

    Parameters
    ----------
    model : keras.Model
        Built by Keras' functional API.

    Returns
    -------
    (keras.Model, keras.Model) or None
        Frozen part and the rest, both of the model's own layers; None when there is no frozen part with
        weights, or no rest to train.

    Examples
    --------
    >>> from gtzan_keras.models.image_bases import vgg16
    >>> from gtzan_keras.training.frozen import frozen_part
    >>> base, head = frozen_part(vgg16((32, 32, 1), weights=None))
    >>> base.output_shape, head.count_params()
    ((None, 512), 135946)
    """
    if not hasattr(model, "operations") or len(model.inputs) != 1 or not model.trainable_weights:
        return None
    if None in model.inputs[0].shape[1:]:  # any length: the size of the output is unknown
        return None
    fixed = {id(model.inputs[0])}
    ends = []
    for operation in model.operations:  # in the order of the graph
        if isinstance(operation, keras.layers.InputLayer) or not _is_fixed(operation):
            continue
        if all(id(tensor) in fixed for tensor in keras.tree.flatten(operation.input)):
            outputs = keras.tree.flatten(operation.output)
            fixed.update(id(tensor) for tensor in outputs)
            ends += outputs
    largest = _LARGEST * np.prod(model.inputs[0].shape[1:])
    for end in reversed([end for end in ends if np.prod(end.shape[1:]) <= largest]):
        try:
            base, head = keras.Model(model.inputs[0], end), keras.Model(end, model.outputs[0])
        except ValueError:  # another path bypasses it
            continue
        if sum(isinstance(layer, keras.layers.InputLayer) for layer in head.layers) > 1:
            continue  # the same, but Keras 3.13 raises nothing
        return (base, head) if base.weights else None
    return None


def _is_fixed(operation: Any) -> bool:
    """Return whether equal inputs give equal outputs, during training and after any training."""
    if not isinstance(operation, keras.layers.Layer):
        return True  # a plain operation, such as flip
    parts = all_layers(operation)
    return (
        not operation.trainable_weights
        and len(operation.variables) == len(operation.weights)  # the others are random seeds
        and not any(isinstance(part, keras.layers.BatchNormalization) and part.trainable for part in parts)
    )


class FrozenFeatures:
    """The output of a frozen base for a store's samples, in a file, to train the rest of the model on.

    Each sample is computed once, when a training first needs it. The file's name holds a checksum of the
    store, the base and its weights; it is written to a temporary name and renamed when complete.

    Parameters
    ----------
    base : keras.Model
        From `frozen_part`.
    store : Store
        The samples.
    track_ids : sequence of str
        Tracks whose features are needed; features in the file of other tracks are kept.
    folder : str or os.PathLike, optional
        Folder of the file; by default the store's, or the user's cache for the packaged thumbnails.

    Raises
    ------
    GtzanKerasError
        The folder cannot be written to.

    Examples
    --------
    >>> from gtzan_keras.training.frozen import FrozenFeatures, frozen_part
    >>> base, head = frozen_part(model)  # doctest: +SKIP
    >>> FrozenFeatures(base, store, split.train).batches(split.train)[0][0].shape  # doctest: +SKIP
    (32, 512)
    """

    dtype = np.dtype("float32")

    def __init__(
        self,
        base: keras.Model,
        store: Store,
        track_ids: Sequence[str],
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.store, self.genres, self.genre, self.rows = store, store.genres, store.genre, store.rows
        self.spec = SimpleNamespace(shape=tuple(base.output_shape[1:]))
        key = fingerprint(base, store.checksum)
        if folder is None:  # never write into the installed package
            packaged = store.path == datasets.THUMBNAILS
            folder = datasets.cache_folder() if packaged else store.path.parent
        self.path = Path(folder) / f"{store.path.stem}-frozen-{key[:16]}.h5"
        wanted = store.rows(track_ids)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while len(missing := wanted[~self._open()[wanted]]):  # again, if another process wrote meanwhile
                self._compute(base, missing)
        except OSError as error:
            raise GtzanKerasError(
                f"{self.path}: cannot write the frozen base's output ({error}); name another folder with "
                "cache_frozen=..., or train without it: cache_frozen=False"
            ) from error

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return features by row number, in the given order."""
        out = np.empty((len(rows), *self.spec.shape), np.float32)
        order = np.argsort(rows)  # the order that HDF5 needs
        out[order] = self._file["features"][rows[order]]
        return out

    def as_input(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return features unchanged: the head takes them as is."""
        return samples

    def batches(self, track_ids: Sequence[str], batch_size: int = 32, **options: Any) -> Batches:
        """Return batches, as `Store.batches`, in the same order."""
        return Batches(self, track_ids, batch_size, **options)  # type: ignore[arg-type]

    def _open(self) -> npt.NDArray[np.bool_]:
        """Open the file, if it exists, and return which rows it has."""
        if self.path.exists():
            try:
                self._file = h5py.File(self.path)
                return self._file["there"][:]
            except (OSError, KeyError) as error:
                logger.warning("%s: not readable (%s); computing it again", self.path, error)
                self.path.unlink()
        return np.zeros(len(self.store), bool)

    def _compute(self, base: keras.Model, missing: npt.NDArray[np.int64]) -> None:
        """Write a new file: the rows of the old one, and the missing ones."""
        # The open old file stays readable; two trainings may write at once.
        with replacing(self.path) as temporary:
            if self.path.is_file():
                shutil.copyfile(self.path, temporary)
            shape = (len(self.store), *self.spec.shape)
            with h5py.File(temporary, "a") as file:
                features = file.require_dataset("features", shape, "float32", chunks=(1, *shape[1:]))
                there = file.require_dataset("there", shape[:1], "bool")
                with tqdm(total=len(missing), desc="frozen base", unit="sample", disable=None) as bar:
                    for first in range(0, len(missing), _SAMPLES_A_STEP):
                        rows = missing[first : first + _SAMPLES_A_STEP]
                        samples = self.store.as_input(self.store.read(rows))
                        features[rows] = np.asarray(base.predict_on_batch(samples), np.float32)
                        there[rows] = True
                        bar.update(len(rows))
        logger.info("%s: computed the frozen base's output for %d samples", self.path, len(missing))
