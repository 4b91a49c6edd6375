"""Bases trained on photographs, VGG16 to ConvNeXt, with a new head for genres."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.head import check_input, check_sizes, classifier, dropout_layer, normalize, pool
from gtzan_keras.models.weights import load_file

__all__ = ["IMAGE_BASES", "freeze", "image_base", "image_features", "vgg16"]


class ImageBase(NamedTuple):
    """A network of Keras Applications: the name of its function, and its input."""

    application: str
    mean: tuple[float, float, float]  # red, green, blue, of images with values 0..1
    deviation: tuple[float, float, float]
    backwards: bool = False  # colours in the order blue, green, red


_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE = (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3, True  # 0..255 minus the mean
_SYMMETRIC = (0.5,) * 3, (0.5,) * 3  # -1..1
IMAGE_BASES: Mapping[str, ImageBase] = {
    "vgg16": ImageBase("VGG16", *_CAFFE),
    "vgg19": ImageBase("VGG19", *_CAFFE),
    "resnet50": ImageBase("ResNet50", *_CAFFE),
    "resnet50v2": ImageBase("ResNet50V2", *_SYMMETRIC),
    "efficientnetv2b0": ImageBase("EfficientNetV2B0", *_IMAGENET),
    "mobilenet_v2": ImageBase("MobileNetV2", *_SYMMETRIC),
    "mobilenetv3small": ImageBase("MobileNetV3Small", *_SYMMETRIC),
    "mobilenetv3large": ImageBase("MobileNetV3Large", *_SYMMETRIC),
    "convnexttiny": ImageBase("ConvNeXtTiny", *_IMAGENET),
}
"""Bases by name, with what Keras' ``preprocess_input``, or the model itself, does to an image."""


def vgg16(
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 10,
    **arguments: Any,
) -> keras.Model:
    """Build VGG16 with a new head: ``image_base("vgg16", ...)``.

    Parameters
    ----------
    input_shape, num_classes
        As for `image_base`.
    **arguments
        Further arguments of `image_base`.

    Returns
    -------
    keras.Model

    Raises
    ------
    GtzanKerasError
        As `image_base`.

    References
    ----------
    Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015
    (arXiv:1409.1556).

    Examples
    --------
    >>> from gtzan_keras.models.image_bases import vgg16
    >>> model = vgg16((32, 32, 1), weights=None, trainable_from="block5_conv1")
    >>> [layer.name for layer in model.layers if layer.trainable and layer.weights][:2]
    ['block5_conv1', 'block5_conv2']
    """
    return image_base("vgg16", input_shape, num_classes, **arguments)


