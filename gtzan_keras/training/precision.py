"""Which precision a training computes in: float32 or bfloat16, whichever is faster on this machine."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtzan_keras.models.device import count_gpus

if TYPE_CHECKING:
    import keras

__all__ = ["dtypes_in", "policy_of", "training_policy"]

_AMPERE = (8, 0)
"""The first compute capability of NVIDIA whose GPUs calculate in bfloat16."""


def training_policy(precision: str, built: str = "float32") -> tuple[str, str]:
    """Return the policy that a model is trained in, and why.

    Parameters
    ----------
    precision : "auto", "float32" or "bfloat16"
        "auto" keeps the policy of a model that was built in a policy other than float32.
    built : str
        Policy that the model was built in.

    Returns
    -------
    (str, str)
        Name of the policy; the reason, for the log.

    Examples
    --------
    >>> from gtzan_keras.training.precision import training_policy
    >>> training_policy("auto", built="mixed_float16")
    ('mixed_float16', 'set already')
    """
    if precision == "auto" and built != "float32":
        return built, "set already"
    if precision != "auto":
        return "mixed_bfloat16" if precision == "bfloat16" else "float32", "requested"
    if _has_bfloat16():
        return "mixed_bfloat16", "this machine computes in it"
    return "float32", "no fast bfloat16 found"


def policy_of(model: keras.Model) -> str:
    """Return the policy that a model was built in: that of its first layer that does not compute in float32.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.training.precision import policy_of
    >>> policy_of(models.dense((3,), units=()))
    'float32'
    """
    import keras

    from gtzan_keras.models.layers import all_layers

    silent = (keras.layers.InputLayer, keras.Model)  # their policy says nothing
    for layer in all_layers(model):
        if not isinstance(layer, silent) and layer.compute_dtype != "float32":
            return layer.dtype_policy.name
    return "float32"


def dtypes_in(model: keras.Model, policy: str) -> Callable[[keras.layers.Layer], Any]:
    """Return a function that gives each layer's precision when the model is trained in a policy.

    Three kinds of layers keep float32, as in our builders: the last one, for probabilities;
    `Normalization`, because bfloat16 would round its input; and batch normalization, which computes in
    float32 under any policy and would only round its scale and offset. A model that was built in the
    policy keeps each layer's own.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.training.precision import dtypes_in
    >>> model = models.cnn((8, 8, 1), filters=(4,), dense_units=())
    >>> dtype_of = dtypes_in(model, "mixed_bfloat16")
    >>> dtype_of(model.get_layer("block1_conv")), dtype_of(model.get_layer("predictions")).name
    ('mixed_bfloat16', 'float32')
    """
    import keras

    if policy == policy_of(model):
        return lambda layer: layer.dtype_policy
    last = {id(layer) for layer in _last_layers(model)}
    exact = (keras.layers.Normalization, keras.layers.BatchNormalization)

    def dtype_of(layer: keras.layers.Layer) -> Any:
        keeps = policy != "float32" and (id(layer) in last or isinstance(layer, exact))
        return layer.dtype_policy if keeps else policy

    return dtype_of


def _last_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers that compute a model's outputs; of a nested model, that model's own."""
    import keras

    names = [model.layers[-1].name] if isinstance(model, keras.Sequential) else model.output_names
    found = []
    for layer in model.layers:
        if layer.name in names:
            found += _last_layers(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _has_bfloat16() -> bool:
    import keras

    if keras.backend.backend() != "tensorflow":  # on the CPU, only TensorFlow has oneDNN, which uses bfloat16
        return count_gpus() > 0
    if count_gpus():
        import tensorflow as tf

        details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
        return all(detail.get("compute_capability", (0, 0)) >= _AMPERE for detail in details)
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.is_file():
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpuinfo.read_text().split())
