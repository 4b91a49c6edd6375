"""Tracks to a store of embeddings: of VGGish, or of any network that takes its place."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.decode import AudioError
from gtzan_keras.audio.patches import BANDS, FRAMES, SAMPLE_RATE, patch_samples, vggish_patches
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.weights import hub_folder
from gtzan_keras.store.base import Sample, refuse_duplicates
from gtzan_keras.store.embeddings import (
    HUB_HANDLE,
    EmbeddingSpec,
    EmbeddingsStore,
    EmbeddingsWriter,
    embedded,
)
from gtzan_keras.store.open import open_store
from gtzan_keras.store.preprocess import PreprocessReport
from gtzan_keras.tracks.catalogue import COLUMNS, check_columns, check_jobs, file_md5, load_track

if TYPE_CHECKING:
    import keras

__all__ = ["Embedder", "embed", "embeddings_current", "load_embedder"]

logger = logging.getLogger(__name__)

_TOGETHER = 4  # tracks the network gets at once: VGGish's 290 MB of weights are read less often

_BATCH = 124  # patches in them; more of them ask for memory and gain little


class Embedder(NamedTuple):
    """A network that makes embeddings of sound; call `run`.

    Parameters
    ----------
    name : str
        For `EmbeddingSpec.source`.
    size : int
        Numbers a patch.
    prepare : callable
        Mono float32 samples at 16 kHz, of 0.975 s at least, to what the network takes.
    network : callable
        List of those to a list of embeddings.
    """

    name: str
    size: int
    prepare: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    network: Callable[[list[npt.NDArray[np.float32]]], list[npt.NDArray[np.float32]]]

    def run(self, audio: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Mono float32 samples at 16 kHz to float32 (patches, size)."""
        return self.network([self.prepare(audio)])[0]


def embed(
    tracks: pd.DataFrame,
    path: str | os.PathLike[str],
    source: str | os.PathLike[str] | keras.Model = "hub",
    *,
    patches: int = 31,
    trim: bool = False,
    precision: str = "float32",
    jobs: int = -1,
    progress: bool = True,
) -> PreprocessReport:
    """Turn tracks into a store of embeddings.

    Threads read the next tracks while the network works, two tracks at a time; memory does not depend
    on how many there are. Files that can not be read are left out, one log line each, and never end
    the run. The store is written to a temporary name and renamed when complete.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    path : str or os.PathLike
        The HDF5 file to write. A store of the same spec that is there is replaced.
    source : "hub", str, os.PathLike or keras.Model
        The network, as `load_embedder` takes it.
    patches : int > 0
        Patches a track: fewer are padded with zeros, more are cut.
    trim : bool
        Cut off the silence at both ends first, as Uncu did.
    precision : "float32" or "bfloat16"
        What a Keras model computes in, whatever it was built under. bfloat16 is faster where the
        processor has it, slower where not, and right to 1e-2; the spec's ``source`` says so.
    jobs : int
        Threads that read, counted as joblib counts workers; -1 uses every core.
    progress : bool
        Show a bar when the output is a terminal.

    Returns
    -------
    PreprocessReport
        A sample is a track.

    Raises
    ------
    GtzanKerasError
        The network can not be had or does not turn sound into (patches, size); `path` holds something
        else; `precision` is another word, or bfloat16 is asked of a SavedModel; `jobs` is 0; a track
        stands in the table twice; or no track could be read.

    See Also
    --------
    embeddings_current : whether there is anything to do.

    References
    ----------
    Uncu, survey of VGGish and scratch CNNs on GTZAN: 31 embeddings a track, raw (no PCA, no
    quantisation), trimmed, from TensorFlow Hub.

    Examples
    --------
    With any network on patches; VGGish itself is ``embed(tracks, "vggish.h5")``.

    >>> import keras, numpy as np, soundfile, tempfile, pathlib
    >>> from gtzan_keras import load_tracks
    >>> from gtzan_keras.store.embeddings import EmbeddingsStore
    >>> from gtzan_keras.inference.embed import embed
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "jazz").mkdir()
    >>> soundfile.write(root / "jazz" / "one.wav", np.random.uniform(-1, 1, 44100), 22050)
    >>> layers = [keras.Input((96, 64)), keras.layers.Flatten(), keras.layers.Dense(8)]
    >>> report = embed(load_tracks(root), root / "jazz.h5", keras.Sequential(layers), jobs=1)
    >>> report.written, EmbeddingsStore(report.path).shape
    (1, (1, 31, 8))
    """
    check_columns(tracks, COLUMNS)
    path, begin = Path(path), time.perf_counter()
    refuse_duplicates(list(tracks["track_id"]))
    check_jobs(jobs)
    embedder = load_embedder(source, precision)
    name = f"vggish-{patches}x{embedder.size}" + ("-trimmed" if trim else "")
    spec = EmbeddingSpec(name=name, patches=patches, size=embedder.size, trim=trim, source=embedder.name)
    _check_place(path, spec)
    with EmbeddingsWriter(path, spec, tracks) as writer:
        sounds = _sounds(tracks, spec, embedder, jobs, progress)
        while group := list(islice(sounds, _TOGETHER)):
            outputs = iter(embedder.network([sound.input for sound in group if not sound.refused]))
            for sound in group:
                if sound.refused:
                    logger.warning("left out %s: %s", sound.track_id, sound.refused)
                    writer.append(Sample(sound.track_id, refused=sound.refused))
                else:
                    writer.append(embedded(sound.track_id, next(outputs), spec, sound.md5))
        if not writer.rows:
            reasons = "; ".join(f"{t}: {r}" for t, r in list(writer.refused.items())[:3])
            raise GtzanKerasError(f"{path}: not one of {len(tracks)} tracks could be read ({reasons})")
    count, seconds = len(writer.rows), time.perf_counter() - begin
    return PreprocessReport(path, count, count, refused=writer.refused, seconds=seconds)


