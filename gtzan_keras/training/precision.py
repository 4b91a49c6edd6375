"""Which arithmetic a training uses: float32, or bfloat16 where the machine has it."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

from gtzan_keras.errors import GtzanKerasError

__all__ = ["use_precision", "use_xla"]

logger = logging.getLogger(__name__)


def use_precision(precision: str = "auto") -> str:
    """Set Keras' precision policy for the models built from now on.

    Weights stay float32 in any case, and `train` saves a float32 model.

    Parameters
    ----------
    precision : "auto", "float32" or "bfloat16"
        "auto" takes bfloat16 where a GPU is there or the processor computes in it (AVX-512 BF16 or
        AMX): a CNN trains about twice as fast then.

    Returns
    -------
    str
        The policy: "float32" or "mixed_bfloat16".

    Raises
    ------
    GtzanKerasError
        Another word.

    Examples
    --------
    >>> from gtzan_keras.training.precision import use_precision
    >>> use_precision("float32")
    'float32'
    """
    import keras

    if precision not in ("auto", "float32", "bfloat16"):
        raise GtzanKerasError(f"precision is {precision!r}; expected auto, float32 or bfloat16")
    fast = precision == "bfloat16" or (precision == "auto" and _has_bfloat16())
    policy = "mixed_bfloat16" if fast else "float32"
    keras.mixed_precision.set_dtype_policy(policy)
    why = "asked for" if precision != "auto" else "for this machine"
    compiler = "on" if use_xla() else "off, oneDNN is faster here"
    logger.info("precision: %s (%s); XLA: %s", policy, why, compiler)
    return policy


def use_xla() -> bool:
    """Whether a training step is worth compiling with XLA: where there is a GPU.

    On a CPU the compiled convolutions are slower than oneDNN's, and deep networks take a minute to
    compile (``docs/speed.md``). Keras' "auto" compiles whatever can be, on any device.

    Examples
    --------
    >>> from gtzan_keras.training.precision import use_xla
    >>> use_xla()  # doctest: +SKIP
    False
    """
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _has_bfloat16() -> bool:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return True
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.is_file():
        return False
    flags = cpuinfo.read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags
