"""Explain why a network hears a genre in a recording: where, and which training tracks are similar."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.patches import MUSICNN_BANDS, MUSICNN_FRAMES, SAMPLE_RATE, musicnn_patches
from gtzan_keras.audio.spectrogram import CLIP_SECONDS, SpectrogramSpec, coloured, mel_image, scaled
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.attribution import attribution
from gtzan_keras.inference.nearest import nearest_tracks, packaged_vectors, penultimate, track_vectors
from gtzan_keras.inference.predict import TAGGERS, Song, load_classifier, sound_windows
from gtzan_keras.models.saving import SavedModel

if TYPE_CHECKING:
    import keras

    from gtzan_keras.training.run import Run

__all__ = ["MUSICNN_SPEC", "Explanation", "explain"]

Array = npt.NDArray[np.float32]

MUSICNN_SPEC = SpectrogramSpec(
    name="musicnn", sample_rate=SAMPLE_RATE, n_fft=512, window_length=512, hop_length=256,
    n_mels=MUSICNN_BANDS, height=MUSICNN_BANDS, width=MUSICNN_FRAMES,
    clip_seconds=MUSICNN_FRAMES * 256 / SAMPLE_RATE,
)  # fmt: skip
"""Spec of musicnn's patches. A model that takes such patches, in a `SavedModel` with this spec, can be
explained too."""

_BATCH = 32
_LEAST_SHARE = 0.1  # of the strongest part: weaker ones are not shown


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which parts of a recording speak for and against a genre.

    Parameters
    ----------
    song : str
        Path of the file, or "array".
    duration : float [seconds]
        Length of the recording.
    genre : str
        The explained genre.
    probabilities : dict of str to float
        For each genre (or tag), the mean over the windows, as `predict` gives them.
    method : str
        How the map was computed.
    map : np.ndarray [shape=(bands, columns)]
        How much each point speaks for the genre (above 0) or against it (below 0), low bands first; the mean
        over the windows that see it, NaN where none does. Comparable within one map, not between methods.
    spectrogram : np.ndarray [shape=(bands, columns)]
        What the model sees, 0..1, laid out as `map`.
    times : np.ndarray [shape=(columns + 1,), unit=seconds]
        Edges of the columns.
    hertz : np.ndarray [shape=(bands + 1,), unit=Hz]
        Edges of the bands.
    nearest : pd.DataFrame
        The model's training tracks that are nearest to this recording, as `nearest_tracks` gives them; empty
        where they are not known.

    Examples
    --------
    One cell of the map, at 2 to 3 s and 500 to 1000 Hz, speaks for jazz:

    >>> import numpy as np, pandas as pd
    >>> from gtzan_keras import Explanation
    >>> cells, shares = np.array([[0, 0, 0, 0], [0, 0, 1, 0]]), {"jazz": 0.75, "rock": 0.25}
    >>> edges = {"times": np.arange(5.0), "hertz": np.array([0.0, 500.0, 1000.0])}
    >>> about = ("a.mp3", 4.0, "jazz", shares, "occlusion", cells, cells)
    >>> Explanation(*about, **edges, nearest=pd.DataFrame()).parts(seconds=1).to_dict("records")
    [{'start': 2.0, 'end': 3.0, 'lowest': 625.0, 'highest': 875.0, 'score': 0.5}]
    """

    song: str
    duration: float
    genre: str
    probabilities: dict[str, float]
    method: str
    map: Array = field(repr=False)
    spectrogram: Array = field(repr=False)
    times: npt.NDArray[np.float64] = field(repr=False)
    hertz: npt.NDArray[np.float64] = field(repr=False)
    nearest: pd.DataFrame = field(repr=False)

    def parts(self, count: int = 3, seconds: float = 2.0) -> pd.DataFrame:
        """Return the parts that speak most for and against the genre, to listen to.

        Parameters
        ----------
        count : int
            At most this many of each; fewer if the others have less than a tenth of the strongest's score.
        seconds : float > 0
            Length of a part.

        Returns
        -------
        pd.DataFrame
            ``start, end`` [seconds]; ``lowest, highest`` [Hz], the range of the middle half of the part's
            contribution; ``score``, the mean of the map, above 0 for the genre. No two parts overlap. Those
            that speak for it come first; in both groups the strongest is first.
        """
        width = min(len(self.times) - 1, max(1, round(seconds / self.times[1])))
        seen = np.nan_to_num(self.map)
        scores = np.convolve(seen.mean(axis=0), np.full(width, 1 / width), "valid")
        least, rows = _LEAST_SHARE * np.abs(scores).max(), []
        for sign in (1, -1):
            left = sign * scores
            for _ in range(count):
                first = int(left.argmax())
                if left[first] <= 0 or left[first] < least:
                    break
                left[max(0, first - width + 1) : first + width] = 0
                share = np.cumsum(np.maximum(sign * seen[:, first : first + width], 0).sum(axis=1))
                band = np.interp(np.array([0.25, 0.75]) * share[-1], [0, *share], self.hertz)
                start, end = self.times[first], min(self.times[first + width], self.duration)
                rows.append((start, end, *band, scores[first]))
        return pd.DataFrame(rows, columns=["start", "end", "lowest", "highest", "score"], dtype=float)


