"""One training step of four models: Keras' default, what `train` does, and that without fused kernels.

python -m tests.benchmarks.bench_steps [FOLDER] [model ...]

The settings of a model are measured in one process, in turns, so that other work on the machine changes them
alike; the ratio is the median of the turns' ratios. FOLDER is not used; the other benchmarks need one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median

import keras
import numpy as np

from gtzan_keras import models
from gtzan_keras.models.layers import clone
from gtzan_keras.training.fit import make_state
from gtzan_keras.training.precision import dtypes_in, training_policy
from tests.benchmarks.common import in_turns, ratios

BUILDS = {
    "cnn": ("cnn", (224, 224, 3), 32, {}),
    "vgg16": ("vgg16", (224, 224, 3), 8, {"weights": None, "trainable_from": "block1_conv1"}),
    "yolov8-xs": ("yolov8", (224, 224, 3), 8, {"size": "xs"}),
    "yolov8": ("yolov8", (416, 416, 3), 8, {"size": "s"}),
    "yolov4": ("yolov4", (416, 416, 3), 2, {}),
}
"""Builder, shape of a sample, batch size, arguments."""

TURNS = 7


def steps_of(name: str) -> dict[str, Callable[[], None]]:
    """A function that does one training step, for each setting."""
    builder, shape, batch, arguments = BUILDS[name]
    keras.utils.set_random_seed(0)
    plain = getattr(models, builder)(shape, 10, **arguments)
    policy, _ = training_policy("auto")
    random = np.random.default_rng(0)
    images = random.random((batch, *shape), dtype="float32")
    labels = np.eye(10, dtype="float32")[random.integers(10, size=batch)]

    def step(model: keras.Model, ours: bool = True) -> Callable[[], None]:
        model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy")
        if ours:
            make_state(model)

        def one() -> None:
            assert np.isfinite(model.train_on_batch(images, labels))

        return one

    return {
        f"train ({policy})": step(clone(plain, dtypes_in(plain, policy), fused=True)),
        "without fused kernels": step(clone(plain, dtypes_in(plain, policy))),
        "Keras' default": step(plain, ours=False),
    }


def main(names: list[str]) -> None:
    print("| model | setting | first step | step | times `train` |\n| --- | --- | --- | --- | --- |")
    for name in names:
        seconds, _ = in_turns(steps_of(name), 1 + TURNS, uncounted=0)
        base = next(iter(seconds.values()))
        for setting, (first, *later) in seconds.items():
            times = f"{first:.1f} s | {1000 * median(later):.0f} ms | {median(ratios(later, base[1:])):.2f}"
            print(f"| {name} | {setting} | {times} |", flush=True)


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name in BUILDS] or list(BUILDS))
