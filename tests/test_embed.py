"""Tracks to embeddings, by any network."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf

from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.patches import vggish_patches
from gtzan_keras.datasets import thumbnails
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference import embed as module
from gtzan_keras.inference.embed import embed, embed_images, load_embedder
from gtzan_keras.inference.predict import predict
from gtzan_keras.models.custom_cnn import cnn
from gtzan_keras.models.layers import clone
from gtzan_keras.models.saving import SavedModel
from gtzan_keras.models.weights import hub_folder
from gtzan_keras.store import parts
from gtzan_keras.store.embeddings import HUB_HANDLE, EmbeddingsStore
from gtzan_keras.store.open import open_store
from gtzan_keras.tracks.catalogue import load_tracks

SECONDS = {"blues.00000": 1.2, "jazz.00000": 2.5, "rock.00000": 7.0}  # 1, 2 and 7 patches
BROKEN = "pop.00000"


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("sounds")
    for seed, (track_id, seconds) in enumerate(SECONDS.items()):
        file = root / track_id.split(".")[0] / f"{track_id}.wav"
        file.parent.mkdir()
        soundfile.write(file, np.random.default_rng(seed).uniform(-0.5, 0.5, round(22050 * seconds)), 22050)
    (root / "pop").mkdir()
    (root / "pop" / f"{BROKEN}.wav").write_bytes(b"this is no music " * 999)
    return load_tracks(root)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Stands in for VGGish: 8 numbers a patch."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((96, 64)), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(8)]
    return keras.Sequential(layers, name="stand-in")


class Loudness(tf.Module):
    """Stands in for the Hub's SavedModel: a waveform in, mean, peak and loudness of each 0.96 s out."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, waveform: tf.Tensor) -> tf.Tensor:
        pieces = tf.signal.frame(waveform, 15600, 15360)
        reduced = (tf.reduce_mean(pieces, 1), tf.reduce_max(pieces, 1), tf.norm(pieces, axis=1))
        return tf.stack(reduced, axis=1)


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "loudness"
    tf.saved_model.save(Loudness(), folder)
    return folder


