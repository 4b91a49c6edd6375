from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_keras.audio import spectrogram
from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS, SpectrogramSpec, log_mel, mel_image, segments
from gtzan_keras.errors import GtzanKerasError

SPECS = list(SPECTROGRAM_SPECS.values())
every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
IMPORTED = SpectrogramSpec(name="imported", channels=3, from_audio=False)


def sine(hertz: float, seconds: float, rate: int = 22050) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def something(seconds: float, rate: int) -> np.ndarray:
    """Chords and noise that fade twice a second, about 100 dB between the loudest and the quietest point."""
    fade = np.exp(-16 * (np.arange(round(seconds * rate)) / rate % 0.5))
    chords = sum(sine(hertz, seconds, rate) for hertz in (110, 277.2, 1318.5, 6000))
    noise = np.random.default_rng(3).normal(size=len(fade))
    return (fade * (chords / 4 + 0.02 * noise)).astype(np.float32)


def librosa_log_mel(audio: np.ndarray, spec: SpectrogramSpec) -> np.ndarray:
    import librosa

    power = librosa.feature.melspectrogram(
        y=audio,
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        win_length=spec.window_length,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
    )
    return librosa.power_to_db(power, ref=np.max, top_db=spec.db_range)


@pytest.fixture
def given_decibels(monkeypatch):
    """Make images from given decibels, to test the second half of `mel_image` alone."""

    def install(decibels: np.ndarray) -> np.ndarray:
        monkeypatch.setattr(spectrogram, "log_mel", lambda audio, spec: decibels.astype(np.float32))
        return np.ones(10, np.float32)

    return install


