"""What a training gains when the process keeps freed memory from step to step; see `freed_memory_kept`.

python -m tests.benchmarks.bench_memory [FOLDER]

Each training is a process of its own, in turns with and without; FOLDER is not used. Linux with glibc only.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time

from tests.benchmarks.common import in_own_process, peak_mb, ratios

MODELS = {"thumbnail-64": 32, "librosa-128x387": 16}
"""Batch size for each spec."""

SETTINGS = {"kept": {}, "returned to Linux": {"MALLOC_TOP_PAD_": "131072"}}
"""Environment variables. With glibc's own value, `freed_memory_kept` leaves the process as it is."""

TURNS, STEPS = 3, 20


def train_once(name: str, batch: int) -> None:
    """Train for two epochs; print ms a step and system seconds of the second one, and the peak in MB."""
    import keras
    import numpy as np

    from gtzan_keras import SpectrogramStore, TrainingSettings, models, train
    from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS
    from gtzan_keras.tracks.splits import Split

    moments: list[tuple[float, float]] = []

    def note(*_: object) -> None:
        moments.append((time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_stime))

    spec = SPECTROGRAM_SPECS[name]
    ids = [str(number) for number in range(batch * STEPS)]
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        images = (random.integers(256, size=spec.shape[:2], dtype="uint8") for _ in ids)
        store = SpectrogramStore.from_arrays(
            f"{folder}/random.h5", images, ids, spec, genres=["pop", "rock"] * (len(ids) // 2)
        )
        keras.utils.set_random_seed(0)
        train(
            models.cnn(spec.shape, 2),
            store,
            Split("all", tuple(ids), (), ()),
            TrainingSettings(epochs=2, batch_size=batch, precision="float32"),
            out=f"{folder}/run",
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=note, on_epoch_end=note)],
            verbose=0,
        )
    (begin, system), (end, system_end) = moments[2:4]  # begin and end of the second epoch
    print(1000 * (end - begin) / STEPS, system_end - system, peak_mb())


def main() -> None:
    print("| `cnn` on | memory is | step | system time | peak | times kept |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, batch in MODELS.items():
        found: dict[str, list[list[float]]] = {setting: [] for setting in SETTINGS}
        for _ in range(TURNS):
            for setting, variables in SETTINGS.items():
                found[setting].append(
                    [float(number) for number in in_own_process(__file__, name, batch, **variables).split()]
                )
        for setting, rows in found.items():
            step, system, peak = map(statistics.median, zip(*rows, strict=True))
            ratio = statistics.median(ratios([row[0] for row in rows], [row[0] for row in found["kept"]]))
            print(
                f"| {name}, batch {batch} | {setting} | {step:.0f} ms | {system:.1f} s | {peak:.0f} MB "
                f"| {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        train_once(sys.argv[1], int(sys.argv[2]))
    else:
        main()