def embeddings_current(
    path: str | os.PathLike[str],
    tracks: pd.DataFrame,
    source: str | os.PathLike[str] | keras.Model = "hub",
    *,
    patches: int = 31,
    trim: bool = False,
    precision: str = "float32",
) -> bool:
    """Whether a file holds what `embed` would make of these tracks now.

    Parameters
    ----------
    path : str or os.PathLike
        The file; it need not be there.
    tracks, source, patches, trim, precision
        As for `embed`. The network is not loaded.

    Returns
    -------
    bool
        Same network, settings, tracks and genres, and no file of a track has changed. One that is gone
        has not; one that was left out has if it is newer than the store.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.inference.embed import embeddings_current
    >>> tracks = pd.DataFrame({"track_id": ["jazz/one"], "genre": ["jazz"], "path": ["jazz/one.wav"]})
    >>> embeddings_current("not-there.h5", tracks)
    False
    """
    path = Path(path)
    if not path.exists():
        return False
    with open_store(path) as store:
        if not isinstance(store, EmbeddingsStore):
            return False
        found = (store.spec.source, store.spec.patches, store.spec.trim)
        there = store.tracks
        if (
            found != (_source_name(source, precision), patches, trim)
            or list(there["track_id"]) != list(tracks["track_id"])
            or list(there["genre"]) != list(tracks["genre"])
        ):
            return False
        made, md5, refused = path.stat().st_mtime, store.source_md5, store.refused
    for track_id, file in zip(tracks["track_id"], map(Path, tracks["path"]), strict=True):
        if not file.is_file():
            continue
        # The time of the last change of the entry: a file put in place has the old time of its content.
        if file.stat().st_ctime > made if track_id in refused else file_md5(file) != md5.get(track_id):
            return False
    return True


