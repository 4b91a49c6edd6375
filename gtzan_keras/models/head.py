"""Shared by the builders: argument checks, pooling and normalization by name, and the dense head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from gtzan_keras.errors import GtzanKerasError

__all__ = ["check_halvings", "check_input", "check_sizes", "classifier", "dropout_layer", "normalize", "pool"]

_AXES = {1: "one number, (n,)", 2: "two numbers, (patches, size)", 3: "3 numbers, (height, width, channels)"}


def check_input(input_shape: Sequence[int], num_classes: int, rank: int | None = None) -> None:
    """Refuse an input shape that fits no network, or fewer than two classes."""
    if rank is not None and len(input_shape) != rank:
        raise GtzanKerasError(f"input_shape={tuple(input_shape)}: expected {_AXES[rank]}")
    check_sizes(input_shape=input_shape)
    if num_classes < 2:
        raise GtzanKerasError(f"num_classes={num_classes}: expected at least 2")
    if rank == 3 and keras.config.image_data_format() != "channels_last":
        raise GtzanKerasError("the image data format is channels_first; set channels_last in keras.config")


def check_sizes(**arguments: Sequence[int]) -> None:
    """Refuse sizes (widths, numbers of filters, sides of kernels) that are not whole numbers >= 1."""
    for name, sizes in arguments.items():
        if any(not isinstance(size, int) or size < 1 for size in sizes):
            raise GtzanKerasError(f"{name}={tuple(sizes)}: expected whole numbers >= 1")


def check_halvings(sides: Sequence[int], blocks: int) -> None:
    """Refuse an input that is too small for this many poolings by two."""
    if min(sides) < 2**blocks:
        raise GtzanKerasError(
            f"input of {' x '.join(map(str, sides))} is too small for {blocks} blocks that halve it; "
            f"use at least {2**blocks}, or fewer filters"
        )


def pool(x: keras.KerasTensor, kind: str) -> keras.KerasTensor:
    """Turn feature maps into a vector by name; "avg+max" concatenates mean and maximum."""
    layers = keras.layers
    if kind == "flatten":
        return layers.Flatten(name="flatten")(x)
    if kind == "avg":
        return layers.GlobalAveragePooling2D(name="pooling")(x)
    if kind == "max":
        return layers.GlobalMaxPooling2D(name="pooling")(x)
    if kind == "avg+max":
        mean = layers.GlobalAveragePooling2D(name="pooling_avg")(x)
        largest = layers.GlobalMaxPooling2D(name="pooling_max")(x)
        return layers.Concatenate(name="pooling")([mean, largest])
    raise GtzanKerasError(f"pooling={kind!r}: expected flatten, avg, max or avg+max")


def normalize(x: keras.KerasTensor, kind: str | None, name: str) -> keras.KerasTensor:
    """Apply batch or layer normalization by name; None returns `x`."""
    if kind is None:
        return x
    if kind == "batch":
        # Statistics need float32, which is also faster here on CPUs. GTZAN gives few steps per epoch: with
        # Keras' momentum of 0.99 the moving statistics would lag behind by several epochs.
        return keras.layers.BatchNormalization(momentum=0.97, dtype="float32", name=name)(x)
    if kind == "layer":
        return keras.layers.LayerNormalization(name=name)(x)
    raise GtzanKerasError(f"normalization={kind!r}: expected batch, layer or None")


def dropout_layer(x: keras.KerasTensor, rate: float, name: str) -> keras.KerasTensor:
    """Apply dropout; a rate of 0 adds no layer."""
    if not 0 <= rate < 1:
        raise GtzanKerasError(f"dropout={rate!r} ({name}): expected 0 <= dropout < 1")
    return keras.layers.Dropout(rate, name=name)(x) if rate else x


def classifier(
    x: keras.KerasTensor,
    num_classes: int,
    units: Sequence[int],
    dropout: float,
    normalization: str | None = None,
    l2: float = 0.0,
) -> keras.KerasTensor:
    """Apply dense layers with ReLU and dropout, then softmax, to a vector (batch, n).

    `l2` penalizes the kernels. Layers are called ``dense_1``, ``dense_2``, ... and ``predictions``. The
    softmax is float32 under every precision policy.
    """
    if not 0 <= l2 < math.inf:
        raise GtzanKerasError(f"l2={l2!r}: expected a number >= 0")
    penalty = keras.regularizers.L2(l2) if l2 else None
    for number, width in enumerate(units, start=1):
        x = keras.layers.Dense(width, kernel_regularizer=penalty, name=f"dense_{number}")(x)
        x = normalize(x, normalization, f"dense_{number}_norm")
        x = keras.layers.Activation("relu", name=f"dense_{number}_relu")(x)
        x = dropout_layer(x, dropout, f"dense_{number}_dropout")
    classes = int(num_classes)  # Keras refuses NumPy's integers
    return keras.layers.Dense(
        classes, activation="softmax", kernel_regularizer=penalty, dtype="float32", name="predictions"
    )(x)
