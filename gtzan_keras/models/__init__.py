"""Model builders: each returns an uncompiled `keras.Model` and wants nothing else of this package."""

from gtzan_keras.models.cnn import CNN_ARGUMENTS, cnn
from gtzan_keras.models.dense import dense
from gtzan_keras.models.feature_cnn import feature_cnn
from gtzan_keras.models.two_branch import two_branch
from gtzan_keras.models.vggish import vggish, vggish_classifier
from gtzan_keras.models.yolov8 import yolov8

__all__ = [
    "CNN_ARGUMENTS",
    "cnn",
    "dense",
    "feature_cnn",
    "two_branch",
    "vggish",
    "vggish_classifier",
    "yolov8",
]
