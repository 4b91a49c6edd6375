"""The same jobs on a Dask cluster: a real scheduler and two worker processes on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import dask
import joblib
import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
from distributed import Client, LocalCluster, Scheduler
from typer.testing import CliRunner

import gtzan_keras
from gtzan_keras import parallel
from gtzan_keras.cli import app
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import run, runner
from gtzan_keras.inference.embed import embed
from gtzan_keras.models.feature_networks import feature_cnn
from gtzan_keras.parallel import cluster, in_parallel, on_cluster
from gtzan_keras.store.preprocess import preprocess
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks import splits
from gtzan_keras.tracks.catalogue import load_tracks
from gtzan_keras.training.cross_validate import cross_validate, tracks_of
from gtzan_keras.training.results import read_result
from gtzan_keras.training.settings import TrainingSettings


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of two workers, which is not the default one, nor the one that joblib uses."""
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        workers = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50)
        with Client(workers, set_as_default=False) as client:
            yield client
        with contextlib.suppress(TimeoutError):  # Dask gives a worker five seconds to end: few on a busy core
            workers.close()


@pytest.fixture
def on_workers(client: Client) -> Iterator[str]:
    """Joblib's work goes to the cluster; the address of its scheduler."""
    client.wait_for_workers(1)  # one may have been killed a moment ago
    with joblib.parallel_config("dask", client=client):
        yield client.scheduler.address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten tracks of two genres, and a file that is no sound."""
    root = tmp_path_factory.mktemp("sounds")
    for number in range(10):
        file = root / ("jazz", "rock")[number % 2] / f"{number}.wav"
        file.parent.mkdir(exist_ok=True)
        soundfile.write(file, np.random.default_rng(number).uniform(-1, 1, 22050 * 4), 22050)
    (root / "rock" / "broken.wav").write_bytes(b"this is no music " * 999)
    return root


@pytest.fixture(scope="module")
def local(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of spectrograms, made on this machine."""
    path = tmp_path_factory.mktemp("local") / "local.h5"
    preprocess(load_tracks(folder), path, "zhang-128", jobs=1)
    return path


