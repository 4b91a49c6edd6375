from __future__ import annotations

import dataclasses
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gtzan_keras.audio.decode import AudioError, load_audio
from gtzan_keras.audio.patches import musicnn_patches
from gtzan_keras.audio.songs import find_songs
from gtzan_keras.audio.spectrogram import SpectrogramSpec, mel_image
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.predict import Prediction, predict, predict_all
from gtzan_keras.models.custom_cnn import cnn
from gtzan_keras.models.musicnn_networks import MUSICNN_TAGS, musicnn, musicnn_classifier
from gtzan_keras.models.saving import SavedModel, save_model
from gtzan_keras.store.embeddings import EmbeddingSpec
from gtzan_keras.store.open import open_store
from gtzan_keras.store.preprocess import preprocess
from gtzan_keras.tracks.catalogue import load_tracks

RATE = 4000
SPEC = SpectrogramSpec(
    name="small", sample_rate=RATE, n_fft=256, window_length=256, hop_length=128, n_mels=16, height=16,
    width=16, clip_seconds=4.0,
)  # fmt: skip
SEGMENTS = dataclasses.replace(
    SPEC, name="segments", clip_seconds=None, segment_seconds=2.0, segment_hop_seconds=1.0
)
WHOLE = dataclasses.replace(SPEC, name="whole", clip_seconds=None)


def network(spec: SpectrogramSpec, num_classes: int):
    """Build a network whose output depends on its input."""
    import keras

    keras.utils.set_random_seed(0)
    model = cnn(spec.shape, num_classes, filters=(4,), dense_units=(), dropout=0.0)
    last = model.layers[-1]
    weights, bias = last.get_weights()
    last.set_weights([5 * weights, bias])
    return model


@pytest.fixture(scope="module")
def model() -> SavedModel:
    return SavedModel(network(SPEC, 3), SPEC, ["disco", "metal", "rock"])


