from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gtzan_keras.audio.decode import AudioError, load_audio
from gtzan_keras.errors import GtzanKerasError

RATE = 22050


@pytest.fixture
def noise() -> np.ndarray:
    """Three seconds of stereo noise, the same every time."""
    return 0.1 * np.random.default_rng(0).normal(size=(3 * RATE, 2))


def write(path: Path, samples: np.ndarray, rate: int = RATE, **how: str) -> Path:
    soundfile.write(path, samples, rate, **how)
    return path


def librosa_load(path: Path, **how):
    """librosa's own reader, with the resampler this package uses."""
    import librosa

    return librosa.load(path, res_type="soxr_hq", **how)[0]


def refusal(path: Path, **how) -> str:
    """The reason for which a file is refused."""
    with pytest.raises(AudioError) as caught:
        load_audio(path, RATE, **how)
    assert caught.value.path == Path(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


# --- what is read


@pytest.mark.parametrize("suffix", ["wav", "flac", "au", "ogg", "mp3"])
def test_every_format_is_read_as_mono_float32_of_its_own_length(tmp_path, noise, suffix):
    audio = load_audio(write(tmp_path / f"a.{suffix}", noise), RATE)
    assert (audio.dtype, audio.shape) == (np.float32, (3 * RATE,))


@pytest.mark.parametrize("suffix", ["wav", "flac", "au"])
def test_formats_that_lose_nothing_give_what_was_written_to_16_bits(tmp_path, noise, suffix):
    audio = load_audio(write(tmp_path / f"a.{suffix}", noise), RATE)
    assert np.abs(audio - noise.mean(axis=1)).max() <= 1 / 32768


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_formats_that_lose_something_keep_the_tone(tmp_path, suffix):
    tone = 0.5 * np.sin(2 * np.pi * 441 * np.arange(4 * RATE) / RATE)
    audio = load_audio(write(tmp_path / f"a.{suffix}", tone), RATE)
    assert np.corrcoef(audio[RATE:-RATE], tone[RATE:-RATE])[0, 1] > 0.999


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_every_sample_format_is_scaled_to_within_1(tmp_path, subtype):
    square = np.repeat(np.tile([-0.5, 0.5], 100), 300)
    audio = load_audio(write(tmp_path / "a.wav", square, subtype=subtype), RATE)
    assert np.abs(audio - square).max() < 0.02  # u-law has the widest steps


def test_channels_are_averaged(tmp_path):
    left, right = np.full(RATE * 2, 0.5), np.full(RATE * 2, -0.25)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_array_equal(load_audio(path, RATE), np.full(RATE * 2, 0.125, np.float32))


def test_the_result_can_be_written_to_and_lies_in_one_piece(tmp_path, noise):
    audio = load_audio(write(tmp_path / "a.wav", noise), RATE)
    assert audio.flags.c_contiguous
    audio *= 0.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning:audioread")
@pytest.mark.parametrize("native", [RATE, 16000, 44100, 48000])
@pytest.mark.parametrize("wanted", [RATE, 16000, 44100])
def test_resampling_equals_librosas(tmp_path, noise, native, wanted):
    path = write(tmp_path / "a.wav", noise, native)
    ours, theirs = load_audio(path, wanted), librosa_load(path, sr=wanted)
    # librosa rounds lengths up, with a zero at the end where soxr gives one sample less.
    assert len(theirs) - len(ours) in (0, 1)
    assert abs(len(ours) - len(noise) * wanted / native) <= 0.5
    np.testing.assert_allclose(ours, theirs[: len(ours)], atol=1e-6)


def test_a_real_track_is_read_as_librosa_reads_it(real_data):
    path = sorted((real_data / "gtzan_mini" / "reggae").iterdir())[0]
    for rate in (22050, 44100):
        np.testing.assert_allclose(load_audio(path, rate), librosa_load(path, sr=rate), atol=1e-6)


@pytest.mark.parametrize("suffix", ["wav", "flac", "au", "ogg", "mp3"])
@pytest.mark.parametrize(("offset", "duration"), [(0.0, 1.25), (1.3, None), (1.1, 1.7), (1.5, 60.0)], ids=str)
def test_offset_and_duration_cut_out_a_piece(tmp_path, noise, suffix, offset, duration):
    path = write(tmp_path / f"a.{suffix}", noise)
    first = round(offset * RATE)
    last = None if duration is None else first + round(duration * RATE)
    piece = load_audio(path, RATE, duration=duration, offset=offset)
    np.testing.assert_allclose(piece, load_audio(path, RATE)[first:last], atol=1e-6)


def test_offset_and_duration_are_seconds_of_the_file_when_it_is_resampled(tmp_path):
    ramp = np.linspace(0, 0.9, 3 * 44100)
    path = write(tmp_path / "a.wav", ramp, 44100, subtype="FLOAT")
    piece = load_audio(path, RATE, duration=1.5, offset=1.0)
    assert len(piece) == round(1.5 * RATE)
    np.testing.assert_allclose(piece[200:-200], ramp[44100 : round(2.5 * 44100) : 2][200:-200], atol=1e-3)


def test_less_than_a_second_may_be_asked_for(tmp_path, noise):
    path = write(tmp_path / "a.wav", noise)
    assert len(load_audio(path, RATE, duration=0.25, offset=1.0)) == round(0.25 * RATE)


def test_a_file_of_just_a_second_is_long_enough(tmp_path):
    assert len(load_audio(write(tmp_path / "a.wav", np.zeros(RATE)), RATE)) == RATE


def test_a_path_may_be_text(tmp_path, noise):
    path = write(tmp_path / "ein Stück ☺.wav", noise)
    np.testing.assert_array_equal(load_audio(str(path), RATE), load_audio(path, RATE))


def test_a_wav_file_that_breaks_off_gives_what_there_is(tmp_path, noise):
    path = write(tmp_path / "a.wav", noise, subtype="PCM_16")
    whole = load_audio(path, RATE)
    with path.open("r+b") as file:
        file.truncate(44 + 4 * 2 * RATE)  # header, then two seconds of two channels of 16 bits
    np.testing.assert_array_equal(load_audio(path, RATE), whole[: 2 * RATE])


# --- what is refused


def test_audio_errors_are_the_packages_errors_and_survive_a_worker_process():
    error = pickle.loads(pickle.dumps(AudioError("a/b.wav", "too short")))
    assert isinstance(error, GtzanKerasError)
    assert (error.path, error.reason, str(error)) == (Path("a/b.wav"), "too short", "a/b.wav: too short")


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "a.wav") == "no such file"


