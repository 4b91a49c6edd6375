"""Predict genres over time for recordings of any length."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gtzan_keras.audio.decode import MINIMUM_SECONDS, SILENCE, SILENT, AudioError, stream_array, stream_audio
from gtzan_keras.audio.patches import SAMPLE_RATE
from gtzan_keras.audio.spectrogram import CLIP_SECONDS, SpectrogramSpec, mel_image, scaled
from gtzan_keras.datasets import BASELINE_MODEL
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.embed import Embedder, load_embedder, source_and_precision
from gtzan_keras.models.musicnn_networks import MUSICNN_TAGS, musicnn
from gtzan_keras.models.saving import SavedModel, load_model
from gtzan_keras.store.embeddings import EmbeddingSpec
from gtzan_keras.tracks.catalogue import facts, file_md5

if TYPE_CHECKING:
    import keras

    from gtzan_keras.training.run import Run

__all__ = ["TAGGERS", "Prediction", "gtzan_track", "predict", "predict_all"]

TAGGERS = tuple(f"musicnn-{weights}" for weights in MUSICNN_TAGS)
"""Pretrained models that `predict` knows by name; they answer with 50 tags."""

BASELINE_WINDOW_SECONDS = 10.0
"""Window of the packaged model, which was trained on segments of 10 s."""

_SLACK = 1 / 30  # of a window: GTZAN's clips are up to 0.65 s longer than 30 s, but still one window
_BATCH = 8  # windows in one call of the model: some models need 50 MB for each

Audio = npt.NDArray[np.float32]
Song = str | os.PathLike[str] | npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The genres that a model predicts for a recording.

    Parameters
    ----------
    song : str
        Path of the file, or "array".
    duration : float [seconds]
        Length of the recording.
    genres : list of str
        In class order; the tags of a tagger.
    times : np.ndarray [shape=(windows, 2), unit=seconds]
        Start and end of each window, without silent windows.
    window_probabilities : np.ndarray [shape=(windows, genres)]
        One row per window, in the order of `times`.
    padded : bool
        Whether the recording is shorter than a window and was padded with silence.
    overview : np.ndarray [shape=(64, columns), unit=dB]
        Coarse log-mel spectrogram of the whole recording, low bands first, the loudest point 0, nothing
        below -80. At most 1500 columns, evenly spaced over `duration`.
    sample_rate : int [Hz]
        Rate to which the recording was resampled; the bands of `overview` reach up to half of it.
    tags : bool
        Whether the probabilities are independent (tags) and do not sum to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras import Prediction
    >>> times, shares = np.array([[0, 10], [5, 15]]), np.array([[0.75, 0.25], [0.5, 0.5]])
    >>> found = Prediction("a.mp3", 15.0, ["jazz", "rock"], times, shares, False, np.zeros((64, 15)), 22050)
    >>> found.top(1)
    [('jazz', 0.625)]
    """

    song: str
    duration: float
    genres: list[str]
    times: npt.NDArray[np.float64]
    window_probabilities: npt.NDArray[np.float32]
    padded: bool
    overview: npt.NDArray[np.float32] = field(repr=False)
    sample_rate: int
    tags: bool = False

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """Mean over the windows, of shape (genres,)."""
        return self.window_probabilities.mean(axis=0)

    def top(self, n: int = 3) -> list[tuple[str, float]]:
        """Return the `n` most probable genres with their probabilities, best first."""
        shares = zip(self.genres, self.probabilities.tolist(), strict=True)
        return sorted(shares, key=lambda share: -share[1])[:n]

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the overview as plain values, for JSON."""

        def by_genre(row: npt.NDArray[np.float32]) -> dict[str, float]:
            return {genre: round(float(value), 6) for genre, value in zip(self.genres, row, strict=True)}

        return {
            "song": self.song,
            "duration": round(self.duration, 3),
            "padded": self.padded,
            "top": self.top(1)[0][0],
            "probabilities": by_genre(self.probabilities),
            "windows": [
                {"start": round(float(start), 3), "end": round(float(end), 3), "probabilities": by_genre(row)}
                for (start, end), row in zip(self.times, self.window_probabilities, strict=True)
            ],
        }


def predict(
    song: Song,
    model: str | os.PathLike[str] | SavedModel | Run | None = None,
    hop: float | None = None,
    *,
    window: float | None = None,
    sample_rate: int | None = None,
    progress: bool = True,
) -> Prediction:
    """Predict the genre of a recording of any length, as a whole and over time.

    The model sees windows of the length it was trained on, one every `hop`; the last one ends with the
    recording. A recording is decoded, transformed and classified block by block, so that memory does
    not depend on its length. A 30 s track of GTZAN is one window, as in a store;
    the first window of any recording is what a store has of it.

    Parameters
    ----------
    song : str, os.PathLike or np.ndarray [shape=(n,) or (n, channels)]
        A sound file (any that `load_audio` reads), or samples within -1..1.
    model : str, os.PathLike, SavedModel or Run, optional
        A ``.keras`` file that `save_model` or `train` wrote, what `load_model` returns, or a run: of
        spectrograms, or of embeddings of musicnn or a TensorFlow Hub network. One of `TAGGERS`: musicnn,
        for tags every 3 s. The packaged model (docs/baseline-model.md) by default, with windows of 10 s.
    hop : float > 0 [seconds], optional
        Time from the start of a window to that of the next, at most a window; half a window by default.
    window : float > 0 [seconds], optional
        Length of a window, for models that accept spectrograms of any width or any number of patches. By
        default the length in the model's spec, or one patch.
    sample_rate : int > 0 [Hz], optional
        Rate of an array; files contain their own.
    progress : bool
        Count windows on a terminal if a recording takes more than two seconds.

    Returns
    -------
    Prediction

    Raises
    ------
    AudioError
        The recording cannot be read, is damaged, shorter than a second or silent, or holds NaN or infinite
        samples.
    GtzanKerasError
        The model does not contain a spec, or sound cannot be turned into its input; `hop` or `window` is out
        of range; `sample_rate` is missing for an array, or given for a file.

    See Also
    --------
    gtzan_keras.report.timeline.timeline : a figure of a prediction.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras import SPECTROGRAM_SPECS, models
    >>> from gtzan_keras.models.saving import SavedModel
    >>> from gtzan_keras.inference.predict import predict
    >>> spec = SPECTROGRAM_SPECS["zhang-128"]
    >>> model = SavedModel(models.cnn(spec.shape, 2, filters=(4,)), spec, ["jazz", "rock"])
    >>> noise = np.random.default_rng(0).uniform(-1, 1, 8000 * 70)
    >>> predict(noise, model, sample_rate=8000).times.tolist()
    [[0.0, 30.0], [15.0, 45.0], [30.0, 60.0], [40.0, 70.0]]
    """
    return _predict(song, _listener(model, window), hop, sample_rate, progress)


def _predict(
    song: Song, listener: _Listener, hop: float | None, sample_rate: int | None, progress: bool
) -> Prediction:
    name, overview, windows = sound_windows(song, listener.spec, hop, sample_rate, progress)
    heard = ((start, end, len(sound), listener.prepare(sound)) for start, end, sound in windows)
    times, rows, padded = [], [], False
    while group := list(islice(heard, _BATCH)):
        times += [(start, end) for start, end, *_ in group]
        padded = any(length > end - start for start, end, length, _ in group)
        rows.append(listener.answer(np.stack([inputs for *_, inputs in group])))
    return Prediction(
        name,
        overview.samples / overview.sample_rate,
        list(listener.genres),
        np.array(times) / overview.sample_rate,
        np.concatenate(rows).astype(np.float32, copy=False),
        padded,
        overview.decibels(),
        overview.sample_rate,
        listener.tags,
    )


def predict_all(
    songs: Sequence[Song],
    model: str | os.PathLike[str] | SavedModel | Run | None = None,
    hop: float | None = None,
    progress: bool = True,
    *,
    window: float | None = None,
) -> Iterator[Prediction | AudioError]:
    """Predict many recordings; one that cannot be read does not stop the rest.

    Parameters
    ----------
    songs : sequence of str or os.PathLike
        Sound files, for example from `audio.songs.find_songs`.
    model, hop, window
        As for `predict`; the model is loaded once.
    progress : bool
        Show a progress bar if the output is a terminal.

    Yields
    ------
    Prediction or AudioError
        One per song, in order: the prediction, or why the song cannot be read.

    Raises
    ------
    GtzanKerasError
        As `predict`, for `model` and `hop`.

    Examples
    --------
    >>> from gtzan_keras import SPECTROGRAM_SPECS, models
    >>> from gtzan_keras.models.saving import SavedModel
    >>> from gtzan_keras.inference.predict import predict_all
    >>> spec = SPECTROGRAM_SPECS["zhang-128"]
    >>> model = SavedModel(models.cnn(spec.shape, 2, filters=(4,)), spec, ["jazz", "rock"])
    >>> [str(result) for result in predict_all(["gone.mp3"], model)]
    ['gone.mp3: no such file']
    """
    from tqdm import tqdm

    listener = _listener(model, window)
    window_samples(listener.spec, hop)

    def one(song: Song) -> Prediction | AudioError:
        try:
            return _predict(song, listener, hop, None, progress)
        except AudioError as error:
            return error

    return (one(song) for song in tqdm(songs, unit="song", disable=None if progress else True))


def gtzan_track(song: str | os.PathLike[str]) -> str:
    """Return the id of the GTZAN track that has this file's content (by MD5), or "".

    Parameters
    ----------
    song : str or os.PathLike
        A readable file.

    Returns
    -------
    str

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from gtzan_keras.inference.predict import gtzan_track
    >>> song = pathlib.Path(tempfile.mkdtemp()) / "song.wav"
    >>> _ = song.write_bytes(b"not GTZAN's")
    >>> gtzan_track(song)
    ''
    """
    known = facts()["wav_md5"]
    return next(iter(known.index[known == file_md5(song)]), "")


class _Listener(NamedTuple):
    """A model, and how a window of sound becomes its input."""

    genres: Sequence[str]
    spec: SpectrogramSpec  # with its sample rate and length
    prepare: Callable[[Audio], npt.NDArray[Any]]
    answer: Callable[[npt.NDArray[Any]], Any]
    tags: bool = False


def _listener(
    model: str | os.PathLike[str] | SavedModel | Run | None, window: float | None = None
) -> _Listener:
    if isinstance(model, (str, os.PathLike)) and os.fspath(model) in TAGGERS:
        weights = os.fspath(model).removeprefix("musicnn-")
        return _of_patches(load_embedder(musicnn(weights)), None, MUSICNN_TAGS[weights], window)
    classifier = None if model is None else _opened(model)
    if classifier is None or not isinstance(classifier.spec, EmbeddingSpec):
        network, spec, genres = load_classifier(classifier, window)
        prepare = functools.partial(mel_image, spec=spec)
        return _Listener(genres, spec, prepare, lambda images: network(scaled(images), training=False))
    network, spec, genres = classifier
    if spec.source.startswith(("Keras model", "SavedModel")):
        raise GtzanKerasError(
            f"model {network.name!r} takes embeddings of {spec.source}, which is not in the file; predict "
            "can load musicnn's and TensorFlow Hub's networks only"
        )
    if window is not None and network.input_shape[1] is not None:
        raise GtzanKerasError(
            f"window={window:g}: model {network.name!r} only accepts {spec.patches} patches; omit window"
        )
    embedder = load_embedder(*source_and_precision(spec.source))
    return _of_patches(embedder, network, genres, window)


def _of_patches(
    embedder: Embedder, head: keras.Model | None, genres: Sequence[str], window: float | None
) -> _Listener:
    """Return a listener whose window has as many patches as `head` takes, or as fit `window`, or one.

    Without a head it answers with the mean over the patches.
    """
    if window is not None and not 0 < window < math.inf:
        raise GtzanKerasError(f"window={window:g}: expected seconds above 0")
    needs = embedder.front_end.samples
    any_number = max(1, round((window or 0) * SAMPLE_RATE / needs(1)))
    count = any_number if head is None else head.input_shape[1] or any_number
    seconds = needs(count) / SAMPLE_RATE
    spec = SpectrogramSpec(name="patches", sample_rate=SAMPLE_RATE, clip_seconds=seconds)

    def answer(patches: npt.NDArray[np.float32]) -> Any:
        embeddings = np.stack(embedder.network(list(patches)))
        return embeddings.mean(axis=1) if head is None else head(embeddings, training=False)

    def prepare(sound: Audio) -> npt.NDArray[Any]:
        return embedder.prepare(sound[: needs(count)])  # a single window may be longer: see `_SLACK`

    return _Listener(genres, spec, prepare, answer, tags=head is None)


def _opened(model: str | os.PathLike[str] | SavedModel | Run) -> SavedModel:
    if isinstance(model, (str, os.PathLike)):
        return load_model(model)
    if isinstance(model, tuple):
        return SavedModel(*model)
    if not hasattr(model, "store"):
        raise GtzanKerasError(
            f"model is a {type(model).__name__}; expected a Run, a path, or SavedModel(model, spec, genres)"
        )
    return SavedModel(model.model, model.store.spec, model.store.genres)


@functools.cache  # loading takes longer than the answer to a clip of 30 s
def _packaged() -> SavedModel:
    return load_model(BASELINE_MODEL)


def load_classifier(
    model: str | os.PathLike[str] | SavedModel | Run | None, window: float | None = None
) -> SavedModel:
    """Return the model of spectrograms of `predict`'s arguments, with a spec of the window's length."""
    if model is None:
        window = BASELINE_WINDOW_SECONDS if window is None else window
    classifier = _packaged() if model is None else _opened(model)
    spec = classifier.spec
    if not isinstance(spec, SpectrogramSpec):
        raise GtzanKerasError(
            f"model {classifier.model.name!r} expects {type(spec).__name__} "
            f"{getattr(spec, 'name', '')!r}; this function only makes spectrograms from sound: use a model "
            "trained on a store made by preprocess"
        )
    if not spec.from_audio:
        raise GtzanKerasError(
            f"model {classifier.model.name!r} was trained on imported images ({spec.name!r}), whose "
            "analysis is unknown: sound cannot be turned into them; train on a store made by preprocess"
        )
    if window is None:
        return classifier
    if spec.segment_seconds is not None or classifier.model.input_shape[2] is not None:
        raise GtzanKerasError(
            f"window={window:g}: model {classifier.model.name!r} only accepts spectrograms of "
            f"{spec.width} columns; omit window, or use a model trained with crops (Augmentation.crop)"
        )
    if not MINIMUM_SECONDS <= window < math.inf:
        raise GtzanKerasError(f"window={window:g}: expected at least {MINIMUM_SECONDS:g} second")
    whole = CLIP_SECONDS if spec.clip_seconds is None else spec.clip_seconds
    width = max(1, round(spec.width * window / whole))  # as many columns per second as in training
    return classifier._replace(spec=dataclasses.replace(spec, width=width, clip_seconds=float(window)))


def sound_windows(
    song: Song, spec: SpectrogramSpec, hop: float | None, sample_rate: int | None, progress: bool
) -> tuple[str, Overview, Iterator[tuple[int, int, Audio]]]:
    """Open a recording: its name, its overview, and the windows that a model sees.

    A window is its first and last sample and its sound, padded if the recording is shorter. Silent windows
    are left out. The overview is complete after the last window.
    """
    samples, step = window_samples(spec, hop)
    if isinstance(song, np.ndarray):
        if sample_rate is None:
            raise GtzanKerasError("sample_rate is missing; an array needs its rate in Hz")
        name, blocks = "array", stream_array(song, sample_rate, spec.sample_rate)
    else:
        if sample_rate is not None:
            raise GtzanKerasError(f"sample_rate is for arrays only; {os.fspath(song)} contains its own")
        name, blocks = os.fspath(song), stream_audio(song, spec.sample_rate)
    overview = Overview(spec.sample_rate)
    slack = int(samples * _SLACK)
    shortest = samples - slack if spec.piece_seconds is None else samples

    def heard() -> Iterator[tuple[int, int, Audio]]:
        from tqdm import tqdm

        windows = _windows(overview.pass_on(blocks), samples, step, slack)
        label, silent = Path(name).name, True
        for start, sound in tqdm(
            windows, label, unit="window", leave=False, delay=2, disable=None if progress else True
        ):
            if np.abs(sound).max(initial=0) < SILENCE:
                continue
            silent, end = False, start + len(sound)
            if len(sound) < shortest:
                sound = np.pad(sound, (0, samples - len(sound)))
            yield start, end, sound
        if silent:
            raise AudioError(name, SILENT)

    return name, overview, heard()


def window_samples(spec: SpectrogramSpec, hop: float | None) -> tuple[int, int]:
    """Return the window and the hop in samples."""
    seconds = CLIP_SECONDS if spec.piece_seconds is None else spec.piece_seconds
    hop = seconds / 2 if hop is None else hop
    if not 1 / spec.sample_rate <= hop <= seconds:
        raise GtzanKerasError(
            f"hop={hop:g}: expected seconds above 0, at most the window of this model ({seconds:g})"
        )
    return max(1, round(seconds * spec.sample_rate)), max(1, round(hop * spec.sample_rate))


def _windows(blocks: Iterable[Audio], window: int, hop: int, slack: int) -> Iterator[tuple[int, Audio]]:
    """Yield windows with the number of their first sample; the last one ends with the sound.

    Sound that is at most `slack` longer than a window is one window.
    """
    held = np.zeros(0, dtype=np.float32)
    first = start = 0  # first sample of `held`, and of the next window
    for block in blocks:
        held = np.concatenate([held, block])
        while start + window + slack < first + len(held):
            yield start, held[start - first :][:window]
            start += hop
        surplus = max(0, min(start - first, len(held) - window))
        held, first = held[surplus:], first + surplus
    end = first + len(held)
    if not start:  # end <= window + slack
        yield 0, held
        return
    while start + window <= end:
        yield start, held[start - first :][:window]
        start += hop
    if end > start - hop + window:
        yield end - window, held[len(held) - window :]


class Overview:
    """A log-mel spectrogram of few columns, computed while the sound passes."""

    BANDS, COLUMNS, FRAME, HOP = 64, 1500, 2048, 1024

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate, self.samples = sample_rate, 0
        self._rest = np.zeros(0, dtype=np.float32)  # sound that is not yet a whole column
        self._columns = np.zeros((self.BANDS, 0), dtype=np.float32)
        self._frames_per_column = 1

    def pass_on(self, blocks: Iterable[Audio]) -> Iterator[Audio]:
        for block in blocks:
            self.samples += len(block)
            self._rest = np.concatenate([self._rest, block])
            while whole := self._frames() // self._frames_per_column:
                self._append(min(whole, self.COLUMNS - self._columns.shape[1]))
            yield block

    def _frames(self) -> int:
        """Return the number of whole frames in the remaining sound."""
        return max(0, (len(self._rest) - self.FRAME) // self.HOP + 1)

    def _power(self, frames: int) -> npt.NDArray[np.float32]:
        from librosa.feature import melspectrogram

        sound = self._rest[: (frames - 1) * self.HOP + self.FRAME]
        options = {"n_fft": self.FRAME, "hop_length": self.HOP, "n_mels": self.BANDS, "center": False}
        return melspectrogram(y=sound, sr=self.sample_rate, **options)

    def _append(self, count: int) -> None:
        frames = count * self._frames_per_column
        new = self._power(frames).reshape(self.BANDS, count, -1).mean(axis=2)
        self._rest = self._rest[frames * self.HOP :]
        self._columns = np.concatenate([self._columns, new], axis=1)
        if self._columns.shape[1] == self.COLUMNS:  # full: two columns become one
            self._columns = self._columns.reshape(self.BANDS, -1, 2).mean(axis=2)
            self._frames_per_column *= 2

    def decibels(self) -> npt.NDArray[np.float32]:
        power = self._columns
        if frames := self._frames():
            power = np.concatenate([power, self._power(frames).mean(axis=1, keepdims=True)], axis=1)
        decibels = 10 * np.log10(np.maximum(power, 1e-10))
        return np.maximum(decibels - decibels.max(), np.float32(-80))