@pytest.fixture(scope="module")
def model_file(model: SavedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(model.model, tmp_path_factory.mktemp("model") / "m.keras", model.spec, model.genres)


def music(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Stereo noise over a chirp that rises to 1.5 kHz, so that no two windows are alike."""
    t = np.arange(round(seconds * rate)) / rate
    chirp = np.sin(2 * np.pi * (100 + 700 * t / max(seconds, 1)) * t)
    noise = np.random.default_rng(seed).normal(size=(len(t), 2))
    return 0.3 * chirp[:, None] + 0.02 * noise


def write(path: Path, samples: np.ndarray, rate: int = RATE, **how: str) -> Path:
    soundfile.write(path, samples, rate, **how)
    return path


def by_hand(audio: np.ndarray, model: SavedModel) -> np.ndarray:
    """Return what Keras' own predict gives for one window."""
    return model.model.predict(mel_image(audio, model.spec)[None] / np.float32(255), verbose=0)[0]


# --- windows


@pytest.mark.parametrize(
    ("seconds", "hop", "starts"),
    [
        (4, None, [0]),
        (4.1, None, [0]),  # under a thirtieth more: GTZAN's clips of 30 s are up to 0.65 s longer
        (4.5, None, [0, 0.5]),
        (25.5, 3.0, [0, 3, 6, 9, 12, 15, 18, 21, 21.5]),
    ],
)
def test_windows_begin_every_hop_and_the_last_ends_with_the_recording(model, seconds, hop, starts):
    prediction = predict(music(seconds), model, hop, sample_rate=RATE)
    assert prediction.times[:, 0].tolist() == starts
    assert prediction.times[-1, 1] == prediction.duration == pytest.approx(seconds)
    assert not prediction.padded


def test_each_window_equals_what_keras_predicts_for_that_sound(tmp_path, model):
    path = write(tmp_path / "a.wav", music(27.3), subtype="FLOAT")
    audio = load_audio(path, RATE)
    prediction = predict(path, model)
    expected = [by_hand(audio[round(start * RATE) :], model) for start in prediction.times[:, 0]]
    np.testing.assert_allclose(prediction.window_probabilities, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.05
    np.testing.assert_allclose(prediction.probabilities, np.mean(expected, axis=0), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "seconds", "starts"),
    [
        (SPEC, 4.07, [0]),
        (SPEC, 9, [0, 2, 4, 5]),
        (WHOLE, 30.65, [0]),
        (WHOLE, 12, [0]),
        (WHOLE, 90, [0, 15, 30, 45, 60]),
        (SEGMENTS, 7, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_windows_of_a_clip_are_the_stores_samples_without_padded_ones(tmp_path, spec, seconds, starts):
    (tmp_path / "rock").mkdir()
    write(tmp_path / "rock" / "one.flac", music(seconds, 8000), 8000)
    preprocess(load_tracks(tmp_path), tmp_path / "s.h5", spec, jobs=1, progress=False)
    classifier = SavedModel(network(spec, 2), spec, ["jazz", "rock"])
    stored = classifier.model.predict(open_store(tmp_path / "s.h5").batches(["rock/one"]), verbose=0)
    prediction = predict(tmp_path / "rock" / "one.flac", classifier)
    assert prediction.times[:, 0].tolist() == starts
    both = min(len(stored), len(starts))
    assert both == (len(starts) if spec is SEGMENTS else 1)
    np.testing.assert_allclose(prediction.window_probabilities[:both], stored[:both], atol=1e-6)


@pytest.mark.parametrize("spec", [SPEC, WHOLE], ids=lambda spec: spec.name)
def test_a_recording_shorter_than_a_window_is_padded_with_silence(spec):
    classifier = SavedModel(network(spec, 2), spec, ["jazz", "rock"])
    audio = music(2.5)
    prediction = predict(audio, classifier, sample_rate=RATE)
    assert prediction.padded
    assert prediction.times.tolist() == [[0, 2.5]]
    seconds = 4 if spec is SPEC else 30
    mono = audio.mean(axis=1).astype(np.float32)
    expected = by_hand(np.pad(mono, (0, seconds * RATE - len(mono))), classifier)
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-5)


def test_silent_windows_are_left_out(model):
    audio = music(20)
    audio[: 8 * RATE] = 0
    prediction = predict(audio, model, hop=4.0, sample_rate=RATE)
    assert prediction.times[:, 0].tolist() == [8, 12, 16]


def test_samples_of_another_rate_give_what_their_file_gives(tmp_path, model):
    samples = music(10, 44100)
    found = predict(samples, model, sample_rate=44100).window_probabilities
    expected = predict(write(tmp_path / "a.flac", samples, 44100), model).window_probabilities
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_memory_does_not_grow_with_the_recording(tmp_path, model):
    rate = 1000
    half_minutes = model._replace(spec=dataclasses.replace(WHOLE, sample_rate=rate))

    def peak(minutes: int) -> int:
        noise = 0.1 * np.random.default_rng(0).normal(size=minutes * 60 * rate)
        path = write(tmp_path / f"{minutes}.wav", noise, rate)
        tracemalloc.start()
        try:
            assert predict(path, half_minutes).duration == minutes * 60
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # imports and caches
    short, long = peak(4), peak(16)
    assert long < short + 500_000  # twelve minutes more are 3 MB of samples


# --- models


EMBEDDED = EmbeddingSpec(name="musicnn-10x1506", patches=10, size=1506, source="musicnn-msd")


@pytest.fixture
def tagger(musicnn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(musicnn_folder))


def test_musicnn_by_name_gives_the_tags_of_each_3_seconds(tagger):
    sound = music(7, 16000).mean(axis=1).astype("float32")
    found = predict(sound, "musicnn-msd", hop=187 * 256 / 16000, sample_rate=16000)
    assert found.tags
    assert found.genres == list(MUSICNN_TAGS["msd"])
    assert found.times.tolist() == [[0, 2.992], [2.992, 5.984], [4.008, 7]]
    expected = musicnn("msd").predict(musicnn_patches(sound), verbose=0)
    # The first and last frames of a window do not see what is beyond it.
    np.testing.assert_allclose(found.window_probabilities[:2], expected, atol=0.02)


def test_a_model_of_musicnns_features_answers_for_each_window_of_sound(tagger):
    import keras

    keras.utils.set_random_seed(0)
    classifier = SavedModel(musicnn_classifier(num_classes=2), EMBEDDED, ["jazz", "rock"])
    sound = music(7, 16000).mean(axis=1).astype("float32")
    features = musicnn("msd", include_top=False).predict(musicnn_patches(sound), verbose=0)
    expected = classifier.model.predict(features[None], verbose=0)[0]
    both = predict(sound[: 2 * 187 * 256], classifier, window=6, sample_rate=16000)
    assert both.times.tolist() == [[0, 5.984]]
    np.testing.assert_allclose(both.probabilities, expected, atol=0.02)
    assert len(predict(sound, classifier, sample_rate=16000).times) == 4  # 3 s every 1.5 s, and the last
    for window in (0, float("inf"), float("nan")):
        with pytest.raises(GtzanKerasError, match=r"window=.*: expected seconds above 0"):
            predict(sound, classifier, window=window, sample_rate=16000)

    half = dataclasses.replace(EMBEDDED, source="musicnn-msd in bfloat16")  # as `embed --precision` names it
    found = predict(sound[: 2 * 187 * 256], classifier._replace(spec=half), window=6, sample_rate=16000)
    assert (found.probabilities != both.probabilities).all()
    np.testing.assert_allclose(found.probabilities, both.probabilities, atol=0.03)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (dataclasses.replace(SPEC, from_audio=False), "trained on imported images"),
        (dataclasses.replace(EMBEDDED, source="Keras model mine 01ab"), "embeddings of Keras model mine"),
    ],
)
def test_a_model_whose_input_cannot_be_made_from_sound_is_refused(model, spec, message):
    with pytest.raises(GtzanKerasError, match=message):
        predict(music(4), model._replace(spec=spec), sample_rate=RATE)


# --- bad input


@pytest.mark.parametrize("hop", [0, 4.5, float("nan")])
def test_a_hop_out_of_range_is_refused(model, hop):
    with pytest.raises(GtzanKerasError, match=r"hop=.*: expected seconds above 0, at most the window .*4\)"):
        predict(music(4), model, hop, sample_rate=RATE)


def test_an_array_needs_a_rate_and_a_file_takes_none(model):
    with pytest.raises(GtzanKerasError, match="sample_rate is missing"):
        predict(music(4), model)
    with pytest.raises(GtzanKerasError, match=r"a\.wav contains its own"):
        predict("a.wav", model, sample_rate=RATE)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 50_000)), "samples are float64 of shape .2, 50000.; expected floating-point"),
        (np.zeros(50_000, "int16"), "samples are int16 of shape .50000,.; expected floating-point"),
        (np.zeros(50_000), "silent: every sample is below"),
        (np.full(50_000, np.nan), "holds NaN or infinite samples"),
        (np.ones(RATE // 2), r"too short: 0\.50 s of sound, at least 1 s needed"),
    ],
    ids=str,
)
def test_an_array_that_is_not_sound_is_refused(model, samples, message):
    with pytest.raises(GtzanKerasError, match=f"^array: .*{message}"):
        predict(samples, model, sample_rate=RATE)


