"""Decode sound files: any file in, mono float32 out, one exception type for all that can go wrong."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError

if TYPE_CHECKING:
    import av

__all__ = [
    "AUDIO_SUFFIXES",
    "MINIMUM_SECONDS",
    "SILENCE",
    "SILENT",
    "AudioError",
    "load_audio",
    "stream_array",
    "stream_audio",
]

AUDIO_SUFFIXES = (
    ".wav", ".au", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".aifc", ".snd", ".w64", ".caf", ".oga",
    ".opus", ".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".wv", ".mp2",
)  # fmt: skip
"""Suffixes of the files that are found in folders; `load_audio` itself goes by a file's content."""

MINIMUM_SECONDS = 1.0
"""Files with less sound than this are refused as too short."""

SILENCE = 2.0**-16
"""Sound whose samples are all smaller is silent [1 is full scale]: half a 16-bit step."""

SILENT = "silent: every sample is below half a 16-bit step"
"""The reason for which silent sound is refused."""

_LOUDEST = 2.0**40  # louder samples overflow in float32 when they are squared and summed
_RATES = (1_000, 768_000)  # Hz
_MAXIMUM_CHANNELS = 64
_TOLERANCE = 0.1  # s: encoders pad, and round the lengths that they declare

_STREAM_SECONDS = 10.0  # decoded at a time: long enough for NumPy, short enough for any memory
_WHOLE_SECONDS = 60.0  # for whole files: most clips need no joining
_BLOCK_SAMPLES = 2**23  # in all channels: limits the memory that a false header can claim

# soundfile opens files that begin with these; its MP3 decoder would print to the terminal.
_SOUNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b".snd", b"dns.", b"FORM", b"fLaC", b"caff")
# FFmpeg demuxers: without a list it follows playlists and takes text and images for media.
_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tta,"
    "w64,wav,wv"
)
# Those whose duration is not an estimate; an MP3 file may declare one in its first frame.
_DECLARING = {"asf", "caf", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "ogg", "tta", "wv"}
# The frame of an MP3 file that holds no sound but a count of frames, after its side information.
_XING_FRAME = re.compile(
    rb"(?s)\xff[\xe0-\xff]..(?:.{9}|.{17}|.{32})(?:Xing|Info)...[\x01\x03\x05\x07\x09\x0b\x0d\x0f](.{4})"
)
# libsndfile's log of a chunk that is longer than the file: WAV, AIFF, AU, W64, RF64.
_CUT_CHUNK = re.compile(r"(?m)^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)")

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


def is_sound(name: str) -> bool:
    """Return whether a file has the name of a sound; hidden files (macOS's ``._`` files) do not count."""
    return name.lower().endswith(AUDIO_SUFFIXES) and not name.startswith(".")


def load_audio(
    path: str | os.PathLike[str], sample_rate: int, duration: float | None = None
) -> npt.NDArray[np.float32]:
    """Read a sound file as mono float32 at a given sample rate.

    soundfile decodes uncompressed files and FLAC, PyAV (which contains FFmpeg) everything else. Channels
    are averaged. soxr resamples at its "HQ" quality, the one librosa uses by default.

    Parameters
    ----------
    path : str or os.PathLike
        The sound file.
    sample_rate : int > 0 [Hz]
        Sample rate of the result.
    duration : float > 0 [seconds], optional
        Read at most this much; everything by default. A file that ends earlier gives less. It may be
        less than `MINIMUM_SECONDS`.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
        The samples, within -1..1 for integer formats.

    Raises
    ------
    AudioError
        The file is missing, empty, not sound, damaged, shorter than it declares or than
        `MINIMUM_SECONDS`, has an implausible sample rate or number of channels, or holds NaN or infinite
        samples. Damage after the requested part may not be detected.
    GtzanKerasError
        An argument is out of range.

    See Also
    --------
    gtzan_keras.log_mel : what usually comes next.
    stream_audio : the same samples block by block.

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
    seconds = math.inf if duration is None else duration
    if not seconds > 0:
        raise GtzanKerasError(
            f"load_audio: duration is {duration}; expected seconds above 0, or None for all"
        )
    path, magic = _file(path)
    blocks = _beginning(_decode(path, magic, min(seconds, _WHOLE_SECONDS)), seconds)
    rates, pieces = zip(*_checked(blocks, path, min(seconds, MINIMUM_SECONDS)), strict=True)
    samples = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    # At once: the same numbers as in a stream, in less time.
    return np.ascontiguousarray(resampled(samples, rates[0], sample_rate))


def stream_audio(path: str | os.PathLike[str], sample_rate: int) -> Iterator[Audio]:
    """Read a sound file block by block, as mono float32 at a given sample rate.

    The joined blocks are what `load_audio` returns for the whole file. Memory does not depend on its
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
        As `load_audio`. An error in the sound itself is raised when reading reaches it.
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
    path, magic = _file(path)
    return _stream(_decode(path, magic, _STREAM_SECONDS), sample_rate, path)


