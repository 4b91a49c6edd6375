"""The small model that comes with the repository."""

from pathlib import Path

import numpy as np
import pytest

from gtzan_keras.inference.predict import predict
from gtzan_keras.models.saving import load_model
from gtzan_keras.tracks.catalogue import GENRES

MODEL = Path(__file__).parent.parent / "reports" / "model" / "gtzan-honest-cnn.keras"

pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="an installation without reports")


def test_it_is_small_and_carries_what_it_needs():
    assert MODEL.stat().st_size < 5_000_000
    loaded = load_model(MODEL)
    assert loaded.spec.name == "librosa-128x387"
    assert loaded.genres == list(GENRES)


def test_its_card_names_data_split_interval_and_limits():
    card = (MODEL.parent / "README.md").read_text("utf-8")
    for word in ("999", "fault-filtered", "interval", "Limits"):
        assert word in card


def test_it_hears_a_song_of_any_length():
    random = np.random.default_rng(0)
    song = random.normal(0, 0.1, size=45 * 22050).astype("float32")
    prediction = predict(song, MODEL, sample_rate=22050)
    assert prediction.window_probabilities.shape == (len(prediction.times), 10)
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_it_knows_tracks_that_it_learned_from(real_data):
    """Of one a genre far more than chance: or the analysis is not the one it learned with."""
    from gtzan_keras import load_tracks

    tracks = load_tracks(real_data / "gtzan_mini")
    learned = tracks[tracks["fault_filtered"] == "train"].groupby("genre").head(1)
    right = [
        predict(path, MODEL, progress=False).top(1)[0][0] == genre
        for path, genre in zip(learned["path"], learned["genre"], strict=True)
    ]
    assert np.mean(right) > 0.6
