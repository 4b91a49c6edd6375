"""Recipes on frozen networks: musicnn on sound, MobileNetV2 on spectrograms."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from gtzan_keras import TrainingSettings, experiments, load_tracks, models, splits, train
from gtzan_keras.audio.patches import musicnn_patches
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments.inputs import find_inputs
from gtzan_keras.inference.embed import embed, embed_images, load_embedder
from gtzan_keras.store.augmentation import Augmentation, FeatureAugmentation
from gtzan_keras.store.base import Sample, pack, write_store
from gtzan_keras.store.embeddings import EmbeddingSpec, EmbeddingsStore
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.catalogue import describe
from gtzan_keras.training.results import read_result
from tests.conftest import TINY

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="module")
def embedded(
    musicnn_folder: Path, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> EmbeddingsStore:
    """Two real tracks, through musicnn."""
    root = tmp_path_factory.mktemp("tracks")
    for name in ("classical/classical.00000.wav", "metal/metal.00000.wav"):
        (root / name).parent.mkdir()
        (root / name).symlink_to(real_data / "gtzan_mini" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GTZAN_KERAS_WEIGHTS", str(musicnn_folder))
        embed(load_tracks(root), root / "store.h5", "musicnn-msd", jobs=1, progress=False)
    return EmbeddingsStore(root / "store.h5")


def test_musicnn_embeddings_of_real_tracks_equal_the_original_graph(embedded, real_data):
    reference = np.load(real_data / "musicnn_reference.npz")
    assert embedded.shape == (2, 10, 1506)
    assert (embedded.spec.source, embedded.spec.name) == ("musicnn-msd", "musicnn-10x1506")
    rows = {track_id: row for row, track_id in enumerate(reference["track_id"])}
    for track_id, patches, mask in zip(embedded.track_id, embedded.read(), embedded.mask, strict=True):
        found = patches[mask].mean(axis=0)
        row = rows[track_id]
        np.testing.assert_allclose(found[:753], reference["mean_pool"][row], atol=1e-3)
        np.testing.assert_allclose(found[753:], reference["max_pool"][row], atol=1e-3)


def test_the_penultimate_layer_is_a_source_of_its_own(musicnn_folder, monkeypatch):
    monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(musicnn_folder))
    embedder = load_embedder("musicnn-msd-penultimate")
    assert (embedder.name, embedder.size) == ("musicnn-msd-penultimate", 200)


def test_any_model_on_musicnns_patches_is_an_embedder():
    network = keras.Sequential([keras.Input((187, 96)), keras.layers.GlobalAveragePooling1D()])
    embedder = load_embedder(network)
    sound = np.random.default_rng(0).uniform(-1, 1, 16000 * 7).astype("float32")
    np.testing.assert_allclose(embedder.run(sound), musicnn_patches(sound).mean(axis=1), rtol=1e-5)
    needed = embedder.front_end.samples(2)
    assert needed == 2 * 187 * 256
    np.testing.assert_allclose(embedder.prepare(sound[:needed]), embedder.prepare(sound)[:2], atol=1e-5)


def test_statistics_of_feature_maps_are_those_of_keras(real_data):
    weights = real_data / "weights" / "mobilenet_v2_imagenet_notop.weights.h5"
    images = np.random.default_rng(0).random((2, 20, 30, 1), "float32")
    layers = ("block_13_expand_relu", "out_relu")
    network = models.image_features("mobilenet_v2", (20, 30, 1), layers, weights=weights, size=(64, 96))
    own = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 96, 3))
    own.load_weights(weights)
    maps = keras.Model(own.input, [own.get_layer(layer).output for layer in layers])
    resized = keras.ops.image.resize(np.repeat(images, 3, axis=-1), (64, 96))
    found = [np.asarray(values) for values in maps(resized * 2 - 1)]
    expected = [measure(values, axis=(1, 2)) for values in found for measure in (np.mean, np.max, np.std)]
    np.testing.assert_allclose(network(images), np.concatenate(expected, axis=1), rtol=1e-3, atol=1e-4)
    assert not network.trainable_weights


def test_an_unknown_layer_is_refused():
    with pytest.raises(GtzanKerasError, match="mobilenet_v2 has no block_99; its layers are input"):
        models.image_features("mobilenet_v2", (32, 32, 1), ["block_99"], weights=None)


def test_spectrograms_are_embedded_once_a_track_and_kept(tmp_path, make_store):
    store = make_store([f"pop.{number:05d}" for number in range(5)])
    layers = [keras.Input(TINY.shape), keras.layers.GlobalAveragePooling2D()]
    network = keras.Sequential(layers, name="mean")
    made = embed_images(store, tmp_path / "means.h5", network, batch_size=2, progress=False)
    expected = store.read().mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(made.read()[:, 0], expected, rtol=1e-5)
    before = (tmp_path / "means.h5").stat().st_mtime_ns
    made.close()
    embed_images(store, tmp_path / "means.h5", network, progress=False).close()
    assert (tmp_path / "means.h5").stat().st_mtime_ns == before

    own = describe(dict.fromkeys(["pop/one", "pop/two"], "pop")).assign(artist=["Ada", "Bo"])
    with write_store(tmp_path / "own.h5", TINY, own) as writer:  # with facts of its own, and a broken file
        writer.append(Sample("pop/one", pack([np.zeros(TINY.shape, np.uint8)]), "00ff"))
        writer.append(Sample("pop/two", refused="no sound"))
    with SpectrogramStore(tmp_path / "own.h5") as store:
        kept = embed_images(store, tmp_path / "facts.h5", network, progress=False)
    assert kept.tracks["artist"].tolist() == ["Ada", "Bo"]
    assert (kept.refused, kept.source_md5["pop/one"]) == ({"pop/two": "no sound"}, "00ff")

    flat = keras.Sequential([keras.Input(TINY.shape), keras.layers.ReLU()])
    with pytest.raises(GtzanKerasError, match=r"expected one spectrogram per track, and \(None, size\)"):
        embed_images(store, tmp_path / "x.h5", flat, progress=False)


def test_a_recipe_on_a_frozen_network_runs_from_spectrograms(tmp_path, make_store):
    ids = [f"{genre}.{number:05d}" for genre in ("pop", "rock") for number in range(5)]
    images = np.random.default_rng(0).integers(100, size=(len(ids), *TINY.shape), dtype=np.uint8)
    images[5:] += 120
    options = {"protocol": "random", "weights": "none", "stores": tmp_path / "stores"}
    path = make_store(ids, images).path
    [folder] = experiments.run("baseline/mobilenet-v2-frozen", path, out=tmp_path / "reports", **options)
    result, tracks = read_result(folder / "seed0")
    assert result["departures"] == [
        "spectrograms of tiny in place of librosa-128x387",
        "random weights in place of pretrained ones (imagenet)",
    ]
    assert tracks["genre"].tolist() == tracks["predicted"].tolist() == ["pop", "rock"]  # dark, bright; 80/20
    assert result["scores"]["test"]["accuracy"]["value"] == 1


def test_embeddings_become_a_table_of_a_row_a_track(embedded):
    recipe = experiments.find("baseline/musicnn")
    table = find_inputs(recipe, [embedded.path], Path("unused"), 1, None).table
    assert table["filename"].tolist() == [f"{track_id}.wav" for track_id in embedded.track_id]
    np.testing.assert_allclose(table["e7"], embedded.read()[:, :, 7].mean(axis=1), rtol=1e-5)


def store_of(spec: EmbeddingSpec, folder: Path) -> Path:
    """A store of random embeddings of ten tracks each of two genres."""
    ids = [f"{genre}.{number:05d}" for genre in ("pop", "rock") for number in range(10)]
    arrays = np.random.default_rng(0).random((len(ids), spec.patches, spec.size))
    EmbeddingsStore.from_arrays(folder / "x.h5", arrays, ids, spec).close()
    return folder / "x.h5"


def test_embeddings_of_another_network_are_a_departure(tmp_path):
    spec = EmbeddingSpec(name="vggish-2x8", patches=2, size=8)
    path = store_of(spec, tmp_path)
    [folder] = experiments.run("baseline/musicnn", path, protocol="random", out=tmp_path)
    assert read_result(folder / "seed0")[0]["departures"] == [
        f"embeddings of {spec.source} in place of musicnn-msd"
    ]


def test_a_network_on_frozen_embeddings_sees_every_patch(tmp_path):
    spec = EmbeddingSpec(name="musicnn-2x1506", patches=2, size=1506, source="musicnn-msd")
    options = {"protocol": "random", "weights": "none", "max_epochs": 1, "verbose": 0}
    path = store_of(spec, tmp_path)
    [folder] = experiments.run("baseline/musicnn-fine-tuned", path, out=tmp_path, **options)
    result, _ = read_result(folder / "seed0")
    assert result["model"]["parameters"] == 301_400 + 6_824 + 2 * 201
    assert result["departures"] == [
        "at most 1 epochs in place of 30",
        "random weights in place of pretrained ones (msd)",
    ]


def test_the_output_of_a_frozen_part_is_augmented_and_computed_once(tmp_path, make_store):
    store = make_store([f"{genre}.{number:05d}" for genre in ("pop", "rock") for number in range(8)])
    split = splits.stratified(store.tracks, "70/15/15")
    frozen = keras.layers.Conv2D(4, 3, strides=2, trainable=False)
    pooling, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, "softmax")
    inputs = keras.Input(TINY.shape)
    model = keras.Model(inputs, dense(pooling(keras.layers.Conv2D(4, 3)(frozen(inputs)))))
    changes = {"time_shift": True, "masks": 1, "mixup": 0.4}
    for augmentation, cached in ((FeatureAugmentation(**changes), True), (Augmentation(**changes), False)):
        settings = TrainingSettings(epochs=1, augmentation=augmentation)
        assert TrainingSettings.from_dict(settings.to_dict()) == settings
        run = train(model, store, split, settings, out=tmp_path / str(cached), verbose=0)
        assert run.outcome.frozen_part_cached == cached