@pytest.fixture(scope="module")
def store(tracks: pd.DataFrame, network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("store") / "x.h5"
    embed(tracks, path, network, patches=4, jobs=1)
    return EmbeddingsStore(path)


def sound_of(tracks: pd.DataFrame, track_id: str) -> np.ndarray:
    return load_audio(tracks.set_index("track_id").at[track_id, "path"], 16000)


def contents(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {name: np.asarray(file[name][()]).tolist() for name in file} | {"all": dict(file.attrs)}


# ---- tracks to embeddings


def test_a_keras_model_gets_the_front_ends_patches(store, tracks, network):
    for row, track_id in enumerate(store.track_id):
        expected = network(vggish_patches(sound_of(tracks, track_id)))[:4]
        np.testing.assert_allclose(store.read([row])[0, : len(expected)], expected, rtol=1e-5, atol=1e-5)


def test_a_saved_model_gets_the_sound(tracks, saved_model, tmp_path):
    report = embed(tracks, tmp_path / "x.h5", saved_model, patches=2, jobs=1)
    assert report.written == 3
    assert open_store(report.path).shape == (3, 2, 3)
    sound = sound_of(tracks, "jazz.00000")
    pieces = sound[:15600], sound[15360 : 15360 + 15600]
    expected = [[piece.mean(), piece.max(), np.linalg.norm(piece)] for piece in pieces]
    np.testing.assert_allclose(open_store(report.path).read([1])[0], expected, rtol=1e-3, atol=1e-5)


def test_hub_is_googles_vggish_and_is_taken_from_the_cache_folder(tracks, saved_model, tmp_path, monkeypatch):
    name = hashlib.sha1(b"https://tfhub.dev/google/vggish/1").hexdigest()
    (tmp_path / name).symlink_to(saved_model)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    embed(tracks, tmp_path / "x.h5", "hub", jobs=1)
    spec = open_store(tmp_path / "x.h5").spec
    assert (spec.source, spec.patches, spec.size) == ("https://tfhub.dev/google/vggish/1", 31, 3)
    assert load_embedder(HUB_HANDLE).size == 3  # the handle itself means the same

    # One window may last 1/30 longer than the model's patches: here by one more patch.
    head = keras.Sequential([keras.Input((31, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 492_000).astype("float32")
    found = predict(sound, SavedModel(head, spec, ["jazz", "rock"]), sample_rate=16000)
    assert len(found.times) == 1
    expected = head(load_embedder("hub").network([sound[: 16000 * 30]])[0][None, :31])
    np.testing.assert_allclose(found.window_probabilities, expected, rtol=1e-4)


def test_broken_tracks_are_left_out_and_their_genre_stays(store, tracks):
    assert store.refused == {BROKEN: "not readable as sound (Format not recognised)"}
    assert store.tracks["track_id"].tolist() == tracks["track_id"].tolist()
    assert store.genres == ["blues", "jazz", "pop", "rock"]


def test_any_number_of_workers_makes_the_same_file(store, tracks, network, tmp_path):
    embed(tracks, tmp_path / "x.h5", network, patches=4, jobs=2)
    assert contents(tmp_path / "x.h5") == contents(store.path)


def test_a_real_track_has_31_patches(real_data, network, tmp_path):
    embed(load_tracks(real_data / "gtzan_mini").head(1), tmp_path / "x.h5", network, jobs=1)
    assert open_store(tmp_path / "x.h5").mask.tolist() == [[True] * 31]


def test_trimming_cuts_the_silence_at_both_ends(tracks, network, tmp_path):
    sound = np.pad(sound_of(tracks, "jazz.00000"), 16000 * 2)
    (tmp_path / "jazz").mkdir()
    soundfile.write(tmp_path / "jazz" / "padded.wav", sound, 16000, "FLOAT")
    embed(load_tracks(tmp_path), tmp_path / "x.h5", network, trim=True, jobs=1)
    with open_store(tmp_path / "x.h5") as store:
        assert store.spec.trim
        expected = network(vggish_patches(librosa.effects.trim(sound)[0]))
        np.testing.assert_allclose(store.read()[0, : len(expected)], expected, rtol=1e-5, atol=1e-5)
        assert store.mask.sum() == len(expected) < len(vggish_patches(sound))


def test_a_track_with_too_little_sound_in_it_is_left_out(tracks, network, tmp_path):
    (tmp_path / "jazz").mkdir()
    soundfile.write(tmp_path / "jazz" / "click.wav", np.pad(np.ones(1600), 16000), 16000)
    (tmp_path / "jazz" / "good.wav").symlink_to(tracks["path"][1])
    report = embed(load_tracks(tmp_path), tmp_path / "x.h5", network, trim=True, jobs=1)
    assert list(report.refused) == ["jazz/click"]
    assert "s of sound without the silence around it, 0.975 s needed" in report.refused["jazz/click"]


def test_sound_of_any_length_is_embedded_whatever_the_batch(network, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 3)
    pieces = [np.random.default_rng(n).normal(size=(n, 96, 64)).astype("float32") for n in (5, 1, 4)]
    for found, piece in zip(load_embedder(network).network(pieces), pieces, strict=True):
        np.testing.assert_allclose(found, network(piece), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("gpus", "most"), [(0, 4), (1, 4 + 2 + 4)])  # four at hand; a thread each, four more
def test_reading_stays_a_few_tracks_ahead_of_a_gpu_and_waits_for_the_processor(
    gpus, most, tracks, network, tmp_path, monkeypatch
):
    many = pd.concat([tracks[tracks["track_id"] != BROKEN]] * 10, ignore_index=True)
    many["track_id"] = [f"copy/{number}" for number in range(len(many))]
    many["duplicates"] = [()] * len(many)
    started, ahead = [], []
    load, good = module._load_sound, load_embedder(network)

    def counted(task: Any, *rest: Any) -> Any:
        started.append(task)
        return load(task, *rest)

    def watched(pieces: list[np.ndarray]) -> list[np.ndarray]:
        ahead.append(len(started) - module._TOGETHER * len(ahead))
        return good.network(pieces)

    monkeypatch.setattr("gtzan_keras.models.device.count_gpus", lambda: gpus)
    monkeypatch.setattr(module, "_load_sound", counted)
    monkeypatch.setattr(module, "load_embedder", lambda *_: good._replace(network=watched))
    embed(many, tmp_path / "x.h5", network, jobs=2)
    assert len(started) == 30
    assert max(ahead) <= most


# ---- precision


def test_the_policy_that_is_set_does_not_change_the_precision(network, tracks):
    sound = sound_of(tracks, "jazz.00000")
    expected = load_embedder(network).run(sound)
    keras.config.set_dtype_policy("mixed_bfloat16")  # until the end of the test: see conftest.py
    layers = [keras.Input((96, 64)), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(8)]
    copy = keras.Sequential(layers)
    copy.set_weights(network.get_weights())
    assert copy.layers[-1].compute_dtype == "bfloat16"
    np.testing.assert_array_equal(load_embedder(copy).run(sound), expected)


def test_bfloat16_agrees_to_a_hundredth_and_is_another_source(network, tracks):
    sound = sound_of(tracks, "rock.00000")
    exact, fast = load_embedder(network), load_embedder(network, "bfloat16")
    expected, found = exact.run(sound), fast.run(sound)
    assert 0 < np.linalg.norm(found - expected) < 1e-2 * np.linalg.norm(expected)
    assert fast.name == exact.name + " in bfloat16"


def test_unavailable_precisions_are_refused(network, saved_model):
    with pytest.raises(GtzanKerasError, match="precision='half': expected float32 or bfloat16"):
        load_embedder(network, "half")
    with pytest.raises(GtzanKerasError, match=r"is a SavedModel.*models\.vggish\('audioset'\)"):
        load_embedder(saved_model, "bfloat16")


def test_a_complete_store_does_not_hide_an_unavailable_precision(store, tracks, saved_model):
    with pytest.raises(GtzanKerasError, match="is a SavedModel, which computes as it was saved"):
        embed(tracks, store.path, saved_model, patches=4, precision="bfloat16", jobs=1)


# ---- what goes wrong


def test_an_interrupted_run_continues(tracks, network, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_TRACKS", 1)
    monkeypatch.setattr(parts, "_TRACKS_A_WORKER", 1)
    load = module._load_sound

    def stops_at_the_third(task: parts.Task, *rest: Any) -> Any:
        if task.track_id == tracks["track_id"][2]:
            raise KeyboardInterrupt
        return load(task, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_load_sound", stops_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            embed(tracks, tmp_path / "x.h5", network, patches=4, jobs=1)
    assert embed(tracks, tmp_path / "x.h5", network, patches=4, jobs=1).resumed == 2
    embed(tracks, tmp_path / "fresh.h5", network, patches=4, jobs=1)
    assert contents(tmp_path / "x.h5") == contents(tmp_path / "fresh.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh.h5", "x.h5"]


def test_a_complete_store_costs_no_network(tracks, saved_model, tmp_path, monkeypatch):
    first = embed(tracks, tmp_path / "x.h5", saved_model, patches=2, jobs=1)
    monkeypatch.setattr(module, "load_embedder", lambda *_: pytest.fail("the network was loaded"))
    before = (tmp_path / "x.h5").stat().st_mtime_ns
    again = embed(tracks, tmp_path / "x.h5", saved_model, patches=2, jobs=1)
    assert (again.written, again.refused) == (first.written, first.refused)
    assert (tmp_path / "x.h5").stat().st_mtime_ns == before


def test_a_store_of_another_spec_network_or_kind_is_not_overwritten(store, tracks, network, make_store):
    with pytest.raises(GtzanKerasError, match=r"made with spec 'vggish-4x8'.*patches: 31 against 4"):
        embed(tracks, store.path, network, jobs=1)
    with pytest.raises(GtzanKerasError, match="made with spec 'tiny'"):
        embed(tracks, make_store(["rock.00000"]).path, network, jobs=1)
    other = keras.models.clone_model(network)
    with pytest.raises(GtzanKerasError, match=r"source: 'Keras model stand-in .* against 'Keras model"):
        embed(tracks, store.path, other, patches=4, jobs=1)


def test_networks_of_another_kind_are_refused(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "empty")
    two = tf.Module()
    two.__class__ = type("Two", (tf.Module,), {"__call__": tf.function(lambda _, x: x)})
    two(tf.zeros(3))
    tf.saved_model.save(two, tmp_path / "echo")
    with pytest.raises(GtzanKerasError, match=r"not a SavedModel .*models\.vggish\(weights=path\)"):
        load_embedder(tmp_path)
    with pytest.raises(GtzanKerasError, match="empty: does not turn a waveform"):
        load_embedder(tmp_path / "empty")
    with pytest.raises(GtzanKerasError, match="echo: "):
        load_embedder(tmp_path / "echo")
    with pytest.raises(GtzanKerasError, match=r"from \(None, 8, 8, 1\).*expected a Keras model from patches"):
        load_embedder(cnn((8, 8, 1), 2, filters=(4,)))
    with pytest.raises(GtzanKerasError, match=r"takes samples of \(8, 8, 1\), but these are \(64, 64, 1\)"):
        embed_images(thumbnails(), tmp_path / "x.h5", cnn((8, 8, 1), 2, filters=(4,)))


def test_a_network_of_bfloat16_weights_is_embedded_with(tracks, network, tmp_path):
    half = clone(network, lambda _: "bfloat16")
    embed(tracks, tmp_path / "x.h5", half, patches=4, jobs=1)
    assert open_store(tmp_path / "x.h5").refused.keys() == {BROKEN}


def test_without_a_network_the_error_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    handle = "http://127.0.0.1:9/google/vggish/1"  # nobody is there
    with pytest.raises(GtzanKerasError) as caught:
        hub_folder(handle)
    message = str(caught.value)
    key = hashlib.sha1(handle.encode()).hexdigest()
    for part in (handle, "source=", "weights=", "TFHUB_CACHE_DIR", key, "audioset/vggish_model.ckpt"):
        assert part in message


def test_without_tensorflow_hub_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_hub", None)
    with pytest.raises(GtzanKerasError, match=r"needs TensorFlow Hub: pip install 'gtzan-keras\[hub\]'"):
        load_embedder("hub")
