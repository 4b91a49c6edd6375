"""The store: spectrogram pictures of one spec, with their tracks, in one HDF5 file.

Layout: ``spectrograms`` is uint8 (sample, height, width, channel), one sample a chunk, deflated;
``track_id`` and ``segment`` lie beside it, a row a sample; ``genre`` too. The table of tracks (with
what was left out, and why, and each file's MD5) is JSON in ``tracks``; spec, genre names, format and
library version are attributes. A store is written to a temporary name and renamed when complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

import gtzan_keras
from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import COLUMNS, check_columns, describe, genre_names

if TYPE_CHECKING:
    from gtzan_keras.store.batches import Batches
    from gtzan_keras.store.embeddings import EmbeddingSpec

__all__ = ["SpectrogramStore"]

_FORMAT = 1
_DEFLATE_LEVEL = 1  # level 4 takes half as long again for under 1 % less


@dataclass(frozen=True)
class Sample:
    """One track's pictures, packed as they lie in the store, or why there are none."""

    track_id: str
    chunks: tuple[bytes, ...]
    md5: str = ""
    refused: str = ""


def pack(images: Iterable[npt.NDArray[Any]]) -> tuple[bytes, ...]:
    """Deflate pictures as HDF5 keeps them, so that worker processes do the work, not the writer."""
    return tuple(zlib.compress(image.tobytes(), _DEFLATE_LEVEL) for image in images)


