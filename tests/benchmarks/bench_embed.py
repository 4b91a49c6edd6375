"""Embedding: files to store against the bare network, bfloat16 against float32, and peak memory.

python -m tests.benchmarks.bench_embed FOLDER [TRACKS]

VGGish with random weights: the same arithmetic as with Google's. Clips a second, and by processor time
too, which a busy machine changes less.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import keras
import numpy as np

from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.patches import SAMPLE_RATE, vggish_patches
from gtzan_keras.inference.embed import embed
from gtzan_keras.models.vggish_network import vggish
from gtzan_keras.store.embeddings import EmbeddingsStore
from tests.benchmarks.common import in_own_process, in_turns, many_tracks, peak_mb, ratios, spread

SOURCE = 4.9
"""Clips a second that the source reports."""
ROUNDS = 3


def speed(folder: str, count: int) -> None:
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

        ways = {
            "bare network": lambda: model.predict(patches, verbose=0),
            "embed, float32": lambda: embed_in("float32"),
            "embed, bfloat16": lambda: embed_in("bfloat16"),
        }
        wall, work = in_turns(ways, ROUNDS, uncounted=0)
    print(f"{count} clips, {ROUNDS} rounds")
    for way, values in wall.items():
        rates = [count / seconds for seconds in values]
        print(
            f"{way:>16}: {spread(rates, 1)} clips/s, {count / median(work[way]):.1f} a processor second; "
            f"the source's: {SOURCE}"
        )
    bare, exact, fast = ways
    for title, quick, slow in (
        ("embed / bare network (at least 0.9)", exact, bare),
        ("bfloat16 / float32 (at least 1.4)", fast, exact),
    ):
        by_work = median(ratios(work[slow], work[quick]))
        print(f"{title}: {spread(ratios(wall[slow], wall[quick]))}; by processor time {by_work:.2f}")
    error = np.linalg.norm(stores["bfloat16"] - stores["float32"], axis=(1, 2))
    error /= np.linalg.norm(stores["float32"], axis=(1, 2))
    print(f"relative error of bfloat16 (at most 0.01): mean {error.mean():.4f}, largest {error.max():.4f}")


def memory_of(folder: str, count: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        embed(many_tracks(folder, count), Path(temporary) / "store.h5", vggish(None), progress=False)
    print(f"{count:5d} tracks: at most {peak_mb()} MB")


if __name__ == "__main__":
    if len(sys.argv) > 3 and sys.argv[2] == "--memory":
        memory_of(sys.argv[1], int(sys.argv[3]))
    else:
        counts = (int(sys.argv[2]),) if len(sys.argv) > 2 else (24, 96)  # with few, start-up weighs more
        for tracks in counts:
            speed(sys.argv[1], tracks)
        for tracks in (counts[-1] // 4, counts[-1]):
            print(in_own_process(__file__, sys.argv[1], "--memory", tracks))