# --- the analyses of the sources


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("arrigo-v1", {"sample_rate": 22050, "clip_seconds": 30, "window_length": 1024, "n_fft": 4096,
                       "hop_length": 512, "n_mels": 64, "shape": (416, 416, 1), "segment_seconds": None}),
        ("arrigo-v2", {"sample_rate": 22050, "clip_seconds": 30, "window_length": 1024, "n_fft": 4096,
                       "hop_length": 256, "n_mels": 128, "shape": (640, 640, 1), "segment_seconds": None}),
        ("malvezzi-rgb224", {"shape": (224, 224, 3), "clip_seconds": 30, "segment_seconds": None}),
        ("zhang-128", {"sample_rate": 22050, "n_mels": 128, "shape": (128, 128, 1), "fit": "pad"}),
        ("uncu-segments", {"sample_rate": 44100, "segment_seconds": 4, "segment_hop_seconds": 2}),
        ("librosa-128x387", {"sample_rate": 22050, "n_fft": 2048, "window_length": 2048, "hop_length": 512,
                             "n_mels": 128, "shape": (128, 387, 1), "clip_seconds": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_presets_are_the_analyses_of_their_sources(name, settings):
    spec = SPECTROGRAM_SPECS[name]
    assert spec.name == name
    assert {field: getattr(spec, field) for field in settings} == settings


# --- log_mel


OWN = SpectrogramSpec(name="own", clip_seconds=None)
OTHERS = [
    replace(OWN, n_fft=1024, window_length=400, hop_length=160, n_mels=40, sample_rate=16000),
    replace(OWN, n_fft=2048, window_length=1999, hop_length=3000),
    replace(OWN, db_range=120.0),
]


@pytest.mark.parametrize("spec", [*SPECS, *OTHERS], ids=lambda spec: spec.name)
def test_log_mel_equals_librosas_to_a_thousandth_of_a_decibel(spec):
    if spec.clip_seconds:
        spec = replace(spec, clip_seconds=3)  # for speed
    audio = something(spec.piece_seconds or 3, spec.sample_rate)
    ours, theirs = log_mel(audio, spec), librosa_log_mel(audio, spec)
    assert (ours.dtype, ours.shape) == (np.float32, theirs.shape)
    assert ours.min() <= 5 - min(spec.db_range, 90)  # includes quiet points
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


@every_spec
def test_log_mel_equals_librosas_on_a_real_clip(spec, real_data):
    path = real_data / "gtzan_mini" / "hiphop" / "hiphop.00004.wav"  # of the 100, the one that differs most
    audio = load_audio(path, spec.sample_rate, duration=spec.piece_seconds)
    length = len(audio) if spec.piece_seconds is None else round(spec.piece_seconds * spec.sample_rate)
    theirs = librosa_log_mel(np.pad(audio, (0, length - len(audio))), spec)
    np.testing.assert_allclose(log_mel(audio, spec), theirs, rtol=0, atol=1e-3)


def test_audio_is_cut_or_padded_with_silence_to_the_clip_and_left_as_it_was():
    spec = replace(SPECTROGRAM_SPECS["zhang-128"], clip_seconds=1.5)
    audio = something(2.0, 22050)
    before = audio.copy()
    np.testing.assert_array_equal(log_mel(audio, spec), log_mel(audio[:33075], spec))
    padded = np.pad(audio[:22050], (0, 11025))
    np.testing.assert_array_equal(log_mel(audio[:22050], spec), log_mel(padded, spec))
    np.testing.assert_array_equal(log_mel(audio.astype(np.float64), spec), log_mel(audio, spec))
    np.testing.assert_array_equal(audio, before)


@every_spec
def test_silence_is_0_db_as_in_librosa(spec):
    silence = np.zeros(round((spec.piece_seconds or 3) * spec.sample_rate), np.float32)
    assert not log_mel(silence, spec).any()
    np.testing.assert_allclose(librosa_log_mel(silence, spec), 0, atol=1e-5)  # -8e-6 with NumPy 1.26
    assert np.ptp(mel_image(silence, spec).reshape(-1, spec.channels), axis=0).max() == 0


@pytest.mark.parametrize("make", [log_mel, mel_image, segments])
@pytest.mark.parametrize("name", ["zhang-128", "uncu-segments"])
def test_audio_that_is_not_mono_or_is_empty_is_refused_with_its_shape(name, make):
    for shape in ((0,), (2, 22050), ()):
        message = re.escape(f"audio of shape {shape}: expected mono samples")
        with pytest.raises(GtzanKerasError, match=message):
            make(np.zeros(shape, np.float32), SPECTROGRAM_SPECS[name])


@pytest.mark.parametrize("make", [log_mel, mel_image, segments])
def test_a_spec_of_imported_images_is_refused(make):
    for spec in (IMPORTED, replace(IMPORTED, segment_seconds=1.0, segment_hop_seconds=1.0)):
        with pytest.raises(GtzanKerasError, match="'imported' describes imported images"):
            make(np.ones(22050, np.float32), spec)


# --- mel_image


def test_grey_levels_are_decibels_above_the_floor_in_255_steps(given_decibels):
    spec = SpectrogramSpec(name="own", n_mels=4, height=4, width=3, db_range=60.0)
    decibels = -60 + 60 * np.arange(12).reshape(4, 3) / 11
    image = mel_image(given_decibels(decibels), spec)
    np.testing.assert_array_equal(image[::-1, :, 0], np.rint(255 * np.arange(12).reshape(4, 3) / 11))


@pytest.mark.parametrize(("height", "width"), [(12, 20), (9, 31), (13, 22)])
def test_images_are_enlarged_by_bilinear_interpolation(given_decibels, height, width):
    from scipy.ndimage import zoom

    decibels = -80 * np.random.default_rng(0).random((6, 10))
    spec = SpectrogramSpec(name="own", n_mels=6, height=height, width=width)
    image = mel_image(given_decibels(decibels), spec)[::-1, :, 0]
    expected = zoom(decibels, (height / 6, width / 10), order=1, mode="nearest", grid_mode=True)
    assert np.abs(image - 255 * (1 + expected / 80)).max() <= 0.51  # half a step of rounding


@pytest.mark.parametrize(("width", "expected"), [(3, [255, 0, 128]), (6, [255, 0, 128, 255, 0, 0])])
def test_pad_cuts_frames_off_or_adds_frames_at_the_floor(given_decibels, width, expected):
    spec = SpectrogramSpec(name="own", n_mels=1, height=1, width=width, fit="pad")
    image = mel_image(given_decibels(np.array([[0.0, -80.0, -40.0, 0.0, -80.0]])), spec)
    np.testing.assert_array_equal(image[0, :, 0], expected)


def test_colours_are_viridis_at_the_grey_levels():
    import matplotlib

    spec, audio = SPECTROGRAM_SPECS["malvezzi-rgb224"], something(30, 22050)
    grey = mel_image(audio, replace(spec, channels=1, colour_map=None))[:, :, 0]
    assert len(np.unique(grey)) > 200
    np.testing.assert_array_equal(
        mel_image(audio, spec), matplotlib.colormaps["viridis"](grey, bytes=True)[:, :, :3]
    )


def test_images_of_20_real_tracks_equal_the_published_ones(real_data):
    import h5py

    spec = SPECTROGRAM_SPECS["librosa-128x387"]
    different = 0
    with h5py.File(real_data / "gtzan_mel_128x387.h5") as file:
        row_of = {track_id: row for row, track_id in enumerate(file["track_id"].asstr())}
        paths = sorted((real_data / "gtzan_mini").glob("*/*.wav"))[::5]
        assert len(paths) == 20
        for path in paths:
            theirs = file["mel"][row_of[path.stem]][::-1].astype(int)  # its bands run low to high
            ours = mel_image(load_audio(path, 22050), spec)[:, :, 0].astype(int)
            assert np.abs(ours - theirs).max() <= 1, path.stem
            different += np.count_nonzero(ours != theirs)
    assert different <= 1e-4 * 20 * 128 * 387


# --- segments


def test_the_900_tracks_without_jazz_give_13490_segments(real_data):
    with (real_data / "features_30_sec.csv").open(newline="") as file:
        lengths = Counter(int(row["length"]) for row in csv.DictReader(file) if row["label"] != "jazz")
    assert lengths.total() == 900
    spec = SPECTROGRAM_SPECS["uncu-segments"]

    def count(length: int) -> int:
        return len(segments(np.broadcast_to(np.float32(0), 2 * length), spec))  # 22.05 kHz -> 44.1 kHz

    assert sum(tracks * count(length) for length, tracks in lengths.items()) == 13_490


@settings(max_examples=50, deadline=None)
@given(samples=st.integers(1, 3000), length=st.integers(1, 900), hop=st.integers(1, 900))
def test_segments_start_every_hop_as_long_as_there_is_new_sound(samples, length, hop):
    cut = {"clip_seconds": None, "segment_seconds": length / 100, "segment_hop_seconds": hop / 100}
    spec = SpectrogramSpec(name="own", sample_rate=100, **cut)
    audio = np.arange(1, samples + 1, dtype=np.float32)
    begins = [0]
    while begins[-1] + length < samples and begins[-1] + hop < samples:
        begins.append(begins[-1] + hop)
    pieces = segments(audio, spec)
    assert len(pieces) == len(begins)
    for begin, piece in zip(begins, pieces, strict=True):
        heard = audio[begin : begin + length]
        np.testing.assert_array_equal(piece, np.pad(heard, (0, length - len(heard))))


# --- specs


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample_rate": 0}, "sample_rate is 0; expected a whole number above 0"),
        ({"height": True}, "height is True; expected a whole number above 0"),
        ({"window_length": 4096}, "window_length is 4096; expected at most n_fft (2048)"),
        ({"clip_seconds": float("nan")}, "clip_seconds is nan; expected a number above 0"),
        ({"clip_seconds": 1e-6}, "clip_seconds is 1e-06; expected 1 to 67108864 samples of 1/22050 s"),
        ({"segment_seconds": 4.0}, "segment_hop_seconds is None; expected a number if"),
        ({"fit": "crop"}, "fit is 'crop'; expected 'resize', 'sample', 'average' or 'pad'"),
        ({"floor": "quiet"}, "floor is 'quiet'; expected 'range' or 'track'"),
        ({"fit": "pad", "height": 64}, "height is 64; expected n_mels (128), because fit='pad'"),
        ({"channels": 2}, "channels is 2; expected 1 (grey) or 3 (colour)"),
        ({"colour_map": "viridis"}, "colour_map is 'viridis'; expected the name of a colour map"),
        ({"fit": "average", "height": 64, "width": 400}, "fit is 'average'; expected"),
    ],
    ids=str,
)
def test_a_field_out_of_range_is_refused_by_spec_field_and_value(fields, message):
    with pytest.raises(GtzanKerasError, match=re.escape(f"spec 'own': {message}")):
        SpectrogramSpec(name="own", **fields)
