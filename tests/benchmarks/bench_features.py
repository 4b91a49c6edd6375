"""Feature extraction: how fast with two jobs, and how near to Kaggle's table.

python -m tests.benchmarks.bench_features FOLDER

One process that makes the same librosa calls, each from the samples and with librosa's defaults, goes
over all tracks in FOLDER; then `feature_table` does with two jobs. Prints both times, and fails below
the ratio that the project asks for. Where Kaggle's ``features_30_sec.csv`` lies beside FOLDER, prints
the table of ``docs/features.md`` too (Markdown).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.features import FEATURE_COLUMNS, FEATURE_RATE
from gtzan_keras.store.feature_table import feature_table, load_feature_table
from gtzan_keras.tracks.catalogue import load_tracks

REQUIRED = 1.7


def plain_row(file: str) -> dict[str, float]:
    """One track by librosa alone: every feature its own call with librosa's defaults."""
    from librosa import feature
    from librosa.beat import beat_track
    from librosa.effects import hpss

    sound, rate = load_audio(file, FEATURE_RATE), FEATURE_RATE
    harmonic, percussive = hpss(sound)
    series = {
        "chroma_stft": feature.chroma_stft(y=sound, sr=rate),
        "rms": feature.rms(y=sound),
        "spectral_centroid": feature.spectral_centroid(y=sound, sr=rate),
        "spectral_bandwidth": feature.spectral_bandwidth(y=sound, sr=rate),
        "rolloff": feature.spectral_rolloff(y=sound, sr=rate),
        "zero_crossing_rate": feature.zero_crossing_rate(sound),
        "harmony": harmonic,
        "perceptr": percussive,
    }
    series |= {f"mfcc{i}": row for i, row in enumerate(feature.mfcc(y=sound, sr=rate, n_mfcc=20), 1)}
    result: dict[str, float] = {"length": len(sound)}
    for name, values in series.items():
        result |= {f"{name}_mean": float(np.mean(values)), f"{name}_var": float(np.var(values))}
    return result | {"tempo": float(np.ravel(beat_track(y=sound, sr=rate)[0])[0])}


def agreement(table: pd.DataFrame, kaggle: pd.DataFrame, column: str) -> tuple[float, float]:
    """Correlation over the tracks, and median relative error."""
    error = ((table[column] - kaggle[column]) / kaggle[column]).abs()
    return float(table[column].corr(kaggle[column])), float(error.median())


def correlation_text(r: float) -> str:
    """The distance from 1 where four digits would hide it; 1.0000 is nearer than 1e-8."""
    return f"1 - {1 - r:.0e}" if 1e-8 < 1 - r < 1e-3 else f"{r:.4f}"


def print_agreement(ours: pd.DataFrame, plain: pd.DataFrame, path: Path) -> None:
    kaggle = load_feature_table(path).set_index("filename").loc[ours.index]
    print("\n| column | r, ours | error, ours | r, librosa's defaults | error, librosa's defaults |")
    print("| --- | --- | --- | --- | --- |")
    for column in ("length", *FEATURE_COLUMNS):
        pairs = [agreement(table, kaggle, column) for table in (ours, plain)]
        cells = " | ".join(f"{correlation_text(r)} | {error:.0e}" for r, error in pairs)
        print(f"| `{column}` | {cells} |")


def main(folder: Path) -> None:
    tracks = load_tracks(folder)
    plain_row(tracks["path"].iloc[0])  # imports and compiles

    begin = time.perf_counter()
    rows = [plain_row(file) for file in tqdm(tracks["path"], desc="plain librosa", disable=None)]
    plain_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    ours = feature_table(tracks, jobs=2).set_index("filename")
    our_seconds = time.perf_counter() - begin

    ratio = plain_seconds / our_seconds
    print(f"{len(tracks)} tracks: plain librosa, one process {plain_seconds:.1f} s; ", end="")
    print(f"feature_table, two jobs {our_seconds:.1f} s: {ratio:.1f} times as fast (required {REQUIRED})")
    kaggle = folder.parent / "features_30_sec.csv"
    if kaggle.is_file():
        print_agreement(ours, pd.DataFrame(rows, index=ours.index), kaggle)
    if ratio < REQUIRED:
        sys.exit(f"only {ratio:.2f} times as fast; {REQUIRED} required")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
