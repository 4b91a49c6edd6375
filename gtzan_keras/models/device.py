"""Which devices the backend of Keras finds."""

from __future__ import annotations

__all__ = ["count_gpus"]


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
