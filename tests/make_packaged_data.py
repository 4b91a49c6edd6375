"""Makes the data files of the package: ``python -m tests.make_packaged_data FOLDER``.

FOLDER holds ``gtzan_mel_128x387.h5`` (the spectrograms of 999 GTZAN tracks, bands low to high) and Kaggle's
``features_30_sec.csv``. The same input gives the same bytes. docs/data.md says what the files are.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import h5py

from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS, block_means
from gtzan_keras.datasets import FEATURES, THUMBNAILS
from gtzan_keras.store.spectrograms import SpectrogramStore


def make_thumbnails(source: Path, path: Path) -> None:
    spec = SPECTROGRAM_SPECS["thumbnail-64"]
    with h5py.File(source) as file:
        images = (block_means(mel[::-1], spec.height, spec.width) for mel in file["mel"])
        SpectrogramStore.from_arrays(path, images, list(file["track_id"].asstr()), spec).close()


def make_features(source: Path, path: Path) -> None:
    with open(path, "wb") as file, gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as packed:
        packed.write(source.read_bytes())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    THUMBNAILS.parent.mkdir(exist_ok=True)
    make_thumbnails(folder / "gtzan_mel_128x387.h5", THUMBNAILS)
    make_features(folder / "features_30_sec.csv", FEATURES)
