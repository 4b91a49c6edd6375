"""Sound files as arrays: any file in, mono float32 out, one exception type for all that can go wrong."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError

__all__ = ["MINIMUM_SECONDS", "AudioError", "load_audio", "stream_array", "stream_audio"]

MINIMUM_SECONDS = 1.0
"""Files with less sound than this hold nothing to classify and are refused as too short."""

_BLOCK_SECONDS = 10.0  # of a stream: long enough for NumPy, short enough for any memory

Audio = npt.NDArray[np.float32]


class AudioError(GtzanKerasError):
    """A file could not be read as sound.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    reason : str
        What is wrong with it, in a few words.

    Examples
    --------
    >>> from gtzan_keras import AudioError
    >>> str(AudioError("jazz/jazz.00054.wav", "not a sound file"))
    'jazz/jazz.00054.wav: not a sound file'
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(os.fspath(path), reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def load_audio(
    path: str | os.PathLike[str],
    sample_rate: int,
    duration: float | None = None,
    offset: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Read a sound file as mono float32 at a given sample rate.

    libsndfile reads it where it can (WAV, AU, FLAC, OGG, MP3), audioread where it can not; channels
    are averaged; soxr resamples at its "HQ" quality, the one librosa uses by default.

    Parameters
    ----------
    path : str or os.PathLike
        The sound file.
    sample_rate : int > 0 [Hz]
        Sample rate of the result.
    duration : float > 0 [seconds], optional
        Read at most this much; everything when left out. A file that ends earlier gives less.
        Less than `MINIMUM_SECONDS` may be asked for.
    offset : float >= 0 [seconds]
        Where to start.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        The samples, within -1..1 for integer formats.

    Raises
    ------
    AudioError
        The file is missing, empty, no sound, broken, shorter than `MINIMUM_SECONDS`, or holds NaN
        or infinite samples.
    GtzanKerasError
        An argument is out of range.

    See Also
    --------
    gtzan_keras.log_mel : what usually comes next.
    stream_audio : the same samples a block at a time.

    Examples
    --------
    >>> import numpy as np, soundfile, tempfile, os
    >>> from gtzan_keras import load_audio
    >>> path = os.path.join(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, np.sin(np.arange(44100) / 20).repeat(2), 44100)
    >>> load_audio(path, 22050).shape
    (44100,)
    """
    _check_rate("load_audio", sample_rate)
    if duration is not None and not 0 < duration < math.inf:
        raise GtzanKerasError(
            f"load_audio: duration is {duration}; expected seconds above 0, or None for all"
        )
    if not 0 <= offset < math.inf:
        raise GtzanKerasError(f"load_audio: offset is {offset}; expected seconds from 0 up")
    path = _file(path)
    samples, native_rate = _decode(path, duration, offset)
    samples = _mono(samples, path)
    needed = MINIMUM_SECONDS if duration is None else min(duration, MINIMUM_SECONDS)
    if len(samples) < max(1, round(needed * native_rate)):
        found = f"{len(samples) / native_rate:.2f} s of sound" + (f" after {offset:g} s" if offset else "")
        raise AudioError(path, f"too short: {found}, at least {needed:g} s needed")
    if native_rate != sample_rate:
        import soxr

        samples = soxr.resample(samples, native_rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(samples, dtype=np.float32)


def stream_audio(path: str | os.PathLike[str], sample_rate: int) -> Iterator[Audio]:
    """Read a sound file block by block, as mono float32 at a given sample rate.

    The blocks joined are what `load_audio` gives for the whole file; memory does not depend on its
    length.

    Parameters
    ----------
    path : str or os.PathLike
        The sound file.
    sample_rate : int > 0 [Hz]
        Sample rate of the result.

    Yields
    ------
    np.ndarray [shape=(n,), dtype=float32]
        About ten seconds each.

    Raises
    ------
    AudioError
        As `load_audio`: for what is wrong with a file's sound, once the reading gets there.
    GtzanKerasError
        `sample_rate` is out of range.

    Examples
    --------
    >>> import numpy as np, soundfile, tempfile, os
    >>> from gtzan_keras.audio.decode import stream_audio
    >>> path = os.path.join(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, np.sin(np.arange(44100 * 25) / 20), 44100)
    >>> sum(len(block) for block in stream_audio(path, 22050))
    551250
    """
    _check_rate("stream_audio", sample_rate)
    path = _file(path)
    return _stream(_file_blocks(path), sample_rate, path)


def stream_array(
    samples: npt.NDArray[np.floating], native_rate: int, sample_rate: int, name: str = "array"
) -> Iterator[Audio]:
    """What `stream_audio` would give for a file of these samples.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,) or (n, channels)]
        Floating-point samples, within -1..1.
    native_rate : int > 0 [Hz]
        Their rate.
    sample_rate : int > 0 [Hz]
        Sample rate of the result.
    name : str
        What errors call it.

    Yields
    ------
    np.ndarray [shape=(n,), dtype=float32]

    Raises
    ------
    AudioError
        There are too few samples, or some are NaN or infinite.
    GtzanKerasError
        The array is of another type or shape, or a rate is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.audio.decode import stream_array
    >>> [len(block) for block in stream_array(np.zeros((88200, 2)), 44100, 44100)]
    [88200]
    """
    _check_rate("stream_array", sample_rate)
    _check_rate("stream_array", native_rate)
    if samples.ndim not in (1, 2) or not np.issubdtype(samples.dtype, np.floating):
        raise GtzanKerasError(
            f"{name}: samples are {samples.dtype} of shape {samples.shape}; expected floating-point numbers "
            "within -1..1 of shape (n,) or (n, channels); divide 16-bit integers by 32768"
        )
    if samples.ndim == 2 and samples.shape[1] > max(samples.shape[0], 1):
        raise GtzanKerasError(
            f"{name}: samples of shape {samples.shape} would be {samples.shape[1]} channels; expected (n, "
            "channels): transpose what librosa gives"
        )
    step = round(_BLOCK_SECONDS * native_rate)
    blocks = (samples[start : start + step] for start in range(0, max(1, len(samples)), step))
    return _stream(((native_rate, block.astype(np.float32)) for block in blocks), sample_rate, Path(name))


def _check_rate(function: str, sample_rate: int) -> None:
    if not 0 < sample_rate < math.inf:
        raise GtzanKerasError(f"{function}: sample_rate is {sample_rate}; expected a number of Hz above 0")


def _file(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is there, may be read, and holds something."""
    path = Path(path)
    try:
        if not path.is_file():
            raise AudioError(path, "not a file" if path.exists() else "no such file")
        with path.open("rb") as file:  # tells what libsndfile calls a "System error"
            if not file.read(1):
                raise AudioError(path, "the file is empty (0 bytes)")
    except OSError as error:
        raise AudioError(path, f"cannot be opened ({error.strerror})") from error
    return path


