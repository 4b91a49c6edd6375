"""YOLOv4 from its blocks, as an image classifier: CSPDarknet53, SPP, PANet, no bounding boxes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.head import check_input, check_sizes, classifier, dropout_layer
from gtzan_keras.models.layers import DropBlock2D
from gtzan_keras.models.weights import load_file

__all__ = ["csp_darknet53", "yolov4"]


# Filters of a stage's map, paths and bottlenecks; number of blocks. The first stage differs: its paths are as
# wide as its map, its bottlenecks half as wide.
_STAGES = ((64, 64, 32, 1), (128, 64, 64, 2), (256, 128, 128, 8), (512, 256, 256, 8), (1024, 512, 512, 4))


def yolov4(
    input_shape: Sequence[int] = (416, 416, 3),
    num_classes: int = 10,
    *,
    width: float = 1.0,
    depth: float = 1.0,
    head: Sequence[int] = (256, 64),
    dropout: float = 0.3,
    dropblock: float = 0.1,
    dropblock_size: int = 7,
    dropblock_steps: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    name: str = "yolov4",
) -> keras.Model:
    """Build YOLOv4 up to its neck, with a dense head in place of the detectors.

    CSPDarknet53 with Mish, spatial pyramid pooling, and PANet with leaky ReLU, as in Darknet's
    ``yolov4.cfg``; the global averages of the neck's three maps, concatenated; the head. Arrigo's models 2
    and 3 are like this. He states the parts, two dense layers and one dropout; the rest is ours: the
    widths 256 and 64, the dropout between the layers and its rate 0.3, three scales instead of the last map
    alone, DropBlock in the middle of each of PANet's four blocks of five convolutions, and a normalization
    momentum of 0.97, as in KerasCV's YOLOv8 (Darknet: 0.99).

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width and channels of an image with values 0..1; any number of channels.
        Maps are 1/8, 1/16 and 1/32 of height and width, rounded up.
    num_classes : int >= 2
        Genres.
    width : float > 0
        Factor for the numbers of filters, which are rounded to multiples of 8; the head is not scaled.
    depth : float > 0
        Factor for the numbers of residual blocks, at least one per stage.
    head : sequence of int
        Widths of the dense ReLU layers.
    dropout : float in [0, 1)
        After the first of them.
    dropblock : float in [0, 1)
        Rate of `gtzan_keras.models.layers.DropBlock2D`; 0 adds no such layer.
    dropblock_size : int >= 1
        Side of the blocks; 7 is the DropBlock paper's.
    dropblock_steps : int >= 1, optional
        Training steps in which the DropBlock rate rises from 0.
    weights : path, optional
        Start values of the whole model with its head: a ``.weights.h5`` or ``.keras`` file of a model
        built with the same arguments. Random by default; none are published for Keras.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, height, width, channels), output probabilities
        (batch, num_classes). Each convolution is three layers, such as ``stem_conv``, ``stem_norm``,
        ``stem_mish``. In their order: ``input``; ``stem``; ``stage1_down``, ``stage1_skip``,
        ``stage1_main``, ``stage1_block1_1``, ..., ``stage1_out``, ..., ``stage5_out``; ``spp_1``,
        ``spp_pool5``, ..., ``spp_6``; PANet's ``pan_up16_...`` and ``pan_up8_...`` (towards the finer
        maps), ``pan_down16_...`` and ``pan_down32_...`` (back); ``pooling8``, ``pooling16``,
        ``pooling32``, ``pooling``; ``dense_1``, ``dense_1_dropout``, ``dense_2``, ``predictions``.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or the weights cannot be read or do not fit.

    See Also
    --------
    csp_darknet53 : the backbone alone.

    References
    ----------
    Bochkovskiy, Wang, Liao, "YOLOv4: Optimal Speed and Accuracy of Object Detection", 2020
    (arXiv:2004.10934); https://github.com/AlexeyAB/darknet/blob/master/cfg/yolov4.cfg; Arrigo, "Using
    CNN Networks for Music Genre Classification", 2025, models 2 and 3.

    Examples
    --------
    >>> from gtzan_keras.models.yolov4_classifier import yolov4
    >>> model = yolov4((64, 96, 1), width=0.125, depth=0.125)
    >>> [model.get_layer(f"stage{stage}_out_mish").output.shape for stage in (3, 4, 5)]
    [(None, 8, 12, 32), (None, 4, 6, 64), (None, 2, 3, 128)]
    >>> model.get_layer("pooling").output.shape, model.output_shape
    ((None, 112), (None, 10))
    """
    check_input(input_shape, num_classes, rank=3)
    check_sizes(head=head)
    _check_factors(width=width, depth=depth)

    def drop_blocks(x: keras.KerasTensor, where: str) -> keras.KerasTensor:
        layer = DropBlock2D(dropblock, dropblock_size, dropblock_steps, name=f"{where}_dropblock")
        return layer(x) if dropblock else x  # after it has checked its arguments

    inputs = keras.Input(tuple(input_shape), name="input")
    fine, middle, coarse = _backbone(inputs, width, depth)
    conv = partial(_conv, width, "leaky")
    maps = _panet(fine, middle, _spp(coarse, conv), conv, drop_blocks)
    pooled = [
        keras.layers.GlobalAveragePooling2D(name=f"pooling{stride}")(x)
        for stride, x in zip((8, 16, 32), maps, strict=True)
    ]
    x = keras.layers.Concatenate(name="pooling")(pooled)
    for number, units in enumerate(head, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
        x = dropout_layer(x, dropout if number == 1 else 0.0, f"dense_{number}_dropout")
    outputs = classifier(x, num_classes, (), 0.0)
    model = keras.Model(inputs, outputs, name=name)
    if weights is not None:
        expected = "None, or a .weights.h5 or .keras file of a model built with the same arguments"
        load_file(model, weights, "this YOLOv4", expected)
    return model


def csp_darknet53(
    input_shape: Sequence[int] = (416, 416, 3),
    width: float = 1.0,
    depth: float = 1.0,
    *,
    name: str = "csp_darknet53",
) -> keras.Model:
    """Build CSPDarknet53, YOLOv4's backbone, with Mish and without a classifier.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width and channels of an image.
    width, depth : float > 0
        Factors for the numbers of filters and of residual blocks, as in `yolov4`.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled; 26,652,512 parameters for the defaults, including normalization statistics. Three
        outputs: the maps of 1/8, 1/16 and 1/32 of height and width, 256, 512 and 1024 channels at width
        1. Layers are named as in `yolov4`.

    Raises
    ------
    GtzanKerasError
        An argument is out of range.

    References
    ----------
    As `yolov4`; Wang et al., "CSPNet: A New Backbone that can Enhance Learning Capability of CNN", 2020
    (arXiv:1911.11929).

    Examples
    --------
    >>> from gtzan_keras.models.yolov4_classifier import csp_darknet53
    >>> csp_darknet53((64, 96, 1), width=0.125, depth=0.125).output_shape
    [(None, 8, 12, 32), (None, 4, 6, 64), (None, 2, 3, 128)]
    """
    check_input(input_shape, num_classes=2, rank=3)
    _check_factors(width=width, depth=depth)
    inputs = keras.Input(tuple(input_shape), name="input")
    return keras.Model(inputs, _backbone(inputs, width, depth), name=name)


def _check_factors(**factors: float) -> None:
    for argument, factor in factors.items():
        if not 0 < factor < float("inf"):
            raise GtzanKerasError(f"{argument}={factor!r}: expected a factor > 0, such as 0.5")


def _conv(
    width: float, activation: str, x: keras.KerasTensor, filters: int, size: int, name: str, stride: int = 1
) -> keras.KerasTensor:
    """Apply convolution without bias, batch normalization, activation."""
    filters = 8 * max(1, round(filters * width / 8))
    if stride > 1:
        # Darknet pads all sides equally; Keras' "same" would not pad at the top and left.
        x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    padding = "valid" if stride > 1 else "same"
    x = keras.layers.Conv2D(
        filters, size, strides=stride, padding=padding, use_bias=False, name=f"{name}_conv"
    )(x)
    # Epsilon is Darknet's. Its momentum of 0.99 suits the many steps of a large data set; with our few the
    # statistics lag behind, and validation scores stay at chance for long.
    x = keras.layers.BatchNormalization(momentum=0.97, epsilon=1e-5, name=f"{name}_norm")(x)
    if activation == "leaky":
        return keras.layers.LeakyReLU(0.1, name=f"{name}_leaky")(x)
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x)


def _backbone(x: keras.KerasTensor, width: float, depth: float) -> list[keras.KerasTensor]:
    """Return the maps of the last three stages."""
    conv = partial(_conv, width, "mish")
    x = conv(x, 32, 3, "stem")
    maps = []
    for number, (filters, path, bottleneck, blocks) in enumerate(_STAGES, start=1):
        at = f"stage{number}"
        x = conv(x, filters, 3, f"{at}_down", stride=2)
        skip = conv(x, path, 1, f"{at}_skip")
        x = conv(x, path, 1, f"{at}_main")
        for block in range(1, max(1, round(blocks * depth)) + 1):
            inner = conv(x, bottleneck, 1, f"{at}_block{block}_1")
            inner = conv(inner, path, 3, f"{at}_block{block}_2")
            x = keras.layers.Add(name=f"{at}_block{block}_add")([x, inner])
        x = conv(x, path, 1, f"{at}_post")
        x = keras.layers.Concatenate(name=f"{at}_concat")([x, skip])
        x = conv(x, filters, 1, f"{at}_out")
        maps.append(x)
    return maps[-3:]


def _spp(x: keras.KerasTensor, conv: Callable[..., Any]) -> keras.KerasTensor:
    """Concatenate the coarsest map with its maxima over 5x5, 9x9 and 13x13, between convolutions."""

    def three(x: keras.KerasTensor, first: int) -> keras.KerasTensor:
        for number, (filters, size) in enumerate(((512, 1), (1024, 3), (512, 1)), start=first):
            x = conv(x, filters, size, f"spp_{number}")
        return x

    x = three(x, 1)
    maxima = [
        keras.layers.MaxPooling2D(size, strides=1, padding="same", name=f"spp_pool{size}")(x)
        for size in (13, 9, 5)
    ]
    return three(keras.layers.Concatenate(name="spp_concat")([*maxima, x]), 4)


def _panet(
    fine: keras.KerasTensor,
    middle: keras.KerasTensor,
    coarse: keras.KerasTensor,
    conv: Callable[..., Any],
    drop_blocks: Callable[[Any, str], Any],
) -> list[keras.KerasTensor]:
    """Merge coarse maps into finer ones, then back: return maps of 1/8, 1/16 and 1/32."""

    def up(coarser: keras.KerasTensor, finer: keras.KerasTensor, filters: int, at: str) -> keras.KerasTensor:
        enlarged = _enlarge(conv(coarser, filters, 1, f"{at}_reduce"), finer.shape, at)
        return five([conv(finer, filters, 1, f"{at}_lateral"), enlarged], filters, at)

    def five(maps: list[keras.KerasTensor], filters: int, at: str) -> keras.KerasTensor:
        x = keras.layers.Concatenate(name=f"{at}_concat")(maps)
        for number in range(1, 6):
            width, size = (2 * filters, 3) if number % 2 == 0 else (filters, 1)
            x = conv(x, width, size, f"{at}_{number}")
            x = drop_blocks(x, at) if number == 3 else x
        return x

    up16 = up(coarse, middle, 256, "pan_up16")
    up8 = up(up16, fine, 128, "pan_up8")
    down16 = five([conv(up8, 256, 3, "pan_down16_shrink", 2), up16], 256, "pan_down16")
    down32 = five([conv(down16, 512, 3, "pan_down32_shrink", 2), coarse], 512, "pan_down32")
    return [up8, down16, down32]


def _enlarge(x: keras.KerasTensor, shape: tuple[int | None, ...], at: str) -> keras.KerasTensor:
    """Double height and width, minus a row or a column where the finer map's is odd."""
    x = keras.layers.UpSampling2D(name=f"{at}_resize")(x)
    rows, columns = (x.shape[axis] - shape[axis] for axis in (1, 2))
    return keras.layers.Cropping2D(((0, rows), (0, columns)), name=f"{at}_crop")(x) if rows or columns else x
