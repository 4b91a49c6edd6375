"""One training step of four models under Keras' default and under other settings, on random pictures.

python tests/benchmarks/bench_steps.py [FOLDER] [model ...] [setting ...]
python tests/benchmarks/bench_steps.py gpu

Where there is a GPU, also the images a second that YOLOv8 of size s trains on, with the pictures on the
device and without, and how busy the GPU is; ``gpu`` asks for that alone.

FOLDER is taken and not used, as the other benchmarks want one. Every setting runs in a process of its own,
since threads and oneDNN are fixed when TensorFlow starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    "as train, fused=False": {"train": True},
    "as train": {"train": True, "fused": True},
}


def step(model_name: str, setting: dict) -> dict[str, float]:
    """Seconds until the first step is done (building the graph), and the median of the steps after it."""
    import keras
    import numpy as np
    import tensorflow as tf

    from gtzan_keras import models
    from gtzan_keras.training.kernels import fused_kernels
    from gtzan_keras.training.precision import computing_in, training_policy

    if "inter" in setting:
        tf.config.threading.set_inter_op_parallelism_threads(setting["inter"])
    keras.mixed_precision.set_dtype_policy(setting.get("policy", "float32"))
    keras.utils.set_random_seed(0)
    builder, shape, batch, arguments = BUILDS[model_name]
    model = getattr(models, builder)(shape, 10, **arguments)
    model.compile(
        keras.optimizers.Adam(1e-4),
        "categorical_crossentropy",
        jit_compile=False if "train" in setting else setting.get("jit", "auto"),
    )
    random = np.random.default_rng(0)
    images = random.random((batch, *shape), dtype="float32")
    labels = np.eye(10, dtype="float32")[random.integers(10, size=batch)]
    with contextlib.ExitStack() as stack:
        if "train" in setting:
            policy, _ = training_policy("auto")
            stack.enter_context(computing_in(model, policy))
            if "fused" in setting:
                stack.enter_context(fused_kernels(model, policy))
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


def throughput(
    side: int, *, size: str = "s", images: int = 512, batch: int = 32, epochs: int = 3
) -> dict[str, float | None]:
    """Images a second in epochs after the first, as `train` would set them up; the GPU's mean utilisation."""
    import keras
    import numpy as np

    from gtzan_keras import SpectrogramSpec, SpectrogramStore, models
    from gtzan_keras.models.device import use_xla
    from gtzan_keras.training.precision import use_precision

    use_precision("auto")
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    spec = SpectrogramSpec(
        name="random", n_mels=side, height=side, width=side, channels=3, colour_map="magma"
    )
    ids = [f"{genre}/{number:04d}" for genre in ("blues", "rock") for number in range(images // 2)]
    pictures = (random.integers(256, size=spec.shape, dtype=np.uint8) for _ in ids)
    with tempfile.TemporaryDirectory() as folder:
        genres = [track_id.split("/")[0] for track_id in ids]
        store = SpectrogramStore.from_arrays(Path(folder) / "store.h5", pictures, ids, spec, genres)
        batches = store.batches(ids, batch, shuffle=True, in_memory=True)
    model = models.yolov8(spec.shape, 2, size=size)
    model.compile("adam", "categorical_crossentropy", jit_compile=use_xla())
    model.fit(batches, shuffle=False, verbose=0)
    sampling = _sample_utilisation()
    begin = time.perf_counter()
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    seconds = time.perf_counter() - begin
    busy = None
    if sampling is not None:
        sampling.terminate()
        samples = [int(line) for line in sampling.communicate()[0].split() if line.isdigit()]
        busy = statistics.mean(samples) if samples else None
    return {"rate": epochs * len(ids) / seconds, "busy": busy}


def _sample_utilisation() -> subprocess.Popen[str] | None:
    """A process that writes the first GPU's utilisation in percent, five times a second."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    return subprocess.Popen(
        ["nvidia-smi", "--id=0", *query, "--loop-ms=200"], stdout=subprocess.PIPE, text=True
    )


def gpu_rows() -> None:
    count = "from gtzan_keras.training.precision import count_gpus; print(count_gpus())"
    counted = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True)
    if not int(counted.stdout):
        print("\nimages a second of yolov8, size s, at 416 and 640, and utilisation: these rows need a GPU")
        return
    print("\n| pictures | on the device | images a second | GPU busy |\n| --- | --- | --- | --- |")
    for side in (416, 640):
        for placed in (False, True):
            command = [sys.executable, __file__, "--throughput", str(side), str(int(placed))]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1][:80]
                print(f"| {side} x {side} | {placed} | failed: {reason} | |")
                continue
            measured = json.loads(done.stdout.splitlines()[-1])
            busy = "not known" if measured["busy"] is None else f"{measured['busy']:.0f} %"
            print(f"| {side} x {side} | {placed} | {measured['rate']:.0f} | {busy} |", flush=True)


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
    elif sys.argv[1:2] == ["--throughput"]:
        print(json.dumps(throughput(int(sys.argv[2]), sys.argv[3] == "1")))
    elif sys.argv[1:] == ["gpu"]:
        gpu_rows()
    else:
        given = sys.argv[1:]
        main(
            [name for name in given if name in BUILDS] or list(BUILDS),
            [label for label in given if label in SETTINGS] or list(SETTINGS),
        )
        gpu_rows()