def explain(
    song: Song | npt.NDArray[np.uint8],
    model: str | os.PathLike[str] | SavedModel | Run | None = None,
    method: str = "grad-cam",
    genre: str | None = None,
    *,
    hop: float | None = None,
    window: float | None = None,
    sample_rate: int | None = None,
    neighbours: int = 3,
    progress: bool = True,
) -> Explanation:
    """Explain which parts of a recording speak for and against a genre.

    The model sees the windows that `predict` gives it. The explained quantity is the log-odds of the genre in
    each; if windows overlap, the map is their mean. It says what the model's answer is based on, not what
    makes the genre: a map is no evidence that the model is right.

    Parameters
    ----------
    song : str, os.PathLike or np.ndarray
        A sound file or samples, as for `predict`; or one spectrogram of a store, uint8 (height, width,
        channels).
    model : str, os.PathLike, SavedModel or Run, optional
        As for `predict`; the packaged model by default. ``"musicnn-msd"`` or ``"musicnn-mtt"``: musicnn,
        whose tags then replace the genres.
    method : "grad-cam", "occlusion" or "integrated-gradients"
        See `gtzan_keras.inference.attribution`.
    genre : str, optional
        What to explain; the most probable genre by default.
    hop, window, sample_rate, progress
        As for `predict`.
    neighbours : int
        How many of the nearest training tracks to find; they are known for a `Run` and the packaged model.

    Returns
    -------
    Explanation

    Raises
    ------
    AudioError, GtzanKerasError
        As `predict`; or `genre` or `method` is unknown, or the spectrogram is not of the model's shape.

    See Also
    --------
    gtzan_keras.report.timeline.explanation_figure : the map as contours over the spectrogram.

    References
    ----------
    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 (arXiv:1810.03292).

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras import SPECTROGRAM_SPECS, models
    >>> from gtzan_keras.models.saving import SavedModel
    >>> from gtzan_keras.inference.explain import explain
    >>> spec = SPECTROGRAM_SPECS["malvezzi-rgb224"]
    >>> model = SavedModel(models.cnn(spec.shape, 2, filters=(4,)), spec, ["jazz", "rock"])
    >>> noise = np.random.default_rng(0).uniform(-1, 1, 8000 * 40)
    >>> found = explain(noise, model, genre="jazz", sample_rate=8000)
    >>> found.genre, found.map.shape, found.times[[0, -1]].round(2), found.hertz[[0, -1]].round()
    ('jazz', (224, 299), array([ 0.  , 40.04]), array([   13., 10879.]))
    """
    from tqdm import tqdm

    tags = str(model) in TAGGERS
    if tags and window is not None:
        raise GtzanKerasError(f"window={window:g}: {model} is explained in patches of 3 s; omit window")
    classifier = _tagger(str(model)) if tags else load_classifier(model, window)
    network, spec, genres = classifier
    if genre is not None and genre not in genres:
        raise GtzanKerasError(f"genre={genre!r}: expected one of {', '.join(genres)}")
    given: Any = song
    if isinstance(given, np.ndarray) and given.dtype == np.uint8:
        seen = _look_at(given, spec)
    else:
        seen = _listen_to(given, classifier, hop, sample_rate, progress)
    batches = [seen.inputs[start : start + _BATCH] for start in range(0, len(seen.inputs), _BATCH)]
    shares = np.concatenate([np.asarray(network(part, training=False)) for part in batches]).mean(axis=0)
    genre = genres[int(shares.argmax())] if genre is None else genre
    bar = tqdm(batches, method, leave=False, delay=2, disable=None if progress else True)
    maps = [attribution(network, part, genres.index(genre), method) for part in bar]
    found, times = _joined(seen, _upright(np.concatenate(maps), spec))
    return Explanation(
        seen.name,
        seen.duration,
        genre,
        dict(zip(genres, shares.tolist(), strict=True)),
        method,
        found,
        _joined(seen, seen.spectrograms)[0],
        times,
        _hertz(spec),
        _nearest(model, network, batches, neighbours),
    )


