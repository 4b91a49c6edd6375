"""Model builders: each returns an uncompiled `keras.Model` and wants nothing else of this package."""

from gtzan_keras.models.cnn import CNN_ARGUMENTS, cnn
from gtzan_keras.models.dense import dense

__all__ = ["CNN_ARGUMENTS", "cnn", "dense"]
