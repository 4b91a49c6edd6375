"""A 1-D convolutional network on a vector of hand-crafted features."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from gtzan_keras.models.head import check_halvings, check_input, check_sizes, classifier, dropout_layer

__all__ = ["feature_cnn"]


def feature_cnn(
    input_shape: Sequence[int] = (51,),
    num_classes: int = 10,
    *,
    filters: Sequence[int] = (64, 128),
    kernel_size: int = 3,
    dense_units: Sequence[int] = (128,),
    dropout: float = 0.3,
    name: str = "feature_cnn",
) -> keras.Model:
    """Build a 1-D CNN: convolution, ReLU, max pooling and dropout, repeated; then a dense head.

    The feature report states the kinds of layers, not their sizes: filters, kernel, dense width and
    dropout rate are ours. A convolution over a list of features combines neighbours in the list; in practice
    the order of the columns matters little.

    Parameters
    ----------
    input_shape : (int,)
        Number of features, standardised.
    num_classes : int >= 2
        Genres.
    filters : sequence of int
        One per convolution block.
    kernel_size : int
        Width of the kernels; feature maps keep their length until they are pooled.
    dense_units : sequence of int
        Hidden layers of the head.
    dropout : float in [0, 1)
        After each pooling and each hidden layer of the head.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, features), output probabilities (batch, num_classes). Layers
        are called ``block1_conv``, ``block1_pool``, ..., ``dense_1``, ``predictions``.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or there are too few features for this many poolings.

    References
    ----------
    "Music Genre Classification via CNNs using the GTZAN dataset" (feature 1-D CNN report).

    Examples
    --------
    >>> from gtzan_keras.models.feature_networks import feature_cnn
    >>> model = feature_cnn((51,))
    >>> model.input_shape, model.output_shape, model.count_params()
    ((None, 51), (None, 10), 222986)
    """
    check_input(input_shape, num_classes, rank=1)
    check_sizes(filters=filters, kernel_size=(kernel_size,), dense_units=dense_units)
    inputs = keras.Input(tuple(input_shape), name="input")
    x = feature_branch(inputs, filters, kernel_size, dropout)
    outputs = classifier(x, num_classes, dense_units, dropout)
    return keras.Model(inputs, outputs, name=name)


def feature_branch(
    x: keras.KerasTensor, filters: Sequence[int], kernel_size: int, dropout: float
) -> keras.KerasTensor:
    """Apply convolution blocks to features (batch, n) and flatten to (batch, m)."""
    check_halvings(x.shape[1:], len(filters))
    x = keras.layers.Reshape((x.shape[-1], 1), name="one_channel")(x)
    for number, width in enumerate(filters, start=1):
        block = f"block{number}"
        x = keras.layers.Conv1D(width, kernel_size, padding="same", name=f"{block}_conv")(x)
        x = keras.layers.Activation("relu", name=f"{block}_relu")(x)
        x = keras.layers.MaxPooling1D(name=f"{block}_pool")(x)
        x = dropout_layer(x, dropout, f"{block}_dropout")
    return keras.layers.Flatten(name="flatten")(x)
