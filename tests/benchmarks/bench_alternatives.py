"""What a user would write instead: an image per clip with Matplotlib, and PNG files.

python -m tests.benchmarks.bench_alternatives FOLDER [TRACKS]

A loop of librosa calls is in bench_preprocess and bench_features, training that keeps no output of a frozen
base in bench_frozen.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import librosa.display
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile

from gtzan_keras import load_tracks, open_store, preprocess
from tests.benchmarks.common import in_turns, ratios, spread

SPEC = "malvezzi-rgb224"


def compare(title: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> None:
    seconds, _ = in_turns({"ours": ours, "theirs": theirs}, rounds)
    times = spread(ratios(seconds["theirs"], seconds["ours"]), 1)
    print(f"{title}: {spread(seconds['theirs'])} s, ours {spread(seconds['ours'])} s: {times} times as fast")


def with_matplotlib(tracks: pd.DataFrame, folder: Path) -> None:
    """Write one PNG of 224 x 224 per clip, as most tutorials do."""
    for row in tracks.itertuples():
        samples, rate = soundfile.read(row.path, dtype="float32")
        decibels = librosa.power_to_db(librosa.feature.melspectrogram(y=samples, sr=rate), ref=np.max)
        figure = plt.figure(figsize=(2.24, 2.24), dpi=100)
        plt.axes([0, 0, 1, 1]).axis("off")
        librosa.display.specshow(decibels, sr=rate)
        target = folder / row.genre / f"{row.track_id}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target)
        plt.close(figure)


def main(tracks: pd.DataFrame, work: Path) -> None:
    pngs, store = work / "png", work / "store.h5"

    def ours() -> None:
        store.unlink(missing_ok=True)
        preprocess(tracks, store, SPEC, jobs=1, progress=False)

    compare(
        f"{len(tracks)} clips as images, one Matplotlib figure each",
        ours,
        lambda: with_matplotlib(tracks, pngs),
        rounds=3,
    )
    batches = open_store(store).batches(list(tracks["track_id"]), 32, shuffle=True, in_memory=False)
    data = keras.utils.image_dataset_from_directory(pngs, image_size=(224, 224), batch_size=32, verbose=False)
    compare(
        f"{len(tracks)} images in batches of 32, image_dataset_from_directory on PNG files",
        lambda: [batches[index] for index in range(len(batches))],
        lambda: list(data.as_numpy_iterator()),
        rounds=7,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(load_tracks(sys.argv[1])[: int(sys.argv[2]) if len(sys.argv) > 2 else 50], Path(temporary))
