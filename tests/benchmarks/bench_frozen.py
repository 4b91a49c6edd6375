"""Training a head on a frozen VGG16, with and without its output in a file.

python -m tests.benchmarks.bench_frozen [FOLDER] [--side 96] [--images 200] [--epochs 10]

FOLDER is not used; the other benchmarks need one. With smaller images, or fewer, the fixed cost of a training
weighs more.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import keras
import numpy as np

from gtzan_keras import SpectrogramSpec, SpectrogramStore, TrainingSettings, train
from gtzan_keras.models.image_bases import vgg16
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.precision import training_policy
from tests.benchmarks.common import in_turns, ratios


def main(side: int, images: int, epochs: int) -> None:
    spec = SpectrogramSpec(
        name="random", n_mels=side, height=side, width=side, channels=3, colour_map="magma"
    )
    ids = [f"{genre}/{number:04d}" for genre in ("blues", "rock") for number in range(images // 2)]
    random = np.random.default_rng(0)
    samples = (random.integers(256, size=spec.shape, dtype=np.uint8) for _ in ids)
    policy = training_policy("auto")[0]
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        genres = [track_id.split("/")[0] for track_id in ids]
        store = SpectrogramStore.from_arrays(Path(folder) / "store.h5", samples, ids, spec, genres)
        split = Split("all", tuple(ids[1:-1]), (), (ids[0], ids[-1]))
        settings, ways = TrainingSettings(epochs=epochs), {}
        for kept in ("kept", "plain"):  # in this order: the first pays for what both set up
            model, out = vgg16(spec.shape, 2, weights=None), Path(folder) / kept
            options = {"out": out, "cache_frozen": kept == "kept", "verbose": 0}
            ways[kept] = partial(train, model, store, split, settings, **options)
        wall, work = in_turns(ways, 1, uncounted=0)
    print(
        f"{len(ids)} images of {side} x {side}, {epochs} epochs ({policy}): {wall['plain'][0]:.1f} s, "
        f"with the base's output kept {wall['kept'][0]:.1f} s; "
        f"ratio {ratios(wall['plain'], wall['kept'])[0]:.1f} (at least 8), in processor time, "
        f"which other work on the machine changes less, {ratios(work['plain'], work['kept'])[0]:.1f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    for name, default in (("side", 96), ("images", 200), ("epochs", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    main(given.side, given.images, given.epochs)
