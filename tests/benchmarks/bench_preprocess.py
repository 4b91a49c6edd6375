"""Preprocessing: against loops with librosa and torchaudio, one job against two, peak memory as tracks grow.

python -m tests.benchmarks.bench_preprocess FOLDER [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import joblib
import pandas as pd

from gtzan_keras import load_tracks, preprocess
from tests.benchmarks.common import in_own_process, in_turns, many_tracks, peak_mb, ratios, spread, workers_mb

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


def speed(tracks: pd.DataFrame, rounds: int) -> None:
    ways = {
        "bare loop": lambda: bare_loop(tracks),
        "1 job": lambda: preprocess_with(tracks, 1),
        "2 jobs": lambda: preprocess_with(tracks, 2),
    }
    pairs = {
        "1 job / bare loop (at most 1.25)": ("1 job", "bare loop"),
        "1 job / 2 jobs (at least 1.7)": ("1 job", "2 jobs"),
    }
    if find_spec("torchaudio"):
        ways["torchaudio"] = lambda: torchaudio_loop(tracks)
        pairs["1 job / torchaudio"] = ("1 job", "torchaudio")
        torchaudio_loop(tracks[:2])
    else:
        print("torchaudio is not installed: its loop was not measured")
    bare_loop(tracks[:2])
    preprocess_with(tracks[:2], 1)
    joblib.Parallel(n_jobs=2)(joblib.delayed(preprocess_with)(tracks[:2], 1) for _ in range(4))
    seconds, _ = in_turns(ways, rounds, uncounted=0)
    for way, values in seconds.items():
        print(f"{way:>10}: {spread(values)} s for {len(tracks)} tracks")
    for title, (above, below) in pairs.items():
        print(f"{title}: {spread(ratios(seconds[above], seconds[below]))}")


def memory_of(folder: str, count: int) -> None:
    """Print the peak of the writer and of its largest worker."""
    preprocess_with(many_tracks(folder, count), 2)
    print(f"{count:5d} tracks, 2 jobs: writer {peak_mb()} MB, worker {workers_mb()} MB")


if __name__ == "__main__":
    if len(sys.argv) > 3 and sys.argv[2] == "--memory":
        memory_of(sys.argv[1], int(sys.argv[3]))
    else:
        speed(load_tracks(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
        for number in (50, 100, 400):
            print(in_own_process(__file__, sys.argv[1], "--memory", number))
