"""Jobs that are killed end as if undisturbed and leave nothing behind; a full disk is one clear error."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import random
import re
import resource
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf

from gtzan_keras import experiments, models
from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.embed import embed
from gtzan_keras.store import parts
from gtzan_keras.store.feature_table import feature_table
from gtzan_keras.store.files import replacing
from gtzan_keras.store.preprocess import preprocess
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks import download as download_module
from gtzan_keras.tracks import splits
from gtzan_keras.tracks.catalogue import file_md5, load_tracks
from gtzan_keras.training.fit import train
from gtzan_keras.training.settings import TrainingSettings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and fork")

SPEC = SpectrogramSpec(
    name="small", n_fft=512, window_length=512, n_mels=16, clip_seconds=1.0, height=16, width=24
)
MAY_DIFFER = {"date", "seconds", "environment", "store"}
"""Of two runs that are the same."""


# ---- the jobs; each gets a folder with its inputs and one for what it makes


def run_preprocess(inputs: Path, out: Path) -> None:
    preprocess(load_tracks(inputs / "sounds"), out / "x.h5", SPEC, jobs=1)


def run_features(inputs: Path, out: Path) -> None:
    feature_table(load_tracks(inputs / "sounds"), path=out / "x.csv", jobs=1)


def run_download(inputs: Path, out: Path) -> None:
    md5s = {file.stem: file_md5(file) for file in (inputs / "gtzan").glob("*/*.wav")}
    download_module.facts = lambda: pd.DataFrame({"wav_md5": md5s})  # in a process of its own
    download_module.download(out / "gtzan", mirror=str(inputs / "gtzan.zip"))


def run_embed(inputs: Path, out: Path) -> None:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((96, 64)), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(8)]
    network = keras.Sequential(layers, name="small")
    embed(load_tracks(inputs / "sounds"), out / "x.h5", network, patches=2, jobs=1)


def run_train(inputs: Path, out: Path, units: int = 4, epochs: int = 3) -> None:
    store = SpectrogramStore(inputs / "store.h5")
    keras.utils.set_random_seed(0)
    model = models.dense(store.spec.shape, 2, units=(units,), dropout=0.5)
    split = splits.stratified(store.tracks, "70/15/15")
    train(model, store, split, TrainingSettings(epochs=epochs), out=out / "run", resume=True, verbose=0)


def run_run(inputs: Path, out: Path) -> None:
    options = {"protocol": "published", "seeds": 2, "max_epochs": 2, "arguments": {"units": (4,)}}
    experiments.run("malvezzi/feed-forward", inputs / "store.h5", out=out / "reports", verbose=0, **options)


JOBS: dict[str, Callable[[Path, Path], None]] = {
    name.removeprefix("run_"): job for name, job in globals().items() if name.startswith("run_")
}


PRELOADED = [
    "librosa.feature", "librosa.onset", "librosa.sequence", "gtzan_keras.experiments",
    "gtzan_keras.inference.embed", "gtzan_keras.training.fit",
]  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks, an archive of "GTZAN", and a store."""
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    for number in range(10):
        file = folder / "sounds" / "pop" / f"{number}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, rng.uniform(-1, 1, 2 * 22050), 22050)
    with zipfile.ZipFile(folder / "gtzan.zip", "w") as archive:
        for number in range(20):
            file = folder / "gtzan" / "pop" / f"pop.{number:05}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(rng.bytes(2**20))
            archive.write(file, f"genres/pop/{file.name}")
    ids = [f"{genre}.{number:05}" for genre in ("jazz", "rock") for number in range(12)]
    images = rng.integers(256, size=(24, *SPEC.shape), dtype=np.uint8)
    SpectrogramStore.from_arrays(folder / "store.h5", images, ids, SPEC).close()
    ended(forked(int))  # the first one waits for the imports
    return folder


# ---- killing them


