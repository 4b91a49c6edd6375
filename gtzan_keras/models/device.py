"""The machine that a model runs on: its devices, over how many a batch is spread, and its memory."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = ["count_gpus", "count_replicas", "freed_memory_kept", "scope_of"]

_M_TOP_PAD, _M_MMAP_MAX = -2, -4
"""Parameters of glibc's `mallopt`, from its malloc.h; 128 kB and 65,536 are its own values."""


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


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the process keep the memory of one training step for the next; only glibc (Linux) needs it.

    TensorFlow has glibc return freed memory to Linux from 128 kB on, and each step asks for it again, page
    by page. `tests/benchmarks/bench_memory.py` measures the difference. Nothing changes if
    ``MALLOC_TOP_PAD_`` or ``MALLOC_MMAP_MAX_`` is set in the environment.

    Examples
    --------
    >>> from gtzan_keras.models.device import freed_memory_kept
    >>> with freed_memory_kept():
    ...     pass  # model.fit(...)
    """
    chosen = not os.environ.keys().isdisjoint({"MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_"})
    if chosen or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TOP_PAD, 128 << 20)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_MAX, 65536)
        libc.mallopt(_M_TOP_PAD, 128 << 10)
        libc.malloc_trim(0)
