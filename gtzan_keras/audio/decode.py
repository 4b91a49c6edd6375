"""Sound files as arrays: any file in, mono float32 out, one exception type for all that can go wrong."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError

__all__ = ["MINIMUM_SECONDS", "AudioError", "load_audio"]

MINIMUM_SECONDS = 1.0
"""Files with less sound than this hold nothing to classify and are refused as too short."""


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

    Examples
    --------
    >>> import numpy as np, soundfile, tempfile, os
    >>> from gtzan_keras import load_audio
    >>> path = os.path.join(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, np.sin(np.arange(44100) / 20).repeat(2), 44100)
    >>> load_audio(path, 22050).shape
    (44100,)
    """
    if not 0 < sample_rate < math.inf:
        raise GtzanKerasError(f"load_audio: sample_rate is {sample_rate}; expected a number of Hz above 0")
    if duration is not None and not 0 < duration < math.inf:
        raise GtzanKerasError(
            f"load_audio: duration is {duration}; expected seconds above 0, or None for all"
        )
    if not 0 <= offset < math.inf:
        raise GtzanKerasError(f"load_audio: offset is {offset}; expected seconds from 0 up")
    path = Path(path)
    try:
        if not path.is_file():
            raise AudioError(path, "not a file" if path.exists() else "no such file")
        with path.open("rb") as file:  # tells what libsndfile calls a "System error"
            if not file.read(1):
                raise AudioError(path, "the file is empty (0 bytes)")
    except OSError as error:
        raise AudioError(path, f"cannot be opened ({error.strerror})") from error

    samples, native_rate = _decode(path, duration, offset)
    if samples.ndim == 2:
        with np.errstate(all="ignore"):  # infinities of both signs, which are refused just below
            samples = samples.mean(axis=1)
    if not np.isfinite(samples).all():
        raise AudioError(path, "holds NaN or infinite samples")
    needed = MINIMUM_SECONDS if duration is None else min(duration, MINIMUM_SECONDS)
    if len(samples) < max(1, round(needed * native_rate)):
        found = f"{len(samples) / native_rate:.2f} s of sound" + (f" after {offset:g} s" if offset else "")
        raise AudioError(path, f"too short: {found}, at least {needed:g} s needed")
    if native_rate != sample_rate:
        import soxr

        samples = soxr.resample(samples, native_rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(samples, dtype=np.float32)


def _decode(path: Path, duration: float | None, offset: float) -> tuple[npt.NDArray[np.float32], int]:
    """Samples as (frames,) or (frames, channels) float32, and their native rate in Hz."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            if file.format == "RAW":  # libsndfile takes any *.au without a header for telephone sound
                raise ValueError("Format not recognised")
            rate = file.samplerate
            file.seek(min(round(offset * rate), file.frames))
            frames = -1 if duration is None else round(duration * rate)
            return file.read(frames, dtype="float32"), rate
    except Exception as error:  # also TypeError for *.raw, MemoryError where a header lies about the length
        first_reason = str(error).split(": ")[-1].rstrip(".") or type(error).__name__
        if "not a regular file" in first_reason:  # so says libsndfile of an *.mp3 without MP3 in it
            first_reason = "Format not recognised"
    try:
        return _audioread(path, duration, offset)
    except Exception as error:  # every backend of audioread raises its own kind
        raise AudioError(path, f"not readable as sound ({first_reason})") from error


def _audioread(path: Path, duration: float | None, offset: float) -> tuple[npt.NDArray[np.float32], int]:
    """Decode with whatever audioread finds (ffmpeg, GStreamer, Core Audio), for M4A and the like."""
    import audioread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports aifc and sunau at the first file
        opened = audioread.audio_open(os.fspath(path))
    with opened as file:
        rate, channels = file.samplerate, file.channels
        start = round(offset * rate) * channels
        stop = None if duration is None else start + round(duration * rate) * channels
        position, pieces = 0, []
        for buffer in file:
            block = np.frombuffer(buffer, dtype="<i2")
            pieces.append(block[max(0, start - position) : None if stop is None else max(0, stop - position)])
            position += len(block)
            if stop is not None and position >= stop:
                break
    joined = np.concatenate(pieces) if pieces else np.zeros(0, dtype="<i2")
    samples = joined.astype(np.float32) / np.float32(32768)
    return samples.reshape(-1, channels), rate