def test_spectrograms_are_the_same_bytes(
    client: Client, folder: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gtzan_keras.store.parts.file_md5", None)  # workers read the files, nobody else
    words = ["preprocess", str(folder), str(tmp_path / "x.h5"), "--spec", "zhang-128", "--cluster"]
    done = CliRunner().invoke(app, [*words, client.scheduler.address], catch_exceptions=False)
    assert "10 spectrograms of 10 tracks (0 already done), 1 left out" in done.output
    assert (tmp_path / "x.h5").read_bytes() == local.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["x.h5"]
    assert cluster() is None  # again


def test_embeddings_are_the_same_and_the_network_does_not_stay(
    on_workers: str, folder: Path, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((96, 64)), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(8)]
    tracks, network = load_tracks(folder).tail(4), keras.Sequential(layers, name="small")
    report = embed(tracks, tmp_path / "x.h5", network, patches=4)
    assert (report.written, list(report.refused)) == (3, ["rock/broken"])
    with joblib.parallel_config("sequential"):
        embed(tracks, tmp_path / "y.h5", network, patches=4, jobs=1)
    assert (tmp_path / "x.h5").read_bytes() == (tmp_path / "y.h5").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.h5", "y.h5"]


@pytest.mark.nightly
def test_a_fold_of_a_builder_that_travels_by_value_is_the_same(on_workers: str) -> None:
    rng = np.random.default_rng(0)
    names = [f"{genre}.{number:05}.wav" for genre in ("jazz", "rock") for number in range(20)]
    table = pd.DataFrame(rng.normal(size=(40, 8)), columns=list("abcdefgh")).assign(filename=names)
    table["label"] = table["filename"].str.split(".").str[0]
    folds, settings = splits.folds(tracks_of(table), k=2)[:1], TrainingSettings(epochs=2, learning_rate=1e-3)

    def build(count: int) -> keras.Model:  # no module has it: it travels by value
        return feature_cnn((count,), 2)

    validate = partial(cross_validate, build, table, folds, settings, columns=list("abcdefgh"))
    found = validate()
    with joblib.parallel_config("sequential"):
        expected = validate()
    pd.testing.assert_frame_equal(found.rows, expected.rows, rtol=1e-4)
    pd.testing.assert_frame_equal(found.folds, expected.folds)


@pytest.mark.nightly
def test_a_recipes_folds_are_the_same(
    client: Client, separable: SpectrogramStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "FOLDS", 2)
    options = {"protocol": "artist", "max_epochs": 1, "arguments": {"units": (8,)}, "verbose": 0}
    with on_cluster(client.scheduler.address):
        (found,) = run("malvezzi/feed-forward", separable.path, out=tmp_path / "found", **options)
    (expected,) = run("malvezzi/feed-forward", separable.path, out=tmp_path / "expected", **options)
    (one, tracks), (other, others) = read_result(found / "seed0"), read_result(expected / "seed0")
    pd.testing.assert_frame_equal(tracks, others, rtol=1e-4)
    assert [fold["name"] for fold in one["folds"]] == [fold["name"] for fold in other["folds"]]
    assert (found / "seed0" / "fold2" / "model.keras").is_file()


def test_a_killed_workers_tracks_are_done_by_another(
    client: Client, on_workers: str, folder: Path, local: Path, tmp_path: Path
) -> None:
    pids = client.run(os.getpid)

    def kill_the_first_that_works() -> None:
        while not (busy := [address for address, tasks in client.processing().items() if tasks]):
            time.sleep(0.001)
        os.kill(pids[busy[0]], signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first_that_works)
    killer.start()
    preprocess(load_tracks(folder), tmp_path / "x.h5", "zhang-128")
    killer.join()
    assert (tmp_path / "x.h5").read_bytes() == local.read_bytes()


TASKS, NAMES = [(number,) for number in range(6)], [f"number {number}" for number in range(6)]


def dies_at_3(wait: float = 0) -> Callable[[int], int]:
    """A function that travels by value: workers do not have this module."""

    def died(number: int) -> int:
        if number == 3:
            time.sleep(wait)
            os._exit(1)
        return number

    return died


@pytest.mark.parametrize("where", ["on one machine", "in a process of its own", "on a worker"])
def test_the_task_that_kills_its_process_is_named(where: str, request: pytest.FixtureRequest) -> None:
    # Dask 2024.8 does not restart a worker that dies while it starts, so none may have to.
    def refuse_the_second_death(dask_scheduler: Scheduler) -> None:
        dask_scheduler.allowed_failures = 0

    if where != "on one machine":
        request.getfixturevalue("on_workers")
        request.getfixturevalue("client").run_on_scheduler(refuse_the_second_death)
    own_process = where == "in a process of its own"
    results, found = in_parallel(dies_at_3(), TASKS, NAMES, jobs=2, own_process=own_process), []
    with pytest.raises(GtzanKerasError, match=r"^number 3: every worker process that handled it died"):
        found.extend(results)
    assert found == [0, 1, 2]


def test_few_results_wait_for_one_who_is_slow_to_take_them(on_workers: str, tmp_path: Path) -> None:
    def touched(file: Path) -> Path:
        file.touch()
        return file

    files = [tmp_path / str(number) for number in range(30)]
    results = in_parallel(touched, [(file,) for file in files], [file.name for file in files])
    assert next(results) == files[0]
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 4  # two for each of two workers
    assert list(results) == files[1:]


def test_another_version_on_the_workers_is_refused(on_workers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gtzan_keras, "__version__", "9.9")
    with pytest.raises(GtzanKerasError, match=r"a worker of the cluster has .*, this machine 9.9"):
        list(in_parallel(abs, [(1,)], ["one"]))


def test_without_dask_or_a_scheduler_it_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    message = r"^tcp://127.0.0.1:9: no Dask scheduler answers"
    with (
        dask.config.set({"distributed.comm.timeouts.connect": 0.2}),
        pytest.raises(GtzanKerasError, match=message),
        on_cluster("tcp://127.0.0.1:9"),
    ):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(GtzanKerasError, match=r"needs Dask .*pip install"), on_cluster("tcp://127.0.0.1:9"):
        pass


def test_without_workers_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_PATIENCE", 0.2)
    with LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as empty:
        message = "the scheduler has no worker; start some with `dask worker tcp"
        with pytest.raises(GtzanKerasError, match=message), on_cluster(empty.scheduler_address):
            pass
        with (
            Client(empty, set_as_default=False) as client,
            joblib.parallel_config("dask", client=client),
            pytest.raises(GtzanKerasError, match="no worker is left in the cluster"),
        ):
            list(in_parallel(abs, [(1,)], ["one"]))


@pytest.fixture
def elsewhere(folder: Path, tmp_path: Path) -> Iterator[LocalCluster]:
    """A scheduler, and a worker that has the tracks in another folder than the job, both "sounds"."""
    for root in ("here", "there"):
        shutil.copytree(folder, tmp_path / root / "sounds")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": 2}),  # or it is long looked for once it is gone
        LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as scheduler,
    ):
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", tmp_path / "x"]
        command = [sys.executable, "-m", "dask", "worker", scheduler.scheduler_address, *options]
        worker = subprocess.Popen(command, cwd=tmp_path / "there", stderr=subprocess.DEVNULL)
        try:
            with Client(scheduler, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=60)
                with joblib.parallel_config("dask", client=client):
                    yield scheduler
        finally:
            worker.kill()
            worker.wait()


