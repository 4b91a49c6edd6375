"""Where pretrained weights come from."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.files import replacing

if TYPE_CHECKING:
    import keras

__all__ = [
    "CHECKPOINT_URL",
    "PRETRAINED",
    "Pretrained",
    "hub_folder",
    "load_file",
    "musicnn_weights",
    "weights_folder",
]

logger = logging.getLogger(__name__)

CHECKPOINT_URL = "https://storage.googleapis.com/audioset/vggish_model.ckpt"
"""The reference checkpoint, for `gtzan_keras.models.vggish_network`."""


def load_file(model: keras.Model, path: str | os.PathLike[str], title: str, expected: str) -> None:
    """Load a model's weights from a file that Keras wrote.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    path : str or os.PathLike
        ``.weights.h5``, ``.keras``, or ``.h5`` as published by Keras.
    title : str
        Name of the model, for the error.
    expected : str
        The valid values of ``weights``, for the error.

    Raises
    ------
    GtzanKerasError
        The file is missing, or holds other weights.
    """
    if not Path(path).is_file():
        raise GtzanKerasError(f"weights={str(path)!r}: no such file; expected {expected}")
    # Keras warns if layers would keep their random weights; such a file is unusable.
    with warnings.catch_warnings(action="error", category=UserWarning):
        try:
            model.load_weights(path)
        except Exception as error:  # h5py, zipfile and Keras: each part fails in its own way
            reason = str(error).strip().split("\n")[0]
            raise GtzanKerasError(
                f"{path}: not the weights of {title} ({model.count_params():,} parameters): {reason}; "
                f"expected {expected}"
            ) from error


def hub_folder(handle: str) -> Path:
    """Return the folder in which TensorFlow Hub keeps a model; download it if necessary.

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
        TensorFlow Hub is not installed, or the model cannot be downloaded; the message says what to do.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*pkg_resources")  # it imports that, which is deprecated
        try:
            import tensorflow_hub
        except ImportError as error:
            raise GtzanKerasError(f"{handle} needs TensorFlow Hub: pip install 'gtzan-keras[hub]'") from error
    try:
        return Path(tensorflow_hub.resolve(handle))
    except Exception as error:  # each of its resolvers raises its own kind
        raise GtzanKerasError(
            f"{handle} could not be downloaded from TensorFlow Hub ({error}). With a network, download "
            f"{handle}?tf-hub-format=compressed (a .tar.gz) and unpack it; then name that folder (source=, "
            f"weights=), or set TFHUB_CACHE_DIR to a folder and call it "
            f"{hashlib.sha1(handle.encode()).hexdigest()} in there. For VGGish {CHECKPOINT_URL} works "
            "too: models.vggish(weights='vggish_model.ckpt')"
        ) from error


_WHEEL = "musicnn-0.1.0-py3-none-any.whl"
_WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_CHECKPOINTS = ("MSD_musicnn", "MTT_musicnn", "MSD_vgg", "MTT_vgg")


class Pretrained(NamedTuple):
    """Pretrained weights that can be downloaded: what ``gtzan-keras weights`` lists.

    Parameters
    ----------
    name : str
        Name that builders accept.
    source : str
        Where it comes from.
    licence : str
        Licence of the weights.
    megabytes : float or None
        Size of the download; None if it differs between models.
    path : str
        File name in `weights_folder`, "" where another library keeps it.
    """

    name: str
    source: str
    licence: str
    megabytes: float | None
    path: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it is in our cache."""
        return bool(self.path) and (weights_folder() / self.path).is_file()


PRETRAINED: tuple[Pretrained, ...] = (
    *(
        Pretrained(f"{kind}-{data}", "package musicnn 0.1.0", "ISC", 29.3, f"{data.upper()}_{kind}.npz")
        for kind in ("musicnn", "vgg")
        for data in ("msd", "mtt")
    ),
    Pretrained("imagenet", "Keras Applications (VGG16 and others)", "see source", None),
    Pretrained("coco", "KerasCV presets (YOLOv8 backbones)", "see source", None),
    Pretrained("audioset", "TensorFlow Hub (VGGish)", "Apache 2.0", 289),
)
"""Weights by name. Those without a path are kept by the library that downloads them."""


def weights_folder() -> Path:
    """Return the folder of converted weights: ``GTZAN_KERAS_WEIGHTS``, or one in the user's cache."""
    import pooch

    return Path(os.environ.get("GTZAN_KERAS_WEIGHTS") or pooch.os_cache("gtzan-keras") / "weights")


