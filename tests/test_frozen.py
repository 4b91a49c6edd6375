"""A frozen base is computed once per sample, gives the same training, and is unfrozen in a second stage."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
import pytest

from gtzan_keras import datasets
from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.custom_cnn import cnn
from gtzan_keras.models.image_bases import freeze, vgg16
from gtzan_keras.report import plots
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.fine_tune import fine_tune
from gtzan_keras.training.fit import train
from gtzan_keras.training.frozen import FrozenFeatures, frozen_part
from gtzan_keras.training.run import Run, load_run
from gtzan_keras.training.settings import TrainingSettings

pytestmark = pytest.mark.usefixtures("eagerly")
MakeStore = Callable[..., SpectrogramStore]
SPEC = SpectrogramSpec(name="small", n_mels=32, height=32, width=32)
DISCO, ROCK = ([f"{genre}.{number:05d}" for number in range(7)] for genre in ("disco", "rock"))
SPLIT = Split("by hand", *((*DISCO[part], *ROCK[part]) for part in (slice(4), slice(4, 6), slice(6, 7))))


@pytest.fixture(scope="module")
def store(make_store: MakeStore) -> SpectrogramStore:
    images = np.random.default_rng(0).integers(256, size=(14, 32, 32), dtype=np.uint8)
    return make_store(DISCO + ROCK, images, spec=SPEC)


def transfer(**arguments: Any) -> keras.Model:
    """A small network whose convolutions are frozen."""
    keras.utils.set_random_seed(1)
    options = {"filters": (4, 4, 4), "dense_units": (8,), "dropout": 0.0, "pooling": "avg", **arguments}
    model = cnn((32, 32, 1), 2, **options)
    freeze(model, "dense_1")
    return model


def fit(model: keras.Model, store: SpectrogramStore, out: Path, epochs: int = 3, **options: Any) -> Run:
    settings = TrainingSettings(epochs=epochs, batch_size=3, learning_rate=0.01)
    return train(model, store, SPLIT, settings, out=out, verbose=0, **options)


def tune(run: Run, trainable_from: str, rate: float = 1e-5, epochs: int = 1, **options: Any) -> Run:
    settings = dataclasses.replace(run.settings, learning_rate=rate, epochs=epochs)
    return fine_tune(run, trainable_from, settings, verbose=0, **options)


@pytest.fixture(scope="module")
def cached(store: SpectrogramStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("cached")
    return fit(transfer(), store, folder / "run", cache_frozen=folder)


# ---- where the frozen part ends


def ends_after(*layers: Any) -> list[str]:
    """Classes of the frozen part of a chain of layers, with a trainable last one."""
    inputs = x = keras.Input((6,))
    for layer in layers:
        x = layer(x)
    parts = frozen_part(keras.Model(inputs, keras.layers.Dense(2)(x)))
    return [type(layer).__name__ for layer in parts[0].layers[1:]] if parts else []


def frozen(name: str, *arguments: Any, **options: Any) -> Any:
    return getattr(keras.layers, name)(*arguments, trainable=False, **options)


def test_the_frozen_part_ends_before_what_is_trained_or_drawn():
    layers = keras.layers
    dense = frozen("Dense", 4)
    assert ends_after(dense, layers.ReLU(), layers.Dropout(0.5), frozen("Dense", 4)) == ["Dense", "ReLU"]
    assert ends_after(frozen("Dense", 4), layers.Dropout(0.0)) == ["Dense", "Dropout"]
    assert ends_after(frozen("Dense", 4), layers.GaussianNoise(0.1)) == ["Dense"]
    assert ends_after(frozen("Dense", 4), frozen("BatchNormalization")) == ["Dense", "BatchNormalization"]
    free = layers.BatchNormalization(center=False, scale=False)  # nothing trained, but statistics gathered
    assert ends_after(frozen("Dense", 4), free) == ["Dense"]
    nested = keras.Sequential([keras.Input((6,)), frozen("Dense", 4), layers.Dropout(0.5)])
    assert ends_after(nested) == []


def test_without_frozen_weights_or_without_a_rest_there_is_none():
    assert frozen_part(cnn((8, 8, 1), 2, filters=(4,), dense_units=())) is None
    model = transfer()
    model.trainable = False
    assert frozen_part(model) is None


def test_the_frozen_part_ends_where_all_paths_meet():
    inputs = keras.Input((6,))
    first = frozen("Dense", 4)(inputs)
    meet = keras.layers.Concatenate()([frozen("Dense", 4)(first), frozen("Dense", 5)(first)])
    around = keras.layers.Concatenate()([meet, keras.layers.Dense(3)(inputs)])
    assert frozen_part(keras.Model(inputs, keras.layers.Dense(2)(around))) is None
    parts = frozen_part(keras.Model(inputs, keras.layers.Dense(2)(meet)))
    assert parts is not None
    assert parts[0].output is meet


def test_large_feature_maps_are_not_kept():
    model = vgg16((64, 64, 1), 2, weights=None, trainable_from="block2_conv1")
    assert frozen_part(model) is None  # 32 x 32 x 64 numbers for each image of 64 x 64
    deeper = frozen_part(vgg16((64, 64, 1), 2, weights=None, trainable_from="block5_conv1"))
    assert deeper is not None
    assert deeper[0].output_shape == (None, 4, 4, 512)


# ---- the same training


def test_training_on_kept_features_is_training_on_images(store, tmp_path):
    one = fit(transfer(pooling="flatten"), store, tmp_path / "one", cache_frozen=tmp_path)
    other = fit(transfer(pooling="flatten"), store, tmp_path / "other", cache_frozen=False)
    assert one.outcome.frozen_part_cached
    assert not other.outcome.frozen_part_cached
    pd.testing.assert_frame_equal(one.history, other.history, rtol=1e-3)
    images = store.as_input(store.read())
    np.testing.assert_allclose(one.model(images), other.model(images), atol=1e-4)


# ---- the file


def features_of(store: SpectrogramStore, model: keras.Model, ids: tuple[str, ...], folder: Path) -> Any:
    parts = frozen_part(model)
    assert parts is not None
    return FrozenFeatures(parts[0], store, ids, folder)


def test_features_are_the_bases_output_in_the_order_of_the_batches(store, tmp_path):
    model = transfer()
    features = features_of(store, model, SPLIT.train, tmp_path)
    base = keras.Model(model.input, model.get_layer("pooling").output)
    options = {"batch_size": 5, "shuffle": True, "seed": 3}
    for in_memory in (True, False):
        kept, given = (source.batches(SPLIT.train, **options) for source in (features, store))
        kept.held = kept.held if in_memory else None
        for (vectors, labels), (images, expected) in zip(kept, given, strict=True):
            np.testing.assert_array_equal(labels, expected)
            np.testing.assert_allclose(vectors, base(images), rtol=1e-3, atol=1e-4)


def test_only_missing_images_are_computed(store, tmp_path, monkeypatch):
    computed, original = [], keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda self, x: computed.append(len(x)) or original(self, x)
    )
    features_of(store, transfer(), SPLIT.validation, tmp_path)
    both = features_of(store, transfer(), SPLIT.train + SPLIT.validation, tmp_path)
    assert computed == [4, 8]
    whole = features_of(store, transfer(), SPLIT.train + SPLIT.validation, tmp_path / "new")
    rows = both.rows(SPLIT.train + SPLIT.validation)
    np.testing.assert_allclose(both.read(rows), whole.read(rows), rtol=1e-4, atol=1e-5)


def test_other_weights_other_layers_and_other_images_have_files_of_their_own(store, tmp_path, make_store):
    other = transfer()
    kernel = other.get_layer("block3_conv").kernel
    kernel.assign(1.01 * kernel)
    images = store.read()
    images[0, 0, 0] ^= 1
    changed = make_store(list(store.track_id), images, spec=SPEC)
    for which, model in ((store, other), (store, transfer(pooling="max")), (changed, transfer())):
        features_of(which, model, SPLIT.test, tmp_path)
    features_of(store, transfer(), SPLIT.test, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_what_was_begun_and_not_ended_leaves_no_file(store, tmp_path, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "predict_on_batch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        features_of(store, transfer(), SPLIT.test, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_computed_again(store, tmp_path, caplog):
    path = features_of(store, transfer(), SPLIT.test, tmp_path).path
    path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        again = features_of(store, transfer(), SPLIT.test, tmp_path)
    assert "computing it again" in caplog.text
    with h5py.File(again.path) as file:
        assert file["there"][:].sum() == 2


def test_a_folder_that_cannot_be_written_to_is_one_clear_error(store, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GtzanKerasError, match=r"cannot write the frozen base.* cache_frozen="):
        fit(transfer(), store, tmp_path / "run", cache_frozen=tmp_path / "file")


# ---- the second stage


@pytest.fixture(scope="module")
def tuned(cached: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tune(cached, "block2_conv", 1e-4, out=tmp_path_factory.mktemp("tuned"), epochs=2)


def changed(before: keras.Model, after: keras.Model) -> set[str]:
    """Layers whose weights differ."""
    pairs = zip(before.weights, after.weights, strict=True)
    return {one.path.split("/")[-2] for one, other in pairs if not np.array_equal(one, other)}


def test_layers_change_from_the_named_one_on(cached, tuned):
    assert changed(cached.model, tuned.model) == {"block2_conv", "block3_conv", "dense_1", "predictions"}
    assert not any(layer.trainable for layer in cached.model.layers if layer.name.startswith("block"))


def test_the_second_stage_starts_from_the_first_ones_best(cached, tmp_path):
    still = tune(cached, "block2_conv", 1e-30, out=tmp_path)
    best = cached.outcome.best_epoch
    assert still.history["val_loss"].iloc[-1] == pytest.approx(cached.history["val_loss"].iloc[best - 1])


def test_the_history_holds_both_stages(cached, tuned):
    history = tuned.history
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert history["stage"].tolist() == [1, 1, 1, 2, 2]
    np.testing.assert_allclose(history["learning_rate"], [0.01] * 3 + [1e-4] * 2, rtol=1e-5)
    pd.testing.assert_frame_equal(history.iloc[:3].drop(columns="stage"), cached.history)
    best = tuned.outcome.best_epoch
    assert best == 4 + int(history["val_loss"].iloc[3:].reset_index(drop=True).argmin())
    assert len(plots.history(history, best_epoch=best).axes) == 4


def test_the_second_stage_is_a_run_like_any_other(cached, tuned):
    again = load_run(tuned.folder)
    pd.testing.assert_frame_equal(again.history, tuned.history, check_exact=True)
    first = {"settings": cached.settings.to_dict(), "outcome": dataclasses.asdict(cached.outcome)}
    assert again.outcome.first_stage == first
    assert again.facts["trainable_from"] == "block2_conv"


def test_by_default_the_second_stage_has_the_firsts_settings_and_a_low_rate(cached, tmp_path):
    def stop(epoch: int, logs: object) -> None:
        stopper.model.stop_training = True

    stopper = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    second = fine_tune(cached, "predictions", out=tmp_path, verbose=0, callbacks=[stopper])
    assert second.settings == dataclasses.replace(cached.settings, learning_rate=1e-5, epochs=30)


def test_the_second_stage_replaces_the_first_and_frozen_batch_normalization_keeps_its_statistics(
    store, tmp_path
):
    first = fit(transfer(normalization="batch"), store, tmp_path / "run", epochs=1, cache_frozen=tmp_path)
    second = tune(first, "block2_norm", cache_frozen=tmp_path)
    assert changed(first.model, second.model) == {"block3_conv", "dense_1", "dense_1_norm", "predictions"}
    assert (second.folder, second.name) == (first.folder, first.name)
    assert load_run(first.folder).history["stage"].tolist() == [1, 2]


def test_an_interrupted_second_stage_continues_without_the_first(store, tmp_path, monkeypatch):
    options: dict[str, Any] = {"resume": True, "cache_frozen": tmp_path, "epochs": 2}
    first = fit(transfer(), store, tmp_path / "broken", **options)
    shutil.copytree(first.folder, tmp_path / "whole")
    whole = tune(fit(transfer(), store, tmp_path / "whole", **options), "block3_conv", 1e-3, **options)
    begun: list[int] = []

    def interrupt(self: keras.callbacks.Callback, epoch: int, logs: Any = None) -> None:
        begun.append(epoch)
        if begun == [0, 1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(keras.callbacks.EarlyStopping, "on_epoch_begin", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tune(first, "block3_conv", 1e-3, **options)
    again = fit(transfer(), store, tmp_path / "broken", **options)
    resumed = tune(again, "block3_conv", 1e-3, **options)
    assert begun == [0, 1, 1]  # none of the first stage
    pd.testing.assert_frame_equal(resumed.history, whole.history)
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_features_of_the_packaged_thumbnails_are_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GTZAN_KERAS_CACHE", str(tmp_path))
    inputs = keras.Input((64, 64, 1))
    base = keras.Model(inputs, keras.layers.AveragePooling2D(32)(inputs))
    with datasets.thumbnails() as thumbnails:
        ids = list(thumbnails.track_id[:3])
        features = FrozenFeatures(base, thumbnails, ids)
        expected = thumbnails.read(slice(3)).reshape(3, 2, 32, 2, 32, 1).mean(axis=(2, 4)) / 255
        np.testing.assert_allclose(features.read(np.arange(3)), expected, rtol=1e-5)
    assert features.path.parent == tmp_path
