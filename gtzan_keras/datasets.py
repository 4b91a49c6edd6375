"""Real GTZAN data that comes with the package, the synthesised demo set, and what a notebook works on."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pooch

import gtzan_keras.store.feature_table as tables
from gtzan_keras.store.preprocess import preprocess
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks import splits
from gtzan_keras.tracks.catalogue import data_name, load_tracks
from gtzan_keras.tracks.demo import make

__all__ = ["NotebookData", "demo", "feature_table", "notebook_data", "thumbnails"]

_FOLDER = Path(__file__).parent / "data"
THUMBNAILS = _FOLDER / "gtzan_thumbnail_64.h5"
FEATURES = _FOLDER / "features_30_sec.csv.gz"  # Kaggle's file, compressed
BASELINE_MODEL = _FOLDER / "baseline-cnn.keras"
"""Seed 0 of the recipe baseline/cnn, described in docs/baseline-model.md."""
TRAINING_VECTORS = _FOLDER / "baseline-cnn-training-tracks.npz"
"""Its penultimate layer for the tracks that it was trained on; see `gtzan_keras.inference.nearest`."""

AUDIO_VARIABLE = "GTZAN_KERAS_DATA"
CACHE_VARIABLE = "GTZAN_KERAS_CACHE"
_DEMO_TRACKS_PER_GENRE = 6


def thumbnails() -> SpectrogramStore:
    """Return the packaged thumbnails: small spectrograms of 999 GTZAN tracks.

    Each is the spectrogram of spec ``librosa-128x387``, from the track's own minimum to its maximum,
    averaged over 2 mel bands and about 6 frames: half a second per column. ``jazz.00054`` is missing,
    because its file is corrupt in the common release. ``gtzan-keras preprocess DIR --spec thumbnail-64``
    makes the same from audio. docs/data.md says what they can and cannot show.

    Returns
    -------
    SpectrogramStore
        999 samples, uint8 (64, 64, 1), spec ``thumbnail-64``.

    Examples
    --------
    >>> from gtzan_keras import datasets, splits
    >>> store = datasets.thumbnails()
    >>> store.shape, store.spec.name
    ((999, 64, 64, 1), 'thumbnail-64')
    >>> len(splits.fault_filtered(store.tracks).test)
    290
    """
    return SpectrogramStore(THUMBNAILS)


def feature_table() -> pd.DataFrame:
    """Return the packaged table of hand-crafted features of GTZAN: Kaggle's ``features_30_sec.csv``.

    The numbers are those of the Kaggle data set "GTZAN Dataset - Music Genre Classification"
    (https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification), unchanged.
    `gtzan_keras.audio.features.extract` computes the same numbers from audio (docs/features.md).

    Returns
    -------
    pd.DataFrame [shape=(1000, 60)]
        ``filename``, ``length`` (samples), 57 features, ``label``; one row per track, in class order.

    Examples
    --------
    >>> from gtzan_keras import datasets
    >>> table = datasets.feature_table()
    >>> table.shape, table["label"].value_counts().unique().tolist()
    ((1000, 60), [100])
    """
    return tables.load_feature_table(FEATURES)


def demo(folder: str | os.PathLike[str], tracks_per_genre: int = 20, jobs: int = -1) -> pd.DataFrame:
    """Synthesise the demo set, for what needs sound, and return its table of tracks. It is not GTZAN.

    Parameters
    ----------
    folder : str or os.PathLike
        Where to write it. A demo set that is already there is reused.
    tracks_per_genre : int >= 3
        Tracks of each of the ten genres; planted faults are added.
    jobs : int
        Worker processes as joblib counts them; -1 uses every core.

    Returns
    -------
    pd.DataFrame
        From `load_tracks`.

    Raises
    ------
    GtzanKerasError
        The folder holds something else, or a demo set of another size.

    See Also
    --------
    gtzan_keras.tracks.demo.make : further settings.

    Examples
    --------
    >>> from gtzan_keras import datasets
    >>> datasets.demo("demo", tracks_per_genre=5)  # doctest: +SKIP
    """
    return load_tracks(make(folder, tracks_per_genre=tracks_per_genre, jobs=jobs))


@dataclass(frozen=True)
class NotebookData:
    """The data that a notebook works on. Made by `notebook_data`.

    Parameters
    ----------
    name : str
        Name of the data in figures and tables.
    tracks : pd.DataFrame
        From `load_tracks`, or the tracks of the packaged store.
    folder : Path
        Keeps stores, tables and runs, so that another notebook finds them.
    packaged : bool
        The data is the package's own thumbnails and feature table, without sound.

    Examples
    --------
    >>> from gtzan_keras.datasets import notebook_data
    >>> data = notebook_data()  # doctest: +SKIP
    >>> data.store("arrigo-v1")  # doctest: +SKIP
    <SpectrogramStore gtzan_thumbnail_64.h5: 999 x (64, 64, 1), spec thumbnail-64>
    """

    name: str
    tracks: pd.DataFrame
    folder: Path
    packaged: bool

    def __str__(self) -> str:
        return f"{self.name}: {len(self.tracks)} tracks"

    def choose(self, *, quick: Any, full: Any) -> Any:
        """Return `full` if ``GTZAN_KERAS_DATA`` names a folder of audio, else `quick`."""
        return full if os.environ.get(AUDIO_VARIABLE) else quick

    def store(self, spec: str) -> SpectrogramStore:
        """Return the store of a spec, made from sound at first use; packaged data has its thumbnails only."""
        if self.packaged:
            return thumbnails()
        path = self.folder / f"{spec}.h5"
        if path.is_file():  # preprocess would read every sound file first
            store = SpectrogramStore(path)
            if store.made_from(self.tracks):
                return store
            store.close()
            if not set(store.track_id) <= set(self.tracks["track_id"]):  # preprocess refuses to drop tracks
                path.unlink()
        preprocess(self.tracks, path, spec)
        return SpectrogramStore(path)

    def features(self) -> pd.DataFrame:
        """Return the table of hand-crafted features of whole tracks, made from sound at first use."""
        if self.packaged:
            return feature_table()
        return tables.kept_feature_table(self.tracks, self.folder, self.folder.name)

    def split(self) -> splits.Split:
        """Return the fault-filtered split if the data has one, else 70/15/15 of tracks."""
        if set(self.tracks["fault_filtered"]) >= {"train", "valid", "test"}:
            return splits.fault_filtered(self.tracks)
        return splits.stratified(self.tracks)

    def out(self, name: str) -> Path:
        """Return the folder of a run; training again replaces what is in it."""
        return self.folder / "runs" / name


def cache_folder() -> Path:
    """Return the folder for what is computed from packaged data; ``GTZAN_KERAS_CACHE`` overrides it."""
    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("gtzan-keras"))


def notebook_data(sound: bool = False) -> NotebookData:
    """Choose the data that a notebook works on.

    If ``GTZAN_KERAS_DATA`` names a folder with genre folders, everything is made from its audio. Otherwise
    it is the packaged data of GTZAN, or the synthesised demo set if a notebook needs sound. Results are
    kept in the user's cache folder, or in the folder that ``GTZAN_KERAS_CACHE`` names.

    Parameters
    ----------
    sound : bool
        The notebook opens sound files.

    Returns
    -------
    NotebookData

    Raises
    ------
    GtzanKerasError
        ``GTZAN_KERAS_DATA`` is not a folder of tracks.

    Examples
    --------
    >>> from gtzan_keras.datasets import notebook_data
    >>> print(notebook_data())  # doctest: +SKIP
    GTZAN, packaged thumbnails and features: 999 tracks
    """
    cache = cache_folder()
    if named := os.environ.get(AUDIO_VARIABLE):
        tracks = load_tracks(named)
        root = Path(named).resolve()
        work = cache / f"{root.name}-{zlib.crc32(str(root).encode()):08x}"  # folders may share a name
        return NotebookData(data_name(tracks), tracks, work, packaged=False)
    if sound:
        tracks = demo(cache / "demo", _DEMO_TRACKS_PER_GENRE)
        return NotebookData("demo set, synthesised, not GTZAN", tracks, cache / "demo-work", packaged=False)
    with thumbnails() as store:
        tracks = store.tracks
    return NotebookData(
        "GTZAN, packaged thumbnails and features", tracks, cache / "packaged-work", packaged=True
    )
