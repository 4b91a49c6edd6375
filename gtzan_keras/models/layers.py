"""Layers of our own. Importing this module makes them known to Keras, which opening a saved model needs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from gtzan_keras.errors import GtzanKerasError

__all__ = ["DropBlock2D"]


@keras.saving.register_keras_serializable(package="gtzan_keras")
class DropBlock2D(keras.layers.Layer):
    """Set blocks of a feature map to zero in training; the rest grows so that the mean stays.

    Dropout of single values does little to a feature map, whose neighbours say the same; a block takes
    the neighbours too. Each sample and each channel draws its own blocks (as the paper found better);
    all lie wholly inside the map. Every position where a block fits begins one with probability

        gamma = rate / block area * map area / number of positions where a block fits,

    with height and width counted apart. As in the paper, blocks may overlap, so somewhat less than
    `rate` is dropped, and more in the middle of a map than at its border. What is left of a sample is
    multiplied by size / number kept, counted over the sample's whole map and all its channels (ours: the
    paper's pseudocode leaves open over what; this way no sample depends on its batch).

    Parameters
    ----------
    rate : float in [0, 1)
        The share of a map to drop: 1 - the paper's ``keep_prob``.
    block_size : int >= 1
        Side of the blocks. Along a side of the map that is shorter, a block is as long as that side.
    schedule_steps : int >= 1, optional
        In the first so many training steps the rate rises in a line from 0 to `rate`; a weight that is
        not trained counts them. When left out, the rate is the same throughout.
    seed : int, optional
        Of the random numbers.
    **kwargs
        Of `keras.layers.Layer`: ``name``, ``dtype``.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or what comes in is no feature map.

    Notes
    -----
    Input and output are (batch, height, width, channels); height and width may be unknown. Other than in
    training, the layer changes nothing.

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
            raise self._error(f"rate is {rate!r}; expected a share from 0 to below 1")
        if not isinstance(block_size, int) or block_size < 1:
            raise self._error(f"block_size is {block_size!r}; expected a whole number above 0")
        if schedule_steps is not None and (not isinstance(schedule_steps, int) or schedule_steps < 1):
            raise self._error(
                f"schedule_steps is {schedule_steps!r}; expected a whole number above 0, or None"
            )
        self.rate = float(rate)
        self.block_size = block_size
        self.schedule_steps = schedule_steps
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check the input's rank and begin to count steps, where there is a schedule."""
        if len(input_shape) != 4:
            raise self._error(f"input is {input_shape}; expected (batch, height, width, channels)")
        if self.schedule_steps is not None:
            # Not rounded to half precision, where counting ends at 256 (bfloat16).
            self.steps = self.add_weight(
                shape=(), initializer="zeros", dtype="float32", trainable=False, autocast=False, name="steps"
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Drop blocks when training."""
        if not training or self.rate == 0:
            return inputs
        scaled_mask = self._mask(ops.shape(inputs), self._current_rate())
        return inputs * ops.cast(scaled_mask, inputs.dtype)

    def _current_rate(self) -> Any:
        if self.schedule_steps is None:
            return self.rate
        rate = self.rate * self.steps / self.schedule_steps
        self.steps.assign(ops.minimum(self.steps + 1, self.schedule_steps))
        return rate

    def _mask(self, shape: tuple[Any, ...], rate: Any) -> Any:
        """0 in the blocks, size / number kept elsewhere; float32 under every precision policy."""
        batch, height, width, channels = shape
        block_height, rows = self._block_and_positions(height)
        block_width, columns = self._block_and_positions(width)
        gamma = rate * _float(height * width) / _float(block_height * block_width * rows * columns)
        draws = keras.random.uniform(
            (batch, rows, columns, channels), dtype="float32", seed=self.seed_generator
        )
        corners = ops.cast(draws < gamma, "float32")  # the top left ones of the blocks
        reach = self.block_size - 1
        corners = ops.pad(corners, [(0, 0), (reach, reach), (reach, reach), (0, 0)])
        # Too many rows come out only where the block is larger than the map.
        blocks = ops.max_pool(corners, self.block_size, strides=1, data_format="channels_last")
        blocks = blocks[:, :height, :width]
        kept = 1 - blocks
        share = ops.mean(kept, axis=(1, 2, 3), keepdims=True)
        return ops.divide_no_nan(kept, share)

    def _block_and_positions(self, side: Any) -> tuple[Any, Any]:
        """A block's length along a side of the map, and in how many places it fits."""
        block = min(self.block_size, side) if isinstance(side, int) else ops.minimum(self.block_size, side)
        return block, side - block + 1

    def _error(self, message: str) -> GtzanKerasError:
        return GtzanKerasError(f"DropBlock2D {self.name!r}: {message}")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes an equal layer of."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "block_size": self.block_size,
            "schedule_steps": self.schedule_steps,
            "seed": self.seed,
        }


def _float(size: Any) -> Any:
    """A size as a number to calculate with: Python's own where it is known, else a float32 tensor."""
    return float(size) if isinstance(size, int) else ops.cast(size, "float32")
