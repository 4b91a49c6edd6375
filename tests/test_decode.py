from __future__ import annotations

import os
import pickle
import re
import struct
import sys
import time
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtzan_keras.audio.decode import AUDIO_SUFFIXES, AudioError, load_audio, stream_array, stream_audio
from gtzan_keras.errors import GtzanKerasError

RATE = 22050
# What soundfile cannot write: codec, sample rate, container.
ENCODERS = {
    ".opus": ("libopus", 48000, "ogg"),
    ".m4a": ("aac", 44100, "ipod"),
    ".mp4": ("alac", 44100, "mp4"),
    ".aac": ("aac", 44100, "adts"),
    ".wma": ("wmav2", 44100, "asf"),
    ".webm": ("libopus", 48000, "webm"),
    ".mka": ("aac", 44100, "matroska"),
    ".wv": ("wavpack", 44100, "wv"),
    ".mp2": ("mp2", 44100, "mp2"),
}
LOSSLESS = (".wav", ".au", ".flac", ".aif", ".aiff", ".caf", ".w64")
every_format = pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)


@pytest.fixture
def noise() -> np.ndarray:
    """Three seconds of stereo noise, the same every time."""
    return 0.1 * np.random.default_rng(0).normal(size=(3 * RATE, 2))


def write(path: Path, samples: np.ndarray, rate: int = RATE, **how: str) -> Path:
    if path.suffix not in ENCODERS:
        containers = {".aif": "AIFF", ".aifc": "AIFF", ".snd": "AU", ".oga": "OGG"}
        soundfile.write(path, samples, rate, **{"format": containers.get(path.suffix)} | how)
        return path
    codec, encoded_rate, container = ENCODERS[path.suffix]
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples.T, np.float32), format="fltp", layout="stereo"
    )
    frame.sample_rate = rate
    with av.open(path, "w", format=container) as file:
        stream = file.add_stream(codec, rate=encoded_rate, layout="stereo", bit_rate=128_000)
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.format, "stereo", encoded_rate, size)
        for resampled in resampler.resample(frame) + resampler.resample(None):
            file.mux(stream.encode(resampled))
        file.mux(stream.encode(None))
    return path


def cut(path: Path, share: float) -> Path:
    """Keep so much of a file."""
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    return path


def overwrite(path: Path, at: int, new: bytes) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[:at] + new + content[at + len(new) :])
    return path


