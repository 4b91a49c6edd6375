"""What benchmarks share: calls in turns, processes of their own, memory, enough tracks, what they ran on."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gtzan_keras as gk  # light: two benchmarks time the start of a process

Seconds = dict[str, list[float]]


def in_turns(
    ways: Mapping[str, Callable[[], object]], rounds: int, uncounted: int = 1
) -> tuple[Seconds, Seconds]:
    """Return the seconds of each way's calls by the clock, and of processor time.

    The ways take turns, so that a slow minute of the machine falls on all of them. What is set up once, such
    as compiled code, falls on the rounds that are not counted.
    """
    wall: Seconds = {way: [] for way in ways}
    work: Seconds = {way: [] for way in ways}
    for number in range(uncounted + rounds):
        for way, run in ways.items():
            begin, worked = time.perf_counter(), time.process_time()
            run()
            if number >= uncounted:
                wall[way].append(time.perf_counter() - begin)
                work[way].append(time.process_time() - worked)
    return wall, work


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return above / below of each round."""
    return [one / other for one, other in zip(above, below, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median, with the smallest and the largest in brackets."""
    middle, low, high = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({low} to {high})"


def in_own_process(script: str, *arguments: object, **variables: str) -> str:
    """Return the last line that a benchmark prints in a process of its own."""
    command = [sys.executable, "-m", f"tests.benchmarks.{Path(script).stem}", *map(str, arguments)]
    return subprocess.check_output(command, text=True, env=os.environ | variables).splitlines()[-1]


def machine() -> str:
    """Return processor, cores, memory, versions, load and date, in one line."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "librosa"))
    return (
        f"{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"Python {platform.python_version()}, {versions}; load {os.getloadavg()[0]:.1f}; {date.today()}"
    )


def peak_mb() -> int:
    """Return the most memory that this process has needed, in MB.

    `resource.getrusage` counts what the parent needed before it started this process.
    """
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) // 1024


def workers_mb() -> int:
    """Return the same of the largest of joblib's two worker processes, which it keeps between calls."""
    import joblib

    return max(joblib.Parallel(n_jobs=2)(joblib.delayed(peak_mb)() for _ in range(8)))


def many_tracks(folder: str, count: int) -> Any:
    """Return the tracks of a folder, repeated under other ids until there are `count`."""
    import pandas as pd

    tracks = gk.load_tracks(folder)
    many = pd.concat([tracks] * -(-count // len(tracks)), ignore_index=True)[:count]
    many["track_id"] = [f"{track_id} copy {copy}" for copy, track_id in enumerate(many["track_id"])]
    many["duplicates"] = [()] * count
    return many
