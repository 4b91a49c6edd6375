"""Batches: every sample once an epoch, the same for the same seed, and changed only when asked."""

from __future__ import annotations

import dataclasses
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store import batches as module
from gtzan_keras.store.augmentation import STRONG_AUGMENTATION, Augmentation
from gtzan_keras.store.batches import Batches, tensorflow_dataset
from gtzan_keras.store.spectrograms import SpectrogramStore

IDS = [f"{genre}.{number:05d}" for genre in ("blues", "jazz", "rock") for number in range(7)]
COUNT = len(IDS)
SHAPE = (8, 12, 1)  # of the spec of make_store


@pytest.fixture(scope="module")
def store(make_store: Callable[..., SpectrogramStore]) -> SpectrogramStore:
    """Sample i is grey level 10 i all over, so that an image says which sample it is."""
    levels = (10 * np.arange(COUNT)).astype(np.uint8)
    return make_store(IDS, np.broadcast_to(levels[:, None, None, None], (COUNT, *SHAPE)))


def samples(batches: Batches) -> list[int]:
    """Which samples the batches hold, in order."""
    return [round(float(image.mean()) * 25.5) for images, _ in batches for image in images]


# ---- what a batch is


@pytest.mark.parametrize(("size", "sizes"), [(7, [7, 7, 7]), (8, [8, 8, 5]), (100, [21])])
def test_the_last_batch_holds_what_is_left(store, size, sizes):
    batches = store.batches(IDS, size)
    assert len(batches) == len(sizes)
    assert [len(images) for images, _ in batches] == sizes
    for index in (len(sizes), -1):
        with pytest.raises(IndexError, match=f"of {len(sizes)}"):
            batches[index]


def test_segments_of_the_tracks_asked_for_come_in_the_stores_order_as_0_to_1_with_one_hot_labels(make_store):
    made = make_store(["jazz.00001"] * 3 + ["pop.00000"] + ["rock.00000"] * 2)
    images, labels = map(np.concatenate, zip(*made.batches(["rock.00000", "jazz.00001"], 2), strict=True))
    assert images.dtype == labels.dtype == np.float32
    np.testing.assert_allclose(images, made.read([0, 1, 2, 4, 5]) / 255, rtol=1e-6)
    np.testing.assert_array_equal(labels, np.eye(3)[[0, 0, 0, 2, 2]])


# ---- order


def epochs(batches: Batches, count: int) -> list[list[int]]:
    found = []
    for _ in range(count):
        found.append(samples(batches))
        batches.on_epoch_end()
    return found


def test_shuffling_gives_every_sample_once_an_epoch_in_an_order_that_the_seed_decides(store):
    assert epochs(store.batches(IDS, 4), 2) == [list(range(COUNT))] * 2
    three = epochs(store.batches(IDS, 4, shuffle=True, seed=3), 3)
    assert len(set(map(tuple, three))) == 3
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in three)
    assert epochs(store.batches(IDS, 4, shuffle=True, seed=3), 3) == three
    assert epochs(store.batches(IDS, 4, shuffle=True, seed=4), 3) != three


def test_fit_with_two_workers_sees_every_batch_once_in_every_epoch(store, monkeypatch):
    asked: list[tuple[int, int]] = []
    original = Batches.__getitem__

    def record(self: Batches, index: int) -> Any:
        asked.append((self.epoch, index))
        return original(self, index)

    monkeypatch.setattr(Batches, "__getitem__", record)
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    model.fit(store.batches(IDS, 4, shuffle=True, workers=2), epochs=2, shuffle=False, verbose=0)
    fitted = asked[2:]  # Keras first looks at two batches for their shapes
    orders = {at for at, _ in fitted}
    assert len(orders) == 2
    for order in orders:
        assert sorted(index for at, index in fitted if at == order) == list(range(6))


def test_tensorflows_data_set_has_the_batches_of_the_epoch_and_tunes_nothing(store):
    batches = store.batches(IDS, 8, shuffle=True, augmentation=STRONG_AUGMENTATION)
    data = tensorflow_dataset(batches)
    assert data.options().autotune.enabled is False
    for _ in range(2):
        expected = [batches[index] for index in range(len(batches))]
        assert len(data) == len(expected)
        for given, wanted in zip(data.as_numpy_iterator(), expected, strict=True):
            np.testing.assert_array_equal(given[0], wanted[0])
            np.testing.assert_array_equal(given[1], wanted[1])
        batches.on_epoch_end()