class SpectrogramStore:
    """A complete store, open for reading. Make one with `preprocess` or `from_arrays`.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.

    Raises
    ------
    GtzanKerasError
        There is no such file, it is no store, or it was made by a later version.

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

    _DATASET = "spectrograms"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import h5py

        self.path = Path(path)
        if not self.path.is_file():
            kind = "a folder, not a store" if self.path.is_dir() else "no such store"
            raise GtzanKerasError(f"{path}: {kind}; make one with `gtzan-keras preprocess`")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise GtzanKerasError(f"{path}: not an HDF5 file ({error})") from error
        try:
            self._check_kind()
        except GtzanKerasError:
            self._file.close()
            raise
        attributes = self._file.attrs
        self._images = self._file[self._DATASET]
        self.spec = self._read_spec(json.loads(attributes["spec"]))
        self.genres: list[str] = json.loads(attributes["genres"])
        self.track_id: npt.NDArray[np.object_] = self._file["track_id"].asstr()[:]
        self.genre: npt.NDArray[np.object_] = self._file["genre"].asstr()[:]
        self.segment: npt.NDArray[np.int32] = self._file["segment"][:]

    @staticmethod
    def _read_spec(fields: dict[str, Any]) -> SpectrogramSpec:
        return SpectrogramSpec.from_dict(fields)

    def _check_kind(self) -> None:
        attributes = self._file.attrs
        if "gtzan_keras_format" in attributes and self._DATASET not in self._file:
            raise GtzanKerasError(
                f"{self.path}: a store, but not one of {self._DATASET}; open it with open_store()"
            )
        if "gtzan_keras_format" not in attributes:
            raise GtzanKerasError(
                f"{self.path}: an HDF5 file, but not a store of gtzan_keras; make one from its arrays with "
                "SpectrogramStore.from_arrays()"
            )
        if attributes["gtzan_keras_format"] > _FORMAT:
            raise GtzanKerasError(
                f"{self.path}: store format {attributes['gtzan_keras_format']}, made by gtzan_keras "
                f"{attributes['gtzan_keras_version']}; this version reads up to {_FORMAT}: upgrade it"
            )

    def __len__(self) -> int:
        return len(self._images)

    def __repr__(self) -> str:
        kind, shape = type(self).__name__, self.spec.shape
        return f"<{kind} {self.path.name}: {len(self)} x {shape}, spec {self.spec.name}>"

    def __enter__(self) -> SpectrogramStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> tuple[str, list[str]]:
        return str(self.path), self.genres  # an open file can not travel to another process; its name can

    def __setstate__(self, state: tuple[str, list[str]]) -> None:
        path, genres = state
        self.__init__(path)  # type: ignore[misc]
        self.genres = genres

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def without(self, genres: Iterable[str]) -> Self:
        """The same store for a model that does not know some of the genres, as Zhang leaves out two.

        Parameters
        ----------
        genres : iterable of str
            To leave out: of `genres`, and of `tracks` and `refused`. Samples and their row numbers stay.

        Returns
        -------
        SpectrogramStore
            On the same open file.

        Raises
        ------
        GtzanKerasError
            The store has no such genre, or fewer than two are left.

        See Also
        --------
        gtzan_keras.tracks.splits.Split.without : the split to train it on.

        Examples
        --------
        >>> import numpy as np, tempfile, os
        >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore
        >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
        >>> path = os.path.join(tempfile.mkdtemp(), "tiny.h5")
        >>> ids = ["country.00000", "pop.00000", "rock.00000"]
        >>> store = SpectrogramStore.from_arrays(path, np.zeros((3, 8, 8), "uint8"), ids, spec)
        >>> less = store.without(["country"])
        >>> less.genres, less.batches(["rock.00000"])[0][1].tolist()
        (['pop', 'rock'], [[0.0, 1.0]])
        """
        left_out = set(genres)
        kept = [genre for genre in self.genres if genre not in left_out]
        if left_out - set(self.genres) or len(kept) < 2:
            raise GtzanKerasError(
                f"{self.path} without {', '.join(sorted(left_out))}: its genres are "
                f"{', '.join(self.genres)}, of which at least two must be left"
            )
        less = object.__new__(type(self))
        less.__dict__.update(self.__dict__)
        less.__dict__.pop("tracks", None)  # is of the genres
        less.genres = kept
        return less

    @property
    def shape(self) -> tuple[int, ...]:
        """(samples, height, width, channels)."""
        return self._images.shape

    @cached_property
    def _table(self) -> dict[str, Any]:
        return json.loads(self._file["tracks"].asstr()[()])

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """The tracks the store was made from, as `load_tracks` gives them, those left out too.

        Tracks whose files have one MD5 are in each other's ``duplicates``, known copies or not.
        """
        table = pd.DataFrame(self._table["rows"], columns=COLUMNS)
        table = table[table["genre"].isin(self.genres)].reset_index(drop=True)
        there, md5 = set(table["track_id"]), self.source_md5
        copies: dict[str, set[str]] = {}
        for track_id, checksum in md5.items():
            copies.setdefault(checksum, set()).add(track_id)
        table["duplicates"] = [
            tuple(sorted(({*known, *copies.get(md5.get(track_id, ""), ())} & there) - {track_id}))
            for track_id, known in zip(table["track_id"], table["duplicates"], strict=True)
        ]
        return table

    @property
    def refused(self) -> dict[str, str]:
        """Track ids that were left out, with the reason."""
        there = set(self.tracks["track_id"])
        return {track_id: why for track_id, why in self._table["refused"].items() if track_id in there}

    @property
    def source_md5(self) -> dict[str, str]:
        """MD5 of each source file by track id; empty for stores made from arrays."""
        return dict(self._table["md5"])

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over spec, track ids and packed pictures, for caches made from this store."""
        digest = hashlib.sha256(json.dumps(self.spec.to_dict(), sort_keys=True).encode())
        for row in range(len(self)):
            digest.update(f"{self.track_id[row]} {self.segment[row]}".encode())
            digest.update(self.chunk(row))
        return digest.hexdigest()

    @cached_property
    def sample_id(self) -> list[str]:
        """Track and segment of each sample: ``"blues.00000#3"``."""
        return [f"{track}#{number}" for track, number in zip(self.track_id, self.segment, strict=True)]

    def chunk(self, row: int) -> bytes:
        """One sample as it lies in the file, deflated. Any thread may ask."""
        from h5py._objects import phil

        with phil:  # h5py locks all its calls but this one and its twin: h5py/h5py#2764
            return self._images.id.read_direct_chunk((row, *[0] * len(self.spec.shape)))[1]

    def rows(self, track_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row numbers of the samples of these tracks, in the order of the store.

        Parameters
        ----------
        track_ids : sequence of str
            Tracks, with all their segments; ``"blues.00000#3"`` is one segment alone, which only the
            parts of a leaky split name.

        Raises
        ------
        GtzanKerasError
            A track is neither in the store nor among those it left out.
        """
        wanted = set(track_ids)
        samples = zip(self.track_id, self.sample_id, self.genre, strict=True)
        there = {name for track, sample, genre in samples if genre in self.genres for name in (track, sample)}
        unknown = sorted(wanted - there - set(self.refused))
        if unknown:
            raise GtzanKerasError(
                f"{self.path}: {len(unknown)} track(s) of the split are not in this store, e.g. "
                f"{', '.join(unknown[:3])}; make split and store from the same folder"
            )
        pairs = zip(self.track_id, self.sample_id, strict=True)
        return np.flatnonzero([track in wanted or sample in wanted for track, sample in pairs])

    def read(
        self, rows: npt.NDArray[np.int64] | Sequence[int] | slice = slice(None)
    ) -> npt.NDArray[np.uint8]:
        """Pictures by row number, in the order asked for.

        Parameters
        ----------
        rows : array of int, or slice
            All when left out.

        Returns
        -------
        np.ndarray [shape=(rows, height, width, channels), dtype=uint8]

        Examples
        --------
        >>> import numpy as np, tempfile, os
        >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore
        >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
        >>> images = np.arange(3, dtype="uint8")[:, None, None] + np.zeros((3, 8, 8), "uint8")
        >>> path = os.path.join(tempfile.mkdtemp(), "tiny.h5")
        >>> ids = ["pop.00000", "pop.00001", "pop.00002"]
        >>> store = SpectrogramStore.from_arrays(path, images, ids, spec)
        >>> store.read([2, 0])[:, 0, 0, 0].tolist()
        [2, 0]
        """
        numbers = np.arange(len(self))[rows]
        out = np.empty((len(numbers), *self.spec.shape), dtype=self._images.dtype)
        # Past HDF5's filter pipeline and its global lock: inflating one chunk costs under 1 ms.
        for place, row in enumerate(numbers):
            out[place] = np.frombuffer(zlib.decompress(self.chunk(int(row))), out.dtype).reshape(
                self.spec.shape
            )
        return out

    def as_input(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Samples as `read` gives them -> as a model takes them: float32, 0..1."""
        return np.multiply(samples, np.float32(1 / 255), dtype=np.float32)

    def batches(
        self,
        track_ids: Sequence[str],
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> Batches:
        """Batches for ``fit``, ``evaluate`` and ``predict``; see `gtzan_keras.store.batches.Batches`.

        Parameters
        ----------
        track_ids : sequence of str
            Whose samples; the order is the store's unless shuffled.
        batch_size : int > 0
            The last batch may be smaller.
        shuffle : bool
            A new order each epoch, the same for the same seed.
        seed : int
            For the order, and for whatever `options` draw.
        options
            ``in_memory``, ``augmentation``, ``workers``: handed on.

        Returns
        -------
        keras.utils.PyDataset
            Of ``(images, labels)``: float32 0..1 (batch, height, width, channels) and one-hot float32
            (batch, genres).
        """
        from gtzan_keras.store.batches import Batches

        return Batches(self, track_ids, batch_size, shuffle=shuffle, seed=seed, **options)

    @classmethod
    def from_arrays(
        cls,
        path: str | os.PathLike[str],
        images: Iterable[npt.NDArray[np.uint8]],
        track_ids: Sequence[str],
        spec: SpectrogramSpec,
        genres: Sequence[str] | None = None,
    ) -> SpectrogramStore:
        """Make a store from pictures that are there already.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write; an existing one is replaced.
        images : iterable of np.ndarray [shape=(height, width) or (height, width, channels), dtype=uint8]
            One a sample, the lowest band in the bottom row: an array, an HDF5 dataset or a generator,
            read one at a time.
        track_ids : sequence of str
            One a sample. The samples of one track stand together, in order of segment.
        spec : SpectrogramSpec
            How the pictures were made.
        genres : sequence of str, optional
            One a sample; from GTZAN's facts when left out.

        Returns
        -------
        SpectrogramStore

        Raises
        ------
        GtzanKerasError
            There is no picture, counts or shapes do not agree, a picture is not uint8, a genre is not
            known, or a track's samples do not stand together or differ in genre.

        Examples
        --------
        The 999 pictures of GTZAN in this project's spec, whose file has the bands low to high::

            with h5py.File("gtzan_mel_128x387.h5") as file:
                SpectrogramStore.from_arrays(
                    "gtzan.h5",
                    (mel[::-1] for mel in file["mel"]),
                    list(file["track_id"].asstr()),
                    SPECTROGRAM_SPECS["librosa-128x387"],
                )
        """
        ids = [str(track_id) for track_id in track_ids]
        with StoreWriter(path, spec, table_of(path, ids, genres)) as writer:
            writer.append_all(_by_track(ids, images, spec))
        return cls(path)


def table_of(path: str | os.PathLike[str], ids: list[str], genres: Sequence[str] | None) -> pd.DataFrame:
    """Table of tracks for samples that come as arrays; genres from GTZAN's facts when left out."""
    if not ids:
        raise GtzanKerasError(f"{path}: no track ids; a store holds at least one picture")
    if genres is None:
        from gtzan_keras.tracks.catalogue import facts

        strangers = [track_id for track_id in ids if track_id not in facts().index]
        if strangers:
            raise GtzanKerasError(
                f"track_id {strangers[0]!r} is not a GTZAN track: pass genres=, one a sample"
            )
        genres = facts()["genre"].reindex(ids).tolist()
    if len(genres) != len(ids):
        raise GtzanKerasError(f"{len(ids)} track ids, but {len(genres)} genres; one each is needed")
    genre_of: dict[str, str] = {}
    for track_id, genre in zip(ids, genres, strict=True):
        if genre_of.setdefault(track_id, genre) != genre:
            raise GtzanKerasError(
                f"{track_id}: one sample is {genre_of[track_id]}, another {genre}; a track has one genre"
            )
    return describe(genre_of)


def _by_track(
    ids: Sequence[str], images: Iterable[npt.NDArray[np.uint8]], spec: SpectrogramSpec
) -> Iterator[Sample]:
    seen: set[str] = set()
    pending: list[bytes] = []
    source = iter(images)
    for row, track_id in enumerate(ids):
        image = next(source, None)
        if image is None:
            raise GtzanKerasError(f"{len(ids)} track ids, but only {row} images; one each is needed")
        image = np.asarray(image)
        image = image[..., None] if image.ndim == 2 else image
        if image.dtype != np.uint8 or image.shape != spec.shape:
            raise GtzanKerasError(
                f"image {row} ({track_id}): {image.dtype} {image.shape}; expected uint8 {spec.shape}, "
                f"the shape of spec {spec.name!r}"
            )
        if not pending and track_id in seen:
            raise GtzanKerasError(
                f"image {row}: samples of {track_id} do not stand together; sort images by track"
            )
        pending += pack([image])
        if row + 1 == len(ids) or ids[row + 1] != track_id:
            seen.add(track_id)
            yield Sample(track_id, tuple(pending))
            pending = []
    if next(source, None) is not None:
        raise GtzanKerasError(f"more images than the {len(ids)} track ids; one each is needed")


class StoreWriter:
    """Writes a store in one go, under a temporary name until it is complete.

    Parameters
    ----------
    path : str or os.PathLike
        The file; replaced when the ``with`` block ends well, left alone when it does not.
    spec : SpectrogramSpec
        What the pictures are.
    tracks : pd.DataFrame
        The table the store will carry.
    """

    _DATASET, _DTYPE = "spectrograms", "uint8"

    def __init__(
        self, path: str | os.PathLike[str], spec: SpectrogramSpec | EmbeddingSpec, tracks: pd.DataFrame
    ) -> None:
        check_columns(tracks, COLUMNS)
        self.path, self.spec, self.tracks = Path(path), spec, tracks
        self.temporary = self.path.with_name(self.path.name + ".writing")
        self.refused: dict[str, str] = {}
        self.md5: dict[str, str] = {}
        self._genre_of = dict(zip(tracks["track_id"], tracks["genre"], strict=True))
        self.rows: list[tuple[str, str, int]] = []

    def __enter__(self) -> Self:
        import h5py

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # No times in the file: the same contents give the same bytes.
        self._file = h5py.File(self.temporary, "w", libver="latest", track_order=True)
        self._images = self._file.create_dataset(
            self._DATASET,
            shape=(0, *self.spec.shape),
            maxshape=(None, *self.spec.shape),
            chunks=(1, *self.spec.shape),
            dtype=self._DTYPE,
            compression="gzip",
            compression_opts=_DEFLATE_LEVEL,
        )
        return self

    def append(self, sample: Sample) -> None:
        """Add one track's pictures, or note that it was refused."""
        if sample.md5:
            self.md5[sample.track_id] = sample.md5
        if sample.refused:
            self.refused[sample.track_id] = sample.refused
            return
        from h5py._objects import phil

        first = len(self.rows)
        self._images.resize(first + len(sample.chunks), axis=0)
        for segment, chunk in enumerate(sample.chunks):
            with phil:
                self._images.id.write_direct_chunk((first + segment, *[0] * len(self.spec.shape)), chunk)
            self.rows.append((sample.track_id, self._genre_of[sample.track_id], segment))

    def append_all(self, samples: Iterable[Sample]) -> None:
        """Add many."""
        for sample in samples:
            self.append(sample)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._file:
                if kind is None:
                    self._finish()
            if kind is None:
                os.replace(self.temporary, self.path)
        finally:
            self.temporary.unlink(missing_ok=True)  # nothing is there when all went well

    def _finish(self) -> None:
        import h5py

        text = h5py.string_dtype()
        for column, name in enumerate(("track_id", "genre")):
            self._file.create_dataset(name, data=[row[column] for row in self.rows], dtype=text)
        self._file.create_dataset("segment", data=np.array([row[2] for row in self.rows], np.int32))
        table = {
            "rows": self.tracks[COLUMNS].to_numpy(dtype=object).tolist(),
            "refused": self.refused,
            "md5": self.md5,
        }
        self._file.create_dataset("tracks", data=json.dumps(table), dtype=text)
        self._file.attrs.update(
            {
                "gtzan_keras_format": _FORMAT,
                "gtzan_keras_version": gtzan_keras.__version__,
                "spec": json.dumps(self.spec.to_dict()),
                **({"db_range": self.spec.db_range} if isinstance(self.spec, SpectrogramSpec) else {}),
                # All genres of the table, also one whose every track was refused: labels stay put.
                "genres": json.dumps(genre_names(self.tracks["genre"])),
            }
        )