def stream_array(samples: npt.NDArray[np.floating], native_rate: int, sample_rate: int) -> Iterator[Audio]:
    """Yield what `stream_audio` would yield for a file of these samples.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,) or (n, channels)]
        Floating-point samples, within -1..1.
    native_rate : int > 0 [Hz]
        Their rate.
    sample_rate : int > 0 [Hz]
        Sample rate of the result.

    Yields
    ------
    np.ndarray [shape=(n,), dtype=float32]

    Raises
    ------
    AudioError
        There are too few samples, or some are NaN or infinite.
    GtzanKerasError
        The array has another type or shape, or a rate is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.audio.decode import stream_array
    >>> [len(block) for block in stream_array(np.zeros((88200, 2)), 44100, 44100)]
    [88200]
    """
    for rate in (native_rate, sample_rate):
        _check_rate("stream_array", rate)
    channels_last = samples.ndim == 2 and samples.shape[1] <= max(samples.shape[0], 1)
    if not (samples.ndim == 1 or channels_last) or not np.issubdtype(samples.dtype, np.floating):
        raise GtzanKerasError(
            f"array: samples are {samples.dtype} of shape {samples.shape}; expected floating-point numbers "
            "within -1..1 of shape (n,) or (n, channels): transpose it, or divide 16-bit integers by 32768"
        )
    step = round(_STREAM_SECONDS * native_rate)
    starts = range(0, max(1, len(samples)), step)
    blocks = ((native_rate, _mono(samples[start : start + step].astype(np.float32))) for start in starts)
    return _stream(blocks, sample_rate, Path("array"))


def resampled(audio: npt.NDArray[Any], native_rate: int, sample_rate: int) -> npt.NDArray[Any]:
    """Return mono samples at another rate; refuse an array that is not one-dimensional."""
    if audio.ndim != 1:
        raise GtzanKerasError(f"audio of shape {audio.shape}: expected mono samples, shape (n,)")
    if native_rate == sample_rate:
        return audio
    import soxr

    return soxr.resample(audio, native_rate, sample_rate, quality="HQ")


def _check_rate(function: str, sample_rate: int) -> None:
    if not 0 < sample_rate < math.inf:
        raise GtzanKerasError(f"{function}: sample_rate is {sample_rate}; expected a number of Hz above 0")


def _file(path: str | os.PathLike[str]) -> tuple[Path, bytes]:
    """Return the path and the first bytes of a file that exists, may be read, and is not empty."""
    path = Path(path)
    try:
        if not path.is_file():
            raise AudioError(path, "not a file" if path.exists() else "no such file")
        with path.open("rb") as file:  # names the cause of what libsndfile calls a "System error"
            magic = file.read(4)
    except OSError as error:
        raise AudioError(path, f"cannot be opened ({error.strerror})") from error
    if not magic:
        raise AudioError(path, "the file is empty (0 bytes)")
    return path, magic


def _mono(samples: npt.NDArray[np.float32], axis: int = 1) -> Audio:
    """Average the channels; samples that overflow become infinite, which `_checked` refuses."""
    if samples.ndim == 1:
        return samples
    with np.errstate(all="ignore"):
        return samples.mean(axis=axis)


def _beginning(blocks: Iterable[tuple[int, Audio]], seconds: float) -> Iterator[tuple[int, Audio]]:
    """Pass on blocks with their native rate until there are this many seconds."""
    position = 0
    for rate, block in blocks:
        wanted = round(min(seconds * rate, 2**62)) - position
        yield rate, block[:wanted]
        if wanted <= len(block):
            return
        position += len(block)