def refusal(path: Path) -> str:
    """Return the reason why a file is refused, the same for whole files and streams."""
    with pytest.raises(AudioError) as caught:
        load_audio(path, RATE)
    assert caught.value.path == Path(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    with pytest.raises(AudioError, match=re.escape(str(caught.value))):
        list(stream_audio(path, RATE))
    return caught.value.reason


# --- what is read


@every_format
def test_every_format_keeps_pitch_level_and_length(tmp_path, suffix):
    tone = 0.5 * np.sin(2 * np.pi * 441 * np.arange(4 * 44100) / 44100)
    audio = load_audio(write(tmp_path / f"a{suffix}", np.stack([tone, tone], axis=1), 44100), RATE)
    assert audio.dtype == np.float32
    assert len(audio) / RATE == pytest.approx(4, abs=0.05)
    spectrum = np.abs(np.fft.rfft(audio[RATE : 3 * RATE])) / RATE
    assert spectrum.argmax() == 2 * 441
    assert spectrum.max() == pytest.approx(0.5, rel=0.05)


@every_format
def test_whole_files_and_streams_give_the_same_samples(tmp_path, suffix):
    samples = 0.1 * np.random.default_rng(0).normal(size=(round(10.3 * RATE), 2))
    path = write(tmp_path / f"a{suffix}", samples)
    blocks = list(stream_audio(path, 16000))
    assert len(blocks) > 2
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path, 16000))


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_give_what_was_written_to_16_bits(tmp_path, noise, suffix):
    audio = load_audio(write(tmp_path / f"a{suffix}", noise), RATE)
    assert np.abs(audio - noise.mean(axis=1)).max() <= 1 / 32768


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_what_av_decodes_equals_what_libsndfile_decodes(tmp_path, noise, suffix):
    path = write(tmp_path / f"a{suffix}", noise)
    expected = soundfile.read(path)[0].mean(axis=1)
    np.testing.assert_allclose(load_audio(path, RATE), expected[: 3 * RATE], atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:audioread")  # librosa imports it
@pytest.mark.parametrize(("native", "wanted"), [(RATE, RATE), (44100, RATE), (16000, RATE), (48000, 16000)])
def test_resampling_equals_librosas(tmp_path, noise, native, wanted):
    import librosa

    path = write(tmp_path / "a.wav", noise, native)
    ours, theirs = load_audio(path, wanted), librosa.load(path, sr=wanted, res_type="soxr_hq")[0]
    # librosa rounds lengths up, with a zero at the end where soxr gives one sample less.
    assert len(theirs) - len(ours) in (0, 1)
    assert abs(len(ours) - len(noise) * wanted / native) <= 0.5
    np.testing.assert_allclose(ours, theirs[: len(ours)], atol=1e-6)


def test_real_tracks_are_all_read(real_data):
    for path in sorted(real_data.glob("gtzan_m*/*/*.*"))[::7]:
        assert len(load_audio(path, RATE)) >= 29.9 * RATE


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
@pytest.mark.parametrize("duration", [0.25, 1.25, 60.0])
def test_duration_cuts_off_the_rest(tmp_path, noise, suffix, duration):
    path = write(tmp_path / f"a{suffix}", noise)
    np.testing.assert_array_equal(
        load_audio(path, RATE, duration), load_audio(path, RATE)[: round(duration * RATE)]
    )


@pytest.mark.parametrize("content", [".wav", ".mp3"])
@pytest.mark.parametrize(
    "name", ["a.mp3", "a", "ein Stück ☺.wav", "concat:a|b.mp3", os.fsdecode(b"br\xe9sil.wav")], ids=repr
)
def test_any_name_is_read_and_the_content_decides(tmp_path, noise, name, content):
    path = write(tmp_path / f"written{content}", noise)
    expected = load_audio(path, RATE)
    try:
        path = path.rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system does not take such names")
    np.testing.assert_array_equal(load_audio(str(path), RATE), expected)


# --- the faults of other people's files


def test_an_mp3_of_variable_rate_without_a_count_of_frames_is_read_whole(tmp_path):
    quiet_then_dense = 0.3 * np.random.default_rng(0).normal(size=20 * 44100)
    quiet_then_dense[: 8 * 44100] *= 1e-5
    path = tmp_path / "a.mp3"
    with soundfile.SoundFile(path, "w", 44100, 1, bitrate_mode="VARIABLE", compression_level=0.5) as file:
        file.write(quiet_then_dense)
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\xff\xfb", content.index(b"Xing")) :])
    assert len(load_audio(path, 44100)) / 44100 == pytest.approx(20, abs=0.1)


def without_length(content: bytes) -> bytes:
    """Less the 36 bits after "fLaC" and 13.5 bytes of STREAMINFO."""
    return content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:]


def with_a_title_that_is_no_utf_8(content: bytes) -> bytes:
    title = b"TIT2" + (5).to_bytes(4, "big") + b"\0\0" + b"\x03Caf\xe9"  # says that it is UTF-8
    return b"ID3\x04\0\0" + len(title).to_bytes(4, "big") + title + content


def with_a_tag_at_the_end(content: bytes) -> bytes:
    return content + b"TAG" + b"x" * 125


