"""Embedding: files to store against the bare network, bfloat16 against float32, and peak memory.

python -m tests.benchmarks.bench_embed FOLDER [TRACKS]

VGGish with random weights: the same arithmetic as with Google's. Clips a second, and by processor time
too, which a busy machine changes less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.patches import SAMPLE_RATE, vggish_patches
from gtzan_keras.inference.embed import embed
from gtzan_keras.store.embeddings import EmbeddingsStore
from tests.benchmarks.common import many_tracks, peak_mb

SOURCE = 4.9
"""Clips a second that the source reports."""
ROUNDS = 3


def speed(folder: str, count: int) -> None:
    import keras

    from gtzan_keras.models.vggish_network import vggish

    keras.utils.set_random_seed(0)
    model, tracks = vggish(None), many_tracks(folder, count)
    model.compile(jit_compile=False)  # on a CPU the faster way: the harder case
    patches = np.concatenate([vggish_patches(load_audio(path, SAMPLE_RATE)) for path in tracks["path"]])
    model.predict(patches[:32], verbose=0)
    stores: dict[str, np.ndarray] = {}

    with tempfile.TemporaryDirectory() as temporary:

        def embed_in(precision: str) -> None:
            path = Path(temporary) / f"{precision}.h5"
            path.unlink(missing_ok=True)  # or `embed` would find its tracks done
            embed(tracks, path, model, precision=precision, progress=False)
            with EmbeddingsStore(path) as store:
                stores[precision] = store.read()

        ways: dict[str, Callable[[], object]] = {
            "bare network": lambda: model.predict(patches, verbose=0),
            "embed, float32": lambda: embed_in("float32"),
            "embed, bfloat16": lambda: embed_in("bfloat16"),
        }
        wall: dict[str, list[float]] = {way: [] for way in ways}
        work: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine falls on all of them
            for way, run in ways.items():
                begin, worked = time.perf_counter(), time.process_time()
                run()
                wall[way].append(count / (time.perf_counter() - begin))
                work[way].append(count / (time.process_time() - worked))
    print(f"{count} clips, {ROUNDS} rounds; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for way, values in wall.items():
        print(
            f"{way:>16}: {statistics.median(values):5.1f} clips/s ({min(values):.1f} to {max(values):.1f}), "
            f"{statistics.median(work[way]):4.1f} a processor second; the source's: {SOURCE}"
        )
    bare, exact, fast = ways
    for title, above, below in (
        ("embed / bare network (at least 0.9)", exact, bare),
        ("bfloat16 / float32 (at least 1.4)", fast, exact),
    ):
        of_rounds, in_work = (
            [a / b for a, b in zip(values[above], values[below], strict=True)] for values in (wall, work)
        )
        print(
            f"{title}: median {statistics.median(of_rounds):.2f}, {min(of_rounds):.2f} to "
            f"{max(of_rounds):.2f}; by processor time {statistics.median(in_work):.2f}"
        )
    error = np.linalg.norm(stores["bfloat16"] - stores["float32"], axis=(1, 2))
    error /= np.linalg.norm(stores["float32"], axis=(1, 2))
    print(f"relative error of bfloat16 (at most 0.01): mean {error.mean():.4f}, largest {error.max():.4f}")


def memory(folder: str, counts: tuple[int, ...]) -> None:
    """Peak resident memory, each in a process of its own."""
    for count in counts:
        command = [sys.executable, "-m", "tests.benchmarks.bench_embed", folder, "--memory", str(count)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"{count:5d} tracks: at most {int(answer.split()[-1])} MB")


def memory_of(folder: str, count: int) -> None:
    from gtzan_keras.models.vggish_network import vggish

    with tempfile.TemporaryDirectory() as temporary:
        embed(many_tracks(folder, count), Path(temporary) / "store.h5", vggish(None), progress=False)
    print(peak_mb())


if __name__ == "__main__":
    if len(sys.argv) > 3 and sys.argv[2] == "--memory":
        memory_of(sys.argv[1], int(sys.argv[3]))
    else:
        counts = (int(sys.argv[2]),) if len(sys.argv) > 2 else (24, 96)  # with few, start-up weighs more
        for tracks in counts:
            speed(sys.argv[1], tracks)
        memory(sys.argv[1], (counts[-1] // 4, counts[-1]))
