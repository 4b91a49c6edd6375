"""Training a head on a frozen VGG16, with and without its output in a file.

python -m tests.benchmarks.bench_frozen [FOLDER] [--side 96] [--images 200] [--epochs 10]

FOLDER is not used; the other benchmarks need one. With smaller images, or fewer, the fixed cost of a training
weighs more.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from gtzan_keras import SpectrogramSpec, SpectrogramStore, TrainingSettings, train
from gtzan_keras.models.image_bases import vgg16
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.precision import training_policy


def main(side: int, images: int, epochs: int) -> None:
    spec = SpectrogramSpec(
        name="random", n_mels=side, height=side, width=side, channels=3, colour_map="magma"
    )
    ids = [f"{genre}/{number:04d}" for genre in ("blues", "rock") for number in range(images // 2)]
    random = np.random.default_rng(0)
    samples = (random.integers(256, size=spec.shape, dtype=np.uint8) for _ in ids)
    policy = training_policy("auto")[0]
    with tempfile.TemporaryDirectory() as folder:
        genres = [track_id.split("/")[0] for track_id in ids]
        store = SpectrogramStore.from_arrays(Path(folder) / "store.h5", samples, ids, spec, genres)
        split = Split("all", tuple(ids[1:-1]), (), (ids[0], ids[-1]))
        seconds, work = {}, {}
        for cached in (True, False):  # in this order: what the first call sets up, the cached one pays
            keras.utils.set_random_seed(0)
            model = vgg16(spec.shape, 2, weights=None)
            begin, worked = time.perf_counter(), time.process_time()
            train(
                model,
                store,
                split,
                TrainingSettings(epochs=epochs),
                out=Path(folder) / str(cached),
                cache_frozen=cached,
                verbose=0,
            )
            seconds[cached], work[cached] = time.perf_counter() - begin, time.process_time() - worked
    print(
        f"{len(ids)} images of {side} x {side}, {epochs} epochs ({policy}): {seconds[False]:.1f} s, "
        f"with the base's output kept {seconds[True]:.1f} s; "
        f"ratio {seconds[False] / seconds[True]:.1f} (at least 8), "
        f"in processor time, which other work on the machine changes less, {work[False] / work[True]:.1f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    for name, default in (("side", 96), ("images", 200), ("epochs", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    main(given.side, given.images, given.epochs)
