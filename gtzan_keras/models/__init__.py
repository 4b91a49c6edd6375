"""Model builders: each returns an uncompiled `keras.Model` and wants nothing else of this package."""

from gtzan_keras.models.custom_cnn import CNN_ARGUMENTS, cnn
from gtzan_keras.models.dense_network import dense
from gtzan_keras.models.feature_networks import feature_cnn
from gtzan_keras.models.image_bases import IMAGE_BASES, image_base, image_features, vgg16
from gtzan_keras.models.musicnn_networks import MUSICNN_TAGS, musicnn, musicnn_vgg
from gtzan_keras.models.two_branch_network import two_branch
from gtzan_keras.models.vggish_network import vggish, vggish_classifier
from gtzan_keras.models.yolov4_classifier import csp_darknet53, yolov4
from gtzan_keras.models.yolov8_classifier import yolov8

__all__ = [
    "CNN_ARGUMENTS",
    "IMAGE_BASES",
    "MUSICNN_TAGS",
    "cnn",
    "csp_darknet53",
    "dense",
    "feature_cnn",
    "image_base",
    "image_features",
    "musicnn",
    "musicnn_vgg",
    "two_branch",
    "vgg16",
    "vggish",
    "vggish_classifier",
    "yolov4",
    "yolov8",
]
