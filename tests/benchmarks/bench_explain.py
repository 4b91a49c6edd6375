"""Explanation of one GTZAN clip of 30 s by the packaged model: each method, after start-up.

python -m tests.benchmarks.bench_explain FOLDER [ROUNDS]

Start-up is the import, the model and a first explanation. FOLDER holds tracks.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from itertools import pairwise

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LIMITS = {"grad-cam": 2.0, "occlusion": None, "integrated-gradients": None}


def main(folder: str, rounds: int) -> None:
    born = time.perf_counter()
    from gtzan_keras import explain, load_tracks

    paths = list(load_tracks(folder)["path"])
    explain(paths[0], progress=False)
    print(f"one clip of 30 s, {rounds} rounds; load {os.getloadavg()[0]:.1f}")
    print(f"{'start-up':>20}: {time.perf_counter() - born:5.2f} s")
    for method, limit in LIMITS.items():
        moments = [time.perf_counter()]
        for number in range(rounds):
            explain(paths[number % len(paths)], method=method, progress=False)
            moments.append(time.perf_counter())
        taken = [after - before for before, after in pairwise(moments)]
        aim = f", at most {limit}" if limit else ""
        print(f"{method:>20}: {statistics.median(taken):5.2f} s ({min(taken):.2f} to {max(taken):.2f}){aim}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
