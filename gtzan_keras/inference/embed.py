"""Tracks to a store of embeddings: of VGGish, or of another network."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache, lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.decode import AudioError
from gtzan_keras.audio.patches import MUSICNN, SAMPLE_RATE, VGGISH, FrontEnd
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.saving import check_input_shape
from gtzan_keras.models.weights import hub_folder
from gtzan_keras.parallel import cluster, in_parallel
from gtzan_keras.store.base import Sample, write_store
from gtzan_keras.store.embeddings import HUB_HANDLE, EmbeddingSpec, EmbeddingsStore, embedded
from gtzan_keras.store.files import replacing
from gtzan_keras.store.open import open_store
from gtzan_keras.store.parts import Parts, Task, check_here
from gtzan_keras.store.preprocess import PreprocessReport, make_store
from gtzan_keras.tracks.catalogue import load_track

if TYPE_CHECKING:
    import keras

    from gtzan_keras.store.spectrograms import SpectrogramStore

__all__ = ["Embedder", "embed", "embed_images", "load_embedder"]

Array = npt.NDArray[np.float32]

_TOGETHER = 4  # tracks per call: VGGish's 290 MB of weights are read less often

_BATCH = 124  # patches per call; more need memory and gain little
_MUSICNN: dict[object, tuple[Any, Any]] = {
    f"musicnn-{weights}{suffix}": (weights, pooling)
    for weights in ("msd", "mtt")
    for suffix, pooling in (("", "mean+max"), ("-penultimate", "penultimate"))
}  # weights and pooling of `gtzan_keras.models.musicnn`


class Embedder(NamedTuple):
    """A network that turns sound into embeddings; call `run`.

    Parameters
    ----------
    name : str
        Value of `EmbeddingSpec.source`.
    size : int
        Numbers per patch.
    prepare : callable
        Turns mono float32 samples at 16 kHz, enough for one patch, into the network's input.
    network : callable
        Turns a list of such inputs into a list of embeddings.
    front_end : FrontEnd
        Says how many samples a patch needs.
    """

    name: str
    size: int
    prepare: Callable[[Array], Array]
    network: Callable[[list[Array]], list[Array]]
    front_end: FrontEnd = VGGISH

    def run(self, audio: Array) -> Array:
        """Turn mono float32 samples at 16 kHz into float32 (patches, size)."""
        return self.network([self.prepare(audio)])[0]


def embed(
    tracks: pd.DataFrame,
    path: str | os.PathLike[str],
    source: str | os.PathLike[str] | keras.Model = "hub",
    *,
    patches: int | None = None,
    trim: bool = False,
    precision: str = "float32",
    jobs: int = -1,
    progress: bool = True,
) -> PreprocessReport:
    """Turn tracks into a store of embeddings.

    Threads read the tracks, the network gets four at a time; memory does not depend on their number. On a
    cluster, each worker has its own network; see `gtzan_keras.parallel.on_cluster`.
    Files that cannot be read are left out, one log line each, and never end the run. An interrupted run
    continues, and a complete store keeps its unchanged tracks, as with `preprocess`; when nothing has
    changed, the network is not even loaded.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    path : str or os.PathLike
        The HDF5 file to write.
    source : "hub", "musicnn-msd", str, os.PathLike or keras.Model
        The network, as `load_embedder` takes it.
    patches : int > 0, optional
        Patches per track: fewer are padded with zeros, more are cut. By default those of 30 s: 31 for VGGish,
        10 for musicnn.
    trim : bool
        Remove the silence at both ends first, as Uncu did.
    precision : "float32" or "bfloat16"
        Precision of a Keras model, whatever policy it was built with. bfloat16 is faster if the
        processor has it, slower elsewhere, and accurate to 1e-2; the spec's ``source`` says so.
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
        The network is not available or does not turn sound into (patches, size); `path` holds another
        kind of file, or a store of another spec or with other tracks in it, or another process is making
        it; `precision` is invalid, or is bfloat16 for a SavedModel; `jobs` is 0; a track is
        duplicated in the table; or no track could be read.

    References
    ----------
    Uncu, survey of VGGish and scratch CNNs on GTZAN: 31 embeddings per track, raw (no PCA, no
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
    patches = _front_end(source).per_clip if patches is None else patches
    embedder = cache(partial(load_embedder, source, precision))  # loaded when it is first needed
    spec = _spec(Path(path), source, patches, trim, precision, embedder)

    def compute(tasks: list[Task]) -> Iterator[Sample]:
        if cluster() is not None:
            return _on_workers(tasks, spec, source, precision, Parts(Path(path)).folder)
        return _embed(tasks, spec, embedder(), jobs)

    return make_store(tracks, path, spec, compute, jobs, progress)


def _embed(tasks: list[Task], spec: EmbeddingSpec, embedder: Embedder, jobs: int) -> Iterator[Sample]:
    """Yield the embeddings of tracks, in order."""
    sounds = zip(tasks, _sounds(tasks, spec, embedder, jobs), strict=True)
    while group := list(islice(sounds, _TOGETHER)):
        outputs = iter(embedder.network([sound for _, sound in group if not isinstance(sound, str)]))
        for task, sound in group:
            if isinstance(sound, str):
                yield Sample(task.track_id, md5=task.md5, refused=sound)
            else:
                yield embedded(task.track_id, next(outputs), spec, task.md5)


def _on_workers(
    tasks: list[Task],
    spec: EmbeddingSpec,
    source: str | os.PathLike[str] | keras.Model,
    precision: str,
    folder: Path,
) -> Iterator[Sample]:
    """Embed on the workers of a cluster, each with its own network; a model reaches them as a file."""
    if not isinstance(source, (str, os.PathLike)):
        file = folder / f"{_source_name(source, 'float32').split()[-1]}.keras"
        with replacing(file) as temporary:
            source.save(temporary)
        source = file
    groups = [tasks[start : start + _TOGETHER] for start in range(0, len(tasks), _TOGETHER)]
    names = [", ".join(task.file for task in group) for group in groups]
    embed_group = partial(_embed_on_worker, spec=spec, source=os.fspath(source), precision=precision)
    for samples in in_parallel(embed_group, [(group,) for group in groups], names):
        yield from samples


def _embed_on_worker(tasks: list[Task], spec: EmbeddingSpec, source: str, precision: str) -> list[Sample]:
    for task in tasks:
        check_here(task)
    return list(_embed(tasks, spec, _kept_embedder(source, precision), jobs=1))


@lru_cache(maxsize=1)
def _kept_embedder(source: str, precision: str) -> Embedder:
    """Load a network that a worker keeps from call to call."""
    if not source.endswith(".keras"):
        return load_embedder(source, precision)
    import keras

    import gtzan_keras.models.layers  # noqa: F401 (registers our own layers)

    return load_embedder(keras.saving.load_model(source), precision)


def embed_images(
    store: SpectrogramStore,
    path: str | os.PathLike[str],
    network: keras.Model,
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> EmbeddingsStore:
    """Turn the spectrograms of a store into a store of embeddings, one per track.

    Parameters
    ----------
    store : SpectrogramStore
        A store with one spectrogram per track.
    path : str or os.PathLike
        The HDF5 file to write. A store that this network made of these spectrograms is kept.
    network : keras.Model
        Takes the spectrograms, 0..1, and gives (batch, size), such as `gtzan_keras.models.image_features`.
    batch_size : int >= 1
        Images per call of the network.
    progress : bool
        Show a bar when the output is a terminal.

    Returns
    -------
    EmbeddingsStore
        Of shape (tracks, 1, size).

    Raises
    ------
    GtzanKerasError
        A track has several spectrograms, or the network takes or gives another shape.

    Examples
    --------
    >>> import keras
    >>> from gtzan_keras import datasets
    >>> from gtzan_keras.inference.embed import embed_images
    >>> mean = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.GlobalAveragePooling2D()])
    >>> embed_images(datasets.thumbnails(), "means.h5", mean).shape  # doctest: +SKIP
    (999, 1, 1)
    """
    from tqdm import tqdm

    gives = network.output_shape
    if len(gives) != 2 or len(set(store.track_id)) < len(store):
        raise GtzanKerasError(
            f"{store.path}: {len(store)} spectrograms of {len(set(store.track_id))} tracks, and a network "
            f"that gives {gives}; expected one spectrogram per track, and (None, size)"
        )
    check_input_shape(network, store.spec.shape)
    source = f"{_source_name(network, 'float32')} of {store.checksum[:12]}"
    spec = EmbeddingSpec(name=f"{network.name}-1x{gives[1]}", patches=1, size=gives[1], source=source)
    if Path(path).is_file():
        with open_store(path) as known:
            if known.spec == spec and known.made_from(store.tracks):
                return EmbeddingsStore(path)

    def embeddings() -> Iterator[Array]:
        starts = range(0, len(store), batch_size)
        for start in tqdm(starts, desc=network.name, unit="batch", disable=None if progress else True):
            images = store.as_input(store.read(slice(start, start + batch_size)))
            yield from np.asarray(network.predict_on_batch(images), np.float32)[:, None]

    with write_store(path, spec, store.tracks) as writer:
        for track_id, numbers in zip(store.track_id, embeddings(), strict=True):
            writer.append(embedded(track_id, numbers, spec, store.source_md5.get(track_id, "")))
        for track_id, reason in store.refused.items():
            writer.append(Sample(track_id, refused=reason))
    return EmbeddingsStore(path)


def _spec(
    path: Path, source: Any, patches: int, trim: bool, precision: str, embedder: Callable[[], Embedder]
) -> EmbeddingSpec:
    """Return the spec of the store at `path`, if it fits: then the network may not be needed at all."""
    if path.is_file():
        _check_precision(source, precision)
        with open_store(path) as store, suppress(OSError):  # `load_embedder` says what is wrong with a folder
            known, wanted = store.spec, (patches, trim, _source_name(source, precision))
            if isinstance(known, EmbeddingSpec) and (known.patches, known.trim, known.source) == wanted:
                return known
    network = embedder()
    name = f"{network.front_end.name}-{patches}x{network.size}" + ("-trimmed" if trim else "")
    return EmbeddingSpec(name=name, patches=patches, size=network.size, trim=trim, source=network.name)


def load_embedder(
    source: str | os.PathLike[str] | keras.Model = "hub", precision: str = "float32"
) -> Embedder:
    """Load a network that turns sound into embeddings.

    Parameters
    ----------
    source : "hub", str, os.PathLike or keras.Model
        ``"hub"``: Google's VGGish from TensorFlow Hub (extra ``hub``). Another handle (``https://...``), or a
        folder that holds a SavedModel: called with a waveform at 16 kHz, it gives (patches, size). A Keras
        model: takes VGGish's patches (batch, 96, 64) or musicnn's (batch, 187, 96), and gives (batch, size),
        such as `gtzan_keras.models.vggish` and `gtzan_keras.models.musicnn` build. ``"musicnn-msd"`` or
        ``"musicnn-mtt"``: musicnn with the authors' weights, mean and maximum over a patch (1506 numbers);
        with ``-penultimate`` at the end, the dense layer before the tags (200 numbers).
    precision : "float32" or "bfloat16"
        Precision of a Keras model; a SavedModel has its own.

    Returns
    -------
    Embedder

    Raises
    ------
    GtzanKerasError
        The network is not available, or does not turn sound into (patches, size); or `precision` is invalid.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from gtzan_keras.inference.embed import load_embedder
    >>> model = keras.Sequential([keras.Input((96, 64)), keras.layers.GlobalAveragePooling1D()])
    >>> load_embedder(model).run(np.zeros(2 * 16000, dtype="float32")).shape
    (2, 64)
    """
    if source in _MUSICNN:
        from gtzan_keras.models.musicnn_networks import musicnn

        weights, pooling = _MUSICNN[source]
        network = musicnn(weights, include_top=False, pooling=pooling)
        return _keras_embedder(network, precision)._replace(name=_source_name(source, precision))
    if not isinstance(source, (str, os.PathLike)):
        return _keras_embedder(source, precision)
    import tensorflow as tf

    handle = HUB_HANDLE if source == "hub" else os.fspath(source)
    _check_precision(handle, precision)
    folder = hub_folder(handle) if "://" in handle else Path(handle)
    if not (folder / "saved_model.pb").is_file():
        raise GtzanKerasError(
            f"{folder}: not a SavedModel (saved_model.pb is missing); expected 'hub', a handle such as "
            f"{HUB_HANDLE}, a folder with a SavedModel, or a Keras model (for a checkpoint: "
            "models.vggish(weights=path))"
        )
    try:
        network = tf.saved_model.load(os.fspath(folder))
        silence = network(tf.zeros(SAMPLE_RATE)).numpy()
        if silence.ndim != 2:
            raise ValueError(f"a second of sound gives shape {silence.shape}; expected (patches, size)")
    except Exception as error:  # whatever the graph raises for a signature of another kind
        reason = str(error).strip().split("\n")[0]
        raise GtzanKerasError(
            f"{handle}: does not turn a waveform, float32 (samples,), into embeddings ({reason})"
        ) from error

    def run(sounds: list[Array]) -> list[Array]:
        return [network(tf.constant(audio)).numpy().astype(np.float32) for audio in sounds]

    return Embedder(_source_name(handle, precision), silence.shape[1], lambda audio: audio, run)


def _check_precision(source: object, precision: str) -> None:
    if precision not in ("float32", "bfloat16"):
        raise GtzanKerasError(f"precision={precision!r}: expected float32 or bfloat16")
    if precision != "float32" and isinstance(source, (str, os.PathLike)) and source not in _MUSICNN:
        raise GtzanKerasError(
            f"precision={precision!r}: {source} is a SavedModel, which computes as it was saved; use a "
            "Keras model, such as models.vggish('audioset')"
        )


def _source_name(source: str | os.PathLike[str] | keras.Model, precision: str) -> str:
    """Return `EmbeddingSpec.source` for a network."""
    checksum = hashlib.sha256()
    if source in _MUSICNN:
        name = str(source)
    elif isinstance(source, (str, os.PathLike)):
        handle = HUB_HANDLE if source == "hub" else os.fspath(source)
        if "://" in handle:
            return handle
        folder = Path(handle)
        for file in (folder / "saved_model.pb", *sorted((folder / "variables").glob("*"))):
            with file.open("rb") as opened:
                checksum.update(hashlib.file_digest(opened, "sha256").digest())
        return f"SavedModel {folder.resolve().name} {checksum.hexdigest()[:12]}"
    else:
        for weights in source.get_weights():
            checksum.update(weights.tobytes())
        name = f"Keras model {source.name} {checksum.hexdigest()[:12]}"
    return name if precision == "float32" else f"{name} in {precision}"


def source_and_precision(name: str) -> tuple[str, str]:
    """Return source and precision from `EmbeddingSpec.source`, if the source is a name or an address."""
    source, _, precision = name.partition(" in ")
    return source, precision or "float32"


def _keras_embedder(model: keras.Model, precision: str) -> Embedder:
    import keras

    from gtzan_keras.models.layers import clone

    front_end = _front_end(model)
    takes: tuple[Any, ...] = getattr(model, "input_shape", ())
    gives: tuple[Any, ...] = getattr(model, "output_shape", ())
    fits = len(takes) == 3 and takes[1] in (None, front_end.shape[0]) and takes[2] == front_end.shape[1]
    if not fits or len(gives) != 2:
        raise GtzanKerasError(
            f"source is a {type(model).__name__} from {takes} to {gives}; expected a Keras model from "
            f"patches {(None, *VGGISH.shape)} or {(None, *MUSICNN.shape)} to (None, size), such as "
            "models.vggish()"
        )
    _check_precision(model, precision)
    policy, computing = "mixed_bfloat16" if precision == "bfloat16" else "float32", model
    if policy != "float32" or any(layer.compute_dtype != "float32" for layer in model.layers):
        computing = clone(model, lambda _: policy)
    plain = keras.Model(computing.inputs[0], computing.outputs[0])  # the caller's stays compiled as it was
    plain.compile()

    def network(pieces: list[Array]) -> list[Array]:
        if not pieces:
            return []
        inputs = np.concatenate(pieces)
        # Not `predict`: every call would build an input pipeline, which takes longer than a small network.
        batches = [inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH)]
        outputs = np.concatenate([np.asarray(plain.predict_on_batch(batch), np.float32) for batch in batches])
        return np.split(outputs, np.cumsum([len(piece) for piece in pieces])[:-1])

    return Embedder(_source_name(model, precision), gives[1], front_end.patches, network, front_end)


def _front_end(source: Any) -> FrontEnd:
    """Return musicnn's for musicnn and for networks that take as many bands; else VGGish's."""
    takes = getattr(source, "input_shape", (0,))
    return MUSICNN if source in _MUSICNN or takes[-1] == MUSICNN.shape[1] else VGGISH


def _load_sound(task: Task, spec: EmbeddingSpec, embedder: Embedder) -> Array | str:
    """Return the network's input for one track, or why there is none: what a thread does."""
    try:
        samples = load_track(task.file, SAMPLE_RATE)
    except AudioError as error:
        return error.reason
    if spec.trim:
        from librosa.effects import trim

        samples = trim(samples)[0]
    needs = embedder.front_end.samples
    if len(samples) < needs(1):
        found, needed = len(samples) / SAMPLE_RATE, needs(1) / SAMPLE_RATE
        trimmed = " without the silence around it" if spec.trim else ""
        return f"too short: {found:.2f} s of sound{trimmed}, {needed} s needed"
    # Samples after the last patch have no influence on it.
    return embedder.prepare(samples[: needs(spec.patches)].copy())


def _sounds(tasks: list[Task], spec: EmbeddingSpec, embedder: Embedder, jobs: int) -> Iterator[Array | str]:
    """Yield what `_load_sound` returns for each track, in order.

    Threads read the tracks: decoding and FFT run outside Python's lock. For a network on a GPU they read
    ahead. A network on the CPU already uses all cores, and loses more by sharing one than by waiting for the
    next tracks, which are read on all cores.
    """
    import joblib

    from gtzan_keras.models.device import count_gpus

    workers = joblib.effective_n_jobs(jobs)
    to_do = iter(tasks)
    with ThreadPoolExecutor(workers) as pool:

        def start(count: int) -> Iterator[Future[Array | str]]:
            return (pool.submit(_load_sound, task, spec, embedder) for task in islice(to_do, count))

        started = deque(start(_TOGETHER + (workers + _TOGETHER if count_gpus() else 0)))
        while started:
            for _ in range(min(_TOGETHER, len(started))):
                yield started.popleft().result()
            started.extend(start(_TOGETHER))  # when the network asks for more
