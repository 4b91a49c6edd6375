"""Custom layers, and copies of models with other layers.

Importing this module registers the layers with Keras, which opening a saved model needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.head import check_sizes

__all__ = ["DropBlock2D", "FusedBatchNormalization", "all_layers", "clone", "copy_state", "mish"]

_LARGE = 20.0
"""From here on Mish is the identity in float32, and the exponential must not overflow."""


@keras.saving.register_keras_serializable(package="gtzan_keras")
class DropBlock2D(keras.layers.Layer):
    """Set blocks of a feature map to zero in training, and scale the rest so that the mean is preserved.

    Dropout of single values has little effect on a feature map, whose neighbouring values are similar; a
    block removes the neighbours too. Each sample and each channel draws its own blocks (which the paper found
    better), all completely inside the map. Every position where a block fits starts one with probability

        gamma = rate / block area * map area / number of positions where a block fits,

    with height and width counted separately. As in the paper, blocks may overlap, so somewhat less than
    `rate` is dropped, and more in the middle of a map than at its border. The rest of a sample is
    multiplied by size / number kept, counted over the sample's whole map and all its channels (ours: the
    paper's pseudocode does not specify this; here no sample depends on its batch).

    Parameters
    ----------
    rate : float in [0, 1)
        The share of a map to drop: 1 - the paper's ``keep_prob``.
    block_size : int >= 1
        Side of the blocks; limited by the sides of the map.
    schedule_steps : int >= 1, optional
        Number of training steps in which the rate rises linearly from 0 to `rate`, counted by a
        non-trainable weight. By default the rate is constant.
    seed : int, optional
        Seed of the random numbers.
    **kwargs
        Arguments of `keras.layers.Layer`: ``name``, ``dtype``.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or the input is not a feature map.

    Notes
    -----
    Input and output are (batch, height, width, channels), with known height and width. Outside training, the
    layer changes nothing.

    References
    ----------
    Ghiasi, Lin, Le, "DropBlock: A regularization method for convolutional networks", NeurIPS 2018
    (arXiv:1810.12890).

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.models.layers import DropBlock2D
    >>> maps = np.ones((1, 8, 16, 64), "float32")
    >>> dropped = np.asarray(DropBlock2D(0.2, block_size=3, seed=0)(maps, training=True))
    >>> bool((dropped == 0).any()), round(float(dropped.mean()), 4)
    (True, 1.0)
    """

    def __init__(
        self,
        rate: float,
        block_size: int = 7,
        schedule_steps: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise self._error(f"rate={rate!r}: expected 0 <= rate < 1")
        steps = () if schedule_steps is None else (schedule_steps,)
        check_sizes(block_size=(block_size,), schedule_steps=steps)
        self.rate = float(rate)
        self.block_size = block_size
        self.schedule_steps = schedule_steps
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check the input's shape, and create the counter of steps if there is a schedule."""
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise self._error(
                f"input shape {input_shape}: expected (batch, height, width, channels), only batch unknown"
            )
        if self.schedule_steps is not None:
            # Not rounded to half precision, where counting ends at 256 (bfloat16).
            self.steps = self.add_weight(
                shape=(), initializer="zeros", dtype="float32", trainable=False, autocast=False, name="steps"
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Drop blocks in training."""
        if not training or self.rate == 0:
            return inputs
        rate: Any = self.rate
        if self.schedule_steps is not None:
            rate = rate * self.steps / self.schedule_steps
            self.steps.assign(ops.minimum(self.steps + 1, self.schedule_steps))
        return inputs * ops.cast(self._mask(ops.shape(inputs), rate), inputs.dtype)

    def _mask(self, shape: tuple[Any, ...], rate: Any) -> Any:
        """Return 0 in the blocks, size / number kept elsewhere; float32 under every precision policy."""
        batch, height, width, channels = shape
        high, wide = min(self.block_size, height), min(self.block_size, width)
        rows, columns = height - high + 1, width - wide + 1  # where a block fits
        gamma = rate * float(height * width) / float(high * wide * rows * columns)
        draws = keras.random.uniform(
            (batch, rows, columns, channels), dtype="float32", seed=self.seed_generator
        )
        corners = ops.cast(draws < gamma, "float32")  # top left corners of the blocks
        reach = self.block_size - 1
        corners = ops.pad(corners, [(0, 0), (reach, reach), (reach, reach), (0, 0)])
        # There are surplus rows only where the block is larger than the map.
        blocks = ops.max_pool(corners, self.block_size, strides=1, data_format="channels_last")
        blocks = blocks[:, :height, :width]
        kept = 1 - blocks
        share = ops.mean(kept, axis=(1, 2, 3), keepdims=True)
        return ops.divide_no_nan(kept, share)

    def _error(self, message: str) -> GtzanKerasError:
        return GtzanKerasError(f"DropBlock2D {self.name!r}: {message}")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "block_size": self.block_size,
            "schedule_steps": self.schedule_steps,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="gtzan_keras")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by TensorFlow's fused kernel: Keras' values up to rounding, in less time on a CPU.

    Keras composes batch normalization from single operations, each of which walks through the whole feature
    map, forward and backward. `gtzan_keras.train` replaces layers in the copy that it trains; a saved model
    has Keras' own. Feature maps keep the precision they come in; statistics, scale and offset are float32.
    What the kernel does not support (an axis other than the last of four, masks, `synchronized`, `renorm`,
    other backends) is computed by Keras.

    Parameters
    ----------
    **kwargs
        Arguments of `keras.layers.BatchNormalization`.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.models.layers import FusedBatchNormalization
    >>> maps = np.array([1.0, 3.0], "float32").reshape(2, 1, 1, 1)
    >>> np.asarray(FusedBatchNormalization(epsilon=0)(maps, training=True)).ravel().tolist()
    [-1.0, 1.0]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False, "dtype": "float32"})

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize a batch of feature maps, and update the moving statistics in training."""
        if (
            keras.backend.backend() != "tensorflow"
            or (mask is not None or self.synchronized or getattr(self, "renorm", False))  # since Keras 3.14
            or (len(inputs.shape) != 4 or self.axis not in (-1, 3))
            or keras.backend.standardize_dtype(inputs.dtype) not in ("float32", "bfloat16", "float16")
        ):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        learning = bool(training) and self.trainable
        mean, variance = self.moving_mean, self.moving_variance
        found = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(mean.shape),
            offset=tf.convert_to_tensor(self.beta) if self.center else tf.zeros(mean.shape),
            mean=tf.constant([]) if learning else tf.convert_to_tensor(mean),
            variance=tf.constant([]) if learning else tf.convert_to_tensor(variance),
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            # The kernel's variance is that of a sample (n - 1), Keras keeps that of the batch (n).
            count = tf.cast(tf.size(inputs) // mean.shape[0], tf.float32)
            biased = found.batch_variance * (tf.maximum(count - 1, 1) / count)
            for kept, new in ((mean, found.batch_mean), (variance, biased)):
                kept.assign(kept * self.momentum + new * (1 - self.momentum))
        return found.y

    def compute_output_spec(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return a tensor of the input's shape and precision."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable(package="gtzan_keras")
def mish(x: Any) -> Any:
    """Mish, x tanh(softplus(x)), from one exponential and with a custom gradient; TensorFlow only.

    With e = exp(x) and n = e (e + 2), tanh(log(1 + e)) = n / (n + 2). On other backends, and in float64,
    this is `keras.activations.mish`.

    Parameters
    ----------
    x : tensor
        Any shape and floating-point type; computed in float32.

    Returns
    -------
    tensor
        Same shape and type.

    References
    ----------
    Misra, "Mish: A self regularized non-monotonic activation function", BMVC 2020 (arXiv:1908.08681).

    Examples
    --------
    >>> from gtzan_keras.models.layers import mish
    >>> [round(float(value), 4) for value in mish([-1.0, 0.0, 1.0, 50.0])]
    [-0.3034, 0.0, 0.8651, 50.0]
    """
    if isinstance(x, keras.KerasTensor):
        return keras.activations.mish(x)
    x = ops.convert_to_tensor(x)
    if keras.backend.backend() != "tensorflow" or keras.backend.standardize_dtype(x.dtype) == "float64":
        return keras.activations.mish(x)
    import tensorflow as tf

    @tf.custom_gradient
    def compute(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        def parts() -> tuple[Any, Any, Any]:
            value = tf.cast(x, tf.float32)
            power = tf.exp(tf.minimum(value, _LARGE))
            return value, power, power * (power + 2)

        def gradient(upstream: Any) -> Any:
            value, power, n = parts()  # computed again: cheaper than keeping them until now
            slope = n / (n + 2) + value * 4 * power * (power + 1) / tf.square(n + 2)
            return upstream * tf.cast(slope, x.dtype)

        value, _, n = parts()
        return tf.cast(value * (n / (n + 2)), x.dtype), gradient

    return compute(x)


def all_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yield a model or layer and every layer inside it, also in nested models and wrappers.

    Examples
    --------
    >>> import keras
    >>> from gtzan_keras.models.layers import all_layers
    >>> inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a")], name="inner")
    >>> [layer.name for layer in all_layers(keras.Sequential([inner], name="outer"))]
    ['outer', 'inner', 'a']
    """
    yield layer
    inner = [layer.layer] if isinstance(layer, keras.layers.Wrapper) else getattr(layer, "layers", ())
    for part in inner:
        yield from all_layers(part)


def clone(
    model: keras.Model, dtype_of: Callable[[keras.layers.Layer], Any], fused: bool = False
) -> keras.Model:
    """Copy a model with its weights and random seeds, in another precision.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential.
    dtype_of : callable
        Returns the precision policy of each layer's copy.
    fused : bool
        Replace batch normalization and Mish with `FusedBatchNormalization` and `mish`.

    Returns
    -------
    keras.Model
        Uncompiled.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.models.layers import clone
    >>> model = models.cnn((8, 8, 1), filters=(4,), dense_units=(), normalization="batch")
    >>> copied = clone(model, lambda layer: layer.dtype_policy, fused=True)
    >>> type(copied.get_layer("block1_norm")).__name__
    'FusedBatchNormalization'
    """

    def copy(part: Any) -> Any:
        if not isinstance(part, keras.layers.Layer):  # a plain operation, such as flip
            return type(part).from_config(part.get_config())
        if isinstance(part, keras.layers.Lambda):  # Keras makes no code from a configuration
            raise GtzanKerasError(
                f"layer {part.name!r} is a Lambda, which cannot be copied; use a class of layers, or "
                "operations of keras.ops"
            )
        kind, config = type(part), {**part.get_config(), "dtype": dtype_of(part)}
        if fused and kind is keras.layers.BatchNormalization and part.variable_dtype == "float32":
            kind = FusedBatchNormalization
        if fused and kind is keras.layers.Activation and part.activation is keras.activations.mish:
            config["activation"] = mish
        return kind.from_config(config)

    other = keras.models.clone_model(model, clone_function=copy, recursive=True)
    copy_state(model, other)
    return other


def copy_state(source: keras.Model, target: keras.Model) -> None:
    """Copy weights and random seeds from a model to its `clone`, or back."""
    for variable, value in zip(target.variables, source.variables, strict=True):
        variable.assign(value)
