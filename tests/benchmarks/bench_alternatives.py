"""What a user would write instead: an image per clip with Matplotlib, and PNG files.

python -m tests.benchmarks.bench_alternatives FOLDER [TRACKS]

A loop of librosa calls is in bench_preprocess and bench_features, training that keeps no output of a frozen
base in bench_frozen.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")

import numpy as np
import pandas as pd
import soundfile

from gtzan_keras import load_tracks, open_store, preprocess

SPEC = "malvezzi-rgb224"
ROUNDS = 3


def compare(
    title: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int = ROUNDS
) -> None:
    """Print the median of theirs / ours, in turns after one call each."""
    times: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        for way, values in zip((ours, theirs), times, strict=True):
            begin = time.perf_counter()
            way()
            if number:
                values.append(time.perf_counter() - begin)
    ratios = [slow / quick for quick, slow in zip(*times, strict=True)]
    quick, slow = map(statistics.median, times)
    print(
        f"{title}: {slow:.2f} s, ours {quick:.2f} s: {statistics.median(ratios):.1f} times as fast "
        f"({min(ratios):.1f} to {max(ratios):.1f})"
    )


def with_matplotlib(tracks: pd.DataFrame, folder: Path) -> None:
    """Write one PNG of 224 x 224 per clip, as most tutorials do."""
    import librosa
    import matplotlib.pyplot as plt

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


def images(tracks: pd.DataFrame, work: Path) -> None:
    import keras
    import librosa.display  # noqa: F401

    pngs, store = work / "png", work / "store.h5"

    def ours() -> None:
        store.unlink(missing_ok=True)
        preprocess(tracks, store, SPEC, jobs=1, progress=False)

    compare(
        f"{len(tracks)} clips as images, one Matplotlib figure each",
        ours,
        lambda: with_matplotlib(tracks, pngs),
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
    some = load_tracks(sys.argv[1])[: int(sys.argv[2]) if len(sys.argv) > 2 else 50]
    with tempfile.TemporaryDirectory() as temporary:
        images(some, Path(temporary))