def test_a_missing_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "a.wav") == "no such file"


def test_a_folder_is_refused(tmp_path):
    assert refusal(tmp_path) == "not a file"


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    assert refusal(tmp_path / "a.wav") == "the file is empty (0 bytes)"


@pytest.mark.parametrize("name", ["a.wav", "a.au", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a"])
def test_a_text_file_is_refused_whatever_its_name(tmp_path, name):
    (tmp_path / name).write_text("<html>404 not found</html>\n" * 50)
    assert refusal(tmp_path / name) == "not readable as sound (Format not recognised)"


@pytest.mark.parametrize("name", ["jazz.00054.wav", "jazz00054.au", "jazz.00054.flac", "jazz.00054.ogg"])
def test_a_file_like_the_broken_jazz_00054_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(np.random.default_rng(54).bytes(1_300_000))
    assert refusal(tmp_path / name) == "not readable as sound (Format not recognised)"


def test_noise_called_mp3_is_refused(tmp_path):
    (tmp_path / "jazz.00054.mp3").write_bytes(np.random.default_rng(54).bytes(1_300_000))
    assert refusal(tmp_path / "jazz.00054.mp3").startswith("not readable as sound (")


def test_noise_without_a_header_is_refused_where_the_reader_would_ask_for_one(tmp_path):
    (tmp_path / "a.raw").write_bytes(np.random.default_rng(0).bytes(100_000))
    assert refusal(tmp_path / "a.raw").startswith("not readable as sound (")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_flac_file_that_breaks_off_is_refused(tmp_path, noise, share):
    path = write(tmp_path / "a.flac", noise)
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    assert refusal(path).startswith("not readable as sound (")


@pytest.mark.parametrize("length", [0, 2**36 - 1], ids=["unknown", "hundreds of GB"])
def test_a_flac_file_whose_header_gives_no_usable_length_is_refused(tmp_path, noise, length):
    path = write(tmp_path / "a.flac", noise)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | length >> 32  # 36 bits after "fLaC" and 13.5 bytes of STREAMINFO
    content[22:26] = (length & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    assert refusal(path).startswith("not readable as sound (")


def test_a_wav_file_without_samples_is_refused(tmp_path):
    reason = refusal(write(tmp_path / "a.wav", np.zeros(0)))
    assert reason == "too short: 0.00 s of sound, at least 1 s needed"


def test_half_a_second_is_refused_at_any_sample_rate(tmp_path):
    for rate in (8000, 22050, 96000):
        reason = refusal(write(tmp_path / "a.wav", np.zeros(rate // 2), rate))
        assert reason == "too short: 0.50 s of sound, at least 1 s needed"


def test_an_offset_that_leaves_too_little_is_named(tmp_path, noise):
    path = write(tmp_path / "a.wav", noise)
    assert refusal(path, offset=2.5) == "too short: 0.50 s of sound after 2.5 s, at least 1 s needed"
    assert refusal(path, offset=40) == "too short: 0.00 s of sound after 40 s, at least 1 s needed"
    assert refusal(path, offset=3, duration=0.1).endswith("after 3 s, at least 0.1 s needed")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_no_number_is_enough_to_refuse_a_file(tmp_path, noise, bad):
    noise[30000, 1] = bad
    path = write(tmp_path / "a.wav", noise, subtype="FLOAT")
    assert refusal(path) == "holds NaN or infinite samples"


def test_infinities_of_both_signs_are_refused_without_a_warning(tmp_path):
    path = write(tmp_path / "a.wav", np.tile([np.inf, -np.inf], (2 * RATE, 1)), subtype="FLOAT")
    assert refusal(path) == "holds NaN or infinite samples"


def test_samples_too_large_to_average_are_refused_without_a_warning(tmp_path):
    path = write(tmp_path / "a.wav", np.full((2 * RATE, 2), 3e38), subtype="FLOAT")
    assert refusal(path) == "holds NaN or infinite samples"


def test_a_name_that_is_too_long_for_the_system_is_refused(tmp_path):
    assert refusal(tmp_path / ("a" * 300 + ".wav")) == "cannot be opened (File name too long)"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path, noise):
    path = write(tmp_path / "a.wav", noise)
    path.chmod(0)
    assert refusal(path) == "cannot be opened (Permission denied)"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_in_a_folder_that_may_not_be_entered_is_refused(tmp_path, noise):
    folder = tmp_path / "locked"
    folder.mkdir()
    path = write(folder / "a.wav", noise)
    folder.chmod(0)
    try:
        assert refusal(path) == "cannot be opened (Permission denied)"
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_rate": 0}, "sample_rate is 0; expected a number of Hz above 0"),
        ({"sample_rate": -22050}, "sample_rate is -22050"),
        ({"duration": 0}, "duration is 0; expected seconds above 0, or None for all"),
        ({"duration": -1.0}, "duration is -1.0"),
        ({"duration": float("nan")}, "duration is nan"),
        ({"offset": -0.5}, "offset is -0.5; expected seconds from 0 up"),
        ({"offset": float("inf")}, "offset is inf"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused_by_name_and_value(tmp_path, noise, arguments, message):
    path = write(tmp_path / "a.wav", noise)
    with pytest.raises(GtzanKerasError, match=re.escape(message)) as caught:
        load_audio(path, **{"sample_rate": RATE} | arguments)
    assert not isinstance(caught.value, AudioError)  # the file is not to blame


# --- audioread, behind libsndfile


class FakeFile:
    """What `audioread.audio_open` gives: 16-bit buffers, of odd lengths as decoders hand them out."""

    def __init__(self, samples: np.ndarray, rate: int = RATE, frames_a_buffer: int = 1001) -> None:
        self.samplerate, self.channels = rate, samples.shape[1]
        whole, step = samples.astype("<i2").tobytes(), 2 * self.channels * frames_a_buffer
        self.buffers = [whole[i : i + step] for i in range(0, len(whole), step)]
        self.handed_out, self.closed = 0, False

    def __enter__(self) -> FakeFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def __iter__(self):
        for buffer in self.buffers:
            self.handed_out += 1
            yield buffer


@pytest.fixture
def as_audioread_gives(tmp_path, monkeypatch):
    """Make audioread read a song.m4a, which libsndfile can not, as the given samples."""
    import audioread

    def install(samples: np.ndarray, **how: int) -> tuple[Path, FakeFile]:
        path = tmp_path / "song.m4a"
        path.write_bytes(b"\0\0\0\x1cftypM4A ")
        file = FakeFile(samples, **how)
        monkeypatch.setattr(audioread, "audio_open", {os.fspath(path): file}.__getitem__)
        return path, file

    return install


@pytest.fixture
def integers() -> np.ndarray:
    return np.random.default_rng(1).integers(-32768, 32768, size=(3 * RATE, 2))


@pytest.mark.parametrize("channels", [1, 2])
def test_audioreads_buffers_are_scaled_joined_and_averaged(as_audioread_gives, integers, channels):
    samples = integers[:, :channels]
    path, file = as_audioread_gives(samples)
    audio = load_audio(path, RATE)
    assert (audio.dtype, file.closed) == (np.float32, True)
    np.testing.assert_allclose(audio, samples.mean(axis=1) / 32768, atol=1e-7)


@pytest.mark.parametrize(("offset", "duration"), [(0.0, 1.25), (1.3, None), (1.1, 1.7), (1.5, 60.0)], ids=str)
@pytest.mark.parametrize("channels", [1, 2])
def test_offset_and_duration_cut_out_a_piece_of_audioreads_too(
    as_audioread_gives, integers, channels, offset, duration
):
    samples = integers[:, :channels]
    first = round(offset * RATE)
    last = None if duration is None else first + round(duration * RATE)
    audio = load_audio(as_audioread_gives(samples)[0], RATE, duration=duration, offset=offset)
    np.testing.assert_allclose(audio, samples[first:last].mean(axis=1) / 32768, atol=1e-7)


def test_audioread_is_not_asked_for_more_than_is_wanted(as_audioread_gives, integers):
    path, file = as_audioread_gives(integers, frames_a_buffer=RATE // 10)
    load_audio(path, RATE, duration=1.0, offset=0.5)
    assert file.handed_out == 15


def test_what_audioread_gives_is_resampled(as_audioread_gives, integers):
    path, _ = as_audioread_gives(integers, rate=44100)
    assert len(load_audio(path, RATE)) == round(len(integers) / 2)


def test_a_short_file_through_audioread_is_refused(as_audioread_gives, integers):
    path, _ = as_audioread_gives(integers[: RATE // 2])
    assert refusal(path) == "too short: 0.50 s of sound, at least 1 s needed"


def test_a_file_in_which_audioread_finds_no_samples_is_refused(as_audioread_gives, integers):
    path, _ = as_audioread_gives(integers[:0])
    assert refusal(path) == "too short: 0.00 s of sound, at least 1 s needed"


def test_a_file_on_which_audioread_fails_midway_is_refused(as_audioread_gives, integers):
    path, file = as_audioread_gives(integers)
    file.buffers[3] = None
    assert refusal(path) == "not readable as sound (Format not recognised)"
    assert file.closed


def test_audioread_itself_reads_what_libsndfile_will_not(tmp_path, noise):
    path = write(tmp_path / "a.wav", noise, subtype="PCM_16")
    expected = load_audio(path, RATE, duration=1.5, offset=0.5)
    # By its name libsndfile takes it for samples without a header; audioread looks inside.
    renamed = path.rename(tmp_path / "a.raw")
    np.testing.assert_allclose(load_audio(renamed, RATE, duration=1.5, offset=0.5), expected, atol=1e-7)
