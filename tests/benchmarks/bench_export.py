"""Size and speed of the packaged model in each exported format: from 10 s of sound to probabilities.

python -m tests.benchmarks.bench_export [FOLDER [ROUNDS]]

Each runtime with its own defaults, in turns, in one process. The sound is noise: none of them cares.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gtzan_keras import export, predict
from gtzan_keras.datasets import BASELINE_MODEL
from gtzan_keras.inference.predict import load_classifier
from tests.benchmarks.common import in_turns

FORMATS = {"litert": "genres.tflite", "onnx": "genres.onnx", "tf_saved_model": "genres"}


def runtime(path: Path, format: str) -> Callable[[np.ndarray], Any]:
    if format == "litert":
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(str(path)).get_signature_runner()
        return lambda sound: run(sound=sound)
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        return lambda sound: session.run(None, {"sound": sound})
    import tensorflow as tf

    served = tf.saved_model.load(str(path))
    return lambda sound: served.serve(sound)


def megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def main(rounds: int) -> None:
    classifier = load_classifier(None)
    rate = classifier.spec.sample_rate
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 10 * rate)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        ways = {"Keras, `predict`": partial(predict, sound[0], classifier, sample_rate=rate, progress=False)}
        sizes = [megabytes(Path(BASELINE_MODEL))]
        for format, name in FORMATS.items():
            path = export(None, Path(folder) / name, format)  # type: ignore[arg-type]
            ways[format] = partial(runtime(path, format), sound)
            sizes.append(megabytes(path))
        seconds, _ = in_turns(ways, rounds)
    print(f"10 s of sound, {rounds} rounds in turns")
    for size, (name, values) in zip(sizes, seconds.items(), strict=True):
        fastest, middle = 1000 * min(values), 1000 * statistics.median(values)
        print(f"{name:>16}: {size:4.1f} MB, {middle:5.0f} ms, the fastest {fastest:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[2]) if len(sys.argv) > 2 else 30)
