"""What all stores share: one HDF5 file with the samples of one spec, and with their tracks.

The samples are one dataset, (sample, ...), deflated, one sample per chunk; ``track_id``, ``genre`` and
``segment`` have one row per sample. The table of tracks (with refused tracks, the reason, and each file's
MD5) is JSON in ``tracks``; spec, genre names, format and library version are attributes. A store is
written to a temporary name and renamed when complete.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

import gtzan_keras
from gtzan_keras.audio.spectrogram import SpectrogramSpec, scaled
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.files import replacing
from gtzan_keras.tracks.catalogue import COLUMNS, check_columns, describe, facts, genre_names, segment_id
from gtzan_keras.tracks.splits import check_left_out

if TYPE_CHECKING:
    import h5py

    from gtzan_keras.store.batches import Batches
    from gtzan_keras.store.embeddings import EmbeddingSpec

__all__ = ["Sample", "Store", "StoreWriter", "pack", "write_store"]

_FORMAT = 1
_DEFLATE_LEVEL = 1  # level 4 takes half as long again for under 1 % less
_LARGEST_CHUNK = 2**28  # bytes; a file that claims more is damaged
_MOST_DEFLATED = 1100  # times that deflate makes a run of zeros smaller
_ROWS_A_STEP = 64
# What HDF5, JSON and the constructors of specs raise for files that are damaged or made by someone else.
_MALFORMED = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError)


@dataclass(frozen=True)
class Sample:
    """One track's samples, packed as the file holds them, or the reason why there are none."""

    track_id: str
    chunks: tuple[bytes, ...] = ()
    md5: str = ""
    refused: str = ""
    patches: int = 0
    """For embeddings: number of patches that are not padding."""


def pack(samples: Iterable[npt.NDArray[Any]]) -> tuple[bytes, ...]:
    """Deflate samples as HDF5 stores them, so that worker processes do this work instead of the writer."""
    return tuple(zlib.compress(sample.tobytes(), _DEFLATE_LEVEL) for sample in samples)


