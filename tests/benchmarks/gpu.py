"""Images a second that networks train on, whether batches keep up, and one seed of baseline/cnn. See gpu.sh.

python -m tests.benchmarks.gpu [SHARE]

SHARE of 1 is for a GPU; a smaller one divides batches, to try the script on a processor.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

import gtzan_keras as gk
from gtzan_keras.experiments import find

BUILDS = {
    "cnn": (lambda: gk.models.cnn((224, 224, 3), 10), 256),
    "mobilenet_v2": (lambda: gk.models.image_base("mobilenet_v2", (224, 672, 3), weights=None), 64),
    "yolov4": (lambda: gk.models.yolov4((416, 416, 3)), 32),
    "vgg16": (lambda: gk.models.vgg16((224, 224, 3), weights=None, trainable_from="block1_conv1"), 64),
}
STEPS = 10


def images_a_second(name: str, precision: str, share: float) -> float:
    """Train on one batch in memory, again and again; the first step, which compiles, is not counted."""
    build, batch = BUILDS[name]
    batch = max(1, int(batch * share))
    keras.config.set_dtype_policy(precision)
    model = build()
    keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy")
    random = np.random.default_rng(0)
    images = random.random((batch, *model.input_shape[1:]), dtype="float32")
    labels = np.eye(10, dtype="float32")[random.integers(10, size=batch)]
    model.train_on_batch(images, labels)
    begin = time.perf_counter()
    for _ in range(STEPS):
        model.train_on_batch(images, labels)
    return STEPS * batch / (time.perf_counter() - begin)


def starvation() -> None:
    """Compare an epoch on batches from the store, augmented, with the same number of steps on one batch."""
    store = gk.datasets.thumbnails()
    recipe = find("baseline/thumbnail-cnn")
    batches = store.batches(
        list(store.tracks["track_id"]), 64, shuffle=True, augmentation=recipe.settings.augmentation, seed=0
    )
    model = gk.models.cnn((64, None, 1), 10, **recipe.arguments)
    model.compile("adam", "categorical_crossentropy")
    seconds = []
    for source in (batches, [batches[0]] * len(batches), batches):  # the first compiles every shape
        begin = time.perf_counter()
        for index in range(len(batches)):
            model.train_on_batch(*source[index])
        seconds.append(time.perf_counter() - begin)
    print(f"an epoch of thumbnails: {seconds[2]:.2f} s from the store, {seconds[1]:.2f} s from memory")


def one_seed(share: float) -> None:
    """Train one seed of baseline/thumbnail-cnn from start to end."""
    with TemporaryDirectory() as out:
        begin = time.perf_counter()
        epochs = None if share == 1 else 2
        gk.experiments.run(
            "baseline/thumbnail-cnn", protocol="fault-filtered", out=Path(out), max_epochs=epochs
        )
        print(f"baseline/thumbnail-cnn, one seed: {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    part = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    for network in BUILDS:
        for policy in ("float32", "mixed_bfloat16"):
            speed = images_a_second(network, policy, part)
            print(f"{network}, {policy}: {speed:.1f} images a second", flush=True)
    starvation()
    one_seed(part)