@pytest.mark.parametrize("epochs", [0, 2])
def test_what_tensorflow_keeps_of_a_data_set_does_not_hold_the_samples(store, epochs):
    batches = store.batches(list(store.track_id), 3)
    data = tensorflow_dataset(batches)
    if epochs:
        layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(len(store.genres))]
        model = keras.Sequential(layers)
        model.compile("sgd", "mse")
        model.fit(data.repeat(), epochs=epochs, steps_per_epoch=1, shuffle=False, verbose=0)
        del model, layers
    held = weakref.ref(batches)
    del batches, data
    gc.collect()
    assert held() is None


@pytest.mark.parametrize(
    "derived",
    [
        lambda make: make(),
        lambda make: make().repeat(1).map(lambda images, labels: (images, labels)),
        lambda make: tf.data.Dataset.range(1).interleave(lambda _: make()),
    ],
    ids=["itself", "derived", "made in a graph"],
)
def test_an_iterator_gives_all_batches_of_a_data_set_that_nobody_else_holds(store, derived):
    batches = store.batches(IDS, 8)
    iterator = iter(derived(lambda: tensorflow_dataset(batches)))
    gc.collect()
    assert sum(len(images) for images, _ in iterator) == COUNT


def test_predictions_of_several_workers_come_in_order(store):
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.GlobalAveragePooling2D()])
    means = model.predict(store.batches(IDS, 2, in_memory=False, workers=4), verbose=0)
    np.testing.assert_allclose(means[:, 0] * 25.5, np.arange(COUNT), atol=1e-4)


# ---- memory


def test_batches_from_file_and_from_memory_are_equal(store):
    options = {"shuffle": True, "augmentation": STRONG_AUGMENTATION}
    held = store.batches(IDS, 4, in_memory=True, **options)
    read = store.batches(IDS, 4, in_memory=False, **options)
    for one, other in zip(held, read, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize(("limit", "reads"), [(COUNT * 96, 0), (COUNT * 96 - 1, 6)])
def test_a_store_above_the_limit_is_not_held_in_memory(store, monkeypatch, limit, reads):
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", limit)
    batches = store.batches(IDS, 4)
    asked: list[int] = []
    original = store.read
    monkeypatch.setattr(store, "read", lambda rows: asked.append(len(rows)) or original(rows))
    assert samples(batches) == list(range(COUNT))
    assert len(asked) == reads


@pytest.mark.parametrize("in_memory", [True, False])
def test_batches_travel_to_other_processes(store, in_memory):
    batches = store.batches(IDS, 4, shuffle=True, in_memory=in_memory)
    batches.on_epoch_end()
    assert samples(pickle.loads(pickle.dumps(batches))) == samples(batches)


# ---- what is refused


def test_batches_of_nothing_are_refused(store):
    with pytest.raises(GtzanKerasError, match="batch_size=0: expected"):
        store.batches(IDS, 0)
    with pytest.raises(GtzanKerasError, match="no sample of the 0 requested tracks"):
        store.batches([])


@pytest.mark.parametrize("change", [{"tone": 0.2}, {"noise": 0.1}])
def test_changes_of_level_are_refused_for_colours(make_store, change):
    spec = SpectrogramSpec(name="colour", height=8, width=12, channels=3, colour_map="viridis")
    colours = make_store(["pop.00000"], np.zeros((1, 8, 12, 3), np.uint8), spec=spec)
    augmentation = Augmentation(time_shift=True, **change)
    with pytest.raises(GtzanKerasError, match=r"holds colours; use dataclasses\.replace\("):
        colours.batches(["pop.00000"], augmentation=augmentation)
    colours.batches(["pop.00000"], augmentation=dataclasses.replace(augmentation, tone=0, noise=0))


# ---- augmentation


def test_augmentation_follows_seed_epoch_and_batch_and_nothing_else(store):
    def made(seed: int, epochs: int, first: int = 0) -> np.ndarray:
        batches = store.batches(IDS, 8, seed=seed, augmentation=Augmentation(mixup=0.3))
        for _ in range(epochs):
            batches.on_epoch_end()
        batches[first]
        return np.asarray(batches[1][0])

    expected = made(seed=1, epochs=1)
    np.testing.assert_array_equal(made(seed=1, epochs=1, first=2), expected)
    assert (made(seed=2, epochs=1) != expected).any()
    assert (made(seed=1, epochs=2) != expected).any()
