"""Features: Kaggle's numbers, librosa's numbers, and the report's filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gtzan_keras.audio.features import (
    FEATURE_COLUMNS,
    MFCC_COLUMNS,
    NON_MFCC_COLUMNS,
    correlation_filter,
    extract,
)
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.feature_table import feature_table, load_feature_table
from gtzan_keras.tracks.catalogue import load_tracks

RATE = 22050


def music(seconds: float, seed: int = 0) -> np.ndarray:
    """Two tones, a click twice a second, and some noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 450 * time) + 0.2 * np.sin(2 * np.pi * 1330 * time)
    sound += 0.8 * (time % 0.5 < 0.003) * rng.normal(size=len(time))
    return (sound + 0.01 * rng.normal(size=len(time))).astype("float32") * np.float32(0.5)


# The numbers


def plain_librosa(sound: np.ndarray) -> dict[str, float]:
    """Each feature by its own call from the samples, with the padding of the older librosa."""
    from librosa import feature
    from librosa.beat import beat_track
    from librosa.effects import hpss
    from librosa.onset import onset_strength

    mirrored: dict[str, Any] = {"y": sound, "sr": RATE, "pad_mode": "reflect"}
    harmonic, percussive = hpss(sound, pad_mode="reflect")
    onsets = onset_strength(aggregate=np.median, **mirrored)
    series = {
        "chroma_stft": feature.chroma_stft(**mirrored),
        "rms": feature.rms(y=sound, pad_mode="reflect"),
        "spectral_centroid": feature.spectral_centroid(**mirrored),
        "spectral_bandwidth": feature.spectral_bandwidth(**mirrored),
        "rolloff": feature.spectral_rolloff(**mirrored),
        "zero_crossing_rate": feature.zero_crossing_rate(sound),
        "harmony": harmonic,
        "perceptr": percussive,
    }
    series |= {f"mfcc{i}": row for i, row in enumerate(feature.mfcc(n_mfcc=20, **mirrored), 1)}
    result: dict[str, float] = {"length": len(sound)}
    for name, values in series.items():
        result |= {f"{name}_mean": np.mean(values), f"{name}_var": np.var(values)}
    tempo, _ = beat_track(onset_envelope=onsets, sr=RATE)
    return result | {"tempo": np.ravel(tempo)[0]}


@pytest.mark.parametrize("hops", [4, 100])
def test_sharing_the_stft_gives_what_separate_librosa_calls_give(hops):
    # In whole hops: behind them the older librosa left silence, see the test with Kaggle's table.
    sound = music(20)[: 512 * hops]
    ours = extract(sound, RATE)
    assert list(ours) == ["length", *FEATURE_COLUMNS]
    # The second term is rounding in the mean of samples whose sum is almost nothing.
    assert ours == pytest.approx(plain_librosa(sound), rel=1e-5, abs=1e-9)


def test_real_tracks_have_the_numbers_of_kaggles_table(real_data):
    tracks = load_tracks(real_data / "gtzan_mini")
    chosen = tracks.groupby("genre", sort=False).head(1)[:2]
    ours = feature_table(chosen, jobs=1, progress=False).set_index("filename")
    kaggle = pd.read_csv(real_data / "features_30_sec.csv").set_index("filename").loc[ours.index]
    # harmony_mean and perceptr_mean are sums of +-0.1 that come to some 1e-5: rounding shows.
    pd.testing.assert_frame_equal(ours, kaggle, rtol=1e-4, atol=1e-8)


def test_tempo_of_clicks_is_their_rate():
    assert extract(music(20), RATE)["tempo"] == pytest.approx(120, rel=0.03)


def test_sound_at_another_rate_is_resampled():
    there, here = (np.sin(2 * np.pi * 1000 * np.arange(r * 2) / r) for r in (44100, RATE))
    resampled, expected = extract(there, 44100), extract(here, RATE)
    assert resampled["length"] == expected["length"]
    for column in ("chroma_stft_mean", "rms_mean", "spectral_centroid_mean", "zero_crossing_rate_mean"):
        assert resampled[column] == pytest.approx(expected[column], rel=0.01), column


@pytest.mark.parametrize(
    "sound",
    [np.ones(RATE), np.eye(1, RATE)[0], music(1)[:2048]],
    ids=["constant", "one click", "one frame"],
)
def test_sound_without_pitch_or_beat_has_finite_features(sound):
    assert np.isfinite(list(extract(sound, RATE).values())).all()


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (np.zeros(2047), RATE, "audio of 2047 samples at 22050 Hz is too short; features need at least 2048"),
        (np.zeros(4000), 44100, "audio of 2000 samples at 22050 Hz is too short"),
        (np.zeros((2, 30000)), RATE, r"audio of shape \(2, 30000\): expected mono"),
        (np.full(30000, np.nan), RATE, "NaN or infinite"),
    ],
)
def test_sound_that_has_no_features_is_refused(sound, rate, message):
    with pytest.raises(GtzanKerasError, match=message):
        extract(sound, rate)


# The correlation filter


def test_the_filter_drops_the_reports_six_and_keeps_51(real_data):
    kept, dropped = correlation_filter(load_feature_table(real_data / "features_30_sec.csv"))
    assert dropped == [
        "spectral_bandwidth_mean",
        "rolloff_mean",
        "rolloff_var",
        "zero_crossing_rate_mean",
        "zero_crossing_rate_var",
        "harmony_var",
    ]
    assert len(kept) == 51
    assert sorted(kept + dropped) == sorted(FEATURE_COLUMNS)
    assert set(MFCC_COLUMNS) <= set(kept)


def vectors(*angles: float) -> pd.DataFrame:
    """Columns whose correlations are the cosines of the angles [degrees] between them."""
    base = np.array([[1, -1, 1, -1], [1, 1, -1, -1]]) / 2
    turned = [np.cos(np.radians(a)) * base[0] + np.sin(np.radians(a)) * base[1] for a in angles]
    return pd.DataFrame(dict(zip(NON_MFCC_COLUMNS, turned, strict=False)))


def test_the_later_of_two_correlated_features_goes_whether_or_not_the_earlier_stays():
    # 0 and 30 degrees: r = 0.87; 30 and 60: 0.87; 0 and 60: 0.5. A search that skipped what is
    # dropped already would keep the third.
    table = vectors(0, 30, 60, 120)
    a, b, c, d = table.columns
    assert correlation_filter(table) == ([a, d], [b, c])


@pytest.mark.parametrize(("angle", "threshold", "count"), [(30, 0.86, 1), (30, 0.87, 0), (160, 0.8, 1)])
def test_a_correlation_over_the_threshold_drops_whatever_its_sign(angle, threshold, count):
    assert len(correlation_filter(vectors(0, angle), threshold)[1]) == count  # r = 0.866 and -0.94


def test_mfccs_length_and_constants_are_left_alone():
    table = vectors(0).assign(filename="x", length=[1, 2, 3, 5], mfcc1_mean=0.0, tempo=7.0, label="pop")
    table["mfcc1_mean"] = table["mfcc2_mean"] = table.iloc[:, 0]
    assert correlation_filter(table) == ([NON_MFCC_COLUMNS[0], "mfcc1_mean", "tempo", "mfcc2_mean"], [])


@pytest.mark.parametrize("threshold", [0, 1.1])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(GtzanKerasError, match=f"threshold={threshold}: expected 0 < threshold <= 1"):
        correlation_filter(vectors(0, 30), threshold)
