"""Near-duplicates: one recording under two track ids, in files that differ.

Two copies of a recording share their timing, whatever their loudness, tone, coding and where they
were cut. So we keep the differences between neighbouring bands of a log-mel spectrogram, minus each
one's mean over time, and look for the shift in time at which two tracks correlate most. Another
performance of the same song has different timing: it is a version, not a near-duplicate.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from gtzan_keras.audio.decode import AudioError
from gtzan_keras.audio.spectrogram import SpectrogramSpec, log_mel
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.parallel import in_parallel
from gtzan_keras.tracks.catalogue import check_columns, duplicate_groups, linked, load_track

__all__ = ["find_near_duplicates", "near_duplicates", "with_near_duplicates"]

logger = logging.getLogger(__name__)

FRAME_SECONDS = 0.25
"""Frames are averaged to this length: at finer ones, copies that begin between two frames differ."""

CLIP_SECONDS = 30.0
"""How much of each file is compared: the length of GTZAN's clips."""

THRESHOLD = 0.5
"""On 999 tracks of GTZAN every pair above it is one recording; see docs/near-duplicates.md."""

MIN_OVERLAP = 10.0

_BANDS = 64
_QUIET = 0.1  # share of a track's mean energy below which a stretch counts as having that much
_BLOCK = 16  # tracks compared with all others at a time: about 200 MB for 1000 tracks of 30 s
_SPEC = SpectrogramSpec(
    name="near-duplicates", hop_length=1024, n_mels=_BANDS, height=_BANDS, clip_seconds=None
)

Array = npt.NDArray[Any]


def near_duplicates(
    spectrograms: Iterable[Array],
    track_ids: Sequence[str],
    frame_seconds: float,
    *,
    threshold: float = THRESHOLD,
    min_overlap: float = MIN_OVERLAP,
) -> pd.DataFrame:
    """Find pairs of tracks that hold the same recording, by the time structure of their log-mels.

    Spectrograms are averaged to 64 bands and frames of 0.25 s. The differences between neighbouring
    bands, minus their means over time, depend on neither loudness nor tone. Two tracks are correlated
    over their overlap, at every shift that leaves at least `min_overlap`, by FFT; the best shift
    counts. A stretch with hardly any sound correlates with nothing.

    Parameters
    ----------
    spectrograms : iterable of np.ndarray [shape=(bands, frames)]
        One per track, uint8 or float on a logarithmic scale, all with the same bands in the same
        order; the lengths may differ. Read one at a time.
    track_ids : sequence of str
        One per track.
    frame_seconds : float > 0 [seconds]
        From one frame to the next.
    threshold : float in (0, 1]
        Least correlation of a pair.
    min_overlap : float > 0 [seconds]
        Least overlap of a pair. Short overlaps are more often similar by chance.

    Returns
    -------
    pd.DataFrame [shape=(pairs, 4)]
        Columns ``first, second, correlation, shift``, best pairs first. ``shift`` is in seconds, to
        the nearest 0.25: what `first` holds at one time, `second` holds that much later.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, there is not one spectrogram per track, a spectrogram has another
        shape, or none is as long as `min_overlap`.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.tracks.near_duplicates import near_duplicates
    >>> recording = np.random.default_rng(0).normal(size=(64, 140))  # 35 s in frames of 0.25 s
    >>> cut_early, cut_late = recording[:, :120], 3 * recording[:, 20:] + 7
    >>> near_duplicates([cut_early, cut_late], ["rock.00000", "rock.00001"], 0.25).round(2)
            first      second  correlation  shift
    0  rock.00000  rock.00001          1.0   -5.0
    """
    if (
        not 0 < threshold <= 1
        or not 0 < min(frame_seconds, min_overlap) <= max(frame_seconds, min_overlap) < np.inf
    ):
        raise GtzanKerasError(
            f"near_duplicates: {threshold=}, {frame_seconds=}, {min_overlap=}: expected 0 < threshold <= 1 "
            "and seconds above 0"
        )
    structures = [_structure(image, frame_seconds) for image in spectrograms]
    if len(structures) != len(track_ids):
        raise GtzanKerasError(
            f"near_duplicates: {len(structures)} spectrograms, {len(track_ids)} track ids; expected one each"
        )
    if len({len(structure) for structure in structures}) > 1:
        raise GtzanKerasError("near_duplicates: the numbers of bands differ; expected the same in all")
    longest = max((structure.shape[1] for structure in structures), default=0)
    least = int(np.ceil(min_overlap / FRAME_SECONDS))
    if structures and longest < least:
        raise GtzanKerasError(
            f"near_duplicates: the longest recording lasts {longest * FRAME_SECONDS:g} s, less than "
            f"min_overlap={min_overlap:g}; use longer recordings, or a smaller min_overlap"
        )
    table = pd.DataFrame(
        [
            (track_ids[first], track_ids[second], min(correlation, 1.0), shift * FRAME_SECONDS)
            for first, second, correlation, shift in _matches(structures, threshold, least)
        ],
        columns=["first", "second", "correlation", "shift"],
    ).astype({"correlation": np.float32, "shift": float})
    # Rounding must not decide on the order of exact copies.
    table["place"] = -table["correlation"].round(5)
    return table.sort_values(["place", "first", "second"], ignore_index=True).drop(columns="place")


