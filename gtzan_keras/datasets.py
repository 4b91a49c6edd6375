"""What every notebook begins with: the data it works on, and how much of it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from gtzan_keras.tracks.splits import Split

if TYPE_CHECKING:
    from gtzan_keras.store.spectrograms import SpectrogramStore

__all__ = ["Study", "open_study"]

VARIABLE = "GTZAN_KERAS_DATA"
CACHE = "GTZAN_KERAS_CACHE"
DEMO_TRACKS_PER_GENRE = 12
QUICK_EPOCHS = 6


@dataclass(frozen=True)
class Study:
    """A set of tracks, and the profile in which it is worked on.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `gtzan_keras.load_tracks`.
    data : str
        What it is called: "demo set", "GTZAN", ...
    profile : "quick" or "full"
        The quick one trains for a few epochs, enough to see that everything works.
    folder : Path
        Keeps stores, tables and runs, so that a second notebook finds them.

    Examples
    --------
    >>> from gtzan_keras import open_study
    >>> study = open_study()  # doctest: +SKIP
    >>> study.store("arrigo-v1").shape  # doctest: +SKIP
    (120, 416, 416, 1)
    """

    tracks: pd.DataFrame
    data: str
    profile: Literal["quick", "full"]
    folder: Path

    def __str__(self) -> str:
        text = f"{self.data}, {self.profile} profile: {len(self.tracks)} tracks"
        if self.profile == "quick":
            text += ". Synthesised, not GTZAN: its figures show that the machinery works, no more."
        return text

    def epochs(self, full: int) -> int:
        """Epochs to train: `full`, or a few in the quick profile."""
        return self.choose(quick=min(full, QUICK_EPOCHS), full=full)

    def choose(self, *, quick: Any, full: Any) -> Any:
        """One of two values, by profile: a small network for the quick one, the source's for the full."""
        return full if self.profile == "full" else quick

    def store(self, spec: str) -> SpectrogramStore:
        """The store of a spec; made when it is not there, or when the tracks have changed."""
        from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS
        from gtzan_keras.store.open import open_store
        from gtzan_keras.store.preprocess import preprocess

        path = self.folder / f"{spec}.h5"
        if path.is_file():  # preprocess would say so too, but reads every sound file first
            store = open_store(path)
            ids = list(self.tracks["track_id"])
            if store.spec == SPECTROGRAM_SPECS.get(spec) and list(store.tracks["track_id"]) == ids:
                return store
            store.close()
        preprocess(self.tracks, path, spec)
        return open_store(path)

    def features(self, segment: float | None = None) -> pd.DataFrame:
        """The table of hand-crafted features of whole tracks, or of segments of so many seconds."""
        from gtzan_keras.store.feature_table import feature_table, load_feature_table

        path = self.folder / f"features_{f'{segment:g}' if segment else '30'}_sec.csv"
        if not path.is_file():
            feature_table(self.tracks, segment=segment, path=path)
        return load_feature_table(path, self.tracks["genre"].unique())

    def split(self) -> Split:
        """The honest split where the data has one, else 70/15/15 of tracks."""
        from gtzan_keras.tracks import splits

        if set(self.tracks["fault_filtered"]) >= {"train", "valid", "test"}:
            return splits.fault_filtered(self.tracks)
        return splits.stratified(self.tracks)

    def out(self, name: str) -> Path:
        """Folder of a run, emptied by nobody: training again replaces what is in it."""
        return self.folder / "runs" / name


def open_study() -> Study:
    """Open the data that the environment names.

    ``GTZAN_KERAS_DATA`` names a folder with genre folders and brings the full profile; without it, a
    small demo set is synthesised and worked on in the quick profile. What is computed is kept in the
    user's cache folder, or where ``GTZAN_KERAS_CACHE`` points.

    Returns
    -------
    Study

    Raises
    ------
    GtzanKerasError
        The variable names no folder of tracks.

    Examples
    --------
    >>> from gtzan_keras import open_study
    >>> print(open_study())  # doctest: +SKIP
    demo set, quick profile: 123 tracks. Synthesised, not GTZAN: ...
    """
    import pooch

    from gtzan_keras.tracks.catalogue import data_name, load_tracks
    from gtzan_keras.tracks.demo import make

    _prepare_notebook()
    cache = Path(os.environ.get(CACHE) or pooch.os_cache("gtzan-keras"))
    named = os.environ.get(VARIABLE)
    if named:
        root = Path(named)
        tracks = load_tracks(root)
        place = str(root.resolve())  # two folders of one name are not to share a store
        work = cache / f"{root.resolve().name}-{zlib.crc32(place.encode()):08x}"
        return Study(tracks, data_name(tracks), "full", work)
    root = make(cache / "demo", tracks_per_genre=DEMO_TRACKS_PER_GENRE)
    tracks = load_tracks(root)
    return Study(tracks, data_name(tracks), "quick", cache / "demo-work")


def _prepare_notebook() -> None:
    """Pictures where a cell ends with a figure, and no chatter from below."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    # What was left out stands in `store.refused` and `CrossValidation.missing`.
    logging.getLogger("gtzan_keras").addHandler(logging.NullHandler())
    # A filter, for TensorFlow sets its logger's level anew; it warns of batches of several sizes.
    logging.getLogger("tensorflow").addFilter(lambda record: record.levelno >= logging.ERROR)
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython
    from IPython.core.pylabtools import select_figure_formats

    shell = get_ipython()
    if shell is None:
        return
    select_figure_formats(shell, {"png"})  # pyplot would see to this; our figures are made without it
    with contextlib.suppress(OSError):
        # The greetings of TensorFlow's C++, which no setting turns off, go to the terminal that the
        # kernel was started from; errors in Python still come here.
        os.dup2(sys.stderr.fileno(), 2)
