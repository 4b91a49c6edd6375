"""A plain convolutional network; the CNNs of the five sources are special cases of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.head import check_input, check_sizes, classifier, dropout_layer, normalize, pool

__all__ = ["cnn"]


def cnn(
    input_shape: Sequence[int | None] = (224, 224, 3),
    num_classes: int = 10,
    *,
    filters: Sequence[int] = (32, 64, 128, 128),
    kernel_size: int = 3,
    dense_units: Sequence[int] = (512,),
    dropout: float = 0.4,
    dropout_before_head: float = 0.0,
    normalization: str | None = None,
    pooling: str = "flatten",
    padding: str = "same",
    name: str = "cnn",
) -> keras.Model:
    """Build a plain CNN: convolution, 2x2 max pooling and ReLU, repeated; then a dense head.

    A first layer without weights maps 0..1 to -2..2 (ours: the sources feed 0..1, from which a network
    without normalization learns slowly). The defaults are Malvezzi's basic CNN on 224x224 colour images.
    `CNN_ARGUMENTS` holds the other sources' networks: ``cnn((416, 416, 1), **CNN_ARGUMENTS["arrigo"])``.
    Pooling comes before the ReLU, which gives the same values as after it at a quarter of the work.

    Parameters
    ----------
    input_shape : (int, int or None, int)
        Height, width and channels of a spectrogram with values 0..1. With global pooling the width may be
        None: the network then accepts any width, such as segments in training and whole clips afterwards.
    num_classes : int >= 2
        Genres.
    filters : sequence of int
        One per convolution block.
    kernel_size : int
        Side of the square kernels.
    dense_units : sequence of int
        Hidden layers of the head.
    dropout : float in [0, 1)
        After each hidden layer of the head.
    dropout_before_head : float in [0, 1)
        Between the convolutions and the head.
    normalization : "batch", "layer" or None
        Before each ReLU, in blocks and head.
    pooling : "flatten", "avg", "max" or "avg+max"
        How the last feature maps become a vector; "avg+max" concatenates mean and maximum.
    padding : "same" or "valid"
        Padding of the convolutions.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, height, width, channels), output probabilities
        (batch, num_classes). Layers are called ``block1_conv``, ``block1_pool``, ..., ``dense_1``,
        ``predictions``.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or the input is too small for that many poolings.

    References
    ----------
    Malvezzi, course project, University of Milan-Bicocca; Zhang, "Music Genre Classification Based on
    Deep Learning", 2025; Arrigo, "Using CNN Networks for Music Genre Classification", 2025, model 1.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> model = models.cnn((128, 128, 1), **models.CNN_ARGUMENTS["zhang"])
    >>> model.get_layer("block2_conv").filters, model.count_params()
    (64, 7393034)
    """
    checked: Any = tuple(input_shape)
    if len(checked) == 3 and checked[1] is None and pooling != "flatten":
        checked = (checked[0], 2 ** len(filters), checked[2])
    check_input(checked, num_classes, rank=3)
    check_sizes(filters=filters, kernel_size=(kernel_size,), dense_units=dense_units)
    if padding not in ("same", "valid"):
        raise GtzanKerasError(f"padding={padding!r}: expected same or valid")

    inputs = keras.Input(tuple(input_shape), name="input")
    # Without normalization, all-positive input keeps the first layers from learning for many epochs.
    x = keras.layers.Rescaling(4.0, offset=-2.0, name="centre")(inputs)
    for number, width in enumerate(filters, start=1):
        smallest = min(side for side in x.shape[1:3] if side) - (kernel_size - 1 if padding == "valid" else 0)
        if smallest < 2:
            raise GtzanKerasError(
                f"input_shape={tuple(input_shape)}: too small for {len(filters)} blocks, nothing remains to "
                f"pool in block {number}; use larger spectrograms or fewer filters"
            )
        block = f"block{number}"
        x = keras.layers.Conv2D(width, kernel_size, padding=padding, name=f"{block}_conv")(x)
        x = keras.layers.MaxPooling2D(name=f"{block}_pool")(x)
        x = normalize(x, normalization, f"{block}_norm")
        x = keras.layers.Activation("relu", name=f"{block}_relu")(x)
    x = dropout_layer(pool(x, pooling), dropout_before_head, "head_dropout")
    outputs = classifier(x, num_classes, dense_units, dropout, normalization)
    return keras.Model(inputs, outputs, name=name)
