"""One training step of four models: Keras' default, what `train` does, and that without fused kernels.

python -m tests.benchmarks.bench_steps [FOLDER] [model ...]

The settings of a model are measured in one process, in turns, so that other work on the machine changes them
alike; the ratio is the median of the turns' ratios. FOLDER is not used; the other benchmarks need one.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

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
    import keras
    import numpy as np

    from gtzan_keras import models
    from gtzan_keras.models.layers import clone
    from gtzan_keras.training.fit import make_state
    from gtzan_keras.training.precision import dtypes_in, training_policy

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
        seconds: dict[str, list[float]] = {}
        steps = steps_of(name)
        for _ in range(TURNS + 1):
            for setting, step in steps.items():
                begin = time.perf_counter()
                step()
                seconds.setdefault(setting, []).append(time.perf_counter() - begin)
        base = next(iter(seconds.values()))
        for setting, found in seconds.items():
            ratio = statistics.median(one / other for one, other in zip(found[1:], base[1:], strict=True))
            print(
                f"| {name} | {setting} | {found[0]:.1f} s | {1000 * statistics.median(found[1:]):.0f} ms "
                f"| {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name in BUILDS] or list(BUILDS))