def _mono(samples: npt.NDArray[np.float32], path: Path) -> Audio:
    if samples.ndim == 2:
        with np.errstate(all="ignore"):  # infinities of both signs, which are refused just below
            samples = samples.mean(axis=1)
    if not np.isfinite(samples).all():
        raise AudioError(path, "holds NaN or infinite samples")
    return samples


def _stream(
    blocks: Iterable[tuple[int, npt.NDArray[np.float32]]], sample_rate: int, path: Path
) -> Iterator[Audio]:
    """Blocks with their native rate to mono blocks at `sample_rate`."""
    import soxr

    frames, native_rate, resampler = 0, sample_rate, None
    for native_rate, block in blocks:
        if native_rate != sample_rate and resampler is None:
            resampler = soxr.ResampleStream(native_rate, sample_rate, 1, dtype="float32", quality="HQ")
        frames += len(block)
        mono = _mono(block, path)
        yield np.ascontiguousarray(mono) if resampler is None else resampler.resample_chunk(mono)
    if frames < max(1, round(MINIMUM_SECONDS * native_rate)):
        found = f"{frames / native_rate:.2f} s of sound"
        raise AudioError(path, f"too short: {found}, at least {MINIMUM_SECONDS:g} s needed")
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _decode(path: Path, duration: float | None, offset: float) -> tuple[npt.NDArray[np.float32], int]:
    """Samples as (frames,) or (frames, channels) float32, and their native rate in Hz."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            _refuse_raw(file)
            rate = file.samplerate
            file.seek(min(round(offset * rate), file.frames))
            frames = -1 if duration is None else round(duration * rate)
            return file.read(frames, dtype="float32"), rate
    except Exception as error:  # also TypeError for *.raw, MemoryError where a header lies about the length
        first_reason = _reason(error)
    try:
        return _audioread(path, duration, offset)
    except Exception as error:  # every backend of audioread raises its own kind
        raise AudioError(path, f"not readable as sound ({first_reason})") from error


def _file_blocks(path: Path) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """A file's native rate in Hz and blocks of samples (frames, channels)."""
    import soundfile

    position = 0
    try:
        with soundfile.SoundFile(path) as file:
            _refuse_raw(file)
            # It would seek to where it is after every read, at which MP3 loses half a frame of sound.
            file.seekable = lambda: False
            rate = file.samplerate
            while len(block := file.read(round(_BLOCK_SECONDS * rate), dtype="float32", always_2d=True)):
                position += len(block)
                yield rate, block
            if not position:
                yield rate, block
            return
    except Exception as error:
        first_reason = _reason(error)
    try:
        for rate, block in _audioread_blocks(path, _BLOCK_SECONDS):
            skipped = min(position, len(block))  # what libsndfile could read before it failed
            position -= skipped
            yield rate, block[skipped:]
    except Exception as error:
        raise AudioError(path, f"not readable as sound ({first_reason})") from error


