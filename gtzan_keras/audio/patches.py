"""The front ends of two pretrained networks: VGGish's log-mel patches of 0.96 s, and musicnn's of 3 s."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gtzan_keras.audio.decode import resampled
from gtzan_keras.errors import GtzanKerasError

__all__ = [
    "BANDS",
    "FRAMES",
    "MUSICNN",
    "MUSICNN_BANDS",
    "MUSICNN_FRAMES",
    "SAMPLE_RATE",
    "VGGISH",
    "FrontEnd",
    "musicnn_patches",
    "patch_samples",
    "vggish_patches",
]

SAMPLE_RATE = 16000
"""Sample rate of both networks [Hz]."""
FRAMES = 96
"""Frames per patch, one every 10 ms."""
BANDS = 64
"""Mel bands, 125 to 7500 Hz."""
MUSICNN_FRAMES = 187
"""Frames per patch of musicnn, one every 16 ms: 3 s."""
MUSICNN_BANDS = 96
"""Mel bands of musicnn, 0 to 8000 Hz."""

_WINDOW = 400  # samples: 25 ms
_HOP = 160  # samples: 10 ms
_N_FFT = 512
_LOWEST, _HIGHEST = 125.0, 7500.0  # Hz
_LOG_OFFSET = 0.01
_BLOCK = 4  # patches at a time: the working set fits the processor's cache


def patch_samples(count: int) -> int:
    """Return the least number of samples that gives `count` patches: a window is 15 ms longer than a hop.

    Examples
    --------
    >>> from gtzan_keras.audio.patches import patch_samples
    >>> patch_samples(1), patch_samples(31)
    (15600, 476400)
    """
    return count * FRAMES * _HOP + _WINDOW - _HOP


def vggish_patches(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compute the log-mel patches of a sound, one every 0.96 s, that VGGish takes.

    Windows of 25 ms (periodic Hann) every 10 ms, from the first sample, without padding;
    magnitudes of a 512-point FFT; 64 triangular bands that are straight lines on the HTK mel scale,
    not normalised and without the DC bin; the natural logarithm of that plus 0.01. An incomplete
    patch at the end is dropped. Computed in float32: within 1e-4 of the reference, which uses
    float64.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,)]
        Mono samples at 16 kHz, within -1..1.

    Returns
    -------
    np.ndarray [shape=(patches, 96, 64), dtype=float32]
        Patch, frame, band; low bands first. 30 s give 31; less than 0.975 s gives none.

    Raises
    ------
    GtzanKerasError
        `audio` is not one-dimensional.

    See Also
    --------
    gtzan_keras.models.vggish_network : the network that takes them.

    References
    ----------
    Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017
    (arXiv:1609.09430). The definitions are those of ``vggish_input.py``, ``vggish_params.py`` and
    ``mel_features.py`` in https://github.com/tensorflow/models/tree/master/research/audioset.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.audio.patches import vggish_patches
    >>> vggish_patches(np.zeros(30 * 16000, dtype="float32")).shape
    (31, 96, 64)
    """
    import scipy.fft

    if audio.ndim != 1:
        raise GtzanKerasError(f"audio of shape {audio.shape}: expected mono samples at 16 kHz, shape (n,)")
    count = max(0, (len(audio) - patch_samples(0)) // (FRAMES * _HOP))
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)
    patches = np.empty((count, FRAMES, BANDS), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = patches[start : start + _BLOCK]
        piece = audio[start * FRAMES * _HOP :][: patch_samples(len(block))].astype(np.float32, copy=False)
        frames = np.lib.stride_tricks.sliding_window_view(piece, _WINDOW)[::_HOP]
        spectrum = scipy.fft.rfft(frames * window, _N_FFT)
        magnitude = np.sqrt(np.square(spectrum.real) + np.square(spectrum.imag))
        mel = (_filters() @ magnitude.T).T
        block[:] = np.log(mel + np.float32(_LOG_OFFSET)).reshape(block.shape)
    return patches


def musicnn_patches(
    audio: npt.NDArray[np.float32], sample_rate: int = SAMPLE_RATE
) -> npt.NDArray[np.float32]:
    """Return log-mel patches of a recording, one every 3 s, as musicnn takes them.

    librosa's mel spectrogram (512-point FFT, hop 256, 96 bands), then log10(10000 x + 1). The last patch is
    dropped where it would be incomplete.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,)]
        Mono samples within -1..1.
    sample_rate : int > 0 [Hz]
        Rate of `audio`; resampled (soxr, "HQ") if it is not 16 kHz.

    Returns
    -------
    np.ndarray [shape=(patches, 187, 96), dtype=float32]
        Patch, frame, band; low bands first. 30 s give 10; less than 2.98 s gives none.

    Raises
    ------
    GtzanKerasError
        `audio` is not one-dimensional.

    See Also
    --------
    gtzan_keras.models.musicnn : the network that takes them.

    References
    ----------
    Pons, Serra: "musicnn", 2019 (arXiv:1909.06654), and its ``extractor.py``, which rounds the spectrogram
    to float16; we do not.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.audio.patches import musicnn_patches
    >>> musicnn_patches(np.zeros(30 * 16000, dtype="float32")).shape
    (10, 187, 96)
    """
    from librosa.feature import melspectrogram

    samples = np.ascontiguousarray(resampled(audio, sample_rate, SAMPLE_RATE), dtype=np.float32)
    mel = melspectrogram(y=samples, sr=SAMPLE_RATE, n_fft=_N_FFT, hop_length=256, n_mels=MUSICNN_BANDS)
    frames = np.log10(np.float32(10000) * mel.T.astype(np.float32) + np.float32(1))
    count = len(frames) // MUSICNN_FRAMES
    return frames[: count * MUSICNN_FRAMES].reshape(count, MUSICNN_FRAMES, MUSICNN_BANDS)


class FrontEnd(NamedTuple):
    """How sound becomes a network's input.

    Parameters
    ----------
    name : str
        Name of the network.
    patches : callable
        Mono float32 samples at 16 kHz -> float32 (patches, frames, bands).
    samples : callable
        Number of patches -> how many samples they need.
    shape : (int, int)
        Frames and bands of a patch.
    per_clip : int
        Patches in 30 s.
    """

    name: str
    patches: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    samples: Callable[[int], int]
    shape: tuple[int, int]
    per_clip: int


VGGISH = FrontEnd("vggish", vggish_patches, patch_samples, (FRAMES, BANDS), 31)
MUSICNN = FrontEnd(
    "musicnn",
    musicnn_patches,
    lambda count: count * MUSICNN_FRAMES * 256,  # a frame is centred: half a window after the last hop
    (MUSICNN_FRAMES, MUSICNN_BANDS),
    10,
)


@functools.cache
def _filters() -> Any:
    """Return the filter bank (band, FFT bin), sparse: each bin belongs to at most two bands."""
    import scipy.sparse

    def mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 1127.0 * np.log1p(hertz / 700.0)

    bins = mel(np.linspace(0.0, SAMPLE_RATE / 2, _N_FFT // 2 + 1))
    lowest, highest = mel(np.array([_LOWEST, _HIGHEST]))
    edges = np.linspace(lowest, highest, BANDS + 2)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    weights[:, 0] = 0.0
    return scipy.sparse.csr_matrix(weights.astype(np.float32))
