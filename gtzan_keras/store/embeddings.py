"""The store of embeddings, VGGish's or another network's.

``embeddings`` is float32 (track, patch, size); ``mask`` is true where a patch is not padding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.spectrogram import Spec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, Store, StoreWriter, pack, refuse_duplicates, table_of

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
        A track with fewer is padded with zeros at its end, one with more is cut. 30 s are 31.
    size : int > 0
        Numbers a patch.
    trim : bool
        Silence at both ends was removed first (librosa's default: 60 dB below the loudest point).
    source : str
        The network: a Hub handle, or a name and the start of a checksum; its precision, when that
        is not float32.

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
        for field in ("patches", "size"):
            value = getattr(self, field)
            if type(value) is not int or value < 1:
                raise GtzanKerasError(
                    f"spec {self.name!r}: {field} is {value!r}; expected a whole number above 0"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one track: (patches, size)."""
        return self.patches, self.size


class EmbeddingsWriter(StoreWriter):
    """Write a store of embeddings, with the mask of what is not padding."""

    dataset, dtype = "embeddings", "float32"

    def __init__(self, path: str | os.PathLike[str], spec: EmbeddingSpec, tracks: pd.DataFrame) -> None:
        super().__init__(path, spec, tracks)
        self._patches: list[int] = []

    def append(self, sample: Sample) -> None:
        """Add one track, or note that it was refused."""
        super().append(sample)
        if not sample.refused:
            self._patches.append(sample.patches)

    def _finish(self) -> None:
        super()._finish()
        mask = np.arange(self.spec.shape[0]) < np.array(self._patches, dtype=int)[:, None]
        self._file.create_dataset("mask", data=mask)


class EmbeddingsStore(Store):
    """A complete store of embeddings, open for reading. Make one with `embed` or `from_arrays`.

    It works wherever a `SpectrogramStore` does: `train`, `evaluate`, `load_run`.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.

    Raises
    ------
    GtzanKerasError
        The file is missing, locked, damaged, not a store of embeddings, or made by a later version.

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

    dataset, dtype, spec_type = EmbeddingsWriter.dataset, np.dtype(EmbeddingsWriter.dtype), EmbeddingSpec
    spec: EmbeddingSpec

    def _read_head(self) -> None:
        super()._read_head()
        self._mask: npt.NDArray[np.bool_] = self._column("mask")[:].reshape(len(self), self.spec.patches)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """True where a patch is not padding (samples, patches)."""
        return self._mask[self._rows]

    def sample(self, track_id: str) -> Sample:
        """Return what the store holds of a track, packed for a `StoreWriter`. Not for several threads."""
        found = super().sample(track_id)
        return (
            found if found.refused else replace(found, patches=int(self.mask[self._rows_of[track_id]].sum()))
        )

    @classmethod
    def from_arrays(
        cls,
        path: str | os.PathLike[str],
        embeddings: Iterable[npt.NDArray[np.floating]],
        track_ids: Sequence[str],
        spec: EmbeddingSpec,
        genres: Sequence[str] | None = None,
    ) -> EmbeddingsStore:
        """Make a store from existing embeddings.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write; an existing one is replaced.
        embeddings : iterable of np.ndarray [shape=(patches, size)]
            One a track, with any number of patches; read one at a time.
        track_ids : sequence of str
            One a track.
        spec : EmbeddingSpec
            How they were made.
        genres : sequence of str, optional
            One a track; from GTZAN's facts by default.

        Returns
        -------
        EmbeddingsStore

        Raises
        ------
        GtzanKerasError
            Counts or shapes do not agree, a number is not finite, a genre is not known, or a track
            is duplicated.
        """
        ids = [str(track_id) for track_id in track_ids]
        refuse_duplicates(ids)
        with EmbeddingsWriter(path, spec, table_of(path, ids, genres)) as writer:
            source = iter(embeddings)
            for track_id, track in zip(ids, source, strict=False):
                writer.append(embedded(track_id, np.asarray(track), spec))
            if len(writer.rows) < len(ids) or next(source, None) is not None:
                raise GtzanKerasError(
                    f"{path}: {len(ids)} track ids, but not as many embeddings; expected one each"
                )
        return cls(path)


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