def image_base(
    base: str,
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 10,
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    trainable_from: str | None = None,
    pooling: str = "avg",
    normalization: str | None = "batch",
    dense_units: Sequence[int] = (256,),
    dropout: float = 0.5,
    dropout_before_head: float = 0.0,
    l2: float = 1e-4,
    name: str | None = None,
) -> keras.Model:
    """Build a network for photographs with a new head for genres.

    The base's preprocessing (scale and order of the colours) is part of the model. The base, or its first
    part, is frozen; batch normalization in the frozen part uses its stored statistics, also in training.
    EfficientNetV2's own dropout is left out, so that frozen layers are deterministic. The head consists of
    normalization, dense layers with L2, dropout and softmax; its sizes are ours.

    Parameters
    ----------
    base : str
        One of `IMAGE_BASES`: "vgg16", "vgg19", "resnet50", "resnet50v2", "efficientnetv2b0",
        "mobilenet_v2", "mobilenetv3small", "mobilenetv3large", "convnexttiny".
    input_shape : (int, int, int)
        Height and width, at least 32, and 1 or 3 channels of an image with values 0..1; one channel is
        repeated.
    num_classes : int >= 2
        Genres.
    weights : "imagenet", path or None
        Weights of the base: Keras' own, downloaded once; a file of the same layout (without top), ``.h5`` as
        published by Keras or ``.weights.h5``; or random.
    trainable_from : str, optional
        The first layer of the base that is trained, such as ``"block3_conv1"``; by default the whole base
        is frozen.
    pooling : "avg", "max", "avg+max" or "flatten"
        How the base's feature maps become a vector.
    normalization : "batch", "layer" or None
        Normalization of that vector.
    dense_units : sequence of int
        Hidden layers of the head.
    dropout : float in [0, 1)
        After each hidden layer.
    dropout_before_head : float in [0, 1)
        Before the first hidden layer.
    l2 : float >= 0
        Penalty on the kernels of the head's dense layers.
    name : str, optional
        Name of the model; by default the base's.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, height, width, channels), output probabilities
        (batch, num_classes). The base's layers keep their names (``block3_conv1``). The batch normalization
        of a pretrained base is never trained; see `freeze`.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, the weights are not available or do not fit, or a layer is unknown.

    References
    ----------
    Malvezzi, course project, University of Milan-Bicocca: VGG16, frozen, and fine-tuned from
    ``block3_conv1``. Bases: Keras Applications.

    Examples
    --------
    >>> from gtzan_keras.models.image_bases import image_base
    >>> model = image_base("mobilenetv3small", (64, 64, 1), weights=None)
    >>> [layer.name for layer in model.layers if layer.trainable and layer.weights]
    ['head_norm', 'dense_1', 'predictions']
    """
    check_input(input_shape, num_classes, rank=3)
    check_sizes(dense_units=dense_units)
    height, width, channels = input_shape
    if base not in tuple(IMAGE_BASES):
        raise GtzanKerasError(f"base={base!r}: expected one of {', '.join(IMAGE_BASES)}")
    if channels not in (1, 3) or min(height, width) < 32:  # five halvings
        raise GtzanKerasError(f"input_shape={tuple(input_shape)}: expected at least 32 x 32, 1 or 3 channels")

    entry = IMAGE_BASES[base]
    inputs = keras.Input(tuple(input_shape), name="input")
    x = keras.layers.Concatenate(name="colour")([inputs] * 3) if channels == 1 else inputs
    # In float32 under every policy: bfloat16 would round the colours.
    variance = [deviation**2 for deviation in entry.deviation]
    x = keras.layers.Normalization(mean=entry.mean, variance=variance, dtype="float32", name="preprocess")(x)
    if entry.backwards:
        x = keras.ops.flip(x, axis=-1)
    bottom = _without_dropout(_application(entry, input_tensor=x), inputs)
    if weights is not None:
        _load(bottom, entry, weights)
        for layer in bottom.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False  # and stays frozen: see `freeze`
    freeze(bottom, trainable_from)
    x = normalize(pool(bottom.output, pooling), normalization, "head_norm")
    x = dropout_layer(x, dropout_before_head, "head_dropout")
    return keras.Model(inputs, classifier(x, num_classes, dense_units, dropout, l2=l2), name=name or base)


def image_features(
    base: str,
    input_shape: Sequence[int],
    layers: Sequence[str] = (),
    *,
    weights: str | os.PathLike[str] | None = "imagenet",
    size: tuple[int, int] | None = None,
    name: str | None = None,
) -> keras.Model:
    """Build a frozen base that gives statistics of its feature maps, for a classical model.

    Parameters
    ----------
    base : str
        One of `IMAGE_BASES`.
    input_shape : (int, int, int)
        As for `image_base`.
    layers : sequence of str
        Layers whose feature maps are used; by default the base's last.
    weights : "imagenet", path or None
        As for `image_base`.
    size : (int, int), optional
        Height and width that the images are resized to (bilinear).
    name : str, optional
        Name of the model; by default the base's.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, height, width, channels), 0..1; output (batch, n): mean, maximum and
        standard deviation over each layer's map, one after the other.

    Raises
    ------
    GtzanKerasError
        As `image_base`, or the base has no such layer.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> models.image_features("mobilenet_v2", (64, 64, 1), weights=None).output_shape
    (None, 3840)
    """
    shape = (*(size or input_shape[:2]), *input_shape[2:])
    model = image_base(base, shape, weights=weights, dense_units=())
    names = [layer.name for layer in model.layers if len(layer.output.shape) == 4]
    if absent := [layer for layer in layers if layer not in names]:
        raise GtzanKerasError(f"layers: {base} has no {', '.join(absent)}; its layers are {', '.join(names)}")
    maps = [model.get_layer(layer).output for layer in layers] or [model.get_layer("pooling").input]
    statistics = [
        measure(found, axis=(1, 2))
        for found in maps
        for measure in (keras.ops.mean, keras.ops.max, keras.ops.std)
    ]
    features = keras.Model(model.input, keras.ops.concatenate(statistics, axis=-1), name=name or base)
    features.trainable = False
    if size is None:
        return features
    inputs = keras.Input(tuple(input_shape), name="input")
    resized = keras.layers.Resizing(*size, name="resize")(inputs)
    return keras.Model(inputs, features(resized), name=name or base)


