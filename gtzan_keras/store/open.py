"""Open a store of any kind."""

from __future__ import annotations

import contextlib
import os

from gtzan_keras.store.spectrograms import SpectrogramStore

__all__ = ["open_store"]


def open_store(path: str | os.PathLike[str]) -> SpectrogramStore:
    """Open a store of either kind for reading.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.

    Returns
    -------
    SpectrogramStore
        An `EmbeddingsStore` where the file holds embeddings.

    Raises
    ------
    GtzanKerasError
        As `SpectrogramStore`.

    Examples
    --------
    >>> from gtzan_keras import open_store
    >>> open_store("nowhere.h5")
    Traceback (most recent call last):
    gtzan_keras.errors.GtzanKerasError: nowhere.h5: no such store; make one with `gtzan-keras preprocess`
    """
    import h5py

    from gtzan_keras.store.embeddings import EmbeddingsStore

    embeddings = False
    with contextlib.suppress(OSError), h5py.File(path) as file:  # the constructor says what is wrong
        embeddings = EmbeddingsStore._DATASET in file
    return EmbeddingsStore(path) if embeddings else SpectrogramStore(path)
