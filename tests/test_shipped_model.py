"""The small model that comes with the package."""

import h5py
import numpy as np
import pytest

from gtzan_keras.datasets import BASELINE_MODEL
from gtzan_keras.inference.predict import gtzan_track, predict
from gtzan_keras.models.saving import load_model
from gtzan_keras.tracks.catalogue import GENRES, facts


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, size=round(seconds * 22050)).astype("float32")


def test_predict_uses_it_by_default_in_windows_of_10_s_every_5_s():
    prediction = predict(noise(31), sample_rate=22050)
    assert prediction.genres == list(GENRES)
    assert prediction.times.tolist() == [[0, 10], [5, 15], [10, 20], [15, 25], [20, 30], [21, 31]]
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_whole_clips_can_be_asked_for():
    assert predict(noise(45), window=30, sample_rate=22050).times.tolist() == [[0, 30], [15, 45]]


def test_it_recognises_tracks_that_it_was_trained_on(real_data):
    """Well above chance on one track a genre; otherwise the analysis differs from the one in training."""
    from gtzan_keras import load_tracks

    tracks = load_tracks(real_data / "gtzan_mini")
    learned = tracks[tracks["fault_filtered"] == "train"].groupby("genre").head(1)
    assert [gtzan_track(path) for path in learned["path"]] == learned["track_id"].tolist()
    right = [
        predict(path, progress=False).top(1)[0][0] == genre
        for path, genre in zip(learned["path"], learned["genre"], strict=True)
    ]
    assert np.mean(right) > 0.6


@pytest.mark.nightly
def test_windows_of_10_s_cost_the_accuracy_that_its_card_states(real_data):
    """Validation part: 128 columns every 64 against whole spectrograms."""
    loaded, known = load_model(BASELINE_MODEL), facts()
    with h5py.File(real_data / "gtzan_mel_128x387.h5") as file:
        ids = list(file["track_id"].asstr())
        rows = [row for row, track in enumerate(ids) if known.loc[track, "fault_filtered"] == "valid"]
        images = np.stack([file["mel"][row][::-1, :, None] for row in rows]).astype("float32") / 255
    truth = np.array([loaded.genres.index(known.loc[ids[row], "genre"]) for row in rows])
    whole = loaded.model.predict(images, verbose=0).argmax(axis=1)
    windows = [
        loaded.model.predict(images[:, :, first : first + 128], verbose=0) for first in range(0, 260, 64)
    ]
    assert 100 * np.mean(whole == truth) == pytest.approx(68.5, abs=0.6)
    assert 100 * np.mean(np.mean(windows, axis=0).argmax(axis=1) == truth) == pytest.approx(67.0, abs=0.6)


def test_the_packaged_model_is_loaded_once(monkeypatch):
    first = predict(noise(31), sample_rate=22050)
    monkeypatch.setattr("keras.saving.load_model", None)  # a second load would fail
    np.testing.assert_array_equal(predict(noise(31), sample_rate=22050).probabilities, first.probabilities)
