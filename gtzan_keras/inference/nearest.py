"""The training tracks that a network finds most similar, by its penultimate layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.datasets import TRAINING_VECTORS
from gtzan_keras.tracks.catalogue import facts

if TYPE_CHECKING:
    import keras

    from gtzan_keras.store.base import Store
    from gtzan_keras.training.run import Run

__all__ = ["nearest_of", "nearest_tracks", "packaged_vectors", "penultimate", "track_vectors"]

Vectors = npt.NDArray[np.float32]


def penultimate(model: keras.Model) -> keras.Model:
    """Return the part of a network up to the input of its last layer with weights.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.inference.nearest import penultimate
    >>> penultimate(models.cnn((16, 16, 1), filters=(4,), dense_units=(8,))).output_shape
    (None, 8)
    """
    import keras

    last = next(layer for layer in reversed(model.layers) if layer.weights)
    return keras.Model(model.inputs[0], last.input)


def track_vectors(
    model: keras.Model, store: Store, track_ids: Sequence[str], batch_size: int = 32
) -> tuple[list[str], Vectors]:
    """Compute the penultimate layer for the tracks of a store: the mean over a track's samples.

    Returns
    -------
    list of str
        Tracks, in the order of the store.
    np.ndarray [shape=(tracks, size), dtype=float32]
    """
    network, rows = penultimate(model), store.rows(track_ids)
    parts = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    outputs = [np.asarray(network(store.as_input(store.read(part)), training=False)) for part in parts]
    means = pd.DataFrame(np.concatenate(outputs)).groupby(store.track_id[rows], sort=False).mean()
    return list(means.index), means.to_numpy(np.float32)


def packaged_vectors() -> tuple[list[str], Vectors]:
    """Return the vectors of the packaged model for the tracks that it was trained on, as `track_vectors`.

    Each is the mean over windows of 128 columns (10 s) every 64 of its 387, as `predict` cuts a song.

    Examples
    --------
    >>> from gtzan_keras.inference.nearest import packaged_vectors
    >>> packaged_vectors()[1].shape
    (442, 512)
    """
    with np.load(TRAINING_VECTORS) as file:
        return file["track_id"].tolist(), file["vectors"].astype(np.float32)


def nearest_tracks(
    query: Vectors,
    known: tuple[Sequence[str], Vectors],
    tracks: pd.DataFrame | None = None,
    count: int = 3,
) -> pd.DataFrame:
    """Find the tracks with the most similar vectors, by the cosine of the angle between them.

    Parameters
    ----------
    query : np.ndarray [shape=(size,)]
        Vector of the song.
    known : (sequence of str, np.ndarray [shape=(tracks, size)])
        Ids and vectors to choose from.
    tracks : pd.DataFrame, optional
        From `load_tracks`: genre, artist and title. GTZAN's packaged facts by default.
    count : int
        Number of tracks to return.

    Returns
    -------
    pd.DataFrame [shape=(count, 5)]
        ``track_id``, ``genre``, ``artist``, ``title`` ("" where not known), ``similarity`` (-1..1), the
        nearest first.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.inference.nearest import nearest_tracks
    >>> known = ["rock.00016", "jazz.00001"], np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> nearest_tracks(np.array([2.0, 1.0]), known).round(2).values.tolist()[0]
    ['rock.00016', 'rock', 'Queen', 'Tie Your Mother Down', 0.89]
    """
    ids, vectors = known
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    similarity = vectors @ query / np.maximum(lengths, 1e-12)
    best = np.argsort(-similarity, kind="stable")[:count]
    table = facts() if tracks is None else tracks.set_index("track_id")
    chosen = table[["genre", "artist", "title"]].reindex([ids[i] for i in best]).fillna("")
    return chosen.assign(similarity=similarity[best]).rename_axis("track_id").reset_index()


def nearest_of(run: Run, track_ids: Sequence[str], count: int = 3) -> pd.DataFrame:
    """Return the training tracks of a run that are nearest to other tracks of its store.

    Returns
    -------
    pd.DataFrame
        As `nearest_tracks` returns it for each, with the other track in the column ``of``.
    """
    known = track_vectors(run.model, run.store, run.split.train)
    ids, vectors = track_vectors(run.model, run.store, track_ids)
    found = [
        nearest_tracks(vector, known, run.store.tracks, count).assign(of=track_id)
        for track_id, vector in zip(ids, vectors, strict=True)
    ]
    return pd.concat(found, ignore_index=True)