def _checked(
    blocks: Iterable[tuple[int, Audio]], path: Path, needed: float = MINIMUM_SECONDS
) -> Iterator[tuple[int, Audio]]:
    """Pass on blocks; refuse samples that are not finite, or too few."""
    frames = 0
    for native_rate, block in blocks:
        if not np.abs(block).max(initial=0) < _LOUDEST:  # also of NaN
            raise AudioError(path, "holds NaN or infinite samples, or some over 2^40")
        frames += len(block)
        yield native_rate, block
    if frames < max(1, round(needed * native_rate)):
        found = frames / native_rate
        raise AudioError(path, f"too short: {found:.2f} s of sound, at least {needed:g} s needed")


def _stream(blocks: Iterable[tuple[int, Audio]], sample_rate: int, path: Path) -> Iterator[Audio]:
    """Yield blocks at `sample_rate` from mono blocks with their native rate."""
    import soxr

    resampler = None
    for native_rate, block in _checked(blocks, path):
        if native_rate != sample_rate and resampler is None:
            resampler = soxr.ResampleStream(native_rate, sample_rate, 1, dtype="float32", quality="HQ")
        yield np.ascontiguousarray(block) if resampler is None else resampler.resample_chunk(block)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _decode(path: Path, magic: bytes, seconds: float) -> Iterator[tuple[int, Audio]]:
    """Yield a file's native rate in Hz and mono blocks of about `seconds`, at least one, even if empty."""
    import soundfile

    reason = "Format not recognised"
    if magic in _SOUNDFILE_MAGIC:
        try:
            # soundfile encodes text itself, and cannot encode names that are not UTF-8.
            opened = soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path)
        except TypeError:  # "*.raw", which soundfile never opens by content
            pass
        except soundfile.LibsndfileError as error:
            reason = error.error_string.rstrip(".")
            if "SF_INFO" in reason:  # libsndfile's words for it
                reason = "no plausible sample rate or number of channels in its header"
        else:
            with opened:
                if opened.frames < 2**62:  # else it is FLAC without a length, and soundfile fails to seek
                    yield from _decode_with_soundfile(opened, path, seconds)
                    return
    yield from _join(_decode_with_av(path, reason), seconds)


def _decode_with_soundfile(file: Any, path: Path, seconds: float) -> Iterator[tuple[int, Audio]]:
    from soundfile import LibsndfileError

    rate, frames, position = file.samplerate, file.frames, 0
    _check_format(path, rate, file.channels)
    for said, found in _CUT_CHUNK.findall(file.extra_info):
        if int(said) < 2**31 - 2**16:  # larger: not known when the header was written
            _check_length(path, frames / rate, frames / rate * int(said) / max(1, int(found)))
    step = _step(rate, file.channels, seconds)
    while True:
        wanted = min(step, frames - position)
        try:
            block = file.read(wanted, dtype="float32")
        except LibsndfileError as error:
            raise _damaged(path, max(0, file.tell()) / rate, error.error_string) from error
        position += len(block)
        yield rate, _mono(block)
        if len(block) < wanted or position >= frames:
            break
    _check_length(path, position / rate, frames / rate)


