"""Which devices the backend of Keras finds, and whether to use XLA on them."""

from __future__ import annotations

__all__ = ["count_gpus", "use_xla"]


def use_xla() -> bool:
    """Return whether to compile a training step with XLA: where there is a GPU, and always on JAX.

    On a CPU the compiled convolutions are slower than oneDNN's, and deep networks take a minute to
    compile (``docs/speed.md``). Keras' "auto" compiles whatever can be compiled, on any device. JAX runs a
    step that is not compiled operation by operation.

    Examples
    --------
    >>> from gtzan_keras.models.device import use_xla
    >>> use_xla()  # doctest: +SKIP
    False
    """
    import keras

    return keras.backend.backend() == "jax" or count_gpus() > 0


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
