"""Explanations find what decides: a planted cue, in seconds and hertz, with each method."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import keras
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from markupsafe import escape
from scipy.signal import butter, sosfilt
from sklearn.metrics.pairwise import cosine_similarity

from gtzan_keras.audio.patches import musicnn_patches
from gtzan_keras.audio.spectrogram import SpectrogramSpec, mel_image
from gtzan_keras.datasets import BASELINE_MODEL, TRAINING_VECTORS
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.attribution import METHODS, attribution
from gtzan_keras.inference.explain import MUSICNN_SPEC, Explanation, explain
from gtzan_keras.inference.nearest import (
    nearest_of,
    nearest_tracks,
    packaged_vectors,
    penultimate,
    track_vectors,
)
from gtzan_keras.inference.predict import load_classifier, predict
from gtzan_keras.models.custom_cnn import cnn
from gtzan_keras.models.dense_network import dense
from gtzan_keras.models.musicnn_networks import musicnn
from gtzan_keras.models.saving import SavedModel
from gtzan_keras.report.page import report_run
from gtzan_keras.store.embeddings import EmbeddingSpec
from gtzan_keras.tracks.catalogue import load_tracks
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.evaluate import evaluate
from gtzan_keras.training.fit import train
from gtzan_keras.training.results import read_result, write_result
from gtzan_keras.training.settings import TrainingSettings

RATE = 4000
TONE, NOISE = 300, 1300  # Hz, where the bursts are that decide
GREY = SpectrogramSpec(
    name="grey", sample_rate=RATE, n_fft=512, window_length=512, hop_length=128, n_mels=32, height=32,
    width=32, clip_seconds=4.0,
)  # fmt: skip
COLOUR = dataclasses.replace(GREY, name="colour", channels=3, colour_map="viridis")
GENRES = ["noise", "tone"]


def sound(seconds: float, bursts: dict[float, int], rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Faint noise with bursts of half a second: when each begins, and whether it is TONE or NOISE."""
    random = np.random.default_rng(seed)
    samples = 0.01 * random.normal(size=round(seconds * rate))
    t = np.arange(rate // 2) / rate
    for start, kind in bursts.items():
        if kind == TONE:
            burst = np.sin(2 * np.pi * TONE * t)
        else:
            band = butter(4, (1000, 1600), "bandpass", fs=rate, output="sos")
            burst = sosfilt(band, random.normal(size=len(t)))
        samples[round(start * rate) :][: len(t)] += 0.3 * burst
    return samples.astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> dict[str, SavedModel]:
    """Networks that tell a low tone from a high noise, whenever it comes: one sees grey, one colours."""
    random, labels = np.random.default_rng(1), np.arange(32) % 2
    bursts = [{random.uniform(0, 3.5): kind} for kind in [NOISE, TONE] * 16]
    sounds = [sound(4, burst, seed=number) for number, burst in enumerate(bursts)]
    found = {}
    for spec in (GREY, COLOUR):
        keras.utils.set_random_seed(0)
        model = cnn(spec.shape, 2, filters=(8, 8), dense_units=(), dropout=0.0, pooling="avg+max")
        images = np.stack([mel_image(one, spec) for one in sounds]) / np.float32(255)
        model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(images, labels, epochs=20, batch_size=16, verbose=0)
        assert history.history["accuracy"][-1] == 1
        found[spec.name] = SavedModel(model, spec, GENRES)
    return found


def strongest(found: Explanation, sign: int = 1) -> tuple[float, float]:
    """Time and frequency of the map's largest value."""
    band, column = np.unravel_index(np.nanargmax(sign * found.map), found.map.shape)
    return found.times[column : column + 2].mean(), found.hertz[band : band + 2].mean()


# --- the planted cue


PLANTED = sound(4, {0.8: TONE, 2.9: NOISE}, seed=99)


@pytest.fixture(scope="module")
def explained(trained: dict[str, SavedModel]) -> Callable[..., Explanation]:
    """Explains the planted cue; each explanation is made once."""

    @functools.cache
    def explained(kind: str, method: str) -> Explanation:
        return explain(PLANTED, trained[kind], method, "tone", sample_rate=RATE)

    return explained


@pytest.mark.parametrize("kind", ["grey", "colour"])
@pytest.mark.parametrize("method", METHODS)
def test_the_burst_that_decides_is_found_in_seconds_and_hertz(explained, kind, method):
    found = explained(kind, method)
    for sign, start, hertz in ((1, 0.8, TONE), (-1, 2.9, NOISE)):
        time, frequency = strongest(found, sign)
        assert start - 0.3 < time < start + 0.8
        assert hertz / 1.7 < frequency < hertz * 1.7


@pytest.mark.parametrize("method", METHODS)
def test_a_network_with_randomised_weights_loses_the_map(trained, explained, method):
    saved, random = trained["grey"], np.random.default_rng(2)
    other = keras.models.clone_model(saved.model)
    other.set_weights([random.permutation(w.ravel()).reshape(w.shape) for w in saved.model.get_weights()])
    found = explain(PLANTED, saved._replace(model=other), method, "tone", sample_rate=RATE)
    assert abs(np.corrcoef(explained("grey", method).map.ravel(), found.map.ravel())[0, 1]) < 0.5


def fall(model: keras.Model, image: np.ndarray, other: np.ndarray) -> float:
    """How much higher the log-odds of one image are, by hand from Keras' own predict."""
    shares = model.predict(np.concatenate([image, other]), verbose=0)
    odds = shares[:, 1] / shares[:, 0]
    return np.log(odds[0] / odds[1])


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return mel_image(sound(4, {1.0: TONE}, seed=5), GREY)[None] / np.float32(255)


def test_integrated_gradients_add_up_to_the_difference_from_the_mean_level(trained, image):
    """Completeness, of Sundararajan et al."""
    model = trained["grey"].model
    found = attribution(model, image, 1, "integrated-gradients")
    assert found.sum() == pytest.approx(fall(model, image, np.full_like(image, image.mean())), rel=0.02)


def test_occlusion_is_the_fall_in_log_odds_where_a_patch_has_the_mean_level(trained, image):
    model, hidden = trained["grey"].model, image.copy()
    hidden[0, 20:24, 8:12] = image.mean()
    found = attribution(model, image, 1, "occlusion")[0, 20:24, 8:12]
    np.testing.assert_allclose(found, fall(model, image, hidden), atol=1e-4)


def test_grad_cam_of_global_average_pooling_is_the_weighted_sum_of_the_last_maps():
    """Zhou et al.'s class activation map by hand, less that of the image's own mean level."""
    model = cnn((64, 64, 1), 2, filters=(4, 8), dense_units=(), dropout_before_head=0.5, pooling="avg")
    images = np.random.default_rng(0).random((2, 64, 64, 1), dtype=np.float32)
    images[1] /= 2
    both = np.stack([images[0], np.full_like(images[0], images[0].mean())])
    maps = keras.Model(model.input, model.get_layer("block2_relu").output).predict(both, verbose=0)
    weights = model.layers[-1].get_weights()[0]  # of two outputs, log-odds are the difference of logits
    small = (maps[0] - maps[1]) @ (weights[:, 1] - weights[:, 0]) / maps[0, ..., 0].size
    found = attribution(model, images, 1, "grad-cam")[0]
    expected = np.asarray(keras.ops.image.resize(small[None, ..., None], (64, 64)))[0, ..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_grad_cam_shows_the_deepest_maps_with_at_least_16_rows(trained, image):
    """This network's have 16 and 8 rows; what is enlarged from n rows has a rank of at most n."""
    found = attribution(trained["grey"].model, image, 1, "grad-cam")[0]
    assert 8 < np.linalg.matrix_rank(found) <= 16


def test_of_a_tag_the_log_odds_are_its_own_logit():
    """They are linear here: integrated gradients are the weights times the difference from the level."""
    tags = keras.layers.Dense(3, "sigmoid")
    model = keras.Sequential([keras.Input((16, 8)), keras.layers.Flatten(), tags])
    patch = np.random.default_rng(0).random((1, 16, 8), dtype=np.float32)
    expected = (patch - patch.mean()) * tags.get_weights()[0][:, 1].reshape(16, 8)
    found = attribution(model, patch, 1, "integrated-gradients")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


# --- songs


def test_times_are_those_of_the_song_at_any_rate_and_length(tmp_path, trained):
    soundfile.write(tmp_path / "long.wav", sound(21.3, {17.2: TONE}, 11025), 11025)
    found = explain(tmp_path / "long.wav", trained["grey"], "occlusion", "tone", progress=False)
    time, frequency = strongest(found)
    assert 16.9 < time < 18
    assert TONE / 1.7 < frequency < TONE * 1.7
    first = found.parts(1, seconds=1.0).iloc[0]
    assert first["start"] <= 17.5 <= first["end"] <= first["start"] + 1.01
    assert first["lowest"] / 1.7 < TONE < first["highest"] * 1.7
    assert found.duration == pytest.approx(21.3)
    assert abs(found.times[-1] - 21.3) <= found.times[1] / 2 + 1e-9


def test_the_probabilities_are_those_of_predict_and_the_top_genre_is_explained(trained):
    song = sound(11, {3.2: TONE, 6.0: TONE})
    found = explain(song, trained["grey"], hop=1.5, sample_rate=RATE)
    expected = predict(song, trained["grey"], hop=1.5, sample_rate=RATE)
    np.testing.assert_allclose(list(found.probabilities.values()), expected.probabilities, atol=1e-6)
    assert found.genre == expected.top(1)[0][0] == "tone"


def test_where_windows_overlap_the_map_is_their_mean(trained):
    song = sound(6, {2.5: TONE})  # windows of 4 s, every 2 s
    both, first, last = (
        explain(part, trained["grey"], "occlusion", "tone", sample_rate=RATE).map
        for part in (song, song[: 4 * RATE], song[2 * RATE :])
    )
    overlap = (first[:, 16:] + last[:, :16]) / 2
    np.testing.assert_allclose(both, np.hstack([first[:, :16], overlap, last[:, 16:]]), atol=1e-4)


def test_silence_that_no_window_contains_is_nan(trained):
    song = sound(20, {1.0: TONE, 17.0: TONE})
    song[4 * RATE : 16 * RATE] = 0
    found = explain(song, trained["grey"], sample_rate=RATE)
    unseen = np.isnan(found.map).all(axis=0)
    assert (found.times[:-1][unseen].min(), found.times[1:][unseen].max()) == (6, 14)
    assert np.array_equal(np.isnan(found.map), np.isnan(found.spectrogram))
    assert (found.parts()["end"] <= 6).any()


def test_columns_of_a_spec_that_pads_are_frames_and_the_rest_of_a_window_is_unseen():
    spec = dataclasses.replace(GREY, name="pad", fit="pad")
    model = SavedModel(cnn(spec.shape, 2, filters=(4,), dense_units=()), spec, GENRES)
    found = explain(sound(4, {}), model, "occlusion", sample_rate=RATE)
    seen = ~np.isnan(found.map[0])
    assert found.times[1:][seen].max() == pytest.approx(32 * 128 / RATE)


def test_bands_are_centred_where_librosas_mel_filters_are(trained):
    centres = librosa.mel_frequencies(GREY.n_mels + 2, fmin=0, fmax=RATE / 2)[1:-1]
    found = explain(sound(4, {}), trained["grey"], sample_rate=RATE)
    assert (found.hertz[:-1] < centres).all()
    assert (centres < found.hertz[1:]).all()


def test_a_spectrogram_of_a_store_is_explained_as_its_sound_is(trained):
    song = sound(4, {1.0: TONE})
    for saved in trained.values():
        found = explain(mel_image(song, saved.spec), saved, "occlusion")
        expected = explain(song, saved, "occlusion", sample_rate=RATE)
        np.testing.assert_allclose(found.map, expected.map, atol=1e-5)
        np.testing.assert_allclose(found.times, expected.times)


# --- parts


def made(curve: list[float]) -> Explanation:
    """An explanation of one band with a column a second."""
    values, nothing = np.array([curve], np.float32), pd.DataFrame()
    times, hertz = np.arange(len(curve) + 1.0), np.array([100.0, 200.0])
    about = ("x", len(curve), "rock", {"rock": 1.0}, "grad-cam")
    return Explanation(*about, values, values, times, hertz, nothing)


def test_parts_are_the_strongest_stretches_without_overlap_first_for_then_against():
    curve = [0, 3, 3, 0, 0, -5, -5, 0, 1, 1, 0.2, 0.4, 0.4]  # the last have less than a tenth of 5
    found = made(curve).parts(count=3, seconds=2)
    expected = [[1, 3, 3], [8, 10, 1], [5, 7, -5]]
    np.testing.assert_allclose(found[["start", "end", "score"]], expected)
    assert found["lowest"].between(100, 200).all()


def test_the_last_part_ends_with_the_recording():
    shorter = dataclasses.replace(made([0.0, 1.0]), duration=1.9)
    assert shorter.parts(seconds=1)["end"].tolist() == [1.9]


def test_a_map_without_any_evidence_has_no_parts():
    assert made([0.0] * 5).parts().empty


# --- musicnn


def test_a_classifier_on_musicnn_is_explained_with_each_method(musicnn_folder, monkeypatch):
    """Its weights are the authors'; its head is the direction between the means of two kinds of bursts."""
    monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(musicnn_folder))
    monkeypatch.setattr("gtzan_keras.inference.attribution._STEPS", 8)  # enough, and quicker
    rate, random = 16000, np.random.default_rng(0)
    base = musicnn("msd", include_top=False)
    bursts = [{random.uniform(0, 2.4): kind} for kind in [NOISE, TONE] * 8]
    sounds = [sound(3, burst, rate, number) for number, burst in enumerate(bursts)]
    vectors = base.predict(np.concatenate([musicnn_patches(one) for one in sounds]), verbose=0)
    direction = (vectors[1::2].mean(axis=0) - vectors[::2].mean(axis=0)) / (vectors.std(axis=0) + 0.1)
    last = keras.layers.Dense(2, activation="softmax", use_bias=False)
    model = keras.Model(base.input, last(base.output))
    last.set_weights([np.c_[-direction, direction] / 100])
    song = sound(3, {0.3: TONE, 2.0: NOISE}, rate, seed=50)
    for method in METHODS:
        found = explain(song, SavedModel(model, MUSICNN_SPEC, GENRES), method, "tone", sample_rate=rate)
        assert found.map.shape[0] == 96
        best, worst = strongest(found), strongest(found, -1)
        assert best[0] < 1.1
        if method != "grad-cam":  # whose maps have no bands here
            assert best[1] < 600
        if method != "integrated-gradients":
            assert 1.7 < worst[0] < 2.8


def test_musicnns_own_tags_are_explained(musicnn_folder, monkeypatch):
    monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(musicnn_folder))
    found = explain(sound(3.5, {1.0: TONE}, 16000), "musicnn-mtt", genre="techno", sample_rate=16000)
    assert found.genre == "techno"
    assert len(found.probabilities) == 50
    assert found.nearest.empty
    with pytest.raises(GtzanKerasError, match=r"window=6: musicnn-mtt is explained in patches of 3 s"):
        explain(sound(7, {}, 16000), "musicnn-mtt", window=6, sample_rate=16000)


