"""Pictures on the device: the same training, of which only row numbers and labels travel."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from gtzan_keras import models
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store import batches as batches_module
from gtzan_keras.store.batches import Augmentation
from gtzan_keras.store.hdf5 import SpectrogramStore
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training import precision as precision_module
from gtzan_keras.training.fit import Run, train
from gtzan_keras.training.on_device import on_device


def split_of(store: SpectrogramStore) -> Split:
    """Tracks 0-7, 8-9, 10-11 of each genre, with fewer of the last one."""
    parts = (range(8), range(8, 10), range(10, 12))
    ids = [
        tuple(i for i in store.track_id if int(i[-2:]) in part and i not in ("rock.00000", "rock.00001"))
        for part in parts
    ]
    return Split("by hand", *ids)


def fit(store: SpectrogramStore, out: Path, **arguments: Any) -> Run:
    keras.utils.set_random_seed(1)
    model = models.cnn(store.spec.shape, 3, filters=(4,), dense_units=(8,), dropout=0.1)
    settings = {"epochs": 4, "batch_size": 5, "learning_rate": 0.03, "verbose": 0, **arguments}
    return train(model, store, split_of(store), out=out, **settings)


CASES: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "XLA": {"precision": "float32", "jit_compile": True, "epochs": 1},
    "class weights": {"class_weights": True, "patience": 1, "learning_rate": 0.3, "epochs": 8},
    "averaged weights and a cosine": {"ema": 0.5, "schedule": "cosine", "optimizer": "adamw"},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_training_is_the_same_with_the_pictures_on_the_device(
    separable: SpectrogramStore, tmp_path: Path, case: str
) -> None:
    sent = fit(separable, tmp_path / "sent", on_device=False, **CASES[case])
    placed = fit(separable, tmp_path / "placed", on_device=True, **CASES[case])
    assert len(placed.history) == len(sent.history)
    pd.testing.assert_frame_equal(placed.history, sent.history, rtol=1e-5, atol=1e-6)
    assert placed.settings["training"]["best_epoch"] == sent.settings["training"]["best_epoch"]
    for one, other in zip(placed.model.get_weights(), sent.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_saved_model_is_the_ordinary_one(separable: SpectrogramStore, tmp_path: Path) -> None:
    sent = fit(separable, tmp_path / "sent", epochs=1, on_device=False)
    placed = fit(separable, tmp_path / "placed", epochs=1, on_device=True, tensorboard=True)
    assert placed.model.to_json() == sent.model.to_json()
    saved = keras.saving.load_model(tmp_path / "placed" / "model.keras")
    images = separable.batches(placed.split.test)[0][0]
    np.testing.assert_array_equal(saved(images), placed.model(images))


def test_rows_and_labels_are_those_of_the_ordinary_batches_in_every_epoch(
    separable: SpectrogramStore,
) -> None:
    split = split_of(separable)
    parts = [separable.batches(split.train, 5, shuffle=True, seed=3), separable.batches(split.validation, 4)]
    model = models.dense(separable.spec.shape, 3, units=())
    _, placed = on_device(model, *parts)
    pictures = np.concatenate([separable.read(part.rows) for part in parts])
    expected = [separable.batches(split.train, 5, shuffle=True, seed=3), parts[1]]
    for _ in range(2):
        for given, wanted in zip(placed, expected, strict=True):
            assert len(given) == len(wanted)
            for (rows, labels), (images, one_hot) in zip(given, wanted, strict=True):
                assert rows.dtype == np.int32
                np.testing.assert_array_equal(labels, one_hot)
                np.testing.assert_allclose(pictures[rows] / 255, images, rtol=1e-6)
        placed[0].on_epoch_end()
        expected[0].on_epoch_end()


def test_pictures_are_no_weights_of_the_model(separable: SpectrogramStore) -> None:
    model = models.dense(separable.spec.shape, 3, units=())
    trainee, _ = on_device(model, separable.batches(list(separable.track_id)))
    assert [variable.path for variable in trainee.variables] == [w.path for w in model.variables]
    images = separable.batches(list(separable.track_id), 36)[0][0]
    np.testing.assert_array_equal(trainee(np.arange(36)), model(images))


def test_an_interrupted_training_goes_on_with_the_pictures_on_the_device(
    separable: SpectrogramStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(separable, tmp_path / "whole", resume=True, on_device=False)
    with monkeypatch.context() as patch:
        plateau = keras.callbacks.ReduceLROnPlateau.on_epoch_end

        def stop(self: Any, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise KeyboardInterrupt
            plateau(self, epoch, logs)

        patch.setattr(keras.callbacks.ReduceLROnPlateau, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(separable, tmp_path / "broken", resume=True, on_device=False)
    resumed = fit(separable, tmp_path / "broken", resume=True, on_device=True)
    pd.testing.assert_frame_equal(resumed.history, whole.history, rtol=1e-5)
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("gpus", "where"), [(0, "sent to the device batch by batch"), (1, "on the device")])
def test_when_nothing_is_said_a_gpu_decides(
    separable: SpectrogramStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    gpus: int,
    where: str,
) -> None:
    monkeypatch.setattr(precision_module, "count_gpus", lambda: gpus)
    with caplog.at_level(logging.INFO, "gtzan_keras"):
        fit(separable, tmp_path, epochs=1, precision="float32", jit_compile=False)
    (line,) = [text for text in caplog.messages if "precision" in text]
    assert line.endswith(
        f"precision float32 (asked for), XLA off (asked for), layers with fused kernels 0, pictures {where}"
    )


def test_with_augmentation_a_gpu_alone_does_not_decide(
    separable: SpectrogramStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(precision_module, "count_gpus", lambda: 1)
    with caplog.at_level(logging.INFO, "gtzan_keras"):
        options = {"precision": "float32", "jit_compile": False, "epochs": 1}
        fit(separable, tmp_path, augmentation=Augmentation(time_shift=True), **options)
    assert "batch by batch" in caplog.text


def test_what_can_not_lie_on_the_device_is_refused_when_asked_for(
    separable: SpectrogramStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GtzanKerasError, match=r"on_device=True: .*: augmentation changes the pictures"):
        fit(separable, tmp_path / "run", on_device=True, augmentation=Augmentation(time_shift=True))
    monkeypatch.setattr(batches_module, "IN_MEMORY_BYTES", 10)
    with pytest.raises(GtzanKerasError, match="too many to be held in memory; leave it out"):
        fit(separable, tmp_path / "run", on_device=True)
    assert not (tmp_path / "run").exists()


def test_the_output_of_a_frozen_part_is_trained_on_as_ever(
    separable: SpectrogramStore, tmp_path: Path
) -> None:
    histories = []
    for wanted in (None, True):
        keras.utils.set_random_seed(1)
        model = models.cnn(separable.spec.shape, 3, filters=(4,), dense_units=(8,))
        model.get_layer("block1_conv").trainable = False
        options = {"epochs": 2, "batch_size": 5, "verbose": 0, "cache_frozen": tmp_path}
        run = train(model, separable, split_of(separable), out=tmp_path / "run", on_device=wanted, **options)
        assert run.settings["training"]["frozen_part_cached"]
        histories.append(run.history)
    pd.testing.assert_frame_equal(*histories)


def test_the_benchmark_of_a_gpu_runs_and_says_where_there_is_none() -> None:
    root = Path(__file__).resolve().parent.parent
    sizes = 'size="xs", images=8, batch=4, epochs=1'
    script = (
        "from tests.benchmarks.bench_steps import gpu_rows, throughput\n"
        f"print(throughput(32, True, {sizes})['rate'] > 0, flush=True)\n"
        "gpu_rows()\n"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True")
    assert "these rows need a GPU" in done.stdout
