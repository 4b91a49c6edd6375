"""Tracks to a store of embeddings: VGGish's, or those of any network that stands in for it.

The file is laid out as that of `SpectrogramStore`, with ``embeddings``, float32 (track, patch, size),
in place of ``spectrograms``, and ``mask``, true where a patch is one of the track's and not padding.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.decode import AudioError, load_audio
from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.audio.vggish import BANDS, FRAMES, SAMPLE_RATE, patch_samples, vggish_patches
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.hdf5 import Sample, SpectrogramStore, StoreWriter, open_store, pack, table_of
from gtzan_keras.store.preprocess import PreprocessReport
from gtzan_keras.tracks.catalogue import COLUMNS, check_columns, file_md5

if TYPE_CHECKING:
    import keras

    from gtzan_keras.store.batches import Batches

__all__ = [
    "CHECKPOINT_URL",
    "HUB_HANDLE",
    "Embedder",
    "EmbeddingSpec",
    "EmbeddingsStore",
    "embed",
    "embeddings_current",
    "hub_folder",
    "load_embedder",
]

HUB_HANDLE = "https://tfhub.dev/google/vggish/1"
"""VGGish at TensorFlow Hub: a waveform at 16 kHz in, (patches, 128) out."""
CHECKPOINT_URL = "https://storage.googleapis.com/audioset/vggish_model.ckpt"
"""The reference checkpoint, for `gtzan_keras.models.vggish`."""

_TOGETHER = 4  # tracks the network gets at once: VGGish's 290 MB of weights are read less often
_BATCH = 124  # patches in them; more of them ask for memory and gain little

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """How sound becomes embeddings. Two stores, or a store and a model, fit when their specs are equal.

    Parameters
    ----------
    name : str
        What tables call it.
    patches : int > 0
        A track of fewer is padded with zeros at its end, one of more is cut. 30 s are 31.
    size : int > 0
        Numbers a patch.
    trim : bool
        Silence at both ends was cut off first (librosa's default: 60 dB below the loudest point).
    source : str
        The network: a Hub handle, or a name and the beginning of a checksum; its precision, when that
        is not float32.

    Raises
    ------
    GtzanKerasError
        A number is not above 0.

    Examples
    --------
    >>> from gtzan_keras.store.embeddings import EmbeddingSpec
    >>> EmbeddingSpec(name="vggish").shape
    (31, 128)
    """

    name: str
    patches: int = 31
    size: int = 128
    trim: bool = False
    source: str = HUB_HANDLE

    def __post_init__(self) -> None:
        for field in ("patches", "size"):
            value = getattr(self, field)
            if type(value) is not int or value < 1:
                raise GtzanKerasError(
                    f"spec {self.name!r}: {field} is {value!r}; expected a whole number above 0"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one track: (patches, size)."""
        return self.patches, self.size

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> EmbeddingSpec:
        """A spec from `to_dict`; an unknown field is an error that names it."""
        unknown = sorted(set(fields) - {field.name for field in dataclasses.fields(cls)})
        if unknown or "name" not in fields:
            raise GtzanKerasError(
                f"embedding spec: unknown field(s) {', '.join(unknown)}"
                if unknown
                else "embedding spec: no field 'name'"
            )
        return cls(**fields)

    def difference(self, other: EmbeddingSpec | SpectrogramSpec) -> str:
        """The fields in which two specs differ, for messages; "" when they are equal."""
        theirs = other.to_dict()
        return ", ".join(
            f"{field}: {value!r} against {theirs.get(field)!r}"
            for field, value in self.to_dict().items()
            if value != theirs.get(field)
        )


class EmbeddingsStore(SpectrogramStore):
    """A complete store of embeddings, open for reading. Make one with `embed` or `from_arrays`.

    It goes wherever a `SpectrogramStore` goes: `train`, `evaluate`, `load_run`.

    Parameters
    ----------
    path : str or os.PathLike
        The HDF5 file.

    Raises
    ------
    GtzanKerasError
        There is no such file, it is no such store, or it was made by a later version.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> from gtzan_keras.store.embeddings import EmbeddingSpec, EmbeddingsStore
    >>> path = os.path.join(tempfile.mkdtemp(), "tiny.h5")
    >>> of_two_tracks = [np.ones((3, 8)), np.ones((5, 8))]
    >>> spec = EmbeddingSpec(name="tiny", patches=4, size=8)
    >>> store = EmbeddingsStore.from_arrays(path, of_two_tracks, ["rock.00000", "pop.00000"], spec)
    >>> store.shape, store.mask.sum(axis=1).tolist()
    ((2, 4, 8), [3, 4])
    """

    _DATASET = "embeddings"
    spec: EmbeddingSpec  # type: ignore[assignment]  # what is asked of a store's spec, both have

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.mask: npt.NDArray[np.bool_] = self._file["mask"][:]

    @staticmethod
    def _read_spec(fields: dict[str, Any]) -> EmbeddingSpec:  # type: ignore[override]
        return EmbeddingSpec.from_dict(fields)

    def read(  # type: ignore[override]
        self, rows: npt.NDArray[np.int64] | Sequence[int] | slice = slice(None)
    ) -> npt.NDArray[np.float32]:
        """Embeddings by row number, in the order asked for.

        Parameters
        ----------
        rows : array of int, or slice
            All when left out.

        Returns
        -------
        np.ndarray [shape=(rows, patches, size), dtype=float32]
            Padding is zero.
        """
        return super().read(rows)  # type: ignore[return-value]  # of the type that lies in the file

    def as_input(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embeddings as `read` gives them -> as a model takes them: the same."""
        return samples

    def batches(
        self,
        track_ids: Sequence[str],
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> Batches:
        """Batches of embeddings, as `SpectrogramStore.batches` gives them of pictures.

        Raises
        ------
        GtzanKerasError
            There is an ``augmentation``: those are for pictures.
        """
        if options.get("augmentation") is not None:
            raise GtzanKerasError(
                f"{self.path.name} holds embeddings: augmentation is for pictures, leave it out"
            )
        return super().batches(track_ids, batch_size, shuffle, seed, **options)

    @classmethod
    def from_arrays(  # type: ignore[override]
        cls,
        path: str | os.PathLike[str],
        embeddings: Iterable[npt.NDArray[np.floating]],
        track_ids: Sequence[str],
        spec: EmbeddingSpec,
        genres: Sequence[str] | None = None,
    ) -> EmbeddingsStore:
        """Make a store from embeddings that are there already.

        Parameters
        ----------
        path : str or os.PathLike
            The file to write; an existing one is replaced.
        embeddings : iterable of np.ndarray [shape=(patches, size)]
            One a track, of any number of patches; read one at a time.
        track_ids : sequence of str
            One a track.
        spec : EmbeddingSpec
            How they were made.
        genres : sequence of str, optional
            One a track; from GTZAN's facts when left out.

        Returns
        -------
        EmbeddingsStore

        Raises
        ------
        GtzanKerasError
            Counts or shapes do not agree, a number is not finite, a genre is not known, or a track
            stands there twice.
        """
        ids = [str(track_id) for track_id in track_ids]
        _refuse_twice(ids)
        with _EmbeddingsWriter(path, spec, table_of(path, ids, genres)) as writer:
            source = iter(embeddings)
            for track_id, track in zip(ids, source, strict=False):
                writer.append_track(track_id, np.asarray(track))
            if len(writer.rows) < len(ids) or next(source, None) is not None:
                raise GtzanKerasError(
                    f"{path}: {len(ids)} track ids, but not as many embeddings; one each is needed"
                )
        return cls(path)


class _EmbeddingsWriter(StoreWriter):
    """Pads, packs and writes embeddings, and which of them are padding."""

    _DATASET, _DTYPE = "embeddings", "float32"
    spec: EmbeddingSpec

    def __init__(self, path: str | os.PathLike[str], spec: EmbeddingSpec, tracks: pd.DataFrame) -> None:
        super().__init__(path, spec, tracks)
        self._counts: list[int] = []

    def append_track(
        self, track_id: str, embeddings: npt.NDArray[np.floating], md5: str = "", refused: str = ""
    ) -> None:
        """Add one track's (patches, size), or note that it was refused."""
        if refused:
            return self.append(Sample(track_id, (), refused=refused))
        patches, size = self.spec.shape
        if embeddings.ndim != 2 or embeddings.shape[1] != size or not len(embeddings):
            raise GtzanKerasError(
                f"{track_id}: embeddings of shape {embeddings.shape}; expected (patches, {size}), one or more"
            )
        if not np.isfinite(embeddings).all():
            raise GtzanKerasError(f"{track_id}: its embeddings hold NaN or infinite numbers")
        self._counts.append(min(len(embeddings), patches))
        padded = np.zeros(self.spec.shape, dtype=np.float32)
        padded[: len(embeddings)] = embeddings[:patches]
        return self.append(Sample(track_id, pack([padded]), md5))

    def _finish(self) -> None:
        super()._finish()
        mask = np.arange(self.spec.shape[0]) < np.array(self._counts, dtype=int)[:, None]
        self._file.create_dataset("mask", data=mask)


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
    >>> from gtzan_keras.store.embeddings import EmbeddingsStore, embed
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
    _refuse_twice(list(tracks["track_id"]))
    if jobs == 0:
        raise GtzanKerasError("jobs is 0; expected how many threads, or -1 for one a core")
    embedder = load_embedder(source, precision)
    name = f"vggish-{patches}x{embedder.size}" + ("-trimmed" if trim else "")
    spec = EmbeddingSpec(name=name, patches=patches, size=embedder.size, trim=trim, source=embedder.name)
    _check_place(path, spec)
    with _EmbeddingsWriter(path, spec, tracks) as writer:
        sounds = _sounds(tracks, spec, embedder, jobs, progress)
        while group := list(islice(sounds, _TOGETHER)):
            outputs = iter(embedder.network([sound.input for sound in group if not sound.refused]))
            for sound in group:
                if sound.refused:
                    logger.warning("left out %s: %s", sound.track_id, sound.refused)
                    writer.append_track(sound.track_id, sound.input, refused=sound.refused)
                else:
                    writer.append_track(sound.track_id, next(outputs), sound.md5)
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
    >>> from gtzan_keras.store.embeddings import embeddings_current
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
        model: takes patches (batch, 96, 64), such as `gtzan_keras.models.vggish` builds, and gives
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
    >>> from gtzan_keras.store.embeddings import load_embedder
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


def hub_folder(handle: str) -> Path:
    """Where TensorFlow Hub keeps a model, downloaded if need be.

    Parameters
    ----------
    handle : str
        Its address.

    Returns
    -------
    Path
        The folder of the SavedModel.

    Raises
    ------
    GtzanKerasError
        It can not be had; the message says what to download and where to put it.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*pkg_resources")  # it imports that, which is deprecated
            import tensorflow_hub
    except ImportError as error:
        raise GtzanKerasError(
            f"TensorFlow Hub can not be imported ({error}); pip install tensorflow-hub 'setuptools<81'"
        ) from error
    try:
        return Path(tensorflow_hub.resolve(handle))
    except Exception as error:  # each of its resolvers raises its own kind
        raise GtzanKerasError(
            f"{handle} could not be had from TensorFlow Hub ({error}). Where there is a network, download "
            f"{handle}?tf-hub-format=compressed (a .tar.gz) and unpack it; then name that folder (source=, "
            f"weights=), or set TFHUB_CACHE_DIR to a folder and call it "
            f"{hashlib.sha1(handle.encode()).hexdigest()} in there. For VGGish {CHECKPOINT_URL} does as "
            "well: models.vggish(weights='vggish_model.ckpt')"
        ) from error


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

    from gtzan_keras.training.fit import clone
    from gtzan_keras.training.precision import use_xla

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
        samples = load_audio(file, SAMPLE_RATE)
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

    from gtzan_keras.training.precision import count_gpus

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


def _refuse_twice(ids: Sequence[str]) -> None:
    if twice := [track_id for track_id, count in Counter(ids).items() if count > 1]:
        raise GtzanKerasError(f"track_id {twice[0]!r} stands in the table of tracks more than once")