# --- nearest tracks


def test_nearest_tracks_are_those_with_the_largest_cosine():
    random = np.random.default_rng(0)
    vectors, query = random.random((20, 6)), random.random(6)
    ids = [f"rock.{number:05d}" for number in range(20)]
    found = nearest_tracks(query, (ids, vectors), count=4)
    expected = cosine_similarity(query[None], vectors)[0]
    order = np.argsort(-expected)[:4]
    assert found["track_id"].tolist() == [ids[number] for number in order]
    np.testing.assert_allclose(found["similarity"], expected[order])
    assert (found["artist"] != "").all()


def test_nearest_tracks_are_described_by_the_given_table_where_it_knows_them():
    about = {"track_id": "rock.00000", "genre": "mine", "artist": "Us", "title": "Ours"}
    known = ["rock.00000", "none.00001"], np.array([[1.0, 0.0], [1.0, 1.0]])
    found = nearest_tracks(np.array([1.0, 0.0]), known, pd.DataFrame([about]))
    expected = [[*about.values()], ["none.00001", "", "", ""]]
    assert found.drop(columns="similarity").to_numpy().tolist() == expected


def test_a_tracks_vector_is_the_mean_over_its_pieces(make_store):
    store = make_store(["rock.00000", "rock.00000", "jazz.00000"])
    model = cnn(store.spec.shape, 3, filters=(4,), dense_units=())
    each = penultimate(model).predict(store.read([0, 1, 2]) / np.float32(255), verbose=0)
    ids, vectors = track_vectors(model, store, ["jazz.00000", "rock.00000"])
    assert ids == ["rock.00000", "jazz.00000"]  # in the order of the store
    np.testing.assert_allclose(vectors, [each[:2].mean(axis=0), each[2]], rtol=1e-5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, separable):
    """A run that takes one test track, whose label is wrong, for what it is."""
    ids = [track for track in separable.tracks["track_id"] if not track.endswith("00011")]
    split = Split("by hand", tuple(ids), (), ("disco.00011", "metal.00011", "rock.00011"))
    model = cnn(separable.spec.shape, 3, filters=(8,), dense_units=(), dropout=0.0)
    settings = TrainingSettings(epochs=20, learning_rate=0.01, batch_size=8)
    return train(model, separable, split, settings, out=tmp_path_factory.mktemp("run"), verbose=0)


