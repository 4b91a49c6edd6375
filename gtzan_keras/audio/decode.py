"""Sound files as arrays: any file in, mono float32 out, one exception type for all that can go wrong."""

from __future__ import annotations

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
    path = Path(path)
    if not path.is_file():
        raise AudioError(path, "no such file" if not path.exists() else "not a file")
    if path.stat().st_size == 0:
        raise AudioError(path, "the file is empty (0 bytes)")

    samples, native_rate = _decode(path, duration, offset)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    if not np.isfinite(samples).all():
        raise AudioError(path, "holds NaN or infinite samples")
    if len(samples) < MINIMUM_SECONDS * native_rate:
        seconds = len(samples) / native_rate
        raise AudioError(path, f"too short: {seconds:.2f} s of sound, at least {MINIMUM_SECONDS:g} s needed")
    if native_rate != sample_rate:
        import soxr

        samples = soxr.resample(samples, native_rate, sample_rate, quality="HQ")
    return np.ascontiguousarray(samples, dtype=np.float32)


def _decode(path: Path, duration: float | None, offset: float) -> tuple[npt.NDArray[np.float32], int]:
    """Samples as (frames,) or (frames, channels) float32, and their native rate in Hz."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(min(round(offset * rate), file.frames))
            frames = -1 if duration is None else round(duration * rate)
            return file.read(frames, dtype="float32"), rate
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        first_reason = str(error).split(": ")[-1].rstrip(".") or type(error).__name__
    try:
        return _audioread(path, duration, offset)
    except Exception as error:  # every backend of audioread raises its own kind
        raise AudioError(path, f"not readable as sound ({first_reason})") from error


def _audioread(path: Path, duration: float | None, offset: float) -> tuple[npt.NDArray[np.float32], int]:
    """Decode with whatever audioread finds (ffmpeg, GStreamer, Core Audio), for M4A and the like."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # audioread imports aifc and sunau
        import audioread

    with audioread.audio_open(os.fspath(path)) as file:
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