@pytest.mark.parametrize(
    ("suffix", "change"),
    [
        (".flac", without_length),
        (".mp3", with_a_title_that_is_no_utf_8),
        (".flac", with_a_tag_at_the_end),
        (".mp3", with_a_tag_at_the_end),
        (".wav", with_a_tag_at_the_end),
    ],
)
def test_strange_headers_and_tags_do_no_harm(tmp_path, noise, suffix, change):
    path = write(tmp_path / f"a{suffix}", noise)
    whole = load_audio(path, RATE)
    path.write_bytes(change(path.read_bytes()))
    np.testing.assert_array_equal(load_audio(path, RATE), whole)


@pytest.mark.parametrize(
    ("rate", "reason"),
    [(0, "no plausible sample rate"), (999, "999 Hz and 2"), (2**31 - 1, "2147483647 Hz and 2")],
)
def test_an_implausible_rate_or_number_of_channels_is_refused(tmp_path, noise, rate, reason):
    path = overwrite(write(tmp_path / "a.wav", noise), 24, rate.to_bytes(4, "little"))
    assert reason in refusal(path)
    assert "expected 1000 to 768000 Hz and 1 to 64" in refusal(write(path, np.zeros((RATE * 2, 100))))


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wv", ".mka", ".wma"])
def test_a_file_that_breaks_off_is_refused_with_the_position(tmp_path, suffix):
    samples = 0.1 * np.random.default_rng(0).normal(size=(10 * RATE, 2))
    reason = refusal(cut(write(tmp_path / f"a{suffix}", samples), 0.6))
    position, declared = re.fullmatch(
        r"damaged: (?:ends|cannot be decoded) at ([\d.]+) s(?:; its header declares ([\d.]+) s| \(.*\))",
        reason,
    ).groups()
    assert float(position) == pytest.approx(6, abs=1)
    assert float(declared or 10) == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".opus"])
def test_a_hole_in_the_middle_is_refused(tmp_path, suffix):
    samples = 0.1 * np.random.default_rng(0).normal(size=(10 * RATE, 2))
    path = write(tmp_path / f"a{suffix}", samples)
    size = path.stat().st_size
    assert refusal(overwrite(path, size // 2, bytes(size // 10))).startswith("damaged: ")


def test_decoders_print_nothing(tmp_path, noise, capfd):
    tagged = write(tmp_path / "tagged.mp3", noise)
    tagged.write_bytes(b"ID3\x03\0\0\0\0\x01\0" + b"\xff\xfb\x90d" * 32 + tagged.read_bytes())
    load_audio(tagged, RATE)
    refusal(cut(write(tmp_path / "cut.ogg", noise), 0.7))
    (tmp_path / "text.mp3").write_text("<html>404 not found</html>\n" * 50)
    refusal(tmp_path / "text.mp3")
    assert capfd.readouterr() == ("", "")


# --- what is refused


def test_audio_errors_are_the_packages_errors_and_can_be_pickled():
    error = pickle.loads(pickle.dumps(AudioError("a/b.wav", "too short")))
    assert isinstance(error, GtzanKerasError)
    assert (error.path, error.reason, str(error)) == (Path("a/b.wav"), "too short", "a/b.wav: too short")


def test_missing_and_empty_files_and_folders_are_refused(tmp_path):
    (tmp_path / "empty.wav").touch()
    assert refusal(tmp_path / "a.wav") == "no such file"
    assert refusal(tmp_path / "empty.wav" / "a.wav") == "no such file"
    assert refusal(tmp_path) == "not a file"
    assert refusal(tmp_path / "empty.wav") == "the file is empty (0 bytes)"
    assert refusal(tmp_path / ("a" * 300 + ".wav")) == "cannot be opened (File name too long)"


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a"])
def test_text_and_noise_are_refused_whatever_the_name(tmp_path, name):
    for content in (b"<html>404 not found</html>\n" * 50, np.random.default_rng(54).bytes(1_300_000)):
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name) == "not readable as sound (Format not recognised)"


def test_a_playlist_is_not_followed(tmp_path, noise):
    write(tmp_path / "b.mp3", noise)
    (tmp_path / "a.mp3").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nb.mp3\n#EXT-X-ENDLIST\n")
    assert refusal(tmp_path / "a.mp3") == "not readable as sound (Format not recognised)"


def test_a_header_that_claims_gigabytes_is_refused(tmp_path, noise):
    path = write(tmp_path / "a.flac", noise)
    assert refusal(overwrite(path, 22, b"\xff" * 4)).startswith("damaged: ")


@pytest.mark.parametrize(("seconds", "rate"), [(0, RATE), (0.5, 8000), (0.5, 96000)])
def test_less_than_a_second_is_refused_at_any_sample_rate(tmp_path, seconds, rate):
    reason = refusal(write(tmp_path / "a.wav", np.zeros(round(seconds * rate)), rate))
    assert reason == f"too short: {seconds:.2f} s of sound, at least 1 s needed"
    assert len(load_audio(write(tmp_path / "b.wav", np.zeros(rate), rate), RATE)) == RATE


@pytest.mark.parametrize("samples", [(0.1, np.nan), (np.inf, -np.inf), (3e38, 3e38), (0.1, 1e25)], ids=str)
def test_samples_that_are_not_finite_are_refused_without_a_warning(tmp_path, noise, samples):
    noise[30000] = samples
    path = write(tmp_path / "a.wav", noise, subtype="FLOAT")
    assert refusal(path) == "holds NaN or infinite samples, or some over 2^40"


def test_integers_of_64_bits_are_refused(tmp_path):
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 8 * RATE, 8, 64)
    head = (
        struct.pack("<4sI4s", b"RIFF", 36 + 8 * RATE, b"WAVE") + form + struct.pack("<4sI", b"data", 8 * RATE)
    )
    (tmp_path / "a.wav").write_bytes(head + bytes(8 * RATE))
    assert refusal(tmp_path / "a.wav") == "has samples of 64-bit integers; convert it to 32 bits"