def test_a_runs_explanation_names_its_own_training_tracks(run, separable):
    for asked in ("disco.00011", "rock.00003"):
        image = separable.read(separable.rows([asked]))[0]
        found = explain(image, run, neighbours=5).nearest
        assert len(found) == 5
        assert set(found["track_id"]) <= set(run.split.train)
        assert set(found["genre"]) == {asked.split(".")[0]}
        assert (found["track_id"][0] == asked) == (asked in run.split.train)


def test_a_runs_page_names_the_training_tracks_nearest_to_its_mistakes(run):
    evaluate(run)
    result, tracks = read_result(run.folder)
    tracks.loc[0, "genre"] = "rock"  # as if the label were wrong
    write_result(run.folder, result, tracks)
    page = report_run(run).read_text("utf-8")
    named = pd.read_csv(run.folder / "nearest.csv")
    assert set(named["of"]) == {"disco.00011"}
    assert set(named["genre"]) == {"disco"}
    assert all(escape(title) in page for title in named["title"].dropna())
    assert "nearest training tracks" in report_run(run.folder).read_text("utf-8")
    assert nearest_of(run, ["disco.00011"], count=2)["of"].tolist() == ["disco.00011"] * 2


def test_the_packaged_vectors_are_of_the_packaged_model():
    with np.load(TRAINING_VECTORS) as file:
        digest = hashlib.md5(BASELINE_MODEL.read_bytes()).hexdigest()
        assert file["model"] == digest, "run: python -m tests.make_packaged_data FOLDER"
    ids, vectors = packaged_vectors()
    assert len(set(ids)) == len(vectors) == 442


