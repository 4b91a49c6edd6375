"""Shared by the builders: argument checks, normalization by name, and the dense head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gtzan_keras.errors import GtzanKerasError

if TYPE_CHECKING:
    import keras

__all__ = ["check_input", "check_sizes", "classifier", "dropout_layer", "normalize"]


def check_input(input_shape: Sequence[int], num_classes: int, rank: int | None = None) -> None:
    """Refuse an input shape that fits no network, or fewer than two classes."""
    if rank is not None and len(input_shape) != rank:
        raise GtzanKerasError(
            f"input_shape={tuple(input_shape)}: expected {rank} numbers, (height, width, channels)"
        )
    check_sizes(input_shape=input_shape)
    if num_classes < 2:
        raise GtzanKerasError(f"num_classes={num_classes}: expected at least 2")


def check_sizes(**arguments: Sequence[int]) -> None:
    """Refuse sizes (widths, numbers of filters, sides of kernels) that are not whole numbers >= 1."""
    for name, sizes in arguments.items():
        if any(not isinstance(size, int) or size < 1 for size in sizes):
            raise GtzanKerasError(f"{name}={tuple(sizes)}: expected whole numbers >= 1")


def normalize(x: keras.KerasTensor, kind: str | None, name: str) -> keras.KerasTensor:
    """Apply batch or layer normalization by name; None returns `x`."""
    import keras

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
    import keras

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
    import keras

    penalty = keras.regularizers.L2(l2) if l2 else None
    for number, width in enumerate(units, start=1):
        x = keras.layers.Dense(width, kernel_regularizer=penalty, name=f"dense_{number}")(x)
        x = normalize(x, normalization, f"dense_{number}_norm")
        x = keras.layers.Activation("relu", name=f"dense_{number}_relu")(x)
        x = dropout_layer(x, dropout, f"dense_{number}_dropout")
    return keras.layers.Dense(
        num_classes, activation="softmax", kernel_regularizer=penalty, dtype="float32", name="predictions"
    )(x)
