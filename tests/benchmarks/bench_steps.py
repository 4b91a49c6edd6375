"""One training step of four models under Keras' default and under other settings, on random pictures.

python tests/benchmarks/bench_steps.py [FOLDER] [model ...] [setting ...]

FOLDER is taken and not used, as the other benchmarks want one. Every setting runs in a process of its own,
since threads and oneDNN are fixed when TensorFlow starts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

BUILDS = {
    "cnn": ("cnn", (224, 224, 3), 32, {}),
    "vgg16": ("vgg16", (224, 224, 3), 8, {"weights": None, "trainable_from": "block1_conv1"}),
    "yolov8": ("yolov8", (416, 416, 3), 8, {"size": "s"}),
    "yolov4": ("yolov4", (416, 416, 3), 2, {}),
}
"""Builder, shape of a picture, batch size, arguments."""

SETTINGS = {
    "Keras' default": {},
    "jit_compile=False": {"jit": False},
    "jit_compile=True": {"jit": True},
    "mixed_bfloat16, jit_compile=False": {"policy": "mixed_bfloat16", "jit": False},
    "mixed_bfloat16": {"policy": "mixed_bfloat16"},
    "jit_compile=False, oneDNN off": {"jit": False, "environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
    "jit_compile=False, 1 inter-op thread": {"jit": False, "inter": 1},
}


def step(model_name: str, setting: dict) -> dict[str, float]:
    """Seconds until the first step is done (building the graph), and the median of the steps after it."""
    import keras
    import numpy as np
    import tensorflow as tf

    from gtzan_keras import models

    if "inter" in setting:
        tf.config.threading.set_inter_op_parallelism_threads(setting["inter"])
    keras.mixed_precision.set_dtype_policy(setting.get("policy", "float32"))
    keras.utils.set_random_seed(0)
    builder, shape, batch, arguments = BUILDS[model_name]
    model = getattr(models, builder)(shape, 10, **arguments)
    model.compile(
        keras.optimizers.Adam(1e-4), "categorical_crossentropy", jit_compile=setting.get("jit", "auto")
    )
    random = np.random.default_rng(0)
    images = random.random((batch, *shape), dtype="float32")
    labels = np.eye(10, dtype="float32")[random.integers(10, size=batch)]
    begin = time.perf_counter()
    model.train_on_batch(images, labels)
    first = time.perf_counter() - begin
    seconds = []
    while len(seconds) < 2 or (sum(seconds) < 5 and len(seconds) < 12):
        begin = time.perf_counter()
        loss = model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - begin)
    assert np.isfinite(loss), f"{model_name} {setting}: loss {loss}"
    return {"first": first, "step": statistics.median(seconds)}


def main(names: list[str], labels: list[str]) -> None:
    print("| model | setting | first step | step | times the first |\n| --- | --- | --- | --- | --- |")
    for name in names:
        base = None
        for label in labels:
            setting = SETTINGS[label]
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **setting.get("environment", {})}
            arguments = [sys.executable, __file__, "--step", name, json.dumps(setting)]
            done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
            if done.returncode:
                print(f"| {name} | {label} | failed: {done.stderr.strip().splitlines()[-1][:80]} | | |")
                continue
            measured = json.loads(done.stdout.splitlines()[-1])
            base = base or measured["step"]
            print(
                f"| {name} | {label} | {measured['first']:.1f} s | {1000 * measured['step']:.0f} ms "
                f"| {base / measured['step']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(sys.argv[2], json.loads(sys.argv[3]))))
    else:
        given = sys.argv[1:]
        main(
            [name for name in given if name in BUILDS] or list(BUILDS),
            [label for label in given if label in SETTINGS] or list(SETTINGS),
        )
