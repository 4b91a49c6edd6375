"""Batches of a store for Keras."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.augmentation import Augmentation

if TYPE_CHECKING:
    import tensorflow as tf

    from gtzan_keras.store.base import Store

__all__ = ["IN_MEMORY_BYTES", "Batches", "EvenBatches", "tensorflow_dataset", "untuned"]

IN_MEMORY_BYTES = 2**30
"""Samples up to this size (unpacked) are held in memory by `Store.batches`."""


class Batches(keras.utils.PyDataset):
    """Samples and one-hot labels of some tracks, a batch at a time.

    Up to `IN_MEMORY_BYTES`, samples are held in memory as stored; larger sets are read from the file
    batch by batch, so that memory stays flat.

    Parameters
    ----------
    store : Store
        Where the samples are.
    track_ids : sequence of str
        The tracks to use, in any order: samples come in the store's, unless shuffled.
    batch_size : int > 0
        The last batch may be smaller.
    shuffle : bool
        A new order each epoch.
    seed : int
        Seed of the order.
    augmentation : Augmentation, optional
        Random changes to spectrograms; the same for the same seed and epoch.
    in_memory : bool, optional
        Hold the samples in memory; by default if they have at most `IN_MEMORY_BYTES`.
    **options
        ``workers``, ``use_multiprocessing``, ``max_queue_size`` of `keras.utils.PyDataset`.

    Raises
    ------
    GtzanKerasError
        A track is not in the store, or no sample is found; `batch_size` is below 1; or `augmentation`
        is for another kind of sample: embeddings have none, colours no ``tone`` or ``noise``.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore
    >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
    >>> path = os.path.join(tempfile.mkdtemp(), "tiny.h5")
    >>> ids = ["pop.00000", "rock.00000", "rock.00001"]
    >>> store = SpectrogramStore.from_arrays(path, np.full((3, 8, 8), 255, "uint8"), ids, spec)
    >>> batches = store.batches(ids, batch_size=2)
    >>> images, labels = batches[0]
    >>> len(batches), images.shape, float(images.max()), labels.tolist()
    (2, (2, 8, 8, 1), 1.0, [[1.0, 0.0], [0.0, 1.0]])
    """

    def __init__(
        self,
        store: Store,
        track_ids: Sequence[str],
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        in_memory: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if batch_size < 1:
            raise GtzanKerasError(f"batch_size={batch_size}: expected a whole number above 0")
        if augmentation is not None:
            _check_augmentation(augmentation, store)
        self.store, self.batch_size, self.shuffle, self.seed = store, batch_size, shuffle, seed
        self.augmentation = augmentation
        self.rows = store.rows(track_ids)
        if not len(self.rows):
            raise GtzanKerasError(f"{store.path}: no sample of the {len(track_ids)} requested tracks")
        self.labels = np.array([store.genres.index(genre) for genre in store.genre[self.rows]])
        if in_memory is None:
            size = len(self.rows) * int(np.prod(store.spec.shape)) * store.dtype.itemsize
            in_memory = size <= IN_MEMORY_BYTES
        self.held: npt.NDArray[Any] | None = store.read(self.rows) if in_memory else None
        self._one_hot = np.eye(len(store.genres), dtype=np.float32)
        self.epoch = 0
        self._order = self._draw_order()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        places = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        labels = self._one_hot[self.labels[places]]
        samples = self.store.read(self.rows[places]) if self.held is None else self.held[places]
        images = self.store.as_input(samples)
        if self.augmentation is None:
            return images, labels
        return self.augmentation(images, labels, np.random.default_rng((self.seed, self.epoch, index)))

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.epoch += 1
        self._order = self._draw_order()

    def _draw_order(self) -> npt.NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(len(self.rows))
        return np.random.default_rng((self.seed, self.epoch)).permutation(len(self.rows))


class EvenBatches(keras.utils.PyDataset):
    """Batches for several devices: each is filled up to a multiple of their number.

    Padding samples repeat others and have weight 0. In training the other samples of that batch weigh more,
    so that the mean over the batch is unchanged; in validation all samples of all batches weigh the same, so
    that the mean over all samples is unchanged.

    Parameters
    ----------
    batches : Batches
        Shuffled for training, else for validation.
    devices : int > 1
        Number of devices.
    class_weights : mapping of int to float, optional
        Further weights, by class.

    Examples
    --------
    >>> from gtzan_keras import datasets
    >>> from gtzan_keras.store.batches import EvenBatches
    >>> store = datasets.thumbnails()
    >>> batches = store.batches(list(store.track_id[:3]), 32, shuffle=True)
    >>> images, labels, weights = EvenBatches(batches, 2)[0]
    >>> len(images), (3 * weights).tolist()
    (4, [4.0, 4.0, 4.0, 0.0])
    """

    def __init__(
        self, batches: Batches, devices: int, class_weights: Mapping[int, float] | None = None
    ) -> None:
        super().__init__()
        self.batches, self.devices, self.class_weights = batches, devices, class_weights
        count, size = len(batches.rows), batches.batch_size
        filled = count // size * self._filled(size) + self._filled(count % size)
        self.weight = None if batches.shuffle else filled / count

    def _filled(self, size: int) -> int:
        return -(-size // self.devices) * self.devices

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], ...]:
        images, labels = self.batches[index]
        size = len(images)
        filled = self._filled(size)
        weights = np.zeros(filled, np.float32)
        weights[:size] = filled / size if self.weight is None else self.weight
        if self.class_weights:
            weights[:size] *= [self.class_weights[label] for label in labels.argmax(axis=1).tolist()]
        places = np.arange(filled) % size
        return images[places], labels[places], weights

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.batches.on_epoch_end()


def tensorflow_dataset(batches: Batches | EvenBatches) -> tf.data.Dataset:
    """Return batches as a data set of TensorFlow, for `fit` and `predict`; see `untuned`.

    It does not call ``on_epoch_end``; whoever wants a new order in each epoch does, in a callback.

    Parameters
    ----------
    batches : Batches or EvenBatches
        What to read; one batch is read ahead.

    Returns
    -------
    tf.data.Dataset
        The same arrays, in the order of the batches' epoch.

    Examples
    --------
    >>> from gtzan_keras import datasets
    >>> from gtzan_keras.store.batches import tensorflow_dataset
    >>> store = datasets.thumbnails()
    >>> data = tensorflow_dataset(store.batches(list(store.track_id[:40]), 32))
    >>> [tuple(images.shape) for images, labels in data]
    [(32, 64, 64, 1), (8, 64, 64, 1)]
    """
    import tensorflow as tf

    data = untuned(lambda: (batches[index] for index in range(len(batches))), batches[0])
    return data.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(1)


def untuned(generator: Callable[[], Iterator[Any]], example: Any) -> tf.data.Dataset:
    """Return what a generator gives as a data set of TensorFlow with autotuning off.

    Given batches or a generator, Keras makes a data set with autotuning on. When such a data set is no longer
    used, as at the end of an epoch, TensorFlow 2.21 mostly waits for the autotuning thread, which sleeps 10
    ms, 20 ms, 40 ms and so on: up to as long again as the epoch took. There is nothing to tune here.

    Parameters
    ----------
    generator : callable
        Returns a new iterator over batches.
    example : nested arrays
        A batch; others may have another number of samples.

    Returns
    -------
    tf.data.Dataset
        The batches, as tensors.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.store.batches import untuned
    >>> data = untuned(lambda: iter([np.zeros((2, 3)), np.zeros((1, 3))]), np.zeros((2, 3)))
    >>> [tuple(batch.shape) for batch in data]
    [(2, 3), (1, 3)]
    """
    import tensorflow as tf

    signature = keras.tree.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), example
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    source = [generator]

    def batches() -> Iterator[Any]:
        yield from source[0]()

    data = tf.data.Dataset.from_generator(batches, output_signature=signature).with_options(options)
    # TensorFlow keeps `batches` as long as the process lives; what it reads may be large. Iterators keep
    # `data` as long as they need it, but for one that was made in a function of a graph.
    if tf.executing_eagerly():
        weakref.finalize(data, source.clear)
    return data


def _check_augmentation(augmentation: Augmentation, store: Store) -> None:
    if len(store.spec.shape) != 3:
        raise GtzanKerasError(
            f"augmentation applies to spectrograms only, but {store.path.name} holds embeddings; set "
            "augmentation=None"
        )
    if store.spec.shape[-1] == 3 and (augmentation.tone or augmentation.noise):
        raise GtzanKerasError(
            f"augmentation: tone={augmentation.tone}, noise={augmentation.noise}: they change levels, but "
            f"{store.path.name} holds colours; use dataclasses.replace(augmentation, tone=0, noise=0)"
        )
