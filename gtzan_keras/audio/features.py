"""Hand-crafted features: one row of numbers per track or segment, as in Kaggle's GTZAN table."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.decode import resampled
from gtzan_keras.errors import GtzanKerasError

__all__ = [
    "FEATURE_COLUMNS",
    "FEATURE_RATE",
    "MFCC_COLUMNS",
    "NON_MFCC_COLUMNS",
    "TABLE_COLUMNS",
    "correlation_filter",
    "extract",
]

_SERIES = (
    "chroma_stft", "rms", "spectral_centroid", "spectral_bandwidth", "rolloff", "zero_crossing_rate",
    "harmony", "perceptr",
)  # fmt: skip

NON_MFCC_COLUMNS = (*(f"{name}_{moment}" for name in _SERIES for moment in ("mean", "var")), "tempo")
"""The 17 features that are not MFCCs; the correlation filter looks at these."""

MFCC_COLUMNS = tuple(f"mfcc{number}_{moment}" for number in range(1, 21) for moment in ("mean", "var"))
"""Mean and variance of the 20 mel-frequency cepstral coefficients."""

FEATURE_COLUMNS = (*NON_MFCC_COLUMNS, *MFCC_COLUMNS)
"""The 57 features: everything in the table that describes the sound."""

TABLE_COLUMNS = ("filename", "length", *FEATURE_COLUMNS, "label")
"""The 60 columns of Kaggle's ``features_30_sec.csv``, in its order."""

FEATURE_RATE = 22050
"""The sample rate of the features [Hz]."""

_FRAME = 2048  # librosa's FFT length
_KERNEL = 31  # librosa's median filters for HPSS

# Kaggle's table was made with a librosa before 0.9, which mirrored the sound at both ends; today's pads
# with silence. Mirroring reproduces the table's numbers; docs/features.md has the measurements.
_PADDING = "reflect"

Audio = npt.NDArray[np.float32]
Array = npt.NDArray[np.float32]


def extract(audio: npt.NDArray[np.floating], sample_rate: int) -> dict[str, float]:
    """Compute the features of a clip or segment.

    Mean and variance, over frames or samples, of librosa's chroma, RMS, spectral centroid, bandwidth
    and rolloff, zero-crossing rate, harmonic and percussive part (``harmony``, ``perceptr``) and 20
    MFCCs, and the tempo, with librosa's defaults except that the ends are padded as by the librosa that
    made Kaggle's table. On GTZAN's files the numbers equal that table's.

    Parameters
    ----------
    audio : np.ndarray [shape=(n,)]
        Mono samples, at least 2048 at 22050 Hz.
    sample_rate : int > 0 [Hz]
        Their rate; sound at another rate is resampled to 22050 Hz first.

    Returns
    -------
    dict of str to float
        ``length`` [samples at 22050 Hz], then `FEATURE_COLUMNS`. Centroid, bandwidth and rolloff are
        in Hz, ``tempo`` in beats per minute (0 if there is no onset, as in silence), the MFCCs in dB.

    Raises
    ------
    GtzanKerasError
        `audio` is not one-dimensional, too short, or holds NaN or infinite samples.

    See Also
    --------
    gtzan_keras.store.feature_table.feature_table : the same for many tracks.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.audio.features import extract
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050).astype("float32")
    >>> features = extract(tone, 22050)
    >>> len(features), features["length"], round(features["rms_mean"], 1)
    (58, 22050, 0.7)
    """
    import librosa
    from librosa.onset import onset_strength

    samples = _checked(audio, sample_rate)
    rate = FEATURE_RATE
    magnitude, phase = librosa.magphase(librosa.stft(samples, pad_mode=_PADDING))
    power = magnitude**2
    decibels = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=rate))
    onsets = onset_strength(S=decibels, sr=rate, aggregate=np.median)
    harmonic, percussive = _harmonic_percussive(magnitude, phase, len(samples))
    with warnings.catch_warnings():  # no pitch, for example in silence
        warnings.filterwarnings("ignore", "Trying to estimate tuning from empty frequency set")
        chroma = librosa.feature.chroma_stft(S=power, sr=rate)
    series = {
        "chroma_stft": chroma,
        "rms": librosa.feature.rms(y=samples, pad_mode=_PADDING),
        "spectral_centroid": librosa.feature.spectral_centroid(S=magnitude, sr=rate),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(S=magnitude, sr=rate),
        "rolloff": librosa.feature.spectral_rolloff(S=magnitude, sr=rate),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(samples),
        "harmony": harmonic,
        "perceptr": percussive,
    }
    coefficients = librosa.feature.mfcc(S=decibels, n_mfcc=20)
    series.update((f"mfcc{number}", row) for number, row in enumerate(coefficients, start=1))
    features: dict[str, float] = {"length": len(samples)}
    for name, values in series.items():
        features[f"{name}_mean"] = float(values.mean())
        features[f"{name}_var"] = float(values.var())
    # Without an onset there is no beat: 0, as in librosa.beat.beat_track.
    tempo = librosa.feature.tempo(onset_envelope=onsets, sr=rate)[0] if onsets.any() else 0.0
    features["tempo"] = float(tempo)
    return {column: features[column] for column in ("length", *FEATURE_COLUMNS)}