def test_a_worker_elsewhere_finds_files_by_relative_paths_and_may_die_or_lose_its_scheduler(
    elsewhere: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "here")
    tracks = load_tracks("sounds")
    preprocess(tracks, "x.h5", "zhang-128")
    with joblib.parallel_config("sequential"):  # `local` has other paths
        preprocess(tracks, "y.h5", "zhang-128", jobs=1)
    assert Path("x.h5").read_bytes() == Path("y.h5").read_bytes()

    (tmp_path / "there" / "sounds" / "jazz" / "0.wav").unlink()
    message = r"sounds/jazz/0.wav: not found on .* in .*there, where a worker"
    with pytest.raises(GtzanKerasError, match=message):
        preprocess(tracks, "z.h5", "zhang-128")

    elsewhere.scheduler.allowed_failures = 0
    monkeypatch.setattr(parallel, "_PATIENCE", 0.2)
    results = in_parallel(dies_at_3(wait=1), TASKS, NAMES)  # the results before are fetched by then
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(GtzanKerasError, match=r"^number 3: its worker processes died, and .* none left"):
        next(results)  # nobody restarts this worker

    threading.Timer(0.3, elsewhere.close).start()
    with pytest.raises(GtzanKerasError, match="lost the connection to the cluster's scheduler"):
        list(in_parallel(time.sleep, [(0.1,)] * 99, ["sleeps"] * 99))


def test_results_that_are_lost_with_the_last_worker_are_not_waited_for(
    elsewhere: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_PATIENCE", 0.2)
    results = in_parallel(os.getpid, [()] * 9, ["the worker's number"] * 9)
    worker = next(results)
    time.sleep(1)  # the next two are finished, but still on the worker
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(GtzanKerasError, match="no worker is left in the cluster"):
        list(results)


def test_a_tasks_own_timeout_is_not_taken_for_a_slow_cluster(on_workers: str) -> None:
    def late() -> None:
        raise TimeoutError("the task's own")

    with pytest.raises(TimeoutError, match="the task's own"):
        list(in_parallel(late, [()], ["late"]))
