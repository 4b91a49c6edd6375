"""A feed-forward network of dense layers, the baseline for convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from gtzan_keras.models.head import check_input, check_sizes, classifier, normalize

__all__ = ["dense"]


def dense(
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 10,
    *,
    units: Sequence[int] = (512, 256),
    dropout: float = 0.4,
    normalization: str | None = None,
    name: str = "dense",
) -> keras.Model:
    """Build a feed-forward network: flatten, dense layers with ReLU, softmax.

    Malvezzi's course project reports 10.36 % for such a network on 224x224 images: chance, with a loss
    of ln 10. It does train if its input is normalized (``normalization="batch"``).

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one spectrogram (height, width, channels), values 0..1, or of one feature vector (n,).
    num_classes : int >= 2
        Genres.
    units : sequence of int
        Width of each hidden layer.
    dropout : float in [0, 1)
        After each hidden layer.
    normalization : "batch", "layer" or None
        Applied to the flattened input and before each ReLU.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, *input_shape), output probabilities (batch, num_classes).

    Raises
    ------
    GtzanKerasError
        An argument is out of range.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> model = models.dense((57,), units=(64,))
    >>> model.output_shape, model.count_params()
    ((None, 10), 4362)
    """
    check_input(input_shape, num_classes)
    check_sizes(units=units)
    inputs = keras.Input(tuple(input_shape), name="input")
    x = keras.layers.Flatten(name="flatten")(inputs)
    x = normalize(x, normalization, "input_norm")
    outputs = classifier(x, num_classes, units, dropout, normalization)
    return keras.Model(inputs, outputs, name=name)
