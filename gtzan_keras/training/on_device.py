"""Pictures that lie on the device as uint8: a training step fetches them by number and scales them there."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.store.batches import Batches
from gtzan_keras.training.precision import count_gpus

__all__ = ["PlacedBatches", "obstacle", "on_device"]


def obstacle(*parts: Batches) -> str:
    """Why these batches can not lie on the device; nothing where they can.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore
    >>> from gtzan_keras.training.on_device import obstacle
    >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
    >>> images, path = np.zeros((1, 8, 8), "uint8"), f"{tempfile.mkdtemp()}/tiny.h5"
    >>> store = SpectrogramStore.from_arrays(path, images, ["pop.00000"], spec)
    >>> obstacle(store.batches(["pop.00000"], in_memory=False))
    'the pictures are too many to be held in memory'
    """
    if keras.backend.backend() != "tensorflow":
        return f"Keras runs on {keras.backend.backend()}, not on TensorFlow"
    if any(part.augmentation is not None for part in parts):
        return "augmentation changes the pictures before they get there"
    if not all(isinstance(part.store.spec, SpectrogramSpec) for part in parts):
        return "these are no pictures of a store"
    if any(part.held is None for part in parts):
        return "the pictures are too many to be held in memory"
    return ""


def on_device(model: keras.Model, *parts: Batches) -> tuple[keras.Model, list[PlacedBatches]]:
    """Put the pictures of some batches on the device, and a model there that takes their numbers.

    What travels in a step is a number and a label a sample, where it was a float32 picture.

    Parameters
    ----------
    model : keras.Model
        Takes pictures 0..1.
    *parts : Batches
        Without an `obstacle`: training, validation.

    Returns
    -------
    (keras.Model, list of PlacedBatches)
        A model of the model's own layers and weights, and what it takes in place of `parts`: the same
        samples in the same order.

    Examples
    --------
    >>> from gtzan_keras.training.on_device import on_device
    >>> trainee, (training, validation) = on_device(model, training, validation)  # doctest: +SKIP
    >>> trainee.fit(training, validation_data=validation, shuffle=False)  # doctest: +SKIP
    """
    pictures = [part.held for part in parts if part.held is not None]
    firsts = np.cumsum([0, *map(len, pictures)])
    rows = keras.Input((), dtype="int32", name="row")
    outputs = model(_Pictures(np.concatenate(pictures))(rows))
    placed = [PlacedBatches(part, int(first)) for part, first in zip(parts, firsts, strict=False)]
    return keras.Model(rows, outputs, name=model.name), placed


class PlacedBatches(keras.utils.PyDataset):
    """Row numbers and one-hot labels of `Batches`, a batch at a time.

    Parameters
    ----------
    batches : Batches
        Whose order and labels.
    first : int
        Where on the device its pictures begin.
    """

    def __init__(self, batches: Batches, first: int) -> None:
        super().__init__()
        self.batches, self.first = batches, first

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        places, labels = self.batches.places(index)
        return (self.first + places).astype(np.int32), labels

    def on_epoch_end(self) -> None:
        """As `Batches.on_epoch_end`."""
        self.batches.on_epoch_end()


class _Pictures(keras.layers.Layer):
    """Row numbers to pictures 0..1. No weight of a model: it is neither trained nor kept nor saved."""

    def __init__(self, pictures: npt.NDArray[np.uint8], **options: Any) -> None:
        import tensorflow as tf

        super().__init__(dtype="float32", trainable=False, **options)
        with tf.device("GPU:0" if count_gpus() else "CPU:0"):
            # A variable, for TensorFlow fetches rows of a uint8 constant on the CPU only.
            self._pictures = tf.Variable(pictures, trainable=False)

    def call(self, rows: Any) -> Any:
        """As `SpectrogramStore.as_input`."""
        import tensorflow as tf

        return tf.cast(tf.gather(self._pictures, rows), tf.float32) * np.float32(1 / 255)

    def get_config(self) -> dict[str, Any]:
        """Nothing of the pictures: TensorBoard wants a model's graph."""
        return {"name": self.name, "dtype": "float32"}
