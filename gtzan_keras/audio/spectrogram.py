"""Log-mel spectrograms as arrays and images, from one frozen description of the analysis."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, Self

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError

__all__ = ["SPECTROGRAM_SPECS", "SpectrogramSpec", "log_mel", "mel_image", "segments"]

Audio = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

LARGEST = 2**26
"""Upper limit of the numbers in a sample or its analysis; a spec may come from an untrusted file."""

CLIP_SECONDS, CLIP_SLACK = 30.0, 1.0
"""A clip of a spec that names no length: GTZAN's are 29.98 to 30.65 s [seconds]."""

AVERAGED_FRAMES = 387  # "average" makes its columns from these: the width of librosa-128x387
_BLOCK_SAMPLES = 2**18  # transformed at a time: the working set fits the processor's cache


class Spec:
    """Base of the frozen dataclasses that describe a store's samples."""

    name: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]  # each subclass is a dataclass

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Make a spec from `to_dict`; an unknown field is an error, a missing one has its default."""
        known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(fields) - known)
        if unknown or "name" not in fields:
            problem = f"unknown field(s) {', '.join(unknown)}" if unknown else "no field 'name'"
            raise GtzanKerasError(f"{cls.__name__}: {problem}; expected {', '.join(sorted(known))}")
        return cls(**fields)

    def difference(self, other: Spec) -> str:
        """Return the fields in which two specs differ, for messages; "" when they are equal."""
        mine, theirs = self.to_dict(), other.to_dict()
        return ", ".join(
            f"{field}: {mine[field]!r} against {theirs.get(field)!r}"
            for field in mine
            if mine[field] != theirs.get(field)
        )

    def _check_whole_numbers(self, *fields: str) -> None:
        for field in fields:
            value = getattr(self, field)
            if type(value) is not int or value < 1:
                self._refuse(field, "a whole number above 0")

    def _check_size(self, field: str, other: str) -> None:
        if getattr(self, field) * getattr(self, other) > LARGEST:
            self._refuse(field, f"at most {LARGEST} / {other}, which is {getattr(self, other)}")

    def _refuse(self, field: str, expected: str) -> NoReturn:
        raise GtzanKerasError(f"spec {self.name!r}: {field} is {getattr(self, field)!r}; expected {expected}")


@dataclass(frozen=True, kw_only=True)
class SpectrogramSpec(Spec):
    """Describe how sound becomes an image. Stores and models fit together when their specs are equal.

    Parameters
    ----------
    name : str
        Its name in tables.
    sample_rate : int > 0 [Hz]
        Sound is resampled to this first.
    n_fft, window_length, hop_length : int > 0 [samples]
        FFT length; length of the periodic Hann window, centred in it; step between frames.
    n_mels : int > 0
        Bands, from 0 Hz to half the sample rate, on Slaney's mel scale with Slaney's normalisation
        (librosa's defaults).
    db_range : float > 0 [dB]
        Range of the image below its loudest point; everything quieter is the floor.
    clip_seconds : float > 0 [seconds] or None
        A track is padded with silence or cut to this length. None keeps the length of a clip like GTZAN's,
        29 to 31 s; other tracks become 30 s.
    segment_seconds, segment_hop_seconds : float > 0 [seconds] or None
        If given, a clip is cut into segments of this length, one starting every hop.
    height, width : int > 0 [pixels]
        Size of the image.
    fit : "resize", "sample", "average" or "pad"
        How bands and frames become rows and columns: by bilinear interpolation; by taking whole frames
        at even distances; by averaging blocks of the 387 frames that "sample" would take; by cutting
        frames off at the end, or adding frames at the floor.
    floor : "range" or "track"
        What 0 in the image means: `db_range` below the loudest point, or the quietest point of the
        track.
    channels : 1 or 3
        Grey levels, or colours from `colour_map`.
    colour_map : str or None
        A Matplotlib colour map for three channels.
    from_audio : bool
        False for imported images, whose analysis is unknown: models can be trained on them, but sound
        cannot be turned into such images.

    Raises
    ------
    GtzanKerasError
        A field is out of range, or two fields contradict each other.

    Examples
    --------
    >>> from gtzan_keras import SPECTROGRAM_SPECS, SpectrogramSpec
    >>> SPECTROGRAM_SPECS["arrigo-v1"].shape
    (416, 416, 1)
    >>> SpectrogramSpec(name="small", n_mels=64, height=64, width=96).hop_length
    512
    """

    name: str
    sample_rate: int = 22050
    n_fft: int = 2048
    window_length: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    db_range: float = 80.0
    clip_seconds: float | None = 30.0
    segment_seconds: float | None = None
    segment_hop_seconds: float | None = None
    height: int = 128
    width: int = 128
    fit: Literal["resize", "sample", "average", "pad"] = "resize"
    floor: Literal["range", "track"] = "range"
    channels: int = 1
    colour_map: str | None = None
    from_audio: bool = True

    def __post_init__(self) -> None:
        refuse = self._refuse
        self._check_whole_numbers(
            "sample_rate", "n_fft", "window_length", "hop_length", "n_mels", "height", "width"
        )
        self._check_size("n_fft", "n_mels")
        self._check_size("height", "width")
        for field in ("db_range", "clip_seconds", "segment_seconds", "segment_hop_seconds"):
            value = getattr(self, field)
            if value is None and field != "db_range":
                continue
            if not isinstance(value, (int, float)) or not 0 < value < math.inf:
                refuse(field, "a number above 0")
            if field != "db_range" and not 1 <= value * self.sample_rate <= LARGEST:
                refuse(field, f"1 to {LARGEST} samples of 1/{self.sample_rate} s")
        if self.window_length > self.n_fft:
            refuse("window_length", f"at most n_fft ({self.n_fft})")
        if self.fit not in ("resize", "sample", "average", "pad"):
            refuse("fit", "'resize', 'sample', 'average' or 'pad'")
        if self.floor not in ("range", "track"):
            refuse("floor", "'range' or 'track'")
        if self.fit == "average" and (self.n_mels % self.height or self.width > AVERAGED_FRAMES):
            refuse("fit", f"'resize': averages need n_mels divisible by height, width <= {AVERAGED_FRAMES}")
        if self.fit in ("sample", "pad") and self.height != self.n_mels:
            refuse("height", f"n_mels ({self.n_mels}), because fit={self.fit!r} does not scale the bands")
        if (self.segment_seconds is None) != (self.segment_hop_seconds is None):
            refuse("segment_hop_seconds", "a number if segment_seconds is one, else None")
        if self.channels not in (1, 3):
            refuse("channels", "1 (grey) or 3 (colour)")
        if self.from_audio and (self.colour_map is None) != (self.channels == 1):
            refuse("colour_map", "the name of a colour map for 3 channels, None for 1")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: (height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def piece_seconds(self) -> float | None:
        """Length of the sound in one image [seconds]; None if it varies by track."""
        return self.clip_seconds if self.segment_seconds is None else self.segment_seconds


SPECTROGRAM_SPECS: Mapping[str, SpectrogramSpec] = {
    spec.name: spec
    for spec in (
        SpectrogramSpec(
            name="arrigo-v1", n_fft=4096, window_length=1024, hop_length=512, n_mels=64,
            height=416, width=416,
        ),
        SpectrogramSpec(
            name="arrigo-v2", n_fft=4096, window_length=1024, hop_length=256, n_mels=128,
            height=640, width=640,
        ),
        SpectrogramSpec(name="malvezzi-rgb224", height=224, width=224, channels=3, colour_map="viridis"),
        SpectrogramSpec(
            name="malvezzi-pieces", height=224, width=224, channels=3, colour_map="viridis",
            segment_seconds=15.0, segment_hop_seconds=15.0,
        ),
        SpectrogramSpec(name="zhang-128", fit="pad"),
        SpectrogramSpec(
            name="uncu-segments", sample_rate=44100, clip_seconds=None,
            segment_seconds=4.0, segment_hop_seconds=2.0,
        ),
        SpectrogramSpec(name="librosa-128x387", clip_seconds=None, width=387, fit="sample", floor="track"),
        SpectrogramSpec(
            name="thumbnail-64", clip_seconds=None, height=64, width=64, fit="average", floor="track",
        ),
    )
}  # fmt: skip
"""The analyses of the five sources, and of the published spectrograms of 999 GTZAN tracks.

What a source leaves open is librosa's default. The image size of ``uncu-segments`` (128 x 128), the
colour map of ``malvezzi-rgb224`` and the segments of ``malvezzi-pieces`` are ours."""


def log_mel(audio: Audio, spec: SpectrogramSpec) -> npt.NDArray[np.float32]:
    """Compute the log-mel spectrogram of a clip or segment, in dB below its loudest point.

    The same numbers as ``librosa.power_to_db(librosa.feature.melspectrogram(...), ref=np.max)`` to
    within 1e-3 dB on real clips, in about half the time: frames are transformed in float32, in blocks
    that fit the cache. (Between pure tones, close to the floor, the difference may be 1e-2 dB.)

    Parameters
    ----------
    audio : np.ndarray [shape=(n,)]
        Mono samples at ``spec.sample_rate``. Padded with silence or cut to the spec's clip length
        (its segment length for a spec with segments).
    spec : SpectrogramSpec
        The analysis.

    Returns
    -------
    np.ndarray [shape=(n_mels, frames), dtype=float32, unit=dB]
        Low bands first, the loudest point 0, nothing below ``-spec.db_range``.

    Raises
    ------
    GtzanKerasError
        `audio` is not one-dimensional or is empty, or the spec describes imported images.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras import SPECTROGRAM_SPECS, log_mel
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(22050 * 30) / 22050).astype("float32")
    >>> spectrogram = log_mel(tone, SPECTROGRAM_SPECS["arrigo-v1"])
    >>> spectrogram.shape, float(spectrogram.max())
    ((64, 1292), 0.0)
    """
    import scipy.fft

    _check(audio, spec)
    samples = _pad_or_cut(audio, spec.piece_seconds, spec.sample_rate)
    padded = np.pad(samples, spec.n_fft // 2)  # frames are centred, with silence beyond both ends
    frames = np.lib.stride_tricks.sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    window, filters = hann_window(spec), mel_filters(spec)
    power = np.empty((spec.n_mels, len(frames)), dtype=np.float32)
    block = max(1, _BLOCK_SAMPLES // spec.n_fft)
    for start in range(0, len(frames), block):
        spectrum = scipy.fft.rfft(frames[start : start + block] * window, axis=1)
        energy = np.square(spectrum.real)
        energy += np.square(spectrum.imag)
        power[:, start : start + block] = filters @ energy.T
    np.maximum(power, 1e-10, out=power)  # librosa's smallest power
    decibels = 10 * np.log10(power)
    decibels -= decibels.max()
    return np.maximum(decibels, np.float32(-spec.db_range))


def mel_image(audio: Audio, spec: SpectrogramSpec) -> Image:
    """Compute the image of a clip or segment: its log-mel spectrogram scaled to 0..255.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,)]
        Mono samples at ``spec.sample_rate``.
    spec : SpectrogramSpec
        The analysis and the size of the image.

    Returns
    -------
    np.ndarray [shape=(height, width, channels), dtype=uint8]
        The lowest band is the bottom row; 255 is the loudest point. With three
        channels, the colours of ``spec.colour_map``.

    Raises
    ------
    GtzanKerasError
        As `log_mel`.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras import SPECTROGRAM_SPECS, mel_image
    >>> noise = np.random.default_rng(0).normal(size=22050 * 31).astype("float32")
    >>> mel_image(noise, SPECTROGRAM_SPECS["malvezzi-rgb224"]).shape
    (224, 224, 3)
    """
    decibels = log_mel(audio, spec)
    floor = decibels.min() if spec.floor == "track" else -spec.db_range
    scaled = (decibels - np.float32(floor)) / np.float32(-floor or 1)  # 0..1
    levels = fit_frames(scaled, spec)[::-1]
    if spec.fit in ("sample", "average"):  # 256 equal steps, as colour maps are looked up
        grey = np.minimum(levels * 256, 255).astype(np.uint8)
    else:
        grey = np.rint(levels * 255).astype(np.uint8)
    if spec.fit == "average":
        grey = block_means(grey, spec.height, spec.width)
    if spec.colour_map is None:
        return np.ascontiguousarray(grey[:, :, None])
    return coloured(grey, spec.colour_map)


def segments(audio: Audio, spec: SpectrogramSpec) -> list[Audio]:
    """Cut a track into segments, each of which becomes one image.

    A new segment starts every ``segment_hop_seconds`` as long as there is sound that the previous one
    does not contain; the last is padded with silence. Segments of 4 s every 2 s give the 13,490 segments
    of Uncu's 900 tracks.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,)]
        Mono samples at ``spec.sample_rate``.
    spec : SpectrogramSpec
        A spec without segments gives the clip as the only segment.

    Returns
    -------
    list of np.ndarray
        At least one, each ``spec.piece_seconds`` long if that is fixed, else 29 to 31 s.

    Raises
    ------
    GtzanKerasError
        As `log_mel`.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras import SPECTROGRAM_SPECS
    >>> from gtzan_keras.audio.spectrogram import segments
    >>> clip = np.zeros(661_794 * 2, dtype="float32")
    >>> len(segments(clip, SPECTROGRAM_SPECS["uncu-segments"]))
    15
    """
    _check(audio, spec)
    clip = _pad_or_cut(audio, spec.clip_seconds, spec.sample_rate)
    if spec.segment_seconds is None or spec.segment_hop_seconds is None:
        own = spec.clip_seconds is None and abs(len(clip) / spec.sample_rate - CLIP_SECONDS) <= CLIP_SLACK
        return [clip if own else _pad_or_cut(clip, spec.clip_seconds or CLIP_SECONDS, spec.sample_rate)]
    length = round(spec.segment_seconds * spec.sample_rate)
    hop = round(spec.segment_hop_seconds * spec.sample_rate)
    starts = range(0, max(1, len(clip) - max(0, length - hop)), hop)
    return [_pad_or_cut(clip[start:], spec.segment_seconds, spec.sample_rate) for start in starts]


def coloured(grey: Image, colour_map: str) -> Image:
    """Return a grey image (height, width) in the colours of a Matplotlib colour map (height, width, 3)."""
    return colours(colour_map)[grey]


def block_means(image: Image, height: int, width: int) -> Image:
    """Return a smaller image: the rounded mean of each block of pixels.

    Parameters
    ----------
    image : np.ndarray [shape=(rows, columns), dtype=uint8]
    height, width : int > 0 [pixels]
        At most rows and columns; blocks differ by one row or column where these do not divide evenly.

    Returns
    -------
    np.ndarray [shape=(height, width), dtype=uint8]

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.audio.spectrogram import block_means
    >>> block_means(np.array([[0, 10, 20, 90], [20, 10, 20, 90]], dtype="uint8"), 1, 2).tolist()
    [[10, 55]]
    """
    rows = np.arange(height + 1) * image.shape[0] // height
    columns = np.arange(width + 1) * image.shape[1] // width
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), rows[:-1], axis=0), columns[:-1], axis=1)
    return np.rint(sums / np.outer(np.diff(rows), np.diff(columns))).astype(np.uint8)


def scaled(images: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Return images of 0..255 as a network takes them, in 0..1."""
    return np.multiply(images, np.float32(1 / 255), dtype=np.float32)