def load_embedder(
    source: str | os.PathLike[str] | keras.Model = "hub", precision: str = "float32"
) -> Embedder:
    """Load a network that makes embeddings.

    Parameters
    ----------
    source : "hub", str, os.PathLike or keras.Model
        ``"hub"``: Google's VGGish from TensorFlow Hub. Another handle (``https://...``), or a folder
        that holds a SavedModel: called with a waveform at 16 kHz, it gives (patches, size). A Keras
        model: takes patches (batch, 96, 64), such as `gtzan_keras.models.vggish_network` builds, and gives
        (batch, size).
    precision : "float32" or "bfloat16"
        What a Keras model computes in; a SavedModel has its own.

    Returns
    -------
    Embedder

    Raises
    ------
    GtzanKerasError
        It can not be had, or it does something else.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from gtzan_keras.inference.embed import load_embedder
    >>> model = keras.Sequential([keras.Input((96, 64)), keras.layers.GlobalAveragePooling1D()])
    >>> load_embedder(model).run(np.zeros(2 * 16000, dtype="float32")).shape
    (2, 64)
    """
    if not isinstance(source, (str, os.PathLike)):
        return _keras_embedder(source, precision)
    import tensorflow as tf

    handle = HUB_HANDLE if source == "hub" else os.fspath(source)
    _check_precision(handle, precision)
    remote = "://" in handle
    folder = hub_folder(handle) if remote else Path(handle)
    if not (folder / "saved_model.pb").is_file():
        raise GtzanKerasError(
            f"{folder}: no SavedModel here (saved_model.pb is missing); expected 'hub', a handle such as "
            f"{HUB_HANDLE}, a folder with a SavedModel, or a Keras model (for a checkpoint: "
            "models.vggish(weights=path))"
        )
    try:
        network = tf.saved_model.load(os.fspath(folder))
        silence = network(tf.zeros(SAMPLE_RATE)).numpy()
    except Exception as error:  # whatever the graph raises for a signature of another kind
        reason = str(error).strip().split("\n")[0]
        raise GtzanKerasError(
            f"{handle}: does not turn a waveform, float32 (samples,), into embeddings ({reason})"
        ) from error
    if silence.ndim != 2:
        raise GtzanKerasError(
            f"{handle}: turns a second into shape {silence.shape}; expected (patches, size)"
        )

    def run(sounds: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        return [network(tf.constant(audio)).numpy().astype(np.float32) for audio in sounds]

    return Embedder(_source_name(handle, precision), silence.shape[1], lambda audio: audio, run)


def _check_precision(source: object, precision: str) -> None:
    if precision not in ("float32", "bfloat16"):
        raise GtzanKerasError(f"precision is {precision!r}; expected float32 or bfloat16")
    if precision != "float32" and isinstance(source, str):
        raise GtzanKerasError(
            f"precision is {precision!r}, but {source} is a SavedModel, which computes as it was saved; "
            "give a Keras model, such as models.vggish('audioset')"
        )


def _source_name(source: str | os.PathLike[str] | keras.Model, precision: str) -> str:
    """`EmbeddingSpec.source` for a network."""
    if isinstance(source, (str, os.PathLike)):
        handle = HUB_HANDLE if source == "hub" else os.fspath(source)
        if "://" in handle:
            return handle
        return f"SavedModel {Path(handle).resolve().name} {_folder_checksum(Path(handle))}"
    checksum = hashlib.sha256()
    for weights in source.get_weights():
        checksum.update(np.ascontiguousarray(weights).data)
    name = f"Keras model {source.name} {checksum.hexdigest()[:12]}"
    return name if precision == "float32" else f"{name} in {precision}"


def _keras_embedder(model: keras.Model, precision: str) -> Embedder:
    import keras

    from gtzan_keras.models.device import use_xla
    from gtzan_keras.models.layers import clone

    takes = getattr(model, "input_shape", None)
    gives: tuple[Any, ...] = getattr(model, "output_shape", ())
    if takes != (None, FRAMES, BANDS) or len(gives) != 2:
        raise GtzanKerasError(
            f"source is a {type(model).__name__} from {takes} to {gives}; expected a Keras model from "
            f"patches (None, {FRAMES}, {BANDS}) to (None, size), such as models.vggish()"
        )
    _check_precision(model, precision)
    computing = model
    if precision == "bfloat16":
        computing = clone(model, lambda _: "mixed_bfloat16")
    elif any(layer.compute_dtype != "float32" for layer in model.layers):
        computing = clone(model, lambda _: "float32")  # it was built under another policy
    plain = keras.Model(computing.inputs[0], computing.outputs[0])  # theirs stays as it was compiled
    plain.compile(jit_compile=use_xla())

    def network(pieces: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        if not pieces:
            return []
        patches = np.concatenate(pieces)
        outputs = []
        for start in range(0, len(patches), _BATCH):
            part = patches[start : start + _BATCH]
            # A shape that the graph has not seen is traced anew: powers of two, and _BATCH.
            padded = np.zeros((min(_BATCH, 1 << (len(part) - 1).bit_length()), FRAMES, BANDS), np.float32)
            padded[: len(part)] = part
            outputs.append(np.asarray(plain.predict_on_batch(padded), dtype=np.float32)[: len(part)])
        return np.split(np.concatenate(outputs), np.cumsum([len(piece) for piece in pieces])[:-1])

    return Embedder(_source_name(model, precision), gives[1], vggish_patches, network)


def _folder_checksum(folder: Path) -> str:
    checksum = hashlib.sha256()
    for file in (folder / "saved_model.pb", *sorted((folder / "variables").glob("*"))):
        with file.open("rb") as opened:
            checksum.update(hashlib.file_digest(opened, "sha256").digest())
    return checksum.hexdigest()[:12]


class _Sound(NamedTuple):
    track_id: str
    input: npt.NDArray[np.float32]
    md5: str = ""
    refused: str = ""


def _load_sound(track_id: str, file: str, spec: EmbeddingSpec, embedder: Embedder) -> _Sound:
    """What a thread does for one track."""
    try:
        samples = load_track(file, SAMPLE_RATE)
    except AudioError as error:
        return _Sound(track_id, np.zeros(0, np.float32), refused=error.reason)
    if spec.trim:
        from librosa.effects import trim

        samples = trim(samples)[0]
    if len(samples) < patch_samples(1):
        found, needed = len(samples) / SAMPLE_RATE, patch_samples(1) / SAMPLE_RATE
        reason = f"too short: {found:.2f} s of sound without the silence around it, {needed} s needed"
        return _Sound(track_id, samples[:0], refused=reason)
    # Nothing after the last patch has any influence on it.
    prepared = embedder.prepare(samples[: patch_samples(spec.patches)].copy())
    return _Sound(track_id, prepared, file_md5(file))


def _sounds(
    tracks: pd.DataFrame, spec: EmbeddingSpec, embedder: Embedder, jobs: int, progress: bool
) -> Iterator[_Sound]:
    """Tracks in order. Threads do: decoding, FFT and checksum run outside Python's lock.

    For a network on a GPU they work ahead. One on the processor has all cores busy already, and loses
    more by sharing one than by waiting the moment that reading the next tracks on all cores takes.
    """
    import joblib
    from tqdm import tqdm

    from gtzan_keras.models.device import count_gpus

    workers = joblib.effective_n_jobs(jobs)
    to_do = iter(zip(tracks["track_id"], tracks["path"], strict=True))
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(tracks), desc=spec.name, unit="track", disable=None if progress else True) as bar,
    ):

        def start(count: int) -> Iterator[Future[_Sound]]:
            return (pool.submit(_load_sound, *task, spec, embedder) for task in islice(to_do, count))

        started = deque(start(_TOGETHER + (workers + _TOGETHER if count_gpus() else 0)))
        while started:
            for _ in range(min(_TOGETHER, len(started))):
                yield started.popleft().result()
                bar.update()
            started.extend(start(_TOGETHER))  # when the network asks for more


def _check_place(path: Path, spec: EmbeddingSpec) -> None:
    """Refuse to write over anything but an older store of the same kind."""
    if not path.exists():
        return
    with open_store(path) as there:
        if not isinstance(there, EmbeddingsStore) or there.spec != spec:
            raise GtzanKerasError(
                f"{path} holds a store of another spec, {there.spec.name!r} "
                f"({spec.difference(there.spec)}); choose another file name, or delete it"
            )