def _refuse_raw(file: Any) -> None:
    if file.format == "RAW":  # libsndfile takes any *.au without a header for telephone sound
        raise ValueError("Format not recognised")


def _reason(error: Exception) -> str:
    """What libsndfile says is wrong."""
    reason = str(error).split(": ")[-1].rstrip(".") or type(error).__name__
    if "not a regular file" in reason:  # so it says of an *.mp3 without MP3 in it
        return "Format not recognised"
    return reason


def _audioread(path: Path, duration: float | None, offset: float) -> tuple[npt.NDArray[np.float32], int]:
    """The part of a file that is asked for, and its rate in Hz, by audioread."""
    position, pieces = 0, []
    for rate, block in _audioread_blocks(path):
        start = round(offset * rate)
        stop = None if duration is None else start + round(duration * rate)
        pieces.append(block[max(0, start - position) : None if stop is None else max(0, stop - position)])
        position += len(block)
        if stop is not None and position >= stop:
            break
    return np.concatenate(pieces), rate


def _audioread_blocks(path: Path, seconds: float = 0.0) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Rate and blocks of at least so long from what audioread finds (ffmpeg, GStreamer, Core Audio), for M4A.

    At the end a shorter one, which may be empty.
    """
    import audioread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports aifc and sunau at the first file
        opened = audioread.audio_open(os.fspath(path))
    with opened as file:
        rate, channels = file.samplerate, file.channels
        held, frame = bytearray(), 2 * channels

        def taken() -> npt.NDArray[np.float32]:
            whole = len(held) // frame * frame
            integers = np.frombuffer(bytes(held[:whole]), dtype="<i2").reshape(-1, channels)
            del held[:whole]
            return integers.astype(np.float32) / np.float32(32768)

        for buffer in file:
            held += buffer
            if len(held) >= max(frame, seconds * rate * frame):
                yield rate, taken()
        yield rate, taken()
