"""A model file that describes its input: `.keras`, with spec and genre names inside."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import is_inside
from gtzan_keras.store.embeddings import EmbeddingSpec
from gtzan_keras.store.files import replacing

if TYPE_CHECKING:
    import h5py
    import keras

__all__ = ["SavedModel", "load_model", "save_model"]

_MEMBER = "gtzan_keras.json"  # Keras ignores members of the archive that are not its own
_MOST_PACKED = 4  # largest compression ratio of weights


class SavedModel(NamedTuple):
    """A model, the spec of its input, and the genres of its outputs."""

    model: keras.Model
    spec: Any  # SpectrogramSpec or EmbeddingSpec
    genres: list[str]


def save_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    spec: SpectrogramSpec | EmbeddingSpec,
    genres: list[str],
) -> Path:
    """Save a model as `.keras` together with its spec and genre names.

    `keras.saving.load_model` opens the file like any other. It is written to a temporary name first.

    Parameters
    ----------
    model : keras.Model
        Its input has ``spec.shape``; its output is one probability per genre.
    path : str or os.PathLike
        Ends in ``.keras``.
    spec : SpectrogramSpec or EmbeddingSpec
        Spec of its input.
    genres : list of str
        In class order.

    Returns
    -------
    Path

    Raises
    ------
    GtzanKerasError
        The model does not fit spec or genres, or the name does not end in .keras.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from gtzan_keras import SPECTROGRAM_SPECS, models
    >>> from gtzan_keras.models.saving import load_model, save_model
    >>> spec = SPECTROGRAM_SPECS["zhang-128"]
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.keras"
    >>> _ = save_model(models.cnn(spec.shape, 2, filters=(4,)), path, spec, ["jazz", "rock"])
    >>> load_model(path).genres
    ['jazz', 'rock']
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise GtzanKerasError(f"{path}: expected a file name that ends in .keras")
    check_fit(model, spec.shape, len(genres))
    with replacing(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_MEMBER, json.dumps({"format": 1, "spec": spec.to_dict(), "genres": genres}))
    return path


def check_fit(model: keras.Model, shape: Sequence[int], num_classes: int) -> None:
    """Refuse a model with another input or number of classes; a side of None accepts any length.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.models.saving import check_fit
    >>> check_fit(models.cnn((16, None, 1), filters=(4,), pooling="avg"), (16, 99, 1), 10)
    """
    check_input_shape(model, shape)
    if (classes := model.output_shape[-1]) != num_classes:
        raise GtzanKerasError(
            f"model {model.name!r} has {classes} classes; build it with num_classes={num_classes}, one for "
            "each genre"
        )


def check_input_shape(model: keras.Model, shape: Sequence[int]) -> None:
    """Refuse a model whose input is not of this shape; a side of None accepts any length.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.models.saving import check_input_shape
    >>> check_input_shape(models.cnn((16, None, 1), filters=(4,), pooling="avg"), (16, 99, 1))
    """
    sides = getattr(model, "input_shape", (None, "not known yet"))[1:]
    if len(sides) != len(shape) or any(a not in (None, b) for a, b in zip(sides, shape, strict=True)):
        raise GtzanKerasError(
            f"model {model.name!r} takes samples of {sides}, but these are {tuple(shape)}; build it with "
            f"input_shape={tuple(shape)}"
        )


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Load a model that `save_model` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        The ``.keras`` file, or the folder of a run.

    Returns
    -------
    SavedModel
        ``(model, spec, genres)``.

    Raises
    ------
    GtzanKerasError
        The file is missing, is not a Keras model, has no spec and genres, contains code, takes weights from
        other files, or declares more weights than it holds.
    """
    path = Path(path)
    if os.path.isdir(path):
        path = path / "model.keras"  # of a run
    if not os.path.isfile(path):
        raise GtzanKerasError(f"{path}: no such model")
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise GtzanKerasError(f"{path}: not a .keras file ({error})") from error
    with archive:
        if _MEMBER not in archive.namelist():
            raise GtzanKerasError(
                f"{path}: this model does not describe its input (spec and genre names are missing); save "
                "it with gtzan_keras.models.saving.save_model(model, path, spec, genres)"
            )
        import keras

        import gtzan_keras.metrics  # registers the metrics that a compiled model may name
        import gtzan_keras.models.layers  # noqa: F401 (registers our own layers)

        try:
            _check_archive(archive)
            card = json.loads(archive.read(_MEMBER))
            kind = EmbeddingSpec if "patches" in card["spec"] else SpectrogramSpec
            spec, genres = kind.from_dict(card["spec"]), list(card["genres"])
            model = keras.saving.load_model(path)
        except Exception as error:  # each of the many layers of a file fails in its own way
            reason = shorten(str(error).rpartition("Exception encountered: ")[2], 200)
            raise GtzanKerasError(
                f"{path}: cannot be loaded ({reason}); expected a model written by save_model"
            ) from error
    return SavedModel(model, spec, genres)


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Refuse a model that needs more memory than the numbers in its file, or that reads other files.

    Keras allocates what a configuration asks for, and 3.13.0 still reads other files.
    """
    import h5py

    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if unpacked > _MOST_PACKED * sum(member.compress_size for member in members) + 2**20:
        raise ValueError(f"it would unpack to {unpacked} bytes")
    content = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(content)) as weights:
        _check_weights(weights)
    config = json.loads(archive.read("config.json"))
    if '"TFSMLayer"' in json.dumps(config):
        raise ValueError("a TFSMLayer runs a model from another file")
    with ThreadPoolExecutor(1) as thread:  # Keras keeps state per thread: nothing remains in this one
        asked = thread.submit(_count_variables, config).result()
    if asked > len(content):
        raise ValueError(f"its layers have {asked} numbers, its weights only {len(content)} bytes")


def _check_weights(group: h5py.Group) -> None:
    import h5py

    for name in group:
        is_hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
        found = group[name] if is_hard else None
        if isinstance(found, h5py.Group):
            _check_weights(found)
        elif not isinstance(found, h5py.Dataset) or not is_inside(found, _MOST_PACKED):
            raise ValueError(f"weights {group.name}/{name} are in another file, or larger than their data")


def _count_variables(config: dict[str, Any]) -> int:
    """Return how many numbers the layers of a configuration have, without making them."""
    import keras

    config.pop("compile_config", None)
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(config)
    return sum(math.prod(variable.shape) for variable in model.variables)