def test_the_packaged_model_finds_its_own_training_tracks_from_their_sound(real_data):
    tracks = load_tracks(real_data / "gtzan_mini")
    learned = tracks[tracks["fault_filtered"] == "train"].groupby("genre").head(1)[::4]
    for path, track_id in zip(learned["path"], learned["track_id"], strict=True):
        first = explain(path, progress=False).nearest.iloc[0]
        assert first["track_id"] == track_id
        assert first["similarity"] > 0.95


def test_a_songs_vector_is_the_mean_over_its_windows():
    song, (model, spec, _) = sound(20, {2: TONE, 17: NOISE}, 22050), load_classifier(None)
    images = np.stack([mel_image(song[22050 * start :][:220500], spec) for start in (0, 5, 10)])
    vectors = penultimate(model).predict(images / np.float32(255), verbose=0)
    expected = cosine_similarity(vectors.mean(axis=0, keepdims=True), packaged_vectors()[1]).max()
    found = explain(song, sample_rate=22050, progress=False).nearest
    assert found["similarity"][0] == pytest.approx(expected, abs=1e-5)


def test_the_penultimate_layer_is_what_the_last_dense_layer_takes(trained):
    model = trained["grey"].model
    images = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)
    weights, bias = model.layers[-1].get_weights()
    logits = penultimate(model).predict(images, verbose=0) @ weights + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)
    layers = [keras.layers.Dense(4), keras.layers.Dense(2), keras.layers.Softmax()]
    assert penultimate(keras.Sequential([keras.Input((5,)), *layers])).output_shape == (None, 4)


# --- bad input


def test_what_cannot_be_explained_is_refused_with_the_reason(trained):
    model, song = trained["grey"], sound(4, {})
    embeddings = model._replace(spec=EmbeddingSpec(name="vggish"))
    flat = SavedModel(dense(GREY.shape, 2, units=(4,)), GREY, GENRES)
    for given, classifier, options, message in (
        (song, model, {"genre": "polka"}, "genre='polka': expected one of noise, tone"),
        (song, model, {"method": "lime"}, "method='lime': expected one of grad-cam, occlusion"),
        (np.zeros(4 * RATE), model, {}, "silent"),
        (np.zeros((9, 9, 1), np.uint8), model, {}, r"shape \(9, 9, 1\): expected \(32, 32, 1\)"),
        (song, embeddings, {}, "expects EmbeddingSpec 'vggish'; this function only makes spectrograms"),
        (song, flat, {}, "has no feature maps.*use method='occlusion'"),
    ):
        with pytest.raises(GtzanKerasError, match=message):
            explain(given, classifier, **options, sample_rate=RATE)
    assert explain(song, flat, "occlusion", sample_rate=RATE).map.shape == (32, 32)