def _check(audio: Audio, spec: SpectrogramSpec) -> None:
    if not spec.from_audio:
        raise GtzanKerasError(
            f"spec {spec.name!r} describes imported images, whose analysis is unknown: sound cannot be "
            "turned into them; preprocess the audio with one of SPECTROGRAM_SPECS instead"
        )
    if audio.ndim != 1 or not len(audio):
        raise GtzanKerasError(f"audio of shape {audio.shape}: expected mono samples, shape (n,) with n > 0")


def _pad_or_cut(audio: Audio, seconds: float | None, sample_rate: int) -> Audio:
    audio = audio.astype(np.float32, copy=False)
    if seconds is None:
        return audio
    length = round(seconds * sample_rate)
    return np.pad(audio[:length], (0, max(0, length - len(audio))))


def fit_frames(levels: npt.NDArray[np.float32], spec: SpectrogramSpec) -> npt.NDArray[np.float32]:
    bands, frames = levels.shape
    if spec.fit == "pad":
        return np.pad(levels, ((0, 0), (0, max(0, spec.width - frames))))[:, : spec.width]
    if spec.fit in ("sample", "average"):
        width = AVERAGED_FRAMES if spec.fit == "average" else spec.width
        # The frame under the middle of each pixel, of an image half a pixel wider than kept: what
        # Matplotlib drew into 387.5 pixels for the images that this reproduces. Integers, so that
        # ties are rounded as they were there.
        pixels = np.arange(width)
        return levels[:, -(-(2 * pixels + 1) * frames // (2 * width + 1)) - 1]
    if (bands, frames) == (spec.height, spec.width):
        return levels
    from PIL import Image as PillowImage

    resized = PillowImage.fromarray(levels).resize((spec.width, spec.height), PillowImage.Resampling.BILINEAR)
    return np.asarray(resized)


@functools.lru_cache(maxsize=8)
def hann_window(spec: SpectrogramSpec) -> npt.NDArray[np.float32]:
    """Return a periodic Hann window in the middle of n_fft samples."""
    from librosa.util import pad_center

    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window_length) / spec.window_length)
    return pad_center(hann, size=spec.n_fft).astype(np.float32)


@functools.lru_cache(maxsize=8)
def mel_filters(spec: SpectrogramSpec) -> Any:
    """Return the filter bank (band, FFT bin), sparse: each bin belongs to at most two bands."""
    import scipy.sparse
    from librosa.filters import mel

    return scipy.sparse.csr_matrix(mel(sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels))


@functools.lru_cache(maxsize=8)
def colours(name: str) -> Image:
    """Return the 256 colours of a Matplotlib colour map (256, 3)."""
    import matplotlib

    if name not in matplotlib.colormaps:
        raise GtzanKerasError(
            f"colour_map={name!r}: expected a name that Matplotlib knows, such as 'viridis'"
        )
    return matplotlib.colormaps[name](np.linspace(0, 1, 256), bytes=True)[:, :3]
