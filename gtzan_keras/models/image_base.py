"""VGG16 and its like: a base that was trained on photographs, with a new head for genres."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.head import check_input, check_sizes, classifier, dropout_layer, normalize

if TYPE_CHECKING:
    import keras

__all__ = ["IMAGE_BASES", "freeze", "image_base", "vgg16"]


class ImageBase(NamedTuple):
    """A network of Keras Applications: the name of its function, and its ImageNet weights' address."""

    application: str
    weights: str


_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"
_FILE = "weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGE_BASES: Mapping[str, ImageBase] = {
    "vgg16": ImageBase("VGG16", f"{_ADDRESS}/vgg16/vgg16_{_FILE}"),
    "vgg19": ImageBase("VGG19", f"{_ADDRESS}/vgg19/vgg19_{_FILE}"),
    "resnet50": ImageBase("ResNet50", f"{_ADDRESS}/resnet/resnet50_{_FILE}"),
}
"""Bases that take pictures as Caffe did: blue, green, red, 0..255, less ImageNet's mean colour."""

_MEAN_RGB = (123.68, 116.779, 103.939)
_SMALLEST = 32  # five halvings


def vgg16(
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 10,
    *,
    name: str = "vgg16",
    **arguments: Any,
) -> keras.Model:
    """Build VGG16 with a new head: `image_base` with ``base="vgg16"``.

    Parameters
    ----------
    input_shape, num_classes, name
        As of `image_base`.
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
    >>> from gtzan_keras.models.image_base import vgg16
    >>> model = vgg16((32, 32, 1), weights=None, trainable_from="block5_conv1")
    >>> [layer.name for layer in model.layers if layer.trainable and layer.weights][:2]
    ['block5_conv1', 'block5_conv2']
    """
    return image_base(input_shape, num_classes, base="vgg16", name=name, **arguments)


def image_base(
    input_shape: Sequence[int] = (224, 224, 3),
    num_classes: int = 10,
    *,
    base: str = "vgg16",
    weights: str | os.PathLike[str] | None = "imagenet",
    trainable_from: str | None = None,
    pooling: str = "avg",
    normalization: str | None = "batch",
    dense_units: Sequence[int] = (256,),
    dropout: float = 0.5,
    dropout_before_head: float = 0.0,
    l2: float = 1e-4,
    name: str = "image_base",
) -> keras.Model:
    """Build a network for photographs with a new head for genres.

    What the base wants of its input (colours in the order blue, green, red, 0..255, less ImageNet's mean)
    is done inside the model. The base is frozen, or its first part is; batch normalisation in the frozen
    part uses the statistics it came with, in training too. The head is normalisation, dense layers with
    L2, dropout, softmax; its sizes are ours.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height and width, 32 at least, and 1 or 3 channels of a picture with values 0..1; one channel
        is repeated.
    num_classes : int >= 2
        Genres.
    base : str
        One of `IMAGE_BASES`: "vgg16", "vgg19", "resnet50".
    weights : "imagenet", path or None
        Of the base: Keras' own, downloaded once; a file of the same layout (without top), ``.h5`` as Keras
        publishes it or ``.weights.h5``; or random.
    trainable_from : str, optional
        The first layer of the base that is trained, such as ``"block3_conv1"``; the whole base is frozen
        when left out.
    pooling : "avg", "max" or "flatten"
        How the base's feature maps become a vector.
    normalization : "batch", "layer" or None
        Of that vector.
    dense_units : sequence of int
        Hidden layers of the head.
    dropout : float in [0, 1)
        After each hidden layer.
    dropout_before_head : float in [0, 1)
        Before the first.
    l2 : float >= 0
        Penalty on the kernels of the head's dense layers.
    name : str
        Of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, height, width, channels), output probabilities
        (batch, num_classes). The base's layers keep their names (``block3_conv1``).

    Raises
    ------
    GtzanKerasError
        An argument is out of range, the weights can not be had or do not fit, or there is no such layer.

    References
    ----------
    Malvezzi, course project, University of Milan-Bicocca: VGG16, frozen, and fine-tuned from
    ``block3_conv1``. Bases: Keras Applications.

    Examples
    --------
    >>> from gtzan_keras.models.image_base import image_base
    >>> model = image_base((64, 64, 1), base="vgg16", weights=None)
    >>> sum(layer.count_params() for layer in model.layers if layer.name.startswith("block"))
    14714688
    """
    import keras

    check_input(input_shape, num_classes, rank=3)
    check_sizes(dense_units=dense_units)
    height, width, channels = input_shape
    if base not in IMAGE_BASES:
        raise GtzanKerasError(f"base is {base!r}; expected one of {', '.join(IMAGE_BASES)}")
    if channels not in (1, 3) or min(height, width) < _SMALLEST:
        raise GtzanKerasError(
            f"input_shape is {tuple(input_shape)}; {base} takes pictures of at least {_SMALLEST} x "
            f"{_SMALLEST} with 1 or 3 channels"
        )
    heads = {
        "avg": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "flatten": keras.layers.Flatten,
    }
    if pooling not in heads:
        raise GtzanKerasError(f"pooling is {pooling!r}; expected 'avg', 'max' or 'flatten'")
    if not l2 >= 0:
        raise GtzanKerasError(f"l2 is {l2}; expected a number from 0")

    inputs = keras.Input(tuple(input_shape), name="input")
    x = keras.layers.Concatenate(name="colour")([inputs] * 3) if channels == 1 else inputs
    # (x - mean / 255) / (1 / 255), in float32 under every policy: bfloat16 would round the colours.
    x = keras.layers.Normalization(
        mean=[mean / 255 for mean in _MEAN_RGB], variance=[255.0**-2] * 3, dtype="float32", name="preprocess"
    )(x)
    x = keras.ops.flip(x, axis=-1)
    application = getattr(keras.applications, IMAGE_BASES[base].application)
    bottom = application(include_top=False, weights=None, input_tensor=x)
    if weights is not None:
        bottom.set_weights(_pretrained(base, (height, width, 3), weights))
    freeze(bottom, trainable_from)
    x = heads[pooling](name="flatten" if pooling == "flatten" else "pooling")(bottom.output)
    x = normalize(x, normalization, "head_norm")
    x = dropout_layer(x, dropout_before_head, "head_dropout")
    return keras.Model(inputs, classifier(x, num_classes, dense_units, dropout, l2=l2), name=name)


