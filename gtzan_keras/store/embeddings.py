"""The store of embeddings, VGGish's or another network's.

``embeddings`` is float32 (track, patch, size); ``mask`` is true where a patch is not padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gtzan_keras.audio.spectrogram import Spec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, Store, pack

__all__ = ["HUB_HANDLE", "EmbeddingSpec", "EmbeddingsStore"]

HUB_HANDLE = "https://tfhub.dev/google/vggish/1"
"""VGGish at TensorFlow Hub: a waveform at 16 kHz in, (patches, 128) out."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec(Spec):
    """How sound becomes embeddings. Two stores, or a store and a model, fit when their specs are equal.

    Parameters
    ----------
    name : str
        Its name in tables.
    patches : int > 0
        A track with fewer is padded with zeros at its end, one with more is cut. 30 s give 31.
    size : int > 0
        Numbers per patch.
    trim : bool
        Silence at both ends was removed first (librosa's default: 60 dB below the loudest point).
    source : str
        The network: a Hub handle, or a name and the start of a checksum; also its precision, if
        that is not float32.

    Raises
    ------
    GtzanKerasError
        A number is not above 0.

    Examples
    --------
    >>> from gtzan_keras.store.embeddings import EmbeddingSpec
    >>> EmbeddingSpec(name="vggish").shape
    (31, 128)
    """

    name: str
    patches: int = 31
    size: int = 128
    trim: bool = False
    source: str = HUB_HANDLE

    def __post_init__(self) -> None:
        self._check_whole_numbers("patches", "size")
        self._check_size("patches", "size")

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one track: (patches, size)."""
        return self.patches, self.size


class EmbeddingsStore(Store):
    """A complete store of embeddings, open for reading. Make one with `embed` or `from_arrays`.

    It works wherever a `SpectrogramStore` does: `train`, `evaluate`, `load_run`.

    Parameters and errors are those of `gtzan_keras.store.base.Store`.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> from gtzan_keras.store.embeddings import EmbeddingSpec, EmbeddingsStore
    >>> path = os.path.join(tempfile.mkdtemp(), "tiny.h5")
    >>> of_two_tracks = [np.ones((3, 8)), np.ones((5, 8))]
    >>> spec = EmbeddingSpec(name="tiny", patches=4, size=8)
    >>> store = EmbeddingsStore.from_arrays(path, of_two_tracks, ["rock.00000", "pop.00000"], spec)
    >>> store.shape, store.mask.sum(axis=1).tolist()
    ((2, 4, 8), [3, 4])
    """

    dataset, dtype, spec_type = "embeddings", np.dtype("float32"), EmbeddingSpec
    spec: EmbeddingSpec

    def _read_head(self) -> None:
        super()._read_head()
        mask = self._dataset("mask")[:].reshape(-1, self.spec.patches)
        self.mask: npt.NDArray[np.bool_] = mask[self._rows]
        """True where a patch is not padding (samples, patches)."""

    def sample(self, track_id: str) -> Sample:
        """Return what the store holds of a track, packed for a `StoreWriter`. Not thread-safe."""
        found = super().sample(track_id)
        if found.refused:
            return found
        return replace(found, patches=int(self.mask[self._rows_of[track_id]].sum()))

    @staticmethod
    def _packed(track_id: str, arrays: list[npt.NDArray[Any]], spec: Any) -> Sample:
        if len(arrays) > 1:
            raise GtzanKerasError(f"track_id {track_id!r} is duplicated; expected one array per track")
        return embedded(track_id, arrays[0], spec)


def embedded(
    track_id: str, embeddings: npt.NDArray[np.floating], spec: EmbeddingSpec, md5: str = ""
) -> Sample:
    """Pad or cut, check and pack one track's embeddings (patches, size)."""
    patches, size = spec.shape
    if embeddings.ndim != 2 or embeddings.shape[1] != size or not len(embeddings):
        raise GtzanKerasError(
            f"{track_id}: embeddings of shape {embeddings.shape}; expected (patches, {size}), one or more"
        )
    if not np.isfinite(embeddings).all():
        raise GtzanKerasError(f"{track_id}: its embeddings hold NaN or infinite numbers")
    padded = np.zeros(spec.shape, dtype=np.float32)
    padded[: len(embeddings)] = embeddings[:patches]
    return Sample(track_id, pack([padded]), md5, patches=min(len(embeddings), patches))
