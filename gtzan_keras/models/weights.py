"""Where pretrained weights come from."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

from gtzan_keras.errors import GtzanKerasError

__all__ = ["CHECKPOINT_URL", "hub_folder"]

CHECKPOINT_URL = "https://storage.googleapis.com/audioset/vggish_model.ckpt"
"""The reference checkpoint, for `gtzan_keras.models.vggish_network`."""


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
