"""The store of spectrograms: ``spectrograms`` is uint8 (sample, height, width, channel)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

import numpy as np
import numpy.typing as npt

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, Store, StoreWriter, pack, table_of

__all__ = ["SpectrogramStore"]


class SpectrogramStore(Store):
    """A complete store of spectrograms, open for reading. Make one with `preprocess` or `from_arrays`.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.

    Raises
    ------
    GtzanKerasError
        The file is missing, locked, damaged, not a store of spectrograms, or made by a later version.

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

    dataset, dtype, spec_type = StoreWriter.dataset, np.dtype(StoreWriter.dtype), SpectrogramSpec
    spec: SpectrogramSpec

    @classmethod
    def from_arrays(
        cls,
        path: str | os.PathLike[str],
        images: Iterable[npt.NDArray[np.uint8]],
        track_ids: Sequence[str],
        spec: SpectrogramSpec,
        genres: Sequence[str] | None = None,
    ) -> SpectrogramStore:
        """Make a store from existing spectrograms.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write; an existing one is replaced.
        images : iterable of np.ndarray [shape=(height, width) or (height, width, channels), dtype=uint8]
            One a sample, the lowest band in the bottom row: an array, an HDF5 dataset or a generator,
            read one at a time.
        track_ids : sequence of str
            One a sample. The samples of a track must be adjacent, in order of segment.
        spec : SpectrogramSpec
            How the spectrograms were made.
        genres : sequence of str, optional
            One a sample; from GTZAN's facts by default.

        Returns
        -------
        SpectrogramStore

        Raises
        ------
        GtzanKerasError
            There is no spectrogram, counts or shapes do not agree, a spectrogram is not uint8, a genre is
            not known, or a track's samples are not adjacent or differ in genre.

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
        with StoreWriter(path, spec, table_of(path, ids, genres)) as writer:
            for sample in _by_track(ids, images, spec):
                writer.append(sample)
        return cls(path)


def _by_track(
    ids: Sequence[str], images: Iterable[npt.NDArray[np.uint8]], spec: SpectrogramSpec
) -> Iterator[Sample]:
    done: set[str] = set()
    source = iter(images)
    for track_id, group in groupby(ids):
        if track_id in done:
            raise GtzanKerasError(f"the samples of {track_id} are not adjacent; sort images by track")
        done.add(track_id)
        count = len(list(group))
        chunks = pack(_checked(track_id, image, spec) for image in islice(source, count))
        if len(chunks) < count:
            raise GtzanKerasError(f"{len(ids)} track ids, but fewer images; expected one each")
        yield Sample(track_id, chunks)
    if next(source, None) is not None:
        raise GtzanKerasError(f"more images than the {len(ids)} track ids; expected one each")


def _checked(track_id: str, image: npt.NDArray[np.uint8], spec: SpectrogramSpec) -> npt.NDArray[np.uint8]:
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    if image.dtype != np.uint8 or image.shape != spec.shape:
        raise GtzanKerasError(
            f"an image of {track_id} is {image.dtype} {image.shape}; expected uint8 {spec.shape}, the "
            f"shape of spec {spec.name!r}"
        )
    return image