def find_near_duplicates(tracks: pd.DataFrame, jobs: int = -1) -> pd.DataFrame:
    """Find pairs of sound files that hold the same recording, in their first 30 s.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`. Files that cannot be read are left out, with one log line each.
    jobs : int
        Worker processes as joblib counts them; -1 uses every core.

    Returns
    -------
    pd.DataFrame [shape=(pairs, 4)]
        As from `near_duplicates`; exact copies are in it too, with a correlation of 1.

    Raises
    ------
    GtzanKerasError
        As `near_duplicates`; or `jobs` is 0.

    Examples
    --------
    >>> import numpy as np, pathlib, soundfile, tempfile
    >>> from gtzan_keras import load_tracks
    >>> from gtzan_keras.tracks.near_duplicates import find_near_duplicates
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "rock").mkdir()
    >>> sound = np.random.default_rng(0).normal(scale=0.1, size=22050 * 20)
    >>> soundfile.write(root / "rock" / "a.wav", sound, 22050)
    >>> soundfile.write(root / "rock" / "b.wav", sound[22050 * 3 :] / 4, 22050)
    >>> find_near_duplicates(load_tracks(root), jobs=1)[["first", "second", "shift"]].values.tolist()
    [['rock/a', 'rock/b', -3.0]]
    """
    check_columns(tracks, ["track_id", "path"])
    ids, images = [], []
    heard = in_parallel(_listen, [(path,) for path in tracks["path"]], tracks["path"].tolist(), jobs)
    results = tqdm(heard, "near-duplicates", len(tracks), unit="track", disable=None)
    for track_id, result in zip(tracks["track_id"], results, strict=True):
        if isinstance(result, str):
            logger.warning("left out %s: %s", track_id, result)
        else:
            ids.append(track_id)
            images.append(result)
    return near_duplicates(images, ids, FRAME_SECONDS)


