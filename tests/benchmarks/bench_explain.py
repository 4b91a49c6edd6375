"""Explanation of one GTZAN clip of 30 s by the packaged model: each method, after start-up.

python -m tests.benchmarks.bench_explain FOLDER [ROUNDS]

Start-up is the import, the model and a first explanation. FOLDER holds tracks.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from itertools import cycle

from tests.benchmarks.common import in_turns, spread

AIMS = {"grad-cam": ", at most 2.0", "occlusion": "", "integrated-gradients": ""}


def main(folder: str, rounds: int) -> None:
    born = time.perf_counter()
    from gtzan_keras import explain, load_tracks

    paths = list(load_tracks(folder)["path"])
    explain(paths[0], progress=False)
    print(f"one clip of 30 s, {rounds} rounds")
    print(f"{'start-up':>20}: {time.perf_counter() - born:5.2f} s")

    def explain_next(method: str, songs: cycle[str]) -> None:
        explain(next(songs), method=method, progress=False)

    ways = {method: partial(explain_next, method, cycle(paths)) for method in AIMS}
    for method, values in in_turns(ways, rounds, uncounted=0)[0].items():
        print(f"{method:>20}: {spread(values)} s{AIMS[method]}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
