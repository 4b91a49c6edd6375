"""Preprocessing: against loops with librosa and torchaudio, one job against two, peak memory as tracks grow.

python -m tests.benchmarks.bench_preprocess FOLDER [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import joblib
import pandas as pd

from gtzan_keras import load_tracks, preprocess
from tests.benchmarks.common import many_tracks, peak_mb

SPEC = "arrigo-v1"


def bare_loop(tracks: pd.DataFrame) -> None:
    """What anyone would write first: read, mel, decibels; no image, nothing written."""
    import librosa
    import numpy as np
    import soundfile

    for path in tracks["path"]:
        samples, rate = soundfile.read(path, dtype="float32")
        mel = librosa.feature.melspectrogram(
            y=samples[: 30 * rate], sr=rate, n_fft=4096, win_length=1024, hop_length=512, n_mels=64
        )
        librosa.power_to_db(mel, ref=np.max)


def torchaudio_loop(tracks: pd.DataFrame) -> None:
    """The same with torchaudio's transforms, on the threads that PyTorch takes by itself."""
    import soundfile
    import torch
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

    rate = 22050
    mel = MelSpectrogram(rate, 4096, 1024, 512, n_mels=64, norm="slaney", mel_scale="slaney")
    decibels = AmplitudeToDB(top_db=80)
    for path in tracks["path"]:
        samples, _ = soundfile.read(path, dtype="float32")
        decibels(mel(torch.from_numpy(samples[: 30 * rate])))


def preprocess_with(tracks: pd.DataFrame, jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        preprocess(tracks, Path(folder) / "store.h5", SPEC, jobs=jobs, progress=False)


def seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def speed(tracks: pd.DataFrame, rounds: int) -> None:
    ways: dict[str, Callable[[], None]] = {
        "bare loop": lambda: bare_loop(tracks),
        "1 job": lambda: preprocess_with(tracks, 1),
        "2 jobs": lambda: preprocess_with(tracks, 2),
    }
    if find_spec("torchaudio"):
        ways["torchaudio"] = lambda: torchaudio_loop(tracks)
        torchaudio_loop(tracks[:2])
    else:
        print("torchaudio is not installed: its loop was not measured")
    bare_loop(tracks[:2])
    preprocess_with(tracks[:2], 1)
    joblib.Parallel(n_jobs=2)(joblib.delayed(preprocess_with)(tracks[:2], 1) for _ in range(4))
    times = {way: [] for way in ways}
    for _ in range(rounds):  # in turn, so that a slow minute of the machine falls on all of them
        for way, work in ways.items():
            times[way].append(seconds(work))
    for way, values in times.items():
        print(f"{way:>10}: median {statistics.median(values):6.2f} s for {len(tracks)} tracks")
    pairs = {
        "1 job / bare loop (at most 1.25)": ("1 job", "bare loop"),
        "1 job / 2 jobs (at least 1.7)": ("1 job", "2 jobs"),
    }
    if "torchaudio" in ways:
        pairs["1 job / torchaudio"] = ("1 job", "torchaudio")
    for title, (above, below) in pairs.items():
        ratios = [a / b for a, b in zip(times[above], times[below], strict=True)]
        print(f"{title}: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


def memory(folder: str, counts: tuple[int, ...]) -> None:
    """Peak resident memory of the writer and of its largest worker, each run in a process of its own."""
    for count in counts:
        command = [sys.executable, "-m", "tests.benchmarks.bench_preprocess", folder, "--memory", str(count)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def memory_of(folder: str, count: int) -> None:
    preprocess_with(many_tracks(folder, count), 2)
    workers = joblib.Parallel(n_jobs=2)(joblib.delayed(peak_mb)() for _ in range(8))  # the same processes
    print(f"{count:5d} tracks, 2 jobs: writer {peak_mb()} MB, worker {max(workers)} MB")


if __name__ == "__main__":
    if len(sys.argv) > 3 and sys.argv[2] == "--memory":
        memory_of(sys.argv[1], int(sys.argv[3]))
    else:
        speed(load_tracks(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
        memory(sys.argv[1], (50, 100, 400))
