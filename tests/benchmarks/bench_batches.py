"""Batches from a compressed store that is not held in memory, against what the CNN trains on.

python -m tests.benchmarks.bench_batches FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import keras

from gtzan_keras import load_tracks, models, open_store, preprocess
from gtzan_keras.training.precision import training_policy
from tests.benchmarks.common import in_turns


def measure(path: Path) -> None:
    store = open_store(path)
    batches = store.batches(list(store.tracks["track_id"]), 32, shuffle=True, in_memory=False)
    policy = training_policy("auto")[0]  # the fastest training there is: the hardest case
    keras.config.set_dtype_policy(policy)
    model = models.cnn(store.spec.shape, len(store.genres))
    model.compile("adam", "categorical_crossentropy")
    images, labels = batches[0]
    ways = {
        "read": lambda: [batches[index] for index in range(len(batches))],
        "train": lambda: model.train_on_batch(images, labels),
    }
    seconds, _ = in_turns(ways, 5)
    reads, trains = len(store) / median(seconds["read"]), len(images) / median(seconds["train"])
    print(
        f"{store.spec.name} {store.spec.shape}: {reads:.0f} images/s read, {trains:.0f} images/s trained on "
        f"({policy}); ratio {reads / trains:.1f} (at least 10)"
    )


if __name__ == "__main__":
    for spec in ("arrigo-v1", "malvezzi-rgb224"):
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "store.h5"
            preprocess(load_tracks(sys.argv[1]), file, spec, progress=False)
            measure(file)