class Store:
    """A complete store, open for reading: `SpectrogramStore` or `EmbeddingsStore`.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.
    left_out : frozenset of str
        Genres to treat as absent; `without` checks them first.

    Raises
    ------
    GtzanKerasError
        The file is missing, locked, damaged, not a store of this kind, or made by a later version.

    See Also
    --------
    gtzan_keras.open_store : open a store of either kind.
    """

    dataset: ClassVar[str]
    dtype: ClassVar[np.dtype[Any]]
    """What `read` returns."""
    spec_type: ClassVar[type[SpectrogramSpec | EmbeddingSpec]]
    spec: SpectrogramSpec | EmbeddingSpec

    def __init__(self, path: str | os.PathLike[str], left_out: frozenset[str] = frozenset()) -> None:
        self.path, self._left_out = Path(path), left_out
        self._file = open_hdf5(self.path)
        try:
            self._read_head()
        except _MALFORMED as error:
            self._file.close()
            if isinstance(error, GtzanKerasError) and str(self.path) in str(error):  # it says what is wrong
                raise
            raise GtzanKerasError(
                f"{path}: a damaged store ({type(error).__name__}: {error}); make it again"
            ) from error

    def _read_head(self) -> None:
        """Read and check everything except the samples; forget the genres that are left out."""
        attributes = self._file.attrs
        version = int(attributes.get("gtzan_keras_format", 0))
        if version > _FORMAT:
            raise GtzanKerasError(
                f"{self.path}: store format {version}, made by gtzan_keras "
                f"{attributes['gtzan_keras_version']}; this version reads up to {_FORMAT}: upgrade it"
            )
        if not version or not has(self._file, self.dataset):
            raise GtzanKerasError(
                f"{self.path}: an HDF5 file, but not a store of {self.dataset}; make one with `gtzan-keras "
                f"preprocess` or {type(self).__name__}.from_arrays(), or open a store of the other kind with "
                "open_store()"
            )
        self.spec = self.spec_type.from_dict(json.loads(attributes["spec"]))
        self._images = images = self._dataset(self.dataset)
        if images.shape[1:] != self.spec.shape or images.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(
                f"{self.dataset} is {images.dtype} {images.shape}; expected {self.dtype} (samples, "
                f"*{self.spec.shape})"
            )
        genres: list[str] = json.loads(attributes["genres"])
        genre, track_id = (self._dataset(name).asstr()[:] for name in ("genre", "track_id"))
        table = json.loads(self._dataset("tracks").asstr()[()])
        tracks = pd.DataFrame(table["rows"], columns=COLUMNS)
        if strangers := sorted(set(genre) - set(genres)):
            raise ValueError(f"genre {strangers[0]!r} is not one of {genres}")
        if strangers := sorted(set(track_id) - set(tracks["track_id"])):
            raise ValueError(f"track {strangers[0]!r} is not in the table of tracks")

        self._rows = np.flatnonzero([name not in self._left_out for name in genre])
        self.genres = [name for name in genres if name not in self._left_out]
        self.genre: npt.NDArray[np.object_] = genre[self._rows]
        self.track_id: npt.NDArray[np.object_] = track_id[self._rows]
        self.segment: npt.NDArray[np.int32] = self._dataset("segment")[:][self._rows]
        self._table = tracks[~tracks["genre"].isin(self._left_out)].reset_index(drop=True)
        present = set(self._table["track_id"])
        self.refused: dict[str, str] = {
            name: why for name, why in table["refused"].items() if name in present
        }
        """Ids of the tracks that could not be read, with the reason."""
        self.source_md5: dict[str, str] = {name: md5 for name, md5 in table["md5"].items() if name in present}
        """MD5 of each source file by track id, "" if it could not be read; empty for stores of arrays."""

    def _dataset(self, name: str) -> h5py.Dataset:
        """Return a dataset; it must have its data in this file and, except `tracks`, one row per sample."""
        import h5py

        links = self._file.id.links
        if has(self._file, name) and links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD:
            found = self._file[name]
            rows = () if name == "tracks" else (found if name == self.dataset else self._images).shape[:1]
            if found.shape[:1] == rows and is_inside(found, _MOST_DEFLATED):
                return found
        raise ValueError(
            f"{name} is missing, stored in another file, declares more data than it holds, or does not "
            "have one row per sample"
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        kind, shape = type(self).__name__, self.spec.shape
        return f"<{kind} {self.path.name}: {len(self)} x {shape}, spec {self.spec.name}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._left_out)  # an open file cannot be pickled; its name can

    @classmethod
    def from_arrays(
        cls,
        path: str | os.PathLike[str],
        samples: Iterable[npt.NDArray[Any]],
        track_ids: Sequence[str],
        spec: SpectrogramSpec | EmbeddingSpec,
        genres: Sequence[str] | None = None,
    ) -> Self:
        """Make a store from existing arrays.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write; an existing one is replaced.
        samples : iterable of np.ndarray
            An array, an HDF5 dataset or a generator, read one track at a time. Spectrograms are
            [shape=(height, width) or (height, width, channels), dtype=uint8], the lowest band in the bottom
            row. Embeddings are [shape=(patches, size)], one array per track, with any number of patches.
        track_ids : sequence of str
            One per sample. The samples of a track must be adjacent, in order of segment.
        spec : SpectrogramSpec or EmbeddingSpec
            How the samples were made.
        genres : sequence of str, optional
            One per sample; from GTZAN's facts by default.

        Returns
        -------
        SpectrogramStore or EmbeddingsStore

        Raises
        ------
        GtzanKerasError
            There is no sample, counts, shapes or types do not agree, a number is not finite, a genre is not
            known, or a track's samples are not adjacent or differ in genre.

        Examples
        --------
        The 999 spectrograms of GTZAN in this project's spec, whose file has the bands low to high::

            with h5py.File("gtzan_mel_128x387.h5") as file:
                SpectrogramStore.from_arrays(
                    "gtzan.h5",
                    (mel[::-1] for mel in file["mel"]),
                    list(file["track_id"].asstr()),
                    SPECTROGRAM_SPECS["librosa-128x387"],
                )
        """
        ids = [str(track_id) for track_id in track_ids]
        counts = Counter(ids)
        for track_id, adjacent in zip(ids, counts.elements(), strict=True):
            if track_id != adjacent:
                raise GtzanKerasError(f"the samples of {adjacent} are not adjacent; sort samples by track")
        source = iter(samples)
        with write_store(path, spec, _table_of(path, ids, genres)) as writer:
            for track_id, count in counts.items():
                if arrays := [np.asarray(array) for array in islice(source, count)]:
                    writer.append(cls._packed(track_id, arrays, spec))
            if len(writer.rows) < len(ids) or next(source, None) is not None:
                raise GtzanKerasError(f"{path}: {len(ids)} track ids, but a different number of samples")
        return cls(path)

    @staticmethod
    def _packed(track_id: str, arrays: list[npt.NDArray[Any]], spec: Any) -> Sample:
        """Check and pack the arrays of one track."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def without(self, genres: Iterable[str]) -> Self:
        """Open the same store as if some of its genres were not in it, as Zhang leaves out two.

        Parameters
        ----------
        genres : iterable of str
            Genres to leave out. Their samples and tracks are absent from everything the new store returns.

        Returns
        -------
        Store
            A second store on the same file, with row numbers and a file handle of its own.

        Raises
        ------
        GtzanKerasError
            The store has no such genre, or fewer than two remain.

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
        >>> less.genres, less.shape, less.batches(["rock.00000"])[0][1].tolist()
        (['pop', 'rock'], (2, 8, 8, 1), [[0.0, 1.0]])
        """
        left_out = frozenset(genres)
        check_left_out(str(self.path), left_out, self.genres)
        return type(self)(self.path, self._left_out | left_out)

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, then the shape of one sample."""
        return len(self), *self.spec.shape

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """The tracks the store was made from, as `load_tracks` returns them, refused ones included.

        Tracks whose files have the same MD5 are in each other's ``duplicates``, known copies or not.
        """
        present = set(self._table["track_id"])
        md5s = pd.Series({name: md5 for name, md5 in self.source_md5.items() if md5}, dtype=object)
        copies = md5s.groupby(md5s).groups
        duplicates: Any = [
            tuple(sorted({*copies.get(self.source_md5.get(name, ""), ()), *known} & present - {name}))
            for name, known in zip(self._table["track_id"], self._table["duplicates"], strict=True)
        ]
        return self._table.assign(duplicates=duplicates)

    def made_from(self, tracks: pd.DataFrame) -> bool:
        """Whether this is the table of tracks that the store was made from."""
        return bool(_plain_rows(tracks) == _plain_rows(self._table))

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over spec, ids, labels and samples, however they are compressed; the key of caches."""
        head = {"spec": self.spec.to_dict(), "genres": self.genres}
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for first in range(0, len(self), _ROWS_A_STEP):
            rows = slice(first, first + _ROWS_A_STEP)
            names = zip(self.track_id[rows], self.genre[rows], self.segment[rows].tolist(), strict=True)
            digest.update(json.dumps(list(names)).encode())
            digest.update(self.read(rows).data)
        return digest.hexdigest()

    @cached_property
    def sample_id(self) -> list[str]:
        """Track and segment of each sample: ``"blues.00000#3"``."""
        return [segment_id(*pair) for pair in zip(self.track_id, self.segment, strict=True)]

    @cached_property
    def _rows_of(self) -> dict[str, Sequence[int]]:
        """Row numbers by track id, and by sample id where no track has that name."""
        of_samples: dict[Any, Any] = {name: [row] for row, name in enumerate(self.sample_id)}
        return {**of_samples, **pd.Series(self.track_id).groupby(self.track_id).indices}

    def rows(self, track_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row numbers of the samples of these tracks, in the order of the store.

        Parameters
        ----------
        track_ids : sequence of str
            Tracks, with all their segments; ``"blues.00000#3"`` is a single segment, as only a leaky
            split names it.

        Returns
        -------
        np.ndarray [shape=(rows,), dtype=int64]

        Raises
        ------
        GtzanKerasError
            A track is neither in the store nor among those it refused.
        """
        wanted = set(track_ids)
        if unknown := sorted(wanted - self._rows_of.keys() - self.refused.keys()):
            raise GtzanKerasError(
                f"{self.path}: {len(unknown)} track(s) of the split are not in this store, e.g. "
                f"{', '.join(unknown[:3])}; make split and store from the same folder"
            )
        found = {row for name in wanted for row in self._rows_of.get(name, ())}
        return np.array(sorted(found), dtype=np.int64)

    def read(self, rows: npt.NDArray[np.int64] | Sequence[int] | slice = slice(None)) -> npt.NDArray[Any]:
        """Return samples by row number, in the order of `rows`. Several threads may read at once.

        Parameters
        ----------
        rows : array of int, or slice
            All by default.

        Returns
        -------
        np.ndarray [shape=(rows, height, width, channels), dtype=uint8]
            Spectrograms, the lowest band in the bottom row; or embeddings [shape=(rows, patches, size),
            dtype=float32], padded with zeros.

        Raises
        ------
        GtzanKerasError
            The file is damaged, or was repacked with a filter that is not installed.

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
        numbers = self._rows[rows]
        out = np.empty((len(numbers), *self.spec.shape), dtype=self.dtype)
        try:
            for place, row in enumerate(numbers):  # one by one: 15 times as fast as a list of rows
                out[place] = self._images[int(row)]
        except _MALFORMED as error:
            raise GtzanKerasError(
                f"{self.path}: a sample cannot be read ({error}); make the store again, or repack it with a "
                "filter that this HDF5 has (h5repack -f GZIP=1)"
            ) from error
        return out

    def as_input(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Convert samples from `read` to what a model takes: spectrograms to 0..1; embeddings are kept."""
        if self.dtype != np.uint8:
            return samples
        return scaled(samples)

    def batches(self, track_ids: Sequence[str], batch_size: int = 32, **options: Any) -> Batches:
        """Return the samples of tracks and their labels for ``fit``, ``evaluate`` and ``predict``.

        Parameters and errors are those of `gtzan_keras.store.batches.Batches`.
        """
        from gtzan_keras.store.batches import Batches

        return Batches(self, track_ids, batch_size, **options)

    def sample(self, track_id: str) -> Sample:
        """Return what the store holds of a track, packed for a `StoreWriter`. Not thread-safe."""
        md5 = self.source_md5.get(track_id, "")
        if track_id in self.refused:
            return Sample(track_id, md5=md5, refused=self.refused[track_id])
        rows, images = self._rows_of[track_id], self._images
        only_deflated = images.compression == "gzip" and images.id.get_create_plist().get_nfilters() == 1
        as_written = images.dtype == self.dtype and images.chunks == (1, *self.spec.shape)
        if not (only_deflated and as_written):  # another tool repacked the file
            return Sample(track_id, pack(self.read(rows)), md5)
        start = [0] * len(self.spec.shape)
        chunks = (images.id.read_direct_chunk((int(self._rows[row]), *start))[1] for row in rows)
        return Sample(track_id, tuple(chunks), md5)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading; say what is wrong if that fails."""
    import h5py

    if os.path.isdir(path):
        raise GtzanKerasError(f"{path} is a folder; name a store (.h5)")
    try:
        return h5py.File(path, "r")
    except FileNotFoundError as error:
        raise GtzanKerasError(f"{path}: no such store; make one with `gtzan-keras preprocess`") from error
    except OSError as error:
        advice = "expected a store that `gtzan-keras preprocess` made; make it again, or check permissions"
        if "lock file" in str(error):
            advice = (
                "another process is writing it, or the file system has no locks: wait for that process, or "
                "set the environment variable HDF5_USE_FILE_LOCKING=FALSE"
            )
        reason = " ".join(str(error).split())  # HDF5 may write a time and the end of a line
        raise GtzanKerasError(f"{path}: cannot be opened as HDF5 ({reason}); {advice}") from error


def is_inside(found: h5py.Dataset, ratio: float) -> bool:
    """Whether all the numbers that a dataset declares are in its own file, packed at most `ratio` times."""
    chunk = math.prod(found.chunks or ()) * found.dtype.itemsize
    return (
        not found.is_virtual
        and not found.external
        and chunk <= _LARGEST_CHUNK
        and found.nbytes <= ratio * found.id.get_storage_size()
    )


def has(file: h5py.File, name: str) -> bool:
    """Whether a file has something of this name, without following links to other files."""
    return bool(file.id.links.exists(name.encode()))


def _table_of(path: str | os.PathLike[str], ids: list[str], genres: Sequence[str] | None) -> pd.DataFrame:
    """Make the table of tracks for samples that come as arrays; genres from GTZAN's facts if not given."""
    if genres is None:
        known = facts()["genre"]
        if strangers := [track_id for track_id in ids if track_id not in known.index]:
            raise GtzanKerasError(
                f"track_id {strangers[0]!r} is not a GTZAN track: pass genres=, one per sample"
            )
        genres = known.reindex(ids).tolist()
    if not ids or len(genres) != len(ids):
        raise GtzanKerasError(
            f"{path}: {len(ids)} track ids, but {len(genres)} genres; expected one each, at least one"
        )
    genre_of = dict(zip(ids, genres, strict=True))
    for track_id, genre in zip(ids, genres, strict=True):
        if genre != genre_of[track_id]:
            raise GtzanKerasError(
                f"{track_id}: one sample is {genre}, another {genre_of[track_id]}; a track has one genre"
            )
    return describe(genre_of)


@contextmanager
def write_store(
    path: str | os.PathLike[str], spec: SpectrogramSpec | EmbeddingSpec, tracks: pd.DataFrame
) -> Iterator[StoreWriter]:
    """Write a store; the file at `path` is replaced at the end, and left as it is if an error occurs.

    Parameters
    ----------
    path : str or os.PathLike
        The file to write.
    spec : SpectrogramSpec or EmbeddingSpec
        What the samples are.
    tracks : pd.DataFrame
        The table of tracks to store.

    Yields
    ------
    StoreWriter
        Takes one `Sample` per track.
    """
    import h5py

    check_columns(tracks, COLUMNS)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        writer = StoreWriter(file, spec, tracks)
        yield writer
        writer.finish()


class StoreWriter:
    """Writes the samples of a store; made by `write_store`."""

    def __init__(self, file: h5py.File, spec: SpectrogramSpec | EmbeddingSpec, tracks: pd.DataFrame) -> None:
        self.file, self.spec, self.tracks = file, spec, tracks
        self.refused: dict[str, str] = {}
        self.md5: dict[str, str] = {}
        self.rows: list[tuple[str, int, int]] = []
        """For each sample: track, segment, patches that are not padding."""
        name, dtype = ("spectrograms", "uint8") if len(spec.shape) == 3 else ("embeddings", "float32")
        # No times in the file: the same contents give the same bytes.
        self._images = file.create_dataset(
            name,
            shape=(0, *spec.shape),
            maxshape=(None, *spec.shape),
            chunks=(1, *spec.shape),
            dtype=dtype,
            compression="gzip",
            compression_opts=_DEFLATE_LEVEL,
        )

    def append(self, sample: Sample) -> None:
        """Add one track's samples, or note that it was refused."""
        if sample.md5 or sample.refused:
            self.md5[sample.track_id] = sample.md5
        if sample.refused:
            self.refused[sample.track_id] = sample.refused
            return
        first = len(self.rows)
        self._images.resize(first + len(sample.chunks), axis=0)
        for segment, chunk in enumerate(sample.chunks):
            self._images.id.write_direct_chunk((first + segment, *[0] * len(self.spec.shape)), chunk)
            self.rows.append((sample.track_id, segment, sample.patches))

    def finish(self) -> None:
        """Write everything except the samples."""
        import h5py

        text = h5py.string_dtype()
        genre_of = dict(zip(self.tracks["track_id"], self.tracks["genre"], strict=True))
        rows = pd.DataFrame(self.rows, columns=["track_id", "segment", "patches"])
        self.file.create_dataset("track_id", data=rows["track_id"].tolist(), dtype=text)
        self.file.create_dataset("genre", data=rows["track_id"].map(genre_of).tolist(), dtype=text)
        self.file.create_dataset("segment", data=rows["segment"].to_numpy(np.int32))
        table = {"rows": _plain_rows(self.tracks), "refused": self.refused, "md5": self.md5}
        self.file.create_dataset("tracks", data=json.dumps(table), dtype=text)
        self.file.attrs.update(
            {
                "gtzan_keras_format": _FORMAT,
                "gtzan_keras_version": gtzan_keras.__version__,
                "spec": json.dumps(self.spec.to_dict()),
                **({"db_range": self.spec.db_range} if isinstance(self.spec, SpectrogramSpec) else {}),
                # All genres of the table, even if every track of one was refused: labels stay the same.
                "genres": json.dumps(genre_names(self.tracks["genre"])),
            }
        )
        if not isinstance(self.spec, SpectrogramSpec):
            mask = np.arange(self.spec.patches) < rows["patches"].to_numpy(int)[:, None]
            self.file.create_dataset("mask", data=mask)


def _plain_rows(tracks: pd.DataFrame) -> list[list[Any]]:
    """Return the rows of a table of tracks as plain JSON values."""
    return json.loads(json.dumps(tracks[COLUMNS].to_numpy(dtype=object).tolist()))
