"""The sources' CNNs as arguments of `gtzan_keras.models.cnn`: recipes read them without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["CNN_ARGUMENTS"]

CNN_ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "malvezzi": {"filters": (32, 64, 128, 128), "dense_units": (512,), "dropout": 0.4},
    "arrigo": {"filters": (32, 64, 128, 256), "dense_units": (128,), "dropout": 0.0},
    "zhang": {
        "filters": (32, 64),
        "dense_units": (128,),
        "dropout": 0.5,
        "dropout_before_head": 0.25,
        "padding": "valid",
    },
    "uncu": {"filters": (32, 64, 128), "dense_units": (128,), "dropout": 0.3},
}
"""Arguments of `cnn` for the sources' networks. Malvezzi, Arrigo (model 1): the filters and units
they state or imply. Zhang leaves the dropout rates open (0.25 and 0.5 are ours), Uncu the sizes (32-64-128,
dense 128 are ours). Uncu's text mentions two hidden dense layers; this network has one."""
