"""Random changes to training spectrograms."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError

__all__ = ["STRONG_AUGMENTATION", "Augmentation", "FeatureAugmentation"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training spectrograms, drawn independently for each sample and epoch.

    Parameters
    ----------
    crop : int >= 0 [columns]
        Take a segment of this many columns at a random position; 0 keeps the whole spectrogram. Needs a
        model that accepts any width. The other changes are applied to the segment.
    time_shift : bool
        Rotate the spectrogram in time by a random amount: what leaves on the right enters on the left.
    time_stretch : float in [0, 1)
        Play up to this share faster or slower; a missing end is filled from the start.
    band_shift : int >= 0 [bands]
        Shift the spectrogram up or down by up to this many bands.
    tone : float in [0, 1)
        Change contrast by up to this share, loudness by up to 0.4 of it (in units of the spectrogram's
        range), and the balance of low and high bands by up to 0.5 of it, as another recording would.
    noise : float >= 0
        Standard deviation of added Gaussian noise (in units of the spectrogram's range); Zhang adds noise
        to the sound.
    masks : int >= 0
        SpecAugment: number of blocks of bands, and of frames, replaced by the spectrogram's mean.
    mask_share : float in [0, 1]
        Largest height or width of a block, as a share of the spectrogram's.
    mixup : float >= 0
        Mix each sample and its label with another of the batch, with a share drawn from
        Beta(mixup, mixup); 0 for none.

    Raises
    ------
    GtzanKerasError
        A field has the wrong type or is out of range.

    References
    ----------
    Park et al., "SpecAugment", Interspeech 2019 (arXiv:1904.08779). Zhang et al., "mixup: Beyond
    Empirical Risk Minimization", ICLR 2018 (arXiv:1710.09412).

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.store.augmentation import Augmentation
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

    of_features = False  # no field: see `FeatureAugmentation`

    def __post_init__(self) -> None:
        below_one, finite = math.nextafter(1, 0), sys.float_info.max
        for field, kind, highest, expected in (
            ("time_shift", bool, True, "True or False"),
            ("crop", int, finite, "a whole number >= 0"),
            ("band_shift", int, finite, "a whole number >= 0"),
            ("masks", int, finite, "a whole number >= 0"),
            ("time_stretch", int | float, below_one, "0 <= time_stretch < 1"),
            ("tone", int | float, below_one, "0 <= tone < 1"),
            ("noise", int | float, finite, "a number >= 0"),
            ("mask_share", int | float, 1, "0 <= mask_share <= 1"),
            ("mixup", int | float, finite, "a number >= 0"),
        ):
            value = getattr(self, field)
            right_kind = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
            if not right_kind or not 0 <= value <= highest:
                raise GtzanKerasError(f"augmentation: {field}={value!r}: expected {expected}")

    def __str__(self) -> str:
        """Return the changes in words, as recipes and pages list them."""
        parts = {
            f"segments of {self.crop} columns": self.crop,
            "time shift": self.time_shift,
            f"up to {self.time_stretch:.0%} faster or slower": self.time_stretch,
            f"up to {self.band_shift} bands up or down": self.band_shift,
            f"tone changed by up to {self.tone:.0%}": self.tone,
            f"noise of {self.noise:g}": self.noise,
            f"{self.masks} masks": self.masks,
            f"mixup {self.mixup:g}": self.mixup,
        }
        return ", ".join(words for words, value in parts.items() if value) or "none"

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


@dataclass(frozen=True)
class FeatureAugmentation(Augmentation):
    """Random changes to the output of a model's frozen part, which is then computed only once per sample.

    Rows are groups of bands, columns groups of frames; `crop`, `tone` and `noise` are for spectrograms only.

    Parameters
    ----------
    of_features : True
        Marks it in records.

    References
    ----------
    Verma et al., "Manifold Mixup", ICML 2019 (arXiv:1806.05236).

    Examples
    --------
    >>> from gtzan_keras.store.augmentation import FeatureAugmentation
    >>> FeatureAugmentation(mixup=0.4).of_features
    True
    """

    of_features: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("crop", "tone", "noise"):
            if value := getattr(self, field):
                raise GtzanKerasError(
                    f"augmentation: {field}={value!r}: only for spectrograms, with values from 0 to 1; "
                    "omit it in FeatureAugmentation"
                )


STRONG_AUGMENTATION = Augmentation(
    time_shift=True, time_stretch=0.2, band_shift=6, tone=0.2, masks=2, mixup=0.4
)
"""What ``gtzan-keras train --augment`` applies. Chosen on the fault-filtered validation part of GTZAN."""