class _Seen(NamedTuple):
    """The model's view of a recording."""

    name: str
    duration: float  # seconds
    spans: npt.NDArray[np.float64]  # (windows, 2), seconds
    inputs: Array  # (windows, ...), the network's input
    spectrograms: Array  # (windows, bands, columns), 0..1, low bands first


def _tagger(name: str) -> SavedModel:
    from gtzan_keras.models.musicnn_networks import MUSICNN_TAGS, musicnn

    weights: Any = name.removeprefix("musicnn-")
    return SavedModel(musicnn(weights), MUSICNN_SPEC, list(MUSICNN_TAGS[weights]))


def _look_at(image: npt.NDArray[np.uint8], spec: SpectrogramSpec) -> _Seen:
    if image.shape != spec.shape:
        raise GtzanKerasError(
            f"spectrogram of shape {image.shape}: expected {spec.shape}, as of spec {spec.name!r}; sound is "
            "floating-point"
        )
    inputs = scaled(image[None])
    seconds = CLIP_SECONDS if spec.piece_seconds is None else spec.piece_seconds
    spans = np.array([[0.0, _span(spec, seconds)]])
    return _Seen("array", seconds, spans, inputs, _upright(inputs.mean(axis=-1), spec))


def _listen_to(
    song: Song, classifier: SavedModel, hop: float | None, sample_rate: int | None, progress: bool
) -> _Seen:
    spec = classifier.spec
    name, overview, windows = sound_windows(song, spec, hop, sample_rate, progress)
    grey = dataclasses.replace(spec, channels=1, colour_map=None)
    spans, images = [], []
    for start, _, sound in windows:
        first = start / spec.sample_rate
        spans.append((first, first + _span(spec, len(sound) / spec.sample_rate)))
        images.append(musicnn_patches(sound)[0] if _is_musicnn(spec) else mel_image(sound, grey)[..., 0])
    stack = np.stack(images)
    if _is_musicnn(spec):
        inputs, looks = stack, stack / stack.max()
    else:
        colours = coloured(stack, spec.colour_map) if spec.colour_map else stack[..., None]
        inputs, looks = scaled(colours), scaled(stack)
    duration = overview.samples / spec.sample_rate
    return _Seen(name, duration, np.array(spans), inputs, _upright(looks, spec))


def _is_musicnn(spec: SpectrogramSpec) -> bool:
    return spec.name == MUSICNN_SPEC.name


def _span(spec: SpectrogramSpec, seconds: float) -> float:
    """Return how much of a window its columns show: with "pad", the frames that fit."""
    return spec.width * spec.hop_length / spec.sample_rate if spec.fit == "pad" else seconds


def _upright(arrays: Array, spec: SpectrogramSpec) -> Array:
    """Turn (windows, ...) into (windows, bands, columns), low bands first."""
    return arrays.transpose(0, 2, 1) if _is_musicnn(spec) else arrays[:, ::-1]


def _joined(seen: _Seen, windows: Array) -> tuple[Array, npt.NDArray[np.float64]]:
    """Lay windows out over the recording, as their mean, NaN where there is none; with the columns' edges."""
    _, bands, width = windows.shape
    step = (seen.spans[0, 1] - seen.spans[0, 0]) / width
    columns = max(1, round(seen.duration / step))
    total, count = np.zeros((bands, columns)), np.zeros(columns)
    for start, window in zip(seen.spans[:, 0], windows, strict=True):
        first = round(start / step)
        part = window[:, : columns - first]
        total[:, first : first + width] += part
        count[first : first + width] += 1
    with np.errstate(invalid="ignore"):
        return (total / count).astype(np.float32), np.arange(columns + 1) * step


def _hertz(spec: SpectrogramSpec) -> npt.NDArray[np.float64]:
    """Return the edges of the rows: half way, in mel, between the centres of neighbouring bands."""
    from librosa import hz_to_mel, mel_to_hz

    edges = (np.arange(spec.height + 1) * spec.n_mels / spec.height + 0.5) / (spec.n_mels + 1)
    return mel_to_hz(edges * hz_to_mel(spec.sample_rate / 2))


def _nearest(model: Any, network: keras.Model, batches: list[Array], count: int) -> pd.DataFrame:
    if model is None:
        known, tracks = packaged_vectors(), None
    elif hasattr(model, "store"):
        known, tracks = track_vectors(network, model.store, model.split.train), model.store.tracks
    else:
        return nearest_tracks(np.zeros(1, np.float32), ([], np.zeros((0, 1), np.float32)))
    alike = penultimate(network)
    vectors = [np.asarray(alike(part, training=False)) for part in batches]
    return nearest_tracks(np.concatenate(vectors).mean(axis=0), known, tracks, count)
