"""Tracks to a store of embeddings: VGGish's, or those of any network that stands in for it.

The file is laid out as that of `SpectrogramStore`, with ``embeddings``, float32 (track, patch, size),
in place of ``spectrograms``, and ``mask``, true where a patch is one of the track's and not padding.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.spectrograms import Sample, SpectrogramStore, StoreWriter, pack, table_of

if TYPE_CHECKING:
    from gtzan_keras.store.batches import Batches

__all__ = ["HUB_HANDLE", "EmbeddingSpec", "EmbeddingsStore"]

HUB_HANDLE = "https://tfhub.dev/google/vggish/1"
"""VGGish at TensorFlow Hub: a waveform at 16 kHz in, (patches, 128) out."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """How sound becomes embeddings. Two stores, or a store and a model, fit when their specs are equal.

    Parameters
    ----------
    name : str
        What tables call it.
    patches : int > 0
        A track of fewer is padded with zeros at its end, one of more is cut. 30 s are 31.
    size : int > 0
        Numbers a patch.
    trim : bool
        Silence at both ends was cut off first (librosa's default: 60 dB below the loudest point).
    source : str
        The network: a Hub handle, or a name and the beginning of a checksum; its precision, when that
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

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> EmbeddingSpec:
        """A spec from `to_dict`; an unknown field is an error that names it."""
        unknown = sorted(set(fields) - {field.name for field in dataclasses.fields(cls)})
        if unknown or "name" not in fields:
            raise GtzanKerasError(
                f"embedding spec: unknown field(s) {', '.join(unknown)}"
                if unknown
                else "embedding spec: no field 'name'"
            )
        return cls(**fields)

    def difference(self, other: EmbeddingSpec | SpectrogramSpec) -> str:
        """The fields in which two specs differ, for messages; "" when they are equal."""
        theirs = other.to_dict()
        return ", ".join(
            f"{field}: {value!r} against {theirs.get(field)!r}"
            for field, value in self.to_dict().items()
            if value != theirs.get(field)
        )


class EmbeddingsStore(SpectrogramStore):
    """A complete store of embeddings, open for reading. Make one with `embed` or `from_arrays`.

    It goes wherever a `SpectrogramStore` goes: `train`, `evaluate`, `load_run`.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.

    Raises
    ------
    GtzanKerasError
        There is no such file, it is no such store, or it was made by a later version.

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

    _DATASET = "embeddings"
    spec: EmbeddingSpec  # type: ignore[assignment]  # what is asked of a store's spec, both have

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.mask: npt.NDArray[np.bool_] = self._file["mask"][:]

    @staticmethod
    def _read_spec(fields: dict[str, Any]) -> EmbeddingSpec:  # type: ignore[override]
        return EmbeddingSpec.from_dict(fields)

    def read(  # type: ignore[override]
        self, rows: npt.NDArray[np.int64] | Sequence[int] | slice = slice(None)
    ) -> npt.NDArray[np.float32]:
        """Embeddings by row number, in the order asked for.

        Parameters
        ----------
        rows : array of int, or slice
            All when left out.

        Returns
        -------
        np.ndarray [shape=(rows, patches, size), dtype=float32]
            Padding is zero.
        """
        return super().read(rows)  # type: ignore[return-value]  # of the type that lies in the file

    def as_input(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embeddings as `read` gives them -> as a model takes them: the same."""
        return samples

    def batches(
        self,
        track_ids: Sequence[str],
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> Batches:
        """Batches of embeddings, as `SpectrogramStore.batches` gives them of pictures.

        Raises
        ------
        GtzanKerasError
            There is an ``augmentation``: those are for pictures.
        """
        if options.get("augmentation") is not None:
            raise GtzanKerasError(
                f"{self.path.name} holds embeddings: augmentation is for pictures, leave it out"
            )
        return super().batches(track_ids, batch_size, shuffle, seed, **options)

    @classmethod
    def from_arrays(  # type: ignore[override]
        cls,
        path: str | os.PathLike[str],
        embeddings: Iterable[npt.NDArray[np.floating]],
        track_ids: Sequence[str],
        spec: EmbeddingSpec,
        genres: Sequence[str] | None = None,
    ) -> EmbeddingsStore:
        """Make a store from embeddings that are there already.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write; an existing one is replaced.
        embeddings : iterable of np.ndarray [shape=(patches, size)]
            One a track, of any number of patches; read one at a time.
        track_ids : sequence of str
            One a track.
        spec : EmbeddingSpec
            How they were made.
        genres : sequence of str, optional
            One a track; from GTZAN's facts when left out.

        Returns
        -------
        EmbeddingsStore

        Raises
        ------
        GtzanKerasError
            Counts or shapes do not agree, a number is not finite, a genre is not known, or a track
            stands there twice.
        """
        ids = [str(track_id) for track_id in track_ids]
        refuse_twice(ids)
        with EmbeddingsWriter(path, spec, table_of(path, ids, genres)) as writer:
            source = iter(embeddings)
            for track_id, track in zip(ids, source, strict=False):
                writer.append_track(track_id, np.asarray(track))
            if len(writer.rows) < len(ids) or next(source, None) is not None:
                raise GtzanKerasError(
                    f"{path}: {len(ids)} track ids, but not as many embeddings; one each is needed"
                )
        return cls(path)


class EmbeddingsWriter(StoreWriter):
    """Pads, packs and writes embeddings, and which of them are padding."""

    _DATASET, _DTYPE = "embeddings", "float32"
    spec: EmbeddingSpec

    def __init__(self, path: str | os.PathLike[str], spec: EmbeddingSpec, tracks: pd.DataFrame) -> None:
        super().__init__(path, spec, tracks)
        self._counts: list[int] = []

    def append_track(
        self, track_id: str, embeddings: npt.NDArray[np.floating], md5: str = "", refused: str = ""
    ) -> None:
        """Add one track's (patches, size), or note that it was refused."""
        if refused:
            return self.append(Sample(track_id, (), refused=refused))
        patches, size = self.spec.shape
        if embeddings.ndim != 2 or embeddings.shape[1] != size or not len(embeddings):
            raise GtzanKerasError(
                f"{track_id}: embeddings of shape {embeddings.shape}; expected (patches, {size}), one or more"
            )
        if not np.isfinite(embeddings).all():
            raise GtzanKerasError(f"{track_id}: its embeddings hold NaN or infinite numbers")
        self._counts.append(min(len(embeddings), patches))
        padded = np.zeros(self.spec.shape, dtype=np.float32)
        padded[: len(embeddings)] = embeddings[:patches]
        return self.append(Sample(track_id, pack([padded]), md5))

    def _finish(self) -> None:
        super()._finish()
        mask = np.arange(self.spec.shape[0]) < np.array(self._counts, dtype=int)[:, None]
        self._file.create_dataset("mask", data=mask)


def refuse_twice(ids: Sequence[str]) -> None:
    if twice := [track_id for track_id, count in Counter(ids).items() if count > 1]:
        raise GtzanKerasError(f"track_id {twice[0]!r} stands in the table of tracks more than once")