def test_arguments_out_of_range_are_refused_by_name_and_value(tmp_path, noise):
    path = write(tmp_path / "a.wav", noise)
    for read in (partial(load_audio, path), partial(stream_audio, path), partial(stream_array, noise, RATE)):
        with pytest.raises(GtzanKerasError, match="sample_rate is -1; expected a number of Hz above 0"):
            read(-1)
    with pytest.raises(GtzanKerasError, match="duration is nan; expected seconds above 0, or None") as caught:
        load_audio(path, RATE, float("nan"))
    assert not isinstance(caught.value, AudioError)  # the file is not to blame


# --- mutated files


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """A small valid file in each of eight formats."""
    folder = tmp_path_factory.mktemp("valid")
    samples = 0.1 * np.random.default_rng(0).normal(size=(round(1.3 * 16000), 2))
    suffixes = (".wav", ".flac", ".aiff", ".ogg", ".mp3", ".m4a", ".wma", ".webm")
    return [(suffix, write(folder / f"a{suffix}", samples, 16000).read_bytes()) for suffix in suffixes]


PLACES = st.floats(0, 1) | st.floats(0, 0.02)  # headers are at the front
NEW = st.binary(max_size=160) | st.sampled_from([bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 7])
GONE = st.integers(0, 8) | st.sampled_from([100, 10**9])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.integers(0, 7),
    edits=st.lists(st.tuples(PLACES, NEW, GONE), min_size=1, max_size=4),
)
def test_a_mutated_file_gives_finite_samples_or_one_error(tmp_path, originals, number, edits):
    suffix, content = originals[number]
    for place, new, gone in edits:
        at = round(place * len(content))
        content = content[:at] + new + content[at + gone :]
    path = tmp_path / f"mutated{suffix}"
    path.write_bytes(content)
    start, memory = time.monotonic(), peak_memory()
    try:
        audio = load_audio(path, 16000)
    except AudioError:
        pass
    else:
        assert audio.dtype == np.float32
        assert np.isfinite(audio).all()
    assert time.monotonic() - start < 5
    assert peak_memory() - memory < 500e6


def peak_memory() -> float:
    """The most memory that this process has had [bytes]; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
