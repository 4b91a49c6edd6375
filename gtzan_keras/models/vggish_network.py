"""VGGish, Google's network for sounds of any kind, and classifiers of its embeddings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from gtzan_keras.audio.patches import BANDS, FRAMES
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models import weights as sources
from gtzan_keras.models.head import check_input, classifier
from gtzan_keras.store.embeddings import HUB_HANDLE

__all__ = ["vggish", "vggish_classifier"]


def vggish(
    weights: str | os.PathLike[str] | None = None,
    include_top: bool = True,
    *,
    name: str = "vggish",
) -> keras.Model:
    """Build VGGish on patches of sound.

    Convolutions of 64, 128, 256, 256, 512 and 512 filters, 3x3 with ReLU, with max pooling after the
    first, second, fourth and sixth; dense layers of 4096, 4096 and 128. The last has no activation: the
    embedding has both signs, as in the reference and at TensorFlow Hub.

    Parameters
    ----------
    weights : None, "audioset", str or os.PathLike
        None: random. ``"audioset"``: those of Google's model from TensorFlow Hub (one download of 289 MB).
        A path may be the reference checkpoint
        (``vggish_model.ckpt``) or any other with its variable names, a folder with a SavedModel that has
        them, or a ``.keras`` or ``.weights.h5`` file of this model.
    include_top : bool
        True: with the dense layers, up to the embedding. False: up to the feature maps of ``pool4``.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, 96, 64), from `gtzan_keras.audio.patches.vggish_patches`;
        output (batch, 128), or (batch, 6, 4, 512) without the top. Layers are called as in the
        reference: ``conv1``, ``pool1``, ``conv2``, ``pool2``, ``conv3_1``, ..., ``pool4``, ``fc1_1``,
        ``fc1_2``, ``fc2``.

    Raises
    ------
    GtzanKerasError
        The weights are not available, or do not fit.

    See Also
    --------
    gtzan_keras.inference.embed.embed : tracks to embeddings, with this or with Hub's.

    References
    ----------
    Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017
    (arXiv:1609.09430);
    https://github.com/tensorflow/models/blob/master/research/audioset/vggish/vggish_slim.py.

    Examples
    --------
    >>> from gtzan_keras.models.vggish_network import vggish
    >>> base = vggish(include_top=False)
    >>> base.output_shape, base.count_params()
    ((None, 6, 4, 512), 4499712)

    To fine-tune the dense layers only::

        model = vggish("vggish_model.ckpt")
        for layer in model.layers:
            layer.trainable = layer.name.startswith("fc")
    """
    inputs = keras.Input((FRAMES, BANDS), name="input")
    x = keras.layers.Reshape((FRAMES, BANDS, 1), name="one_channel")(inputs)
    for block, filters in enumerate(((64,), (128,), (256, 256), (512, 512)), start=1):
        for number, width in enumerate(filters, start=1):
            layer = f"conv{block}_{number}" if len(filters) > 1 else f"conv{block}"
            x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=layer)(x)
        x = keras.layers.MaxPooling2D(name=f"pool{block}")(x)
    if include_top:
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.Dense(4096, activation="relu", name="fc1_1")(x)
        x = keras.layers.Dense(4096, activation="relu", name="fc1_2")(x)
        x = keras.layers.Dense(128, name="fc2")(x)
    model = keras.Model(inputs, x, name=name)
    if weights is not None:
        _load(model, weights)
    return model


def vggish_classifier(
    input_shape: Sequence[int] = (31, 128),
    num_classes: int = 10,
    *,
    head: str = "dense",
    name: str = "vggish_classifier",
) -> keras.Model:
    """Build a classifier of a track's embeddings.

    Uncu's paper describes a shallow dense network; its code has a deep convolutional one, which treats
    the embeddings as an image, 31 high and 128 wide. The dense one here uses the mean over the patches
    without padding; its sizes (one hidden layer of 256, dropout 0.3) are ours.

    Parameters
    ----------
    input_shape : (int, int)
        Patches, and numbers per patch; patches that are all zero are padding.
    num_classes : int >= 2
        Genres.
    head : "dense" or "cnn"
        As in the paper, or as in its code (12,712,058 parameters for the defaults).
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, patches, size), output probabilities (batch, num_classes).

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or there are too few patches for the convolutions.

    References
    ----------
    Uncu, survey of VGGish and scratch CNNs on GTZAN, CENG562.

    Examples
    --------
    >>> from gtzan_keras.models.vggish_network import vggish_classifier
    >>> vggish_classifier().count_params(), vggish_classifier(head="cnn").count_params()
    (35594, 12712058)
    """
    check_input(input_shape, num_classes, rank=2)
    if head not in ("dense", "cnn"):
        raise GtzanKerasError(f"head={head!r}: expected dense or cnn")
    inputs = keras.Input(tuple(input_shape), name="input")
    if head == "dense":
        x = keras.layers.Masking(0.0, name="without_padding")(inputs)
        x = keras.layers.GlobalAveragePooling1D(name="mean")(x)
        outputs = classifier(x, num_classes, (256,), 0.3)
    else:
        outputs = classifier(_convolutions(inputs), num_classes, (1200,), 0.45)
    return keras.Model(inputs, outputs, name=name)


def _convolutions(x: keras.KerasTensor) -> keras.KerasTensor:
    """Apply pairs of 3x3 convolutions: the first of each pair is padded, the second is not."""
    shape = tuple(x.shape[1:])
    x = keras.layers.Reshape((*shape, 1), name="one_channel")(x)
    for block, (filters, dropout) in enumerate((((32, 64, 128), 0.3), ((256,), 0), ((512,), 0.3)), start=1):
        if min(x.shape[1:3]) < 2 * len(filters) + 2:
            raise GtzanKerasError(
                f"input_shape={shape}: too small for head='cnn', nothing remains in block {block}; "
                "use more patches, or head='dense'"
            )
        for pair, width in enumerate(filters, start=1):
            for padding in ("same", "valid"):
                layer = f"block{block}_conv{pair}_{padding}"
                x = keras.layers.Conv2D(width, 3, padding=padding, activation="relu", name=layer)(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"block{block}_dropout")(x)
    return keras.layers.Flatten(name="flatten")(x)


def _load(model: keras.Model, weights: str | os.PathLike[str]) -> None:
    """Load weights by name of their source or from a file, in any of the supported formats."""
    import tensorflow as tf

    expected = (
        f"the checkpoint {sources.CHECKPOINT_URL}, a folder with the SavedModel of {HUB_HANDLE}, or a .keras "
        "or .weights.h5 file"
    )
    path = sources.hub_folder(HUB_HANDLE) if weights == "audioset" else Path(weights)
    if path.name.endswith((".keras", ".weights.h5")):
        sources.load_file(model, path, "VGGish", expected)
        return
    try:
        _read_checkpoint(model, path)
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = getattr(error, "message", None) or str(error)
        raise GtzanKerasError(
            f"{path}: cannot read VGGish's weights ({reason.strip().splitlines()[0]}); expected {expected}"
        ) from error


def _read_checkpoint(model: keras.Model, path: Path) -> None:
    """Read a checkpoint of either format, or a SavedModel's, by the names of the reference."""
    import tensorflow as tf

    if (path / "saved_model.pb").is_file():
        path = path / "variables" / "variables"
    reader = tf.train.load_checkpoint(os.fspath(path))
    keys = _keys(reader)
    for layer in model.layers:
        scope = "/".join(["vggish", *layer.name.split("_")[:-1], layer.name])  # such as vggish/conv3/conv3_1
        for variable, kind in zip(layer.weights, ("weights", "biases"), strict=False):
            name = f"{scope}/{kind}"
            if name not in keys:
                raise ValueError(
                    f"no variable {name}; the first of {len(keys)} is {min(keys, default='none')}"
                )
            values: np.ndarray = reader.get_tensor(keys[name])
            if values.shape != tuple(variable.shape):
                raise ValueError(f"{name} is {values.shape}; VGGish's is {tuple(variable.shape)}")
            variable.assign(values)


def _keys(reader: object) -> dict[str, str]:
    """Return the names of the variables in a checkpoint, and the key of each.

    Name and key are equal in TensorFlow 1; TensorFlow 2 uses positions in an object graph, which is part
    of the file and holds the names.
    """
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    stored = reader.get_variable_to_shape_map()  # type: ignore[attr-defined]
    if "_CHECKPOINTABLE_OBJECT_GRAPH" not in stored:
        return {name: name for name in stored}
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")  # type: ignore[attr-defined]
    )
    return {entry.full_name: entry.checkpoint_key for node in graph.nodes for entry in node.attributes}
