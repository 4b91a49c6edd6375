"""What a benchmark ran on, how much memory a process needed, and as many tracks as wanted."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from gtzan_keras import load_tracks


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


def many_tracks(folder: str, count: int) -> pd.DataFrame:
    """Return the tracks of a folder, repeated under other ids until there are `count`."""
    tracks = load_tracks(folder)
    many = pd.concat([tracks] * -(-count // len(tracks)), ignore_index=True)[:count]
    many["track_id"] = [f"{track_id} copy {copy}" for copy, track_id in enumerate(many["track_id"])]
    many["duplicates"] = [()] * count
    return many
