"""YOLOv8's backbone, from KerasCV, as an image classifier. Only this module uses KerasCV."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import keras

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.head import check_input, check_sizes, classifier, dropout_layer, normalize, pool
from gtzan_keras.models.weights import load_file

__all__ = ["yolov8"]

# Channels and depth of the four stacks, as in KerasCV's presets. They are repeated here because
# `from_preset` contacts Kaggle even for a configuration without weights.
_STACKS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "xs": ((32, 64, 128, 256), (1, 2, 2, 1)),
    "s": ((64, 128, 256, 512), (1, 2, 2, 1)),
    "m": ((96, 192, 384, 576), (2, 4, 4, 2)),
    "l": ((128, 256, 512, 512), (3, 6, 6, 3)),
    "xl": ((160, 320, 640, 640), (3, 6, 6, 3)),
}


def yolov8(
    input_shape: Sequence[int] = (416, 416, 3),
    num_classes: int = 10,
    *,
    size: str = "s",
    weights: str | os.PathLike[str] | None = None,
    pooling: str = "avg",
    head: Sequence[int] = (256, 128, 64),
    norm: str | None = None,
    dropout: float | Sequence[float] = 0.3,
    dropout_before_pooling: float = 0.0,
    dropout_before_output: float = 0.0,
    name: str = "yolov8",
) -> keras.Model:
    """Build a classifier on YOLOv8's backbone: deepest feature map, pooling, dense head.

    Arrigo's models 4 to 20 are special cases of it. He states neither the size (``"s"`` is ours) nor the
    dropout rates (0.3 is ours). KerasCV's presets divide their input by 255; this backbone does not
    (``include_rescaling=False``), since our images are 0..1 already: they are scaled once, while the source's
    were probably scaled twice.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width and channels of an image with values 0..1. One channel is repeated to three
        inside the model; the backbone makes maps of 1/32 of height and width, rounded up.
    num_classes : int >= 2
        Genres.
    size : "xs", "s", "m", "l" or "xl"
        Size of the backbone: 1.3, 5.1, 11.9, 19.8 or 31.0 million parameters.
    weights : None, "coco" or path
        Start values of the backbone: random, KerasCV's COCO preset (fetched from Kaggle), or a
        file in that preset's layout, ``model.weights.h5``. Nothing is frozen. Only ``"coco"``
        needs internet access.
    pooling : "avg", "flatten", "max" or "avg+max"
        How the deepest feature map becomes a vector; the source uses the first two.
    head : sequence of int
        Widths of the dense ReLU layers.
    norm : "batch", "layer" or None
        Normalization after each dense layer, after its ReLU.
    dropout : float in [0, 1), or one for each layer of the head
        After the normalization; a single number applies to the first two layers only.
    dropout_before_pooling : float in [0, 1)
        On the feature map.
    dropout_before_output : float in [0, 1)
        After the last hidden layer, in addition to that layer's own.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled, of plain Keras layers: a saved one opens without KerasCV. Input float32 (batch,
        height, width, channels), output probabilities (batch, num_classes). Layers are called
        ``input``, ``rgb`` (one channel only), KerasCV's ``stem_1_conv``, ``stem_1_bn``, ...,
        ``stack4_spp_fast_output``, then ``pooling`` or ``flatten``, ``dense_1``, ``dense_1_norm``,
        ``dense_1_dropout``, ..., ``predictions``.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, the preset is not available, or the file does not fit the size.

    References
    ----------
    Arrigo, "Using CNN Networks for Music Genre Classification", 2025, models 4 to 20;
    https://keras.io/keras_cv/api/models/backbones/yolo_v8/ (KerasCV 0.9.0, no longer developed).

    Examples
    --------
    >>> from gtzan_keras.models.yolov8_classifier import yolov8
    >>> model = yolov8((64, 96, 1), size="xs", norm="layer", dropout=0.5)
    >>> model.get_layer("stack4_spp_fast_output").output.shape, model.count_params()
    ((None, 2, 3, 256), 1386170)
    """
    check_input(input_shape, num_classes, rank=3)
    check_sizes(head=head)
    if input_shape[2] not in (1, 3):
        raise GtzanKerasError(f"input_shape={tuple(input_shape)}: expected 1 or 3 channels")
    if size not in _STACKS:
        raise GtzanKerasError(f"size={size!r}: expected xs, s, m, l or xl")
    layers = len(head)
    if isinstance(dropout, (int, float)):
        dropout = [dropout if layer < 2 else 0.0 for layer in range(layers)]
    if len(dropout) != layers:
        raise GtzanKerasError(
            f"dropout={tuple(dropout)}: expected one number, or one for each of the {layers} layers of head"
        )

    inputs = x = keras.Input(tuple(input_shape), name="input")
    if input_shape[2] == 1:
        x = keras.layers.Concatenate(name="rgb")([x, x, x])
    x = _backbone(x, size, weights)
    x = pool(dropout_layer(x, dropout_before_pooling, "pooling_dropout"), pooling)
    for number, (width, rate) in enumerate(zip(head, dropout, strict=True), start=1):
        x = keras.layers.Dense(width, activation="relu", name=f"dense_{number}")(x)
        x = normalize(x, norm, f"dense_{number}_norm")
        x = dropout_layer(x, rate, f"dense_{number}_dropout")
    x = dropout_layer(x, dropout_before_output, "output_dropout")
    outputs = classifier(x, num_classes, (), 0.0)
    return keras.Model(inputs, outputs, name=name)


def _backbone(
    images: keras.KerasTensor, size: str, weights: str | os.PathLike[str] | None
) -> keras.KerasTensor:
    """Return the deepest feature map of KerasCV's backbone on three-channel images."""
    from keras_cv.models import YOLOV8Backbone

    channels, depth = _STACKS[size]
    backbone = YOLOV8Backbone(
        stackwise_channels=list(channels),
        stackwise_depth=list(depth),
        include_rescaling=False,
        input_tensor=images,
    )
    if weights == "coco":
        backbone.set_weights(_coco_weights(YOLOV8Backbone, size))
    elif weights is not None:
        title = f"KerasCV's YOLOv8 backbone of size {size!r}"
        load_file(backbone, weights, title, "None, 'coco', or the model.weights.h5 of that size's preset")
    # Not `backbone.output`: if the images are the output of a layer, that is another graph's tensor.
    return backbone.layers[-1].output


def _coco_weights(backbone: type, size: str) -> list[object]:
    """Return the weights of KerasCV's COCO preset, in the order of the layers."""
    preset = f"yolo_v8_{size}_backbone_coco"
    try:
        return backbone.from_preset(preset).get_weights()  # type: ignore[attr-defined]
    except Exception as error:  # kagglehub's, requests', Keras': each part fails in its own way
        handle = backbone.presets[preset]["kaggle_handle"]  # type: ignore[attr-defined]
        raise GtzanKerasError(
            f"weights='coco': KerasCV's preset {preset} could not be loaded ({type(error).__name__}: "
            f"{error}). Without a network, fetch its model.weights.h5 on another machine, from "
            f"https://www.kaggle.com/models/{handle.removeprefix('kaggle://')}, and pass its path as weights"
        ) from error