def musicnn_weights(
    source: str | os.PathLike[str], kind: str = "musicnn"
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of musicnn or its VGG, downloaded and converted the first time.

    The authors ship them in a wheel whose own requirements are too old to install. It is fetched by
    ``pip download --no-deps``, so that the user's package index settings hold. Its SHA-256 is checked, and
    its four checkpoints are converted into `weights_folder`. After that no network is needed. On a machine
    without one, put the wheel into that folder.

    Parameters
    ----------
    source : "msd", "mtt", str or os.PathLike
        Training set; or the path of the wheel (for its MSD weights), or of a converted ``.npz`` file.
    kind : "musicnn" or "vgg"
        Which network.

    Returns
    -------
    dict of str to np.ndarray
        ``"<kind of layer>/<number>/<variable>"``, such as ``"conv/0/kernel"``, numbered in order of creation.

    Raises
    ------
    GtzanKerasError
        The wheel cannot be downloaded or is damaged, or the file holds other weights.

    Examples
    --------
    >>> from gtzan_keras.models.weights import musicnn_weights
    >>> musicnn_weights("msd")["dense/1/kernel"].shape  # doctest: +SKIP
    (200, 50)
    """
    name = os.fspath(source)
    converted = Path(name)
    if name in ("msd", "mtt"):
        converted = weights_folder() / f"{name.upper()}_{kind}.npz"
        if not converted.is_file():
            with tempfile.TemporaryDirectory() as folder:
                wheel = weights_folder() / _WHEEL
                _convert(wheel if wheel.is_file() else _download(Path(folder)))
    try:
        if name.endswith(".whl"):
            _convert(converted)
            converted = weights_folder() / f"MSD_{kind}.npz"
        with np.load(converted) as file:
            found = {key: file[key] for key in file.files}
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise GtzanKerasError(
            f"weights={name!r}: cannot be read ({error}); expected 'msd', 'mtt', {_WHEEL} or a "
            "converted .npz file"
        ) from error
    if len(found) != {"musicnn": 64, "vgg": 36}[kind]:
        raise GtzanKerasError(
            f"{converted}: not the weights of {kind}; name another file, or delete it if it is in "
            f"{weights_folder()}, to convert them again"
        )
    return found


def _download(folder: Path) -> Path:
    """Fetch the wheel with pip into `folder`."""
    logger.info("downloading %s (29 MB), once", _WHEEL)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--dest", os.fspath(folder), "musicnn==0.1.0"],
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"},
    )
    if done.returncode or not (folder / _WHEEL).is_file():
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise GtzanKerasError(
            f"musicnn's weights cannot be downloaded ({reason}); where there is a network, run `pip download "
            f"--no-deps musicnn==0.1.0` and put {_WHEEL} into {weights_folder()}"
        )
    return folder / _WHEEL


def _convert(wheel: Path) -> None:
    """Read the four checkpoints of the wheel and write one ``.npz`` file each."""
    from tensorflow.compat.v1.train import NewCheckpointReader

    with wheel.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if checksum != _WHEEL_SHA256:
        raise GtzanKerasError(
            f"{wheel}: SHA-256 {checksum}; expected {_WHEEL_SHA256}: damaged, or another version"
        )
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if "/." in name])
        for name in _CHECKPOINTS:
            # The files are named ".index" and ".data-...": the prefix is the folder itself.
            reader = NewCheckpointReader(os.path.join(folder, "musicnn", name, ""))
            arrays = {}
            for variable in reader.get_variable_to_shape_map():
                layer, _, part = variable.partition("/")
                if not part or "Adam" in part:  # counters and state of the optimizer
                    continue
                if layer.endswith("CNN"):
                    sort, number = "conv", int(layer[0]) - 1
                else:
                    base, _, last = layer.rpartition("_")
                    sort, number = (base, int(last)) if last.isdigit() else (layer, 0)
                    sort = {"conv2d": "conv", "batch_normalization": "batchnormalization"}.get(sort, sort)
                arrays[f"{sort}/{number}/{part}"] = reader.get_tensor(variable)
            with replacing(weights_folder() / f"{name}.npz") as temporary:
                np.savez(temporary, **arrays)
