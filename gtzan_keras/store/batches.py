"""Batches of a store for Keras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError

if TYPE_CHECKING:
    from gtzan_keras.store.spectrograms import SpectrogramStore

__all__ = ["IN_MEMORY_BYTES", "STRONG_AUGMENTATION", "Augmentation", "Batches"]

IN_MEMORY_BYTES = 2**30
"""Stores up to this size (unpacked) are held in memory by `SpectrogramStore.batches`."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to training pictures, drawn anew for each sample each time.

    Parameters
    ----------
    crop : int >= 0 [pixels]
        Take a segment of so many columns, at a random place; 0 for the whole picture. For models that
        take any width. The rest is then done to the segment.
    time_shift : bool
        Turn the picture round in time by any amount: what leaves on the right comes in on the left.
    time_stretch : float in [0, 1)
        Play up to this share faster or slower; what is then missing at the end comes from the start.
    band_shift : int >= 0
        Move the picture up or down by up to so many bands.
    tone : float in [0, 1)
        Change contrast by up to this share, loudness by up to 0.4 of it (in units of the picture's
        range), and the balance of low and high bands by up to 0.5 of it, as another recording would.
    noise : float >= 0
        Add Gaussian noise of this standard deviation (in units of the picture's range), as Zhang does
        to the sound.
    masks : int >= 0
        SpecAugment: so many blocks of bands and as many of frames take the picture's mean.
    mask_share : float in [0, 1]
        Each block is up to this share of the picture high or wide.
    mixup : float >= 0
        Mix each sample and its label with another of the batch, by a share drawn from
        Beta(mixup, mixup); 0 for none.

    References
    ----------
    Park et al., "SpecAugment", Interspeech 2019 (arXiv:1904.08779). Zhang et al., "mixup: Beyond
    Empirical Risk Minimization", ICLR 2018 (arXiv:1710.09412).

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.store.batches import Augmentation
    >>> images, labels = np.ones((2, 4, 6, 1), "float32"), np.eye(2, dtype="float32")
    >>> mixed = Augmentation(mixup=0.3)(images, labels, np.random.default_rng(0))[1]
    >>> mixed.sum(axis=1).tolist()
    [1.0, 1.0]
    """

    crop: int = 0
    time_shift: bool = False
    time_stretch: float = 0.0
    band_shift: int = 0
    tone: float = 0.0
    noise: float = 0.0
    masks: int = 0
    mask_share: float = 0.15
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for field, good in (
            ("crop", self.crop >= 0),
            ("time_stretch", 0 <= self.time_stretch < 1),
            ("band_shift", self.band_shift >= 0),
            ("tone", 0 <= self.tone < 1),
            ("noise", self.noise >= 0),
            ("masks", self.masks >= 0),
            ("mask_share", 0 <= self.mask_share <= 1),
            ("mixup", self.mixup >= 0),
        ):
            if not good:
                raise GtzanKerasError(f"augmentation: {field} is {getattr(self, field)}, out of range")

    def __call__(
        self,
        images: npt.NDArray[np.float32],
        labels: npt.NDArray[np.float32],
        random: np.random.Generator,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Augment one batch (batch, height, width, channels) with its labels (batch, classes)."""
        if self.crop and self.crop < images.shape[2]:
            starts = random.integers(images.shape[2] - self.crop + 1, size=len(images))
            images = np.stack(
                [image[:, start : start + self.crop] for image, start in zip(images, starts, strict=True)]
            )
        else:
            images = images.copy()
        height, width = images.shape[1:3]
        for image in images:
            if self.time_shift:
                image[:] = np.roll(image, random.integers(width), axis=1)
            if self.time_stretch:
                speed = random.uniform(1 - self.time_stretch, 1 + self.time_stretch)
                image[:] = image[:, (np.arange(width) * speed).astype(int) % width]
            if self.band_shift:
                shift = random.integers(-self.band_shift, self.band_shift + 1)
                image[:] = image[np.clip(np.arange(height) + shift, 0, height - 1)]
            if self.tone:
                contrast, loudness, tilt = self.tone * random.uniform(-1, 1, size=3) * (1, 0.4, 0.5)
                middle = image.mean()
                balance = np.linspace(-tilt, tilt, height, dtype=np.float32)[:, None, None]
                image[:] = np.clip((image - middle) * (1 + contrast) + middle + loudness + balance, 0, 1)
            if self.noise:
                image += random.normal(0, self.noise, size=image.shape).astype(np.float32)
                np.clip(image, 0, 1, out=image)
            mean = image.mean(axis=(0, 1))
            for _ in range(self.masks):
                bands = random.integers(int(height * self.mask_share) + 1)
                frames = random.integers(int(width * self.mask_share) + 1)
                band, frame = random.integers(height - bands + 1), random.integers(width - frames + 1)
                image[band : band + bands] = mean
                image[:, frame : frame + frames] = mean
        if self.mixup:
            share = random.beta(self.mixup, self.mixup, size=len(images)).astype(np.float32)
            other = random.permutation(len(images))
            weight = share[:, None, None, None]
            images = weight * images + (1 - weight) * images[other]
            labels = share[:, None] * labels + (1 - share[:, None]) * labels[other]
        return images, labels


STRONG_AUGMENTATION = Augmentation(
    time_shift=True, time_stretch=0.2, band_shift=6, tone=0.2, masks=2, mixup=0.4
)
"""What the command line's ``--augment`` does. Chosen on the fault-filtered validation part of GTZAN."""


class Batches(keras.utils.PyDataset):
    """Images and one-hot labels of some tracks, a batch at a time.

    Small stores are held in memory as uint8; larger ones are read from the file as they are needed,
    so that memory stays flat.

    Parameters
    ----------
    store : SpectrogramStore
        Where the pictures are.
    track_ids : sequence of str
        Whose samples.
    batch_size : int > 0
        The last batch may be smaller.
    shuffle : bool
        A new order each epoch.
    seed : int
        For the order.
    augmentation : Augmentation, optional
        What is done to the pictures; the same for the same seed and epoch.
    in_memory : bool, optional
        Hold the pictures in memory; decided by their size when left out.
    **options
        ``workers``, ``use_multiprocessing``, ``max_queue_size`` of `keras.utils.PyDataset`.

    Raises
    ------
    GtzanKerasError
        A track is not in the store, or there is none at all, or `batch_size` is below 1.

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
        store: SpectrogramStore,
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
            raise GtzanKerasError(f"batch_size is {batch_size}; expected a whole number above 0")
        self.store, self.batch_size, self.shuffle, self.seed = store, batch_size, shuffle, seed
        self.augmentation = augmentation
        self.rows = store.rows(track_ids)
        if not len(self.rows):
            raise GtzanKerasError(f"{store.path}: no sample of the {len(track_ids)} tracks asked for")
        codes = {genre: code for code, genre in enumerate(store.genres)}
        self.labels = np.array([codes[genre] for genre in store.genre[self.rows]])
        size = len(self.rows) * int(np.prod(store.spec.shape))
        hold = size <= IN_MEMORY_BYTES if in_memory is None else in_memory
        self.held: npt.NDArray[np.uint8] | None = store.read(self.rows) if hold else None
        self._one_hot = np.eye(len(store.genres), dtype=np.float32)
        self.epoch = 0
        self._order = self._draw_order()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        places, labels = self.places(index)
        pictures = self.store.read(self.rows[places]) if self.held is None else self.held[places]
        images = self.store.as_input(pictures)
        if self.augmentation is None:
            return images, labels
        random = np.random.default_rng((self.seed, self.epoch, index))
        return self.augmentation(images, labels, random)

    def places(self, index: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Where a batch's samples stand in `rows`, `labels` and `held`; and their one-hot labels."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        places = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return places, self._one_hot[self.labels[places]]

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.epoch += 1
        self._order = self._draw_order()

    def _draw_order(self) -> npt.NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(len(self.rows))
        return np.random.default_rng((self.seed, self.epoch)).permutation(len(self.rows))