def _decode_with_av(path: Path, reason: str) -> Iterator[av.AudioFrame]:
    """Yield the frames of the first audio stream that FFmpeg finds."""
    import av

    refused = AudioError(path, f"not readable as sound ({reason})")
    # PyAV 19 reads tags in any encoding; earlier versions must be told to ignore errors.
    tags = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}
    try:  # "file:", because FFmpeg takes names such as "concat:" for protocols
        opened = av.open(f"file:{path}", options={"format_whitelist": _DEMUXERS}, **tags)
    except av.FFmpegError as error:
        raise refused from error
    with opened as container:
        if not container.streams.audio:
            raise AudioError(path, "holds no sound")
        stream = container.streams.audio[0]
        rate, position, start = 0, 0, None
        failure: Any = None
        try:
            for packet in container.demux(stream):
                start = packet.pos if start is None else start
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    failure = error  # harmless before and after all sound, as in tags; in between it is a gap
                    continue
                for frame in frames:
                    if failure is not None and position:
                        raise _damaged(path, position / rate, failure.strerror)
                    if rate not in (0, frame.sample_rate):
                        raise _damaged(path, position / rate, f"its rate becomes {frame.sample_rate} Hz")
                    failure, rate = None, frame.sample_rate
                    _check_format(path, rate, frame.layout.nb_channels)
                    if frame.format.name.startswith("s64"):  # NumPy arrays of it cannot be made
                        raise AudioError(path, "has samples of 64-bit integers; convert it to 32 bits")
                    yield frame
                    position += frame.samples
        except av.FFmpegError as error:  # where FFmpeg cannot go on
            raise (_damaged(path, position / rate, error.strerror) if rate else refused) from error
        if not rate:
            raise refused from failure
        _check_length(path, position / rate, _declared_seconds(container, stream, path, start or 0, rate))
        if container.format.name == "ogg" and not _last_page_is_whole(path):
            raise _damaged(path, position / rate, "the last page is cut off")


def _join(frames: Iterable[av.AudioFrame], seconds: float) -> Iterator[tuple[int, Audio]]:
    """Join frames into mono blocks of about `seconds`, with their rate."""
    import av

    for _, alike in groupby(frames, key=lambda frame: (frame.format.name, frame.layout.name)):
        fifo = av.AudioFifo()
        for frame in alike:
            frame.pts = None
            fifo.write(frame)
            if fifo.samples >= _step(frame.sample_rate, frame.layout.nb_channels, seconds):
                yield _block(fifo)
        if fifo.samples:
            yield _block(fifo)


def _block(fifo: av.AudioFifo) -> tuple[int, Audio]:
    """Empty a fifo; return the rate of its samples and the mean of their channels."""
    frame = fifo.read()
    samples = frame.to_ndarray()  # (channels, n), or (1, n * channels)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind in "iu":
        half = np.float32(2 ** (8 * samples.itemsize - 1))
        samples = samples / half - np.float32(samples.dtype.kind == "u")
    return frame.sample_rate, _mono(samples.astype(np.float32, copy=False), axis=0)


def _step(rate: int, channels: int, seconds: float) -> int:
    return max(1, min(round(seconds * rate), _BLOCK_SAMPLES // channels))


def _declared_seconds(container: Any, stream: Any, path: Path, start: int, rate: int) -> float | None:
    """Return the length that a file gives for its sound; None where that is unknown or an estimate."""
    most = math.inf
    if container.format.name == "mp3":
        with path.open("rb") as file:
            file.seek(max(0, start - 4096))
            xing = _XING_FRAME.search(file.read(min(start, 4096)))
        if xing is None:
            return None
        most = int.from_bytes(xing[1], "big") * (1152 if rate >= 32000 else 576) / rate
    elif container.format.name not in _DECLARING:
        return None
    if stream.duration is not None:
        return min(most, float(stream.duration * stream.time_base))
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration / 1e6)
    return None


def _last_page_is_whole(path: Path) -> bool:
    """Whether an Ogg file ends where its last page says (a page has at most 65,307 bytes)."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2**17))
        end = file.read()
    page = end[max(0, end.rfind(b"OggS")) :]
    header = 27 + page[26] if len(page) > 26 else 27
    return len(page) >= header + sum(page[27:header])


def _check_format(path: Path, rate: int, channels: int) -> None:
    (lowest, highest), most = _RATES, _MAXIMUM_CHANNELS
    if not (lowest <= rate <= highest and 1 <= channels <= most):
        expected = f"{lowest} to {highest} Hz and 1 to {most} channels"
        raise AudioError(path, f"{rate} Hz and {channels} channels are not plausible; expected {expected}")


def _check_length(path: Path, seconds: float, declared: float | None) -> None:
    if declared is not None and seconds < declared - _TOLERANCE:
        raise AudioError(path, f"damaged: ends at {seconds:.2f} s; its header declares {declared:.2f} s")


def _damaged(path: Path, seconds: float, words: str) -> AudioError:
    words = words.removeprefix("Error : ").strip(".")
    return AudioError(path, f"damaged: cannot be decoded at {seconds:.2f} s ({words})")