def test_one_sample_that_is_not_finite_late_in_a_file_refuses_it(tmp_path, model):
    samples = music(60)
    samples[-5, 0] = np.inf
    with pytest.raises(AudioError, match="holds NaN or infinite samples"):
        predict(write(tmp_path / "a.wav", samples, subtype="FLOAT"), model)


# --- many songs


def test_a_bad_file_does_not_stop_the_rest(tmp_path, model_file):
    good = [write(tmp_path / f"{number}.wav", music(5, seed=number)) for number in range(2)]
    (tmp_path / "bad.wav").write_text("not music")
    songs = [good[0], tmp_path / "bad.wav", tmp_path / "gone.wav", good[1]]
    results = list(predict_all(songs, model_file))
    assert [type(result) for result in results] == [Prediction, AudioError, AudioError, Prediction]
    assert [result.song for result in results[::3]] == [os.fspath(song) for song in good]
    assert results[2].reason == "no such file"


def test_a_bad_model_or_hop_is_refused_before_any_song(model):
    with pytest.raises(GtzanKerasError, match="no such model"):
        predict_all(["a.wav"], "gone.keras")
    with pytest.raises(GtzanKerasError, match="hop=0"):
        predict_all(["a.wav"], model, hop=0)
    with pytest.raises(GtzanKerasError, match="model is a Functional; expected a Run, a path, or SavedModel"):
        predict_all(["a.wav"], model.model)


def test_folders_and_globs_stand_for_the_sound_files_in_them(tmp_path):
    names = ["b/2.MP3", "b/1.flac", "b/deep/3.m4a", "b/cover.jpg", "b/._1.flac", "a.wav", "[live].ogg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(*songs: Path) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in find_songs(songs)]

    assert found(tmp_path / "b") == ["b/1.flac", "b/2.MP3", "b/deep/3.m4a"]
    assert found(tmp_path / "*.wav") == ["a.wav"]
    assert found(tmp_path / "**" / "*.m4a") == ["b/deep/3.m4a"]
    assert found(tmp_path / "[live].ogg", tmp_path / "gone.wav") == ["[live].ogg", "gone.wav"]
    assert found(tmp_path / "a.wav", tmp_path / "?.wav") == ["a.wav"]


def test_a_folder_or_pattern_without_songs_is_refused(tmp_path):
    with pytest.raises(GtzanKerasError, match="no sound file in this folder"):
        find_songs([tmp_path])
    with pytest.raises(GtzanKerasError, match="no file matches this pattern"):
        find_songs([tmp_path / "*.wav"])
    assert find_songs(["x" * 300]) == [Path("x" * 300)]  # whether it can exist or not


# --- predictions


def test_a_prediction_is_plain_values_for_json(model):
    content = json.loads(json.dumps(predict(music(9), model, sample_rate=RATE).to_dict()))
    assert (content["song"], content["duration"], content["padded"]) == ("array", 9.0, False)
    assert content["top"] == max(content["probabilities"], key=content["probabilities"].get)
    assert [window["start"] for window in content["windows"]] == [0, 2, 4, 5]
    assert list(content["windows"][0]["probabilities"]) == model.genres


def test_the_overview_keeps_few_columns_and_shows_where_the_sound_is(model):
    audio = np.zeros(1800 * RATE, np.float32)
    audio[900 * RATE : 1080 * RATE] = np.sin(2 * np.pi * 500 * np.arange(180 * RATE) / RATE)
    overview = predict(audio, model, hop=4.0, sample_rate=RATE).overview
    bands, columns = overview.shape
    assert bands == 64
    assert 700 < columns <= 1500
    loud = np.flatnonzero(overview.max(axis=0) > -20) / columns
    assert (loud.min(), loud.max()) == pytest.approx((0.5, 0.6), abs=0.003)
    assert (overview.min(), overview.max()) == (-80, 0)
