"""What a training computes in and with: float32 or bfloat16, XLA or not, whichever the machine is best at."""

from __future__ import annotations

import contextlib
import logging
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.device import count_gpus, use_xla

if TYPE_CHECKING:
    import keras

__all__ = ["computing_in", "policy_of", "training_policy", "use_precision"]

logger = logging.getLogger(__name__)

_AMPERE = (8, 0)
"""The first compute capability of NVIDIA whose GPUs calculate in bfloat16."""


def use_precision(precision: str = "auto") -> str:
    """Set Keras' precision policy for the models built from now on.

    `train` does not need it: its `precision` does the same to a model that was built in float32. Weights
    stay float32 in any case, and `train` saves a float32 model.

    Parameters
    ----------
    precision : "auto", "float32" or "bfloat16"
        "auto" takes bfloat16 where the GPU, or without one the processor (AVX-512 BF16 or AMX), computes
        in it: a CNN trains about twice as fast then; another policy than float32 that is set already stays.

    Returns
    -------
    str
        The policy: "float32", "mixed_bfloat16" or what was set.

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

    policy, why = training_policy(precision, built=keras.config.dtype_policy().name)
    keras.config.set_dtype_policy(policy)
    compiler = "on" if use_xla() else "off, oneDNN is faster here"
    logger.info("precision: %s (%s); XLA: %s", policy, why, compiler)
    return policy


def training_policy(precision: str | None, built: str = "float32") -> tuple[str, str]:
    """The policy that a model is trained in, and why.

    Parameters
    ----------
    precision : "auto", "float32", "bfloat16" or None
        "auto" leaves a model alone that was built in another policy than float32; None leaves any.
    built : str
        The policy that the model was built in, or that models are built in.

    Returns
    -------
    (str, str)
        Name of the policy; the reason, for the log.

    Raises
    ------
    GtzanKerasError
        Another word.

    Examples
    --------
    >>> from gtzan_keras.training.precision import training_policy
    >>> training_policy("auto", built="mixed_float16")
    ('mixed_float16', 'set already')
    """
    if precision not in ("auto", "float32", "bfloat16", None):
        raise GtzanKerasError(f"precision is {precision!r}; expected auto, float32 or bfloat16")
    if precision is None or (precision == "auto" and built != "float32"):
        return built, "set already"
    if precision != "auto":
        return "mixed_bfloat16" if precision == "bfloat16" else "float32", "asked for"
    if _has_bfloat16():
        return "mixed_bfloat16", "this machine computes in it"
    return "float32", "no fast bfloat16 found"


def policy_of(model: keras.Model) -> str:
    """The policy that a model was built in: that of the first layer that does not compute in float32.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.training.precision import policy_of
    >>> policy_of(models.dense((3,), units=()))
    'float32'
    """
    import keras

    computing = [
        part
        for part in model._flatten_layers()
        if not isinstance(part, (keras.layers.InputLayer, keras.Model))  # whose policy says nothing
    ]
    return next((part.dtype_policy.name for part in computing if part.compute_dtype != "float32"), "float32")


@contextlib.contextmanager
def computing_in(model: keras.Model, policy: str) -> Iterator[None]:
    """Let a model's layers compute in a policy, as if it had been built so; afterwards as before.

    Three kinds of layers keep float32, as in our builders: the last one, for probabilities;
    `Normalization`, which bfloat16 would round the pictures by; and batch normalisation, which computes in
    float32 under any policy and would only round its scale and offset. A model that was built in the
    policy stays as it is. Weights are float32 in any case, and are not touched.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.training.precision import computing_in
    >>> model = models.cnn((8, 8, 1), filters=(4,), dense_units=())
    >>> with computing_in(model, "mixed_bfloat16"):
    ...     [model.get_layer(name).compute_dtype for name in ("block1_conv", "predictions")]
    ['bfloat16', 'float32']
    >>> model.get_layer("block1_conv").compute_dtype
    'float32'
    """
    import keras

    kept: set[int] = set()
    if policy == policy_of(model):
        layers = []
    else:
        layers = model._flatten_layers()
        if policy != "float32":
            kept = {id(layer) for layer in _last_layers(model)}
    exact = (keras.layers.InputLayer, keras.layers.Normalization, keras.layers.BatchNormalization)
    before = []
    for layer in layers:
        if id(layer) not in kept and not (policy != "float32" and isinstance(layer, exact)):
            before.append((layer, layer.dtype_policy))
            layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer, former in before:
            layer.dtype_policy = former


def _last_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that a model's outputs come out of; of a model within the model, its own."""
    import keras

    last = []
    for tensor in model.outputs:
        operation = tensor._keras_history.operation
        last += _last_layers(operation) if isinstance(operation, keras.Model) else [operation]
    return last


def _has_bfloat16() -> bool:
    import keras

    on_tensorflow = keras.backend.backend() == "tensorflow"
    if count_gpus():
        return not on_tensorflow or _gpus_have_bfloat16()
    cpuinfo = Path("/proc/cpuinfo")
    # Of the backends only TensorFlow brings oneDNN, which knows the processor's instructions.
    if not on_tensorflow or platform.machine() != "x86_64" or not cpuinfo.is_file():
        return False
    flags = cpuinfo.read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _gpus_have_bfloat16() -> bool:
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return all(detail.get("compute_capability", (0, 0)) >= _AMPERE for detail in details)
