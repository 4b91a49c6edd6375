"""Epochs of a training on batches as Keras takes them, and as `train` gives them to it.

python -m tests.benchmarks.bench_epochs [FOLDER]

By the clock and by processor time: the difference is time in which nothing is computed. FOLDER is not used.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gtzan_keras import SPECTROGRAM_SPECS, SpectrogramStore, datasets, experiments, models
from gtzan_keras.models.layers import clone
from gtzan_keras.store.base import Store
from gtzan_keras.store.batches import tensorflow_dataset
from gtzan_keras.training.fit import make_state
from gtzan_keras.training.precision import dtypes_in, training_policy
from tests.benchmarks.common import in_turns, machine, ratios, spread

TURNS, EPOCHS = 5, 3


def measure(name: str, store: Store, training: int, validation: int) -> None:
    """Print one line: a recipe's network on so many samples of a store."""
    recipe = experiments.find(name)
    assert recipe.settings is not None
    model = getattr(models, recipe.builder)(store.spec.shape, len(store.genres), **recipe.arguments)
    model = clone(model, dtypes_in(model, training_policy("auto", "float32")[0]), fused=True)
    model.compile("adam", "categorical_crossentropy")
    make_state(model)
    ids, size = list(dict.fromkeys(store.track_id)), recipe.settings.batch_size
    parts = ids[:training], ids[training : training + validation]
    batches = [store.batches(part, size, shuffle=part is parts[0]) for part in parts]

    def epochs(make: Any) -> None:
        given, checked = map(make, batches)
        model.fit(given, validation_data=checked, epochs=EPOCHS, shuffle=False, verbose=0)

    ways = {"Keras": lambda: epochs(lambda one: one), "train": lambda: epochs(tensorflow_dataset)}
    wall, work = in_turns(ways, TURNS)
    times = (
        f"{spread([seconds / EPOCHS for seconds in table[way]])} s" for way in ways for table in (wall, work)
    )
    gain = spread(ratios(wall["Keras"], wall["train"]))
    print(f"| `{name}`, {training} and {validation} samples | {' | '.join(times)} | {gain} |", flush=True)


def random_store(folder: str, count: int) -> SpectrogramStore:
    """Return a store of random spectrograms of 128 x 387."""
    values = np.random.default_rng(0).integers(0, 256, (count, 128, 387), np.uint8)
    genres = ["pop", "rock"] * (count // 2)
    ids = [f"{genre} {number}" for number, genre in enumerate(genres)]
    spec = SPECTROGRAM_SPECS["librosa-128x387"]
    return SpectrogramStore.from_arrays(Path(folder) / "random.h5", values, ids, spec, genres)


if __name__ == "__main__":
    begin = time.perf_counter()
    print(machine() + "\n")
    print("| | Keras | its processor time | as `train` | its processor time | Keras / `train` |")
    print("| --- | --- | --- | --- | --- | --- |")
    measure("baseline/thumbnail-cnn", datasets.thumbnails(), 442, 197)
    with tempfile.TemporaryDirectory() as temporary:
        images = random_store(temporary, 300)
        for first, second in ((100, 30), (200, 60)):
            measure("zhang/cnn", images, first, second)
    print(f"\n{time.perf_counter() - begin:.0f} s in all.")