def with_near_duplicates(tracks: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the table of tracks with near-duplicates counted as copies, so that splits keep them together.

    `stratified`, `folds` and `Split.check` know GTZAN's own; this is for what `find_near_duplicates`
    finds among other tracks. Splits use the table's ``duplicates``, which a store made from it keeps.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`, or a store's.
    pairs : pd.DataFrame
        With columns ``first`` and ``second``, as from `near_duplicates`. Two tracks that are paired with
        the same absent one are linked too.

    Returns
    -------
    pd.DataFrame
        A copy in which every track's ``duplicates`` are all tracks of the table that it is linked to,
        by any number of pairs.

    Raises
    ------
    GtzanKerasError
        `tracks` lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.tracks.catalogue import describe
    >>> from gtzan_keras.tracks.near_duplicates import with_near_duplicates
    >>> tracks = describe({"fado/one": "fado", "fado/one again": "fado", "fado/two": "fado"})
    >>> found = pd.DataFrame({"first": ["fado/one"], "second": ["fado/one again"]})
    >>> with_near_duplicates(tracks, found)["duplicates"].tolist()
    [('fado/one again',), ('fado/one',), ()]
    """
    check_columns(tracks, ["track_id", "duplicates"])
    together = [*duplicate_groups(tracks), *zip(pairs["first"], pairs["second"], strict=True)]
    group_of = {track_id: ids for ids in linked(tracks["track_id"], together) for track_id in ids}
    table = tracks.copy()
    # A copy that is not in the table stays named, as it was.
    table["duplicates"] = [
        tuple(sorted({*group_of[track_id], *before} - {track_id}))
        for track_id, before in zip(tracks["track_id"], tracks["duplicates"], strict=True)
    ]
    return table


def _listen(path: str) -> Array | str:
    """A worker's job: one file's spectrogram in frames of 0.25 s, or why it has none."""
    try:
        audio = load_track(path, _SPEC.sample_rate, duration=CLIP_SECONDS)
    except AudioError as error:
        return error.reason
    return _average(log_mel(audio, _SPEC), _SPEC.hop_length / _SPEC.sample_rate)


def _average(image: Array, frame_seconds: float) -> npt.NDArray[np.float32]:
    """Mean over areas: at most 64 bands, frames of 0.25 s; a part of a frame at the end is dropped."""
    from PIL import Image as PillowImage

    if image.ndim != 2 or len(image) < 2:
        raise GtzanKerasError(
            f"near_duplicates: spectrogram of shape {image.shape}; expected (bands, frames), 2 bands or more"
        )
    frames = int(image.shape[1] * frame_seconds / FRAME_SECONDS + 1e-6)
    bands = min(_BANDS, len(image))
    if not frames:
        return np.zeros((bands, 0), dtype=np.float32)
    box = (0, 0, min(image.shape[1], frames * FRAME_SECONDS / frame_seconds), len(image))
    averaged = PillowImage.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(averaged.resize((frames, bands), PillowImage.Resampling.BOX, box=box))


def _structure(image: Array, frame_seconds: float) -> npt.NDArray[np.float32]:
    """How neighbouring bands differ over time, centred on 0, with mean energy 1 per frame."""
    structure = np.diff(_average(image, frame_seconds), axis=0)
    if not structure.size:
        return structure
    structure -= structure.mean(axis=1, keepdims=True)
    energy = np.square(structure).sum() / structure.shape[1]
    # A constant spectrogram leaves only rounding errors, which must not be amplified.
    return structure / np.sqrt(energy) if energy > 1e-6 else np.zeros_like(structure)


def _matches(
    structures: list[npt.NDArray[np.float32]], threshold: float, least: int
) -> Iterator[tuple[int, int, float, int]]:
    """Yield row of first and second, correlation, and shift in frames of every pair over the threshold."""
    import scipy.fft
    from threadpoolctl import threadpool_limits

    if not structures:
        return
    lengths = np.array([structure.shape[1] for structure in structures])
    longest = lengths.max()
    stacked = np.zeros((len(structures), len(structures[0]), longest), dtype=np.float32)
    for row, structure in enumerate(structures):
        stacked[row, :, : lengths[row]] = structure
    # Energy of the first t frames, for that of any stretch.
    energy = np.pad(np.cumsum(np.square(stacked).sum(axis=1), axis=1), ((0, 0), (1, 0)))
    shifts = np.arange(least - longest, longest - least + 1)
    size = scipy.fft.next_fast_len(2 * longest - least, real=True)
    spectra = np.ascontiguousarray(scipy.fft.rfft(stacked, size).transpose(2, 0, 1))  # (bin, track, band)

    shift = shifts[:, None, None]
    start = np.maximum(0, -shift)  # of the overlap, in the first of a pair
    for block in tqdm(range(0, len(structures), _BLOCK), desc="compare", disable=None):
        a = np.arange(block, min(block + _BLOCK, len(structures)))[:, None]
        b = np.arange(block, len(structures))
        with threadpool_limits(1):  # threads that wait for each other after every small product
            product = spectra[:, a[:, 0]].conj() @ spectra[:, block:].transpose(0, 2, 1)
        correlation = scipy.fft.irfft(product, size, axis=0)[shifts]  # (shift, a, b)
        stop = np.maximum(start, np.minimum(lengths[a], lengths[b] - shift))
        overlap = stop - start
        quiet = (_QUIET * np.maximum(overlap, 1)).astype(np.float32)
        norm = np.maximum(energy[a, stop] - energy[a, start], quiet)
        norm *= np.maximum(energy[b, stop + shift] - energy[b, start + shift], quiet)
        correlation /= np.sqrt(norm)
        correlation[overlap < least] = -1
        best = correlation.argmax(axis=0)
        highest = np.take_along_axis(correlation, best[None], axis=0)[0]
        i, j = np.nonzero((highest >= threshold) & (b > a))
        rows = a[i, 0], b[j], highest[i, j], shifts[best[i, j]]
        yield from zip(*(row.tolist() for row in rows), strict=True)