def freeze(model: keras.Model, trainable_from: str | None = None) -> None:
    """Freeze every layer of a model that comes before the named one; the others become trainable.

    Batch normalization that is frozen stays frozen: a pretrained base keeps the statistics it came with, in
    its trainable part too. With a momentum such as MobileNetV2's 0.999, the moving statistics would not catch
    up in the few hundred steps of fine-tuning.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    trainable_from : str, optional
        A layer with weights; by default all layers are frozen.

    Raises
    ------
    GtzanKerasError
        The model has no such layer.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.models.image_bases import freeze
    >>> model = models.cnn((32, 32, 1), filters=(4, 4), dense_units=())
    >>> freeze(model, "predictions")
    >>> [layer.name for layer in model.layers if layer.trainable]
    ['predictions']
    """
    names = [layer.name for layer in model.layers if layer.weights]
    if trainable_from is not None and trainable_from not in names:
        raise GtzanKerasError(
            f"trainable_from={trainable_from!r}: expected None or one of {', '.join(names)}"
        )
    reached = False
    for layer in model.layers:
        reached = reached or layer.name == trainable_from
        layer.trainable = reached and (
            layer.trainable or not isinstance(layer, keras.layers.BatchNormalization)
        )


def _application(entry: ImageBase, weights: str | None = None, **arguments: Any) -> keras.Model:
    """Build Keras' own model without its top, and without its preprocessing, if any."""
    build = getattr(keras.applications, entry.application)
    if "include_preprocessing" in inspect.signature(build).parameters:
        arguments["include_preprocessing"] = False
    return build(include_top=False, weights=weights, **arguments)


def _without_dropout(model: keras.Model, inputs: keras.KerasTensor) -> keras.Model:
    """Return the model, or a copy without dropout if it has any."""
    if not any(isinstance(layer, keras.layers.Dropout) for layer in model.layers):
        return model

    def call(layer: keras.layers.Layer, *arguments: Any, **keywords: Any) -> Any:
        return arguments[0] if isinstance(layer, keras.layers.Dropout) else layer(*arguments, **keywords)

    return keras.models.clone_model(model, input_tensors=[inputs], call_function=call)


def _load(model: keras.Model, entry: ImageBase, weights: str | os.PathLike[str]) -> None:
    """Load the weights of a base from a file, or those of ImageNet by Keras' own model."""
    title = entry.application
    if weights != "imagenet":
        expected = (
            f"'imagenet', None, or a file of {title}(include_top=False), as Keras publishes or writes it"
        )
        load_file(model, weights, f"{title} without its top", expected)
        return
    try:
        # The published shape, on which no weight depends: MobileNetV3 warns about any other.
        model.set_weights(_application(entry, "imagenet", input_shape=(224, 224, 3)).get_weights())
    except Exception as error:  # Keras raises plain Exception, which names the address, when a download fails
        raise GtzanKerasError(
            f"weights='imagenet': {title}'s weights could not be downloaded ({error}); put that file into "
            "~/.keras/models, or pass its path as weights"
        ) from error