def forked(function: Callable[..., None], *arguments: Any) -> Any:
    """Call a function in a process that is forked where all modules are imported and nothing was done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def work(job: str, inputs: Path, out: Path) -> None:
    tf.config.run_functions_eagerly(True)  # networks so small take longer to trace than to train
    out.mkdir(exist_ok=True)
    parts._TRACKS = parts._TRACKS_A_WORKER = 2
    JOBS[job](inputs, out)


def ended(process: Any) -> None:
    process.join()
    assert process.exitcode == 0


def made(folder: Path) -> dict[str, Any]:
    """What a job left in its folder, less what differs between two runs."""
    return {str(file.relative_to(folder)): content(file) for file in folder.rglob("*") if file.is_file()}


def content(file: Path) -> Any:
    if file.suffix == ".json":
        return without(json.loads(file.read_text("utf-8")))
    if file.suffix == ".keras":
        with (
            zipfile.ZipFile(file) as archive,
            h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights,
        ):
            names: list[str] = []
            weights.visit(names.append)
            arrays = {name: weights[name] for name in names if isinstance(weights[name], h5py.Dataset)}
            return {name: array[()].tobytes() for name, array in arrays.items()}
    return file.read_bytes()


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without(inner) for key, inner in value.items() if key not in MAY_DIFFER}
    return [without(inner) for inner in value] if isinstance(value, list) else value


# Features and embeddings go on from finished parts as spectrograms do, so by night only.
@pytest.mark.parametrize(
    ("job", "count"),
    [(job, 2) for job in ("preprocess", "download", "train", "run")]
    + [pytest.param(job, 50, marks=pytest.mark.nightly) for job in JOBS],
)
def test_a_job_that_is_killed_anywhere_ends_as_if_undisturbed(job, count, inputs, tmp_path):
    begin = time.perf_counter()
    ended(forked(work, job, inputs, tmp_path / "undisturbed"))
    seconds, moments = time.perf_counter() - begin, random.Random(job)
    expected = made(tmp_path / "undisturbed")
    kills = rounds = 0
    while kills < count:
        rounds += 1
        out = tmp_path / str(rounds)
        while kills < count:
            process = forked(work, job, inputs, out)
            process.join(moments.uniform(0, seconds))
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
        ended(forked(work, job, inputs, out))
        assert made(out) == expected


def test_what_killed_processes_left_is_deleted_and_what_others_write_is_not(tmp_path):
    host, dead = socket.gethostname(), subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    others = [f".x.{host}-{os.getppid()}.writing.csv", f".y.{host}-{dead.pid}.writing.csv"]
    for name in (f".x.{host}-{dead.pid}.writing.csv", *others):
        (tmp_path / name).touch()
    with replacing(tmp_path / "x.csv") as temporary:
        temporary.touch()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*others, "x.csv"])


# ---- full disks


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, ""), RuntimeError(f"errno = {errno.ENOSPC}")])
def test_no_space_is_one_clear_error(error, tmp_path):
    with pytest.raises(GtzanKerasError, match="cannot be written"), replacing(tmp_path / "x"):
        raise error


def run_out_of_space(job: str, inputs: Path, out: Path) -> None:
    """Make something small, then something large, and leave the error in a file among the inputs."""
    tf.config.run_functions_eagerly(True)  # as in `work`

    def make(size: int) -> None:
        if job == "preprocess":
            preprocess(load_tracks(inputs / "sounds")[:size], out / "x.h5", "zhang-128", jobs=1)
        else:
            run_train(inputs, out, units=size, epochs=1)

    make(1)
    before = made(out)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, 2**14))
    try:
        make(10 if job == "preprocess" else 500)
    except GtzanKerasError as error:
        after = {name: content for name, content in made(out).items() if ".parts/" not in name}
        (inputs / "error").write_text(f"{error} {after == before}")


@pytest.mark.parametrize("job", ["preprocess", "train"])
def test_a_file_too_large_to_write_is_one_clear_error_and_the_old_files_stay(job, inputs, tmp_path):
    ended(forked(run_out_of_space, job, inputs, tmp_path))
    words = r"\S+: cannot be written \(File too large\); free some space, then start again True"
    assert re.fullmatch(words, (inputs / "error").read_text())
