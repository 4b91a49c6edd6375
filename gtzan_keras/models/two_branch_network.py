"""Features and the spectrogram of one track in one network: a 1-D and a 2-D branch."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from gtzan_keras.models.feature_networks import feature_branch
from gtzan_keras.models.head import check_halvings, check_input, check_sizes, classifier, dropout_layer

__all__ = ["two_branch"]


def two_branch(
    feature_shape: Sequence[int] = (51,),
    spectrogram_shape: Sequence[int] = (128, 128, 1),
    num_classes: int = 10,
    *,
    filters: Sequence[int] = (64, 128),
    spectrogram_filters: Sequence[int] = (32, 64, 128),
    kernel_size: int = 3,
    dense_units: Sequence[int] = (128,),
    dropout: float = 0.3,
    name: str = "two_branch",
) -> keras.Model:
    """Build the feature report's first model: a 1-D CNN on features, a 2-D CNN on the spectrogram.

    The report dropped it because the spectrogram added nothing to the MFCCs; it states no sizes. Those of
    the 1-D branch are those of `feature_cnn`; the 2-D branch, which ends in global average pooling, is ours.

    Parameters
    ----------
    feature_shape : (int,)
        Number of features, standardised.
    spectrogram_shape : (int, int, int)
        Height, width and channels, values 0..1.
    num_classes : int >= 2
        Genres.
    filters, spectrogram_filters : sequence of int
        One convolution block each, of the 1-D and of the 2-D branch.
    kernel_size : int
        Width of the kernels, and side of the square ones.
    dense_units : sequence of int
        Hidden layers of the head on both branches.
    dropout : float in [0, 1)
        After each pooling and each hidden layer of the head.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Inputs by name: ``features`` float32 (batch, features) and ``spectrogram`` float32
        (batch, height, width, channels); output probabilities (batch, num_classes).

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or features or spectrogram are too small for this many poolings.

    References
    ----------
    "Music Genre Classification via CNNs using the GTZAN dataset" (feature 1-D CNN report).

    Examples
    --------
    >>> from gtzan_keras.models.two_branch_network import two_branch
    >>> model = two_branch((51,), (128, 128, 1))
    >>> sorted(tensor.name for tensor in model.inputs), model.output_shape
    (['features', 'spectrogram'], (None, 10))
    """
    check_input(feature_shape, num_classes, rank=1)
    check_input(spectrogram_shape, num_classes, rank=3)
    check_sizes(filters=filters, spectrogram_filters=spectrogram_filters)
    check_sizes(dense_units=dense_units, kernel_size=(kernel_size,))
    check_halvings(spectrogram_shape[:2], len(spectrogram_filters))
    features = keras.Input(tuple(feature_shape), name="features")
    spectrogram = keras.Input(tuple(spectrogram_shape), name="spectrogram")
    x = spectrogram
    for number, width in enumerate(spectrogram_filters, start=1):
        block = f"spectrogram_block{number}"
        x = keras.layers.Conv2D(width, kernel_size, padding="same", name=f"{block}_conv")(x)
        x = keras.layers.Activation("relu", name=f"{block}_relu")(x)
        x = keras.layers.MaxPooling2D(name=f"{block}_pool")(x)
        x = dropout_layer(x, dropout, f"{block}_dropout")
    x = keras.layers.GlobalAveragePooling2D(name="spectrogram_pooling")(x)
    both = keras.layers.Concatenate(name="both")([feature_branch(features, filters, kernel_size, dropout), x])
    outputs = classifier(both, num_classes, dense_units, dropout)
    return keras.Model({"features": features, "spectrogram": spectrogram}, outputs, name=name)