def correlation_filter(table: pd.DataFrame, threshold: float = 0.8) -> tuple[list[str], list[str]]:
    """Drop features that correlate with an earlier one: the selection of the feature CNN report.

    Of any two features that are not MFCCs and whose correlation is at least `threshold` in absolute
    value, the later is dropped, whether or not the earlier is kept. On Kaggle's table this drops the
    six columns that the report lists and keeps its 51 inputs. All MFCCs are kept.

    Parameters
    ----------
    table : pd.DataFrame
        From `feature_table` or `load_feature_table`; only the training part, if there is a split.
    threshold : float in (0, 1]
        Smallest |r| that drops a feature.

    Returns
    -------
    kept, dropped : list of str
        Names of features, in the order of the table, without ``filename``, ``length`` and ``label``.

    Raises
    ------
    GtzanKerasError
        `threshold` is out of range.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.audio.features import correlation_filter
    >>> table = pd.DataFrame({"tempo": [1, 2, 3], "rms_mean": [2, 4, 7], "mfcc1_mean": [1, 2, 3]})
    >>> correlation_filter(table)
    (['tempo', 'mfcc1_mean'], ['rms_mean'])
    """
    if not 0 < threshold <= 1:
        raise GtzanKerasError(f"threshold={threshold!r}: expected 0 < threshold <= 1")
    features = [str(column) for column in table.select_dtypes("number") if column != "length"]
    others = [column for column in features if column not in MFCC_COLUMNS]
    earlier = np.triu(table[others].corr().abs().to_numpy(), k=1)
    dropped = [column for column, r in zip(others, earlier.T, strict=True) if (r >= threshold).any()]
    return [column for column in features if column not in dropped], dropped


def _checked(audio: npt.NDArray[np.floating], sample_rate: int) -> Audio:
    """Return valid samples at `FEATURE_RATE`."""
    samples = resampled(audio.astype(np.float32, copy=False), sample_rate, FEATURE_RATE)
    if not np.isfinite(samples).all():
        raise GtzanKerasError("audio holds NaN or infinite samples")
    if len(samples) < _FRAME:
        raise GtzanKerasError(
            f"audio of {len(samples)} samples at {FEATURE_RATE} Hz is too short; "
            f"features need at least {_FRAME} ({_FRAME / FEATURE_RATE:.2f} s)"
        )
    return samples


def _harmonic_percussive(
    magnitude: Array, phase: npt.NDArray[np.complex64], length: int
) -> tuple[Audio, Audio]:
    """Return the harmonic and percussive part of a sound, as `librosa.effects.hpss`, from its STFT.

    D. FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010. The samples
    after the last whole hop are 0, as in the librosa that made Kaggle's table.
    """
    import librosa

    along_time = _median(magnitude)
    along_frequency = _median(magnitude.T).T

    def part(of: Array, against: Array) -> Audio:
        mask = librosa.util.softmask(of, against, power=2.0, split_zeros=True)
        return librosa.util.fix_length(librosa.istft(magnitude * mask * phase), size=length)

    return part(along_time, along_frequency), part(along_frequency, along_time)


def _median(values: Array) -> Array:
    """Return the running median along each row, with mirrored ends; one long row is faster than many."""
    from scipy.ndimage import median_filter

    margin = _KERNEL // 2
    padded = np.pad(values, ((0, 0), (margin, margin)), mode="symmetric")
    return median_filter(padded.ravel(), size=_KERNEL).reshape(padded.shape)[:, margin:-margin]
