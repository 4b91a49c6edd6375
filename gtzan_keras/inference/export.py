"""A model with its front end in one graph, for other runtimes: sound in, genres out."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from gtzan_keras.audio.spectrogram import SpectrogramSpec, colours, fit_frames, hann_window, mel_filters
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.predict import load_classifier, window_samples
from gtzan_keras.store.files import replacing, write_json

if TYPE_CHECKING:
    import keras

    from gtzan_keras.models.saving import SavedModel
    from gtzan_keras.training.run import Run

__all__ = ["export", "sound_model"]

_FORMATS = {"litert": ".tflite", "onnx": ".onnx", "tf_saved_model": ""}
Array = npt.NDArray[np.float32]


def export(
    model: str | os.PathLike[str] | SavedModel | Run | None,
    path: str | os.PathLike[str],
    format: Literal["litert", "onnx", "tf_saved_model"] = "litert",
    *,
    window: float | None = None,
) -> Path:
    """Write a classifier, its spectrogram included, as one file for another runtime.

    The graph takes one window of sound and returns the probabilities of its genres: those of `predict` for
    the same window, to 1e-3. A JSON file next to it (``NAME.json``) describes the interface: sample rate,
    samples per window, genres and spec. Cutting a song into windows and averaging them is left to the caller.

    Parameters
    ----------
    model : str, os.PathLike, SavedModel, Run or None
        As for `predict`; None is the packaged model, with windows of 10 s.
    path : str or os.PathLike
        The file to write, or the folder for ``"tf_saved_model"``. It must not exist.
    format : "litert", "onnx" or "tf_saved_model"
        LiteRT (formerly TensorFlow Lite), ONNX, or a TensorFlow SavedModel. ONNX needs the packages of
        ``gtzan-keras[export]``, which also brings the first two runtimes.
    window : float > 0 [seconds], optional
        As for `predict`.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    GtzanKerasError
        The format is unknown, its packages are missing, the name of `path` does not
        end as the format requires, `path` exists or its folder does not, or
        the model does not take spectrograms of sound.

    See Also
    --------
    sound_model : the graph as a Keras model.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> from gtzan_keras import SPECTROGRAM_SPECS, export, models
    >>> from gtzan_keras.models.saving import SavedModel
    >>> spec = SPECTROGRAM_SPECS["zhang-128"]
    >>> model = SavedModel(models.cnn(spec.shape, 2, filters=(4,)), spec, ["jazz", "rock"])
    >>> path = export(model, pathlib.Path(tempfile.mkdtemp()) / "saved", "tf_saved_model")
    >>> described = json.loads(path.with_name("saved.json").read_text())
    >>> described["samples"], described["sample_rate"], described["genres"]
    (661500, 22050, ['jazz', 'rock'])
    """
    import importlib.util

    if format not in _FORMATS:
        raise GtzanKerasError(f"format={format!r}: expected {', '.join(_FORMATS)}")
    needed = ["onnx", "tf2onnx"] if format == "onnx" else []
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise GtzanKerasError(
            f"format={format!r} needs {', '.join(missing)}: pip install 'gtzan-keras[export]'"
        )
    path = Path(path)
    if not path.name.endswith(_FORMATS[format]):
        raise GtzanKerasError(f"{path}: expected a file name that ends in {_FORMATS[format]}")
    described = path.parent / f"{path.name}.json"
    if taken := [file for file in (path, described) if file.exists()]:
        raise GtzanKerasError(f"{taken[0]} exists; remove it, or choose another name")
    if not path.parent.is_dir():
        raise GtzanKerasError(f"{path}: the folder {path.parent} does not exist; make it first")
    classifier = load_classifier(model, window)
    network = sound_model(classifier)
    network(np.zeros(network.input_shape, np.float32))  # the ONNX export refuses a model never called
    with replacing(path) as temporary:
        network.export(str(temporary), format=format, verbose=False)
    samples = network.input_shape[1]
    interface = {
        "input": f"float32 (1, {samples}): mono samples within -1..1",
        "output": f"float32 (1, {len(classifier.genres)}): a probability per genre",
        "sample_rate": classifier.spec.sample_rate,
        "samples": samples,
        "genres": list(classifier.genres),
        "spec": classifier.spec.to_dict(),
    }
    write_json(described, interface)
    return path


def sound_model(classifier: SavedModel) -> keras.Model:
    """Build a model from sound to genres around a model from spectrograms to genres.

    The front end consists of reshapes, matrix products and elementwise operations, which every runtime has.
    The Fourier transform is computed in two steps (Cooley and Tukey) whose matrices are small.

    Parameters
    ----------
    classifier : SavedModel
        A model with its spec and genres.

    Returns
    -------
    keras.Model
        Input float32 (1, samples) at the spec's sample rate, one window; output as the classifier's.

    References
    ----------
    Cooley, Tukey, "An algorithm for the machine calculation of complex Fourier series", Mathematics of
    Computation 19 (1965).

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras import SPECTROGRAM_SPECS, models
    >>> from gtzan_keras.inference.export import sound_model
    >>> from gtzan_keras.models.saving import SavedModel
    >>> spec = SPECTROGRAM_SPECS["zhang-128"]
    >>> model = sound_model(SavedModel(models.cnn(spec.shape, 2, filters=(4,)), spec, ["jazz", "rock"]))
    >>> model.input_shape, model.output_shape
    ((1, 661500), (1, 2))
    """
    import keras

    samples, _ = window_samples(classifier.spec, None)
    sound = keras.Input((samples,), batch_size=1, name="sound")
    image = _image(_log_mel(sound, classifier.spec), classifier.spec)
    return keras.Model(sound, classifier.model(image), name=f"{classifier.model.name}_on_sound")


def _log_mel(sound: Any, spec: SpectrogramSpec) -> Any:
    """Return (1, frames, n_mels) in dB below the loudest point, as `log_mel`."""
    from keras import ops

    frames = _frames(sound, spec) * hann_window(spec)
    real, imaginary, bins = _fourier(frames)
    bank = np.zeros((bins.max() + 1, spec.n_mels), np.float32)
    bank[: spec.n_fft // 2 + 1] = mel_filters(spec).toarray().T
    power = ops.matmul(ops.square(real) + ops.square(imaginary), bank[bins])
    decibels = ops.log(ops.maximum(power, 1e-10)) * (10 / math.log(10))
    return ops.maximum(decibels - ops.max(decibels), -spec.db_range)


def _frames(sound: Any, spec: SpectrogramSpec) -> Any:
    """Return the overlapping frames (1, frames, n_fft), of a signal cut into pieces of one hop."""
    from keras import ops

    hop, pieces = spec.hop_length, -(-spec.n_fft // spec.hop_length)
    count = 1 + (sound.shape[1] + 2 * (spec.n_fft // 2) - spec.n_fft) // hop
    whole = (count + pieces - 1) * hop
    before = spec.n_fft // 2
    padded = ops.pad(sound, ((0, 0), (before, max(0, whole - before - sound.shape[1]))))[:, :whole]
    steps = ops.reshape(padded, (1, count + pieces - 1, hop))
    return ops.concatenate([steps[:, n : n + count] for n in range(pieces)], axis=2)[:, :, : spec.n_fft]


def _fourier(frames: Any) -> tuple[Any, Any, npt.NDArray[np.int64]]:
    """Return real and imaginary part of the lower half of a Fourier transform, and the order of its bins."""
    from keras import ops

    count, size = frames.shape[1:]
    rows = max(n for n in range(1, int(size**0.5) + 1) if size % n == 0)
    columns = size // rows
    n1, k1, n2 = np.arange(rows), np.arange(rows), np.arange(columns)
    k2 = np.arange(columns // 2 + 1)
    x = ops.reshape(frames, (1, count, rows, columns))  # sample columns * n1 + n2
    first = [ops.matmul(part, x) for part in _turns(np.outer(k1, n1) / rows)]
    twiddled = _times(ops.multiply, first, _turns(np.outer(k1, n2) / size))
    second = _times(ops.matmul, twiddled, _turns(np.outer(n2, k2) / columns))
    bins = (k1[:, None] + rows * k2).ravel()  # bin k1 + rows * k2
    real, imaginary = (ops.reshape(part, (1, count, bins.size)) for part in second)
    return real, imaginary, bins


def _times(product: Callable[[Any, Any], Any], a: Sequence[Any], b: Sequence[Any]) -> tuple[Any, Any]:
    """Return real and imaginary part of a complex product, from such pairs and a product of real tensors."""
    return product(a[0], b[0]) - product(a[1], b[1]), product(a[0], b[1]) + product(a[1], b[0])


def _turns(turns: npt.NDArray[np.float64]) -> tuple[Array, Array]:
    angle = -2 * np.pi * turns
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _image(decibels: Any, spec: SpectrogramSpec) -> Any:
    """Return (1, height, width, channels) in 0..1, as `mel_image` divided by 255."""
    from keras import ops

    floor = ops.min(decibels) if spec.floor == "track" else -spec.db_range
    levels = ops.transpose((decibels - floor) / ops.maximum(-floor, 1e-6), (0, 2, 1))
    bands, frames = levels.shape[1:]
    # Fitting is linear, so that an identity matrix shows what it does to frames and to bands.
    along, across = np.eye(frames, dtype=np.float32), np.eye(bands, dtype=np.float32)
    if spec.fit == "resize":
        levels = ops.matmul(levels, fit_frames(along, dataclasses.replace(spec, height=frames)))
        levels = ops.matmul(fit_frames(across, dataclasses.replace(spec, width=bands)), levels)
    else:
        levels = ops.matmul(levels, fit_frames(along, spec))
    levels = ops.flip(levels, axis=1)
    if spec.fit in ("sample", "average"):
        grey = ops.floor(ops.minimum(levels * 256, 255.0))
    else:
        grey = ops.round(levels * 255)
    if spec.fit == "average":
        rows, columns = _blocks(bands, spec.height), _blocks(grey.shape[2], spec.width)
        sums = ops.matmul(ops.matmul(rows.T, grey), columns)  # exact: halves are rounded as in block_means
        grey = ops.round(sums / np.outer(rows.sum(axis=0), columns.sum(axis=0)))
    if spec.colour_map is None:
        return ops.expand_dims(grey, -1) / 255
    return ops.take(colours(spec.colour_map).astype(np.float32) / 255, ops.cast(grey, "int32"), axis=0)


def _blocks(size: int, blocks: int) -> Array:
    """Return which of `size` rows belongs to which block of `block_means`: 1 or 0, (size, blocks)."""
    edges = np.arange(blocks + 1) * size // blocks
    return np.repeat(np.eye(blocks, dtype=np.float32), np.diff(edges), axis=0)
