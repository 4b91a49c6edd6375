"""Which devices Keras' backend finds, and over how many it spreads a batch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = ["count_gpus", "count_replicas", "scope_of"]


def count_gpus() -> int:
    """Return the number of GPUs that the backend of Keras finds.

    Examples
    --------
    >>> from gtzan_keras.models.device import count_gpus
    >>> count_gpus()  # doctest: +SKIP
    0
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    return sum(name.startswith(("gpu", "cuda")) for name in keras.distribution.list_devices())


def count_replicas() -> int:
    """Return over how many devices a batch is spread, by TensorFlow's strategy or Keras' distribution on JAX.

    Examples
    --------
    >>> from gtzan_keras.models.device import count_replicas
    >>> count_replicas()
    1
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    distribution: Any = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def scope_of(model: keras.Model) -> AbstractContextManager[Any]:
    """Return the scope of the strategy that a model was built under; only TensorFlow's models have one."""
    strategy = getattr(model, "distribute_strategy", None)
    return nullcontext() if strategy is None else strategy.scope()
