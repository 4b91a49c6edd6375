"""Batches from a compressed store that is not held in memory, against what the CNN trains on.

python -m tests.benchmarks.bench_batches FOLDER
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from gtzan_keras import load_tracks, models, open_store, preprocess
from gtzan_keras.training.precision import training_policy


def main(folder: str) -> None:
    for spec in ("arrigo-v1", "malvezzi-rgb224"):
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "store.h5"
            preprocess(load_tracks(folder), path, spec, progress=False)
            measure(path)


def measure(path: Path) -> None:
    store = open_store(path)
    batches = store.batches(list(store.tracks["track_id"]), 32, shuffle=True, in_memory=False)
    read = []
    for _ in range(5):
        begin = time.perf_counter()
        for index in range(len(batches)):
            batches[index]
        read.append(len(store) / (time.perf_counter() - begin))

    policy = training_policy("auto")[0]  # the fastest training there is: the hardest case
    keras.config.set_dtype_policy(policy)
    model = models.cnn(store.spec.shape, len(store.genres))
    model.compile("adam", "categorical_crossentropy")
    images, labels = batches[0]
    model.train_on_batch(images, labels)
    trained = []
    for _ in range(5):
        begin = time.perf_counter()
        model.train_on_batch(images, labels)
        trained.append(len(images) / (time.perf_counter() - begin))
    reads, trains = statistics.median(read), statistics.median(trained)
    print(
        f"{store.spec.name} {store.spec.shape}: {reads:.0f} images/s read, {trains:.0f} images/s trained on "
        f"({policy}); ratio {reads / trains:.1f} (at least 10)"
    )


if __name__ == "__main__":
    main(sys.argv[1])
