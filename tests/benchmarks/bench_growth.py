"""Preprocessing as a collection grows: time, memory and size of the store, and a run that is killed half-way.

python -m tests.benchmarks.bench_growth FOLDER [TRACKS]

The tracks of FOLDER are repeated under other ids. Every run is a process of its own, with 2 jobs; processor
time is that of all its processes, and tells more than seconds where other programs run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gtzan_keras import preprocess
from gtzan_keras.store.parts import hashed, tasks_of
from tests.benchmarks.common import many_tracks, peak_mb, workers_mb

SPEC = "malvezzi-rgb224"
HASHED = 1000
"""So many tracks tell what their MD5 costs."""


def run(folder: str, count: int, store: Path) -> None:
    tracks = many_tracks(folder, count)
    begin = time.process_time()
    preprocess(tracks, store, SPEC, jobs=2, progress=False)
    work = 1000 * (time.process_time() - begin) / count
    some = tasks_of(tracks[:HASHED], ["track_id", "path"], 2)
    begin = time.process_time()
    hashed(some, 2)
    hashing = 1000 * (time.process_time() - begin) / len(some)
    print(
        f"writer {work:.1f} ms a track (with {hashing:.1f} ms for MD5, in threads) and {peak_mb()} MB, "
        f"worker {workers_mb()} MB"
    )


def start(folder: str, count: int, store: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_growth", folder, str(count), str(store)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def work_done() -> float:
    """Return the processor seconds of all child processes that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def main(folder: str, largest: int, work: Path) -> None:
    store, seconds = work / "store.h5", 0.0
    for count in (largest // 8, largest // 4, largest):
        store.unlink(missing_ok=True)
        begin, before = time.perf_counter(), work_done()
        memory = start(folder, count, store).communicate()[0].strip()
        seconds, work_ms = time.perf_counter() - begin, 1000 * (work_done() - before) / count
        size = store.stat().st_size / 1e6
        print(
            f"{count:6d} tracks: {seconds:6.1f} s; processor {work_ms:.1f} ms a track; {memory}; "
            f"store {size:.0f} MB, {1000 * size / count:.0f} kB a track",
            flush=True,
        )
    store.unlink()
    killed = start(folder, largest, store)
    time.sleep(seconds / 2)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    begin, before = time.perf_counter(), work_done()
    start(folder, largest, store).communicate()
    rest, work_ms = time.perf_counter() - begin, 1000 * (work_done() - before) / largest
    print(
        f"{largest:6d} tracks, killed after {seconds / 2:.1f} s and started again: {rest:.1f} s, "
        f"processor {work_ms:.1f} ms a track"
    )


if __name__ == "__main__":
    if len(sys.argv) > 3:
        run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 800, Path(temporary))
