"""musicnn and its VGG: the authors' network and numbers."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from gtzan_keras import load_audio, models
from gtzan_keras.audio.patches import musicnn_patches
from gtzan_keras.cli import app
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.weights import musicnn_weights


@pytest.fixture
def weights(musicnn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(musicnn_folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # from here on nothing can be downloaded
    return musicnn_folder


@pytest.mark.parametrize(("build", "parameters"), [(models.musicnn, 792_079), (models.musicnn_vgg, 607_030)])
def test_the_number_of_parameters_is_the_published_one(build, parameters):
    assert build().count_params() == parameters


def test_musicnn_takes_any_number_of_frames():
    model = models.musicnn()
    for frames in (8, 400):
        assert model(np.zeros((1, frames, 96), "float32")).shape == (1, 50)


def test_patches_of_another_rate_are_resampled_and_an_incomplete_one_is_dropped():
    sound = np.random.default_rng(0).uniform(-1, 1, 22050 * 7).astype("float32")
    assert musicnn_patches(sound, 22050).shape == (2, 187, 96)
    assert musicnn_patches(sound, 44100).shape == (1, 187, 96)  # the same samples, in half the time
    assert musicnn_patches(sound[:16000]).shape == (0, 187, 96)
    with pytest.raises(GtzanKerasError, match=r"shape \(2, 5\)"):
        musicnn_patches(np.zeros((2, 5), "float32"))


def test_a_patch_is_the_logarithm_of_the_mel_power_by_hand():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000 * 4) / 16000).astype("float32")
    patch = musicnn_patches(tone)[0]
    # Slaney's scale: 15 mel at 1000 Hz, 15 + 27 ln(8) / ln(6.4) at 8000 Hz; 96 bands divide what is below.
    band = 15 / (15 + 27 * np.log(8) / np.log(6.4)) * 97 - 1
    assert abs(patch.mean(axis=0).argmax() - band) <= 1
    assert patch.min() >= 0


def test_tags_and_features_equal_the_original_graph_on_real_tracks(weights, real_data):
    reference = np.load(real_data / "musicnn_reference.npz")
    tagger = models.musicnn("msd")
    tensors = [tagger.output, tagger.get_layer("penultimate").output, tagger.get_layer("pooled").output]
    network = keras.Model(tagger.input, tensors)
    for row in (0, 60):
        track_id = str(reference["track_id"][row])
        path = real_data / "gtzan_mini" / track_id.split(".")[0] / f"{track_id}.wav"
        tags, penultimate, pooled = (
            np.asarray(output).mean(axis=0)
            for output in network.predict_on_batch(musicnn_patches(load_audio(path, 16000)))
        )
        peak, mean = pooled.reshape(753, 2).T
        for name, found in {
            "tags": tags, "penultimate": penultimate, "mean_pool": mean, "max_pool": peak,
        }.items():  # fmt: skip
            np.testing.assert_allclose(found, reference[name][row], atol=1e-3, err_msg=f"{track_id} {name}")


def test_the_models_without_their_top_give_the_same_features(weights):
    patches = np.random.default_rng(0).uniform(0, 3, (2, 187, 96)).astype("float32")
    tagger = models.musicnn("msd")
    pooled, penultimate = (
        models.musicnn("msd", include_top=False, pooling=pooling).predict_on_batch(patches)
        for pooling in ("mean+max", "penultimate")
    )
    by_layer = keras.Model(tagger.input, [tagger.get_layer(n).output for n in ("pooled", "penultimate")])
    expected, dense = by_layer.predict_on_batch(patches)
    np.testing.assert_allclose(
        pooled, expected.reshape(2, 753, 2)[..., ::-1].transpose(0, 2, 1).reshape(2, -1)
    )
    np.testing.assert_allclose(penultimate, dense)


def test_the_vgg_agrees_with_bare_tensorflow(weights):
    values = musicnn_weights("mtt", "vgg")

    def normalized(x, number):
        mean, variance, beta, gamma = (
            values[f"batchnormalization/{number}/{name}"]
            for name in ("moving_mean", "moving_variance", "beta", "gamma")
        )
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)

    patches = np.random.default_rng(0).uniform(0, 3, (2, 187, 96)).astype("float32")
    x = normalized(patches[..., None], 0)
    for number, (pool, strides) in enumerate([((4, 1), 2), *[(2, 2)] * 3, (4, 4)]):
        x = tf.nn.conv2d(x, values[f"conv/{number}/kernel"], 1, "SAME") + values[f"conv/{number}/bias"]
        x = tf.nn.max_pool2d(normalized(tf.nn.relu(x), number + 1), pool, strides, "VALID")
    features = tf.reshape(x, (2, 256))
    tags = tf.sigmoid(features @ values["dense/0/kernel"] + values["dense/0/bias"])
    np.testing.assert_allclose(models.musicnn_vgg("mtt", include_top=False)(patches), features, atol=1e-4)
    np.testing.assert_allclose(models.musicnn_vgg("mtt")(patches), tags, atol=1e-5)


def test_a_loud_guitar_song_is_not_tagged_as_opera(weights, real_data):
    patches = musicnn_patches(load_audio(real_data / "gtzan_mini/metal/metal.00001.wav", 16000))
    by_tag = {
        data: dict(zip(models.MUSICNN_TAGS[data], build(data)(patches).numpy().mean(axis=0), strict=True))
        for data, build in (("msd", models.musicnn), ("mtt", models.musicnn_vgg))
    }
    assert by_tag["msd"]["metal"] > 0.2 > by_tag["msd"]["jazz"]
    assert by_tag["mtt"]["metal"] + by_tag["mtt"]["rock"] > 10 * by_tag["mtt"]["opera"]


def test_weights_are_found_by_path_and_of_the_other_network_refused(weights):
    first = models.musicnn(weights / "MTT_musicnn.npz").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, models.musicnn("mtt").get_weights(), strict=True))
    with pytest.raises(GtzanKerasError, match=r"MSD_vgg\.npz: not the weights of musicnn"):
        models.musicnn(weights / "MSD_vgg.npz")
    np.save(weights / "one.npy", first[0])
    with pytest.raises(GtzanKerasError, match=r"one\.npy'?: cannot be read"):
        models.musicnn(weights / "one.npy")


def test_without_a_network_the_error_says_what_to_download(tmp_path, monkeypatch):
    monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        GtzanKerasError,
        match=r"cannot be downloaded .*pip download --no-deps musicnn==0\.1\.0.* into .*empty",
    ):
        models.musicnn("msd")
    assert not (tmp_path / "empty").exists()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "musicnn-0.1.0-py3-none-any.whl").write_bytes(b"found, but damaged")
    with pytest.raises(GtzanKerasError, match="SHA-256"):
        models.musicnn("msd")


@pytest.mark.parametrize("name", ["musicnn-0.1.0-py3-none-any.whl", "weights.npz", "empty.npz", "nothing"])
def test_a_damaged_or_missing_file_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(tmp_path / "cache"))
    if name != "nothing":
        (tmp_path / name).write_bytes(b"" if name == "empty.npz" else b"not weights")
    with pytest.raises(GtzanKerasError, match=r"SHA-256|cannot be read"):
        musicnn_weights(tmp_path / name)
    assert not (tmp_path / "cache").exists()


def test_the_command_lists_what_is_here(weights, tmp_path, monkeypatch):
    for folder, answer in ((weights, "yes"), (tmp_path, "no")):
        monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(folder))
        shown = CliRunner().invoke(app, ["weights"]).output.splitlines()
        assert [line.split("│")[-2].strip() for line in shown if "musicnn-m" in line] == [answer] * 2


def test_the_classifier_continues_musicnn_on_pooled_features(weights, real_data):
    sound = load_audio(real_data / "gtzan_mini" / "metal" / "metal.00000.wav", 16000)[: 7 * 16000]
    patches = musicnn_patches(sound)
    pooled = models.musicnn("msd", include_top=False).predict(patches, verbose=0)
    expected = models.musicnn("msd", include_top=False, pooling="penultimate").predict(patches, verbose=0)
    model = models.musicnn_classifier((10, 1506), 4)
    until = keras.Model(model.input, model.get_layer("penultimate").output)
    np.testing.assert_allclose(until.predict(pooled[None], verbose=0)[0], expected, atol=1e-4)
    padded = np.pad(pooled, ((0, 3), (0, 0)))
    np.testing.assert_allclose(model(padded[None]), model(pooled[None]), atol=1e-6)


def test_the_classifiers_dropout_is_before_both_dense_layers():
    layers = models.musicnn_classifier(weights=None, dropout=0.2).layers
    rates = {layer.name: layer.rate for layer in layers if hasattr(layer, "rate")}
    assert rates == {"pooled_dropout": 0.2, "penultimate_dropout": 0.2}


def test_unfit_arguments_are_refused():
    assert models.musicnn_classifier((None, 1506), weights=None).input_shape == (None, None, 1506)
    with pytest.raises(GtzanKerasError, match=r"pooling='max': expected 'mean\+max' or 'penultimate'"):
        models.musicnn(pooling="max")
    with pytest.raises(GtzanKerasError, match=r"input_shape=\(10, 128\): expected \(patches, 1506\)"):
        models.musicnn_classifier((10, 128))
