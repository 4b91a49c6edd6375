"""The store of spectrograms: ``spectrograms`` is uint8 (sample, height, width, channel)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, Store, pack

__all__ = ["SpectrogramStore"]


class SpectrogramStore(Store):
    """A complete store of spectrograms, open for reading. Make one with `preprocess` or `from_arrays`.

    Parameters and errors are those of `gtzan_keras.store.base.Store`.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore
    >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
    >>> images = np.zeros((2, 8, 8), dtype="uint8")
    >>> path = os.path.join(tempfile.mkdtemp(), "tiny.h5")
    >>> store = SpectrogramStore.from_arrays(path, images, ["rock.00000", "pop.00000"], spec)
    >>> store.shape, store.genres, store.genre.tolist()
    ((2, 8, 8, 1), ['pop', 'rock'], ['rock', 'pop'])
    """

    dataset, dtype, spec_type = "spectrograms", np.dtype("uint8"), SpectrogramSpec
    spec: SpectrogramSpec

    @staticmethod
    def _packed(track_id: str, arrays: list[npt.NDArray[Any]], spec: Any) -> Sample:
        images = [array[..., None] if array.ndim == 2 else array for array in arrays]
        for image in images:
            if image.dtype != np.uint8 or image.shape != spec.shape:
                raise GtzanKerasError(
                    f"an image of {track_id} is {image.dtype} {image.shape}; expected uint8 {spec.shape}, "
                    f"the shape of spec {spec.name!r}"
                )
        return Sample(track_id, pack(images))
