"""Makes the data files of the package: ``python -m tests.make_packaged_data FOLDER``.

FOLDER holds ``gtzan_mel_128x387.h5`` (the spectrograms of 999 GTZAN tracks, bands low to high) and Kaggle's
``features_30_sec.csv``. The same input gives the same bytes. docs/data.md says what the files are.

The model is a run's: ``python -c "from tests.make_packaged_data import *; make_model('RUN/model.keras')"``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np

from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS, block_means
from gtzan_keras.datasets import BASELINE_MODEL, FEATURES, THUMBNAILS, TRAINING_VECTORS
from gtzan_keras.inference.nearest import penultimate
from gtzan_keras.models.saving import load_model
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.catalogue import facts


def make_thumbnails(source: Path, path: Path) -> None:
    spec = SPECTROGRAM_SPECS["thumbnail-64"]
    with h5py.File(source) as file:
        images = (block_means(mel[::-1], spec.height, spec.width) for mel in file["mel"])
        SpectrogramStore.from_arrays(path, images, list(file["track_id"].asstr()), spec).close()


def make_features(source: Path, path: Path) -> None:
    with open(path, "wb") as file, gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as packed:
        packed.write(source.read_bytes())


def make_model(trained: str | Path, path: str | Path = BASELINE_MODEL) -> None:
    """Copy a model without the fields, all at their defaults, that Keras 3.13 does not know."""
    newer = {"input_axes", "output_axes", "renorm", "renorm_clipping", "renorm_momentum"}
    with zipfile.ZipFile(trained) as file, zipfile.ZipFile(path, "w") as copy:
        for member in file.infolist():
            content = file.read(member)
            if member.filename == "config.json":
                known = json.loads(
                    content, object_hook=lambda found: {key: found[key] for key in found if key not in newer}
                )
                content = json.dumps(known).encode()
            copy.writestr(member, content)


def make_training_vectors(source: Path, path: Path) -> None:
    """The packaged model's penultimate layer, of unit length, for its training tracks."""
    network, part = penultimate(load_model(BASELINE_MODEL).model), facts()["fault_filtered"]
    with h5py.File(source) as file:
        ids = list(file["track_id"].asstr())
        rows = [row for row, track_id in enumerate(ids) if part[track_id] == "train"]
        images = np.stack([file["mel"][row][::-1, :, None] for row in rows]).astype(np.float32) / 255
    windows = [
        network.predict(images[:, :, first : first + 128], verbose=0) for first in range(0, 387 - 128 + 1, 64)
    ]
    vectors = np.mean(windows, axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    model = hashlib.md5(BASELINE_MODEL.read_bytes()).hexdigest()
    names = np.array([ids[row] for row in rows])
    np.savez_compressed(path, track_id=names, vectors=vectors.astype(np.float16), model=np.array(model))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    THUMBNAILS.parent.mkdir(exist_ok=True)
    make_thumbnails(folder / "gtzan_mel_128x387.h5", THUMBNAILS)
    make_features(folder / "features_30_sec.csv", FEATURES)
    make_training_vectors(folder / "gtzan_mel_128x387.h5", TRAINING_VECTORS)
