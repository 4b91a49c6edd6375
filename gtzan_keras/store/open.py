"""Open a store of any kind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gtzan_keras.store.base import Store, has, open_hdf5
from gtzan_keras.store.embeddings import EmbeddingsStore
from gtzan_keras.store.spectrograms import SpectrogramStore

__all__ = ["open_store"]


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store of either kind for reading.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.

    Returns
    -------
    SpectrogramStore or EmbeddingsStore
        Depending on what the file holds.

    Raises
    ------
    GtzanKerasError
        The file is missing, locked, damaged, not a store, or made by a later version.

    Examples
    --------
    >>> from gtzan_keras import open_store
    >>> open_store("nowhere.h5")
    Traceback (most recent call last):
    gtzan_keras.errors.GtzanKerasError: nowhere.h5: no such store; make one with `gtzan-keras preprocess`
    """
    embeddings = False
    with open_hdf5(Path(path)) as file, contextlib.suppress(RuntimeError):  # damaged: the store says how
        embeddings = has(file, EmbeddingsStore.dataset)
    return EmbeddingsStore(path) if embeddings else SpectrogramStore(path)