def freeze(model: keras.Model, trainable_from: str | None = None) -> None:
    """Freeze every layer of a model that comes before the named one; the others become trainable.

    Parameters
    ----------
    model : keras.Model
        Changed in place.
    trainable_from : str, optional
        A layer that has weights; all layers are frozen when left out.

    Raises
    ------
    GtzanKerasError
        The model has no such layer.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> from gtzan_keras.models.image_base import freeze
    >>> model = models.cnn((32, 32, 1), filters=(4, 4), dense_units=())
    >>> freeze(model, "predictions")
    >>> [layer.name for layer in model.layers if layer.trainable]
    ['predictions']
    """
    names = [layer.name for layer in model.layers if layer.weights]
    if trainable_from is not None and trainable_from not in names:
        raise GtzanKerasError(
            f"trainable_from is {trainable_from!r}; expected None or one of {', '.join(names)}"
        )
    reached = False
    for layer in model.layers:
        reached = reached or layer.name == trainable_from
        layer.trainable = reached


def _pretrained(base: str, shape: tuple[int, int, int], weights: str | os.PathLike[str]) -> list[Any]:
    """The weights as the base's own Keras model reads them, which knows nothing of our first layers."""
    import keras

    title, address = IMAGE_BASES[base]
    application = getattr(keras.applications, title)
    if weights == "imagenet":
        try:
            return application(include_top=False, weights="imagenet", input_shape=shape).get_weights()
        except Exception as error:  # Keras raises plain Exception when a download fails
            raise GtzanKerasError(
                f"weights='imagenet': {title}'s weights could not be had ({error}); download {address} "
                f"and put it into ~/.keras/models, or pass its path as weights"
            ) from error
    path = Path(weights)
    if not path.is_file():
        raise GtzanKerasError(
            f"weights is {str(weights)!r}: no such file; expected 'imagenet', None, or a file such as "
            f"{address.rsplit('/', 1)[-1]} from {address}"
        )
    model = application(include_top=False, weights=None, input_shape=shape)
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise half a dozen kinds
        reason = str(error).strip().split("\n")[0]
        raise GtzanKerasError(
            f"{path}: not the weights of {title} without its top ({reason}); expected a file of the layout "
            f"of {address.rsplit('/', 1)[-1]}, or .weights.h5 of Keras' {title}(include_top=False)"
        ) from error
    return model.get_weights()
