"""Layers computed by TensorFlow's fused kernels in a training on a CPU: the same values, sooner.

Keras composes batch normalisation and Mish from single operations, each of which walks through the whole
feature map, forward and backward. XLA would fuse them; where a step is not compiled (`use_xla`), a third of
YOLOv8's time goes there (``docs/speed.md``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

__all__ = ["fused_kernels", "mish"]

_LARGE = 20.0
"""From here on Mish is the identity in float32, and the exponential need not grow any further."""


@contextlib.contextmanager
def fused_kernels(model: keras.Model, policy: str = "float32") -> Iterator[int]:
    """Let a model's batch normalisation and Mish be computed by fused kernels; afterwards as before.

    Batch normalisation then takes and gives feature maps in the precision of the policy, and computes in
    float32, its scale and offset not rounded. What the kernels do not know, such as normalisation over
    another axis than the last, or with masks, stays with Keras.

    Parameters
    ----------
    model : keras.Model
        Built, on TensorFlow; its layers are those of the model that is trained.
    policy : str
        What the layers around compute in: "float32" or "mixed_bfloat16".

    Yields
    ------
    int
        How many layers are computed so.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.training.kernels import fused_kernels
    >>> model = models.cnn((8, 8, 1), filters=(4,), dense_units=(), normalization="batch")
    >>> with fused_kernels(model) as count:
    ...     count
    1
    """
    import keras

    before = []
    try:
        for layer in model._flatten_layers():
            call: Callable[..., Any]
            if type(layer) is keras.layers.BatchNormalization and _is_plain(layer):
                call = _batch_normalization(layer)
            elif type(layer) is keras.layers.Activation and layer.activation is keras.activations.mish:
                call = mish
            else:
                continue
            before.append((layer, layer.dtype_policy))
            layer.call, layer.dtype_policy = call, policy
        yield len(before)
    finally:
        for layer, former in before:
            del layer.call
            layer.dtype_policy = former


def mish(inputs: tf.Tensor) -> tf.Tensor:
    """Mish, x tanh(softplus(x)), by one exponential and with its derivative by hand.

    With e = exp(x) and n = e (e + 2), tanh(log(1 + e)) = n / (n + 2).

    Parameters
    ----------
    inputs : tf.Tensor
        Of any shape and floating type; computed in float32.

    Returns
    -------
    tf.Tensor
        Of the same shape and type.

    References
    ----------
    Misra, "Mish: A self regularized non-monotonic activation function", BMVC 2020 (arXiv:1908.08681).

    Examples
    --------
    >>> import tensorflow as tf
    >>> from gtzan_keras.training.kernels import mish
    >>> [round(float(value), 4) for value in mish(tf.constant([-1.0, 0.0, 1.0, 50.0]))]
    [-0.3034, 0.0, 0.8651, 50.0]
    """
    import tensorflow as tf

    @tf.custom_gradient
    def compute(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def parts() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            value = tf.cast(x, tf.float32)
            power = tf.exp(tf.minimum(value, _LARGE))
            return value, power, power * (power + 2)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            value, power, n = parts()  # anew: cheaper than to keep them until now
            slope = n / (n + 2) + value * 4 * power * (power + 1) / tf.square(n + 2)
            return upstream * tf.cast(slope, x.dtype)

        value, _, n = parts()
        return tf.cast(value * (n / (n + 2)), x.dtype), gradient

    return compute(inputs)


def _is_plain(layer: keras.layers.BatchNormalization) -> bool:
    """Whether the kernel does what this layer does: over the last of four axes, on its own device."""
    if not layer.built or layer.variable_dtype != "float32" or layer.synchronized or layer.renorm:
        return False
    return layer.input_spec.ndim == 4 and layer.axis in (-1, 3)


def _batch_normalization(layer: keras.layers.BatchNormalization) -> Callable[..., Any]:
    """The layer's `call` by `FusedBatchNormV3`."""
    import tensorflow as tf

    by_keras = layer.call
    mean, variance = layer.moving_mean, layer.moving_variance

    def call(inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        if mask is not None:
            return by_keras(inputs, training=training, mask=mask)
        learning = bool(training) and layer.trainable
        found = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones(mean.shape),
            offset=tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros(mean.shape),
            mean=tf.constant([]) if learning else tf.convert_to_tensor(mean),
            variance=tf.constant([]) if learning else tf.convert_to_tensor(variance),
            epsilon=layer.epsilon,
            is_training=learning,
        )
        if learning:
            # The kernel's variance is that of a sample (n - 1), Keras keeps that of the batch (n).
            count = tf.cast(tf.size(inputs) // mean.shape[0], tf.float32)
            biased = found.batch_variance * (tf.maximum(count - 1, 1) / count)
            for kept, new in ((mean, found.batch_mean), (variance, biased)):
                kept.assign(kept * layer.momentum + new * (1 - layer.momentum))
        return found.y

    return call
