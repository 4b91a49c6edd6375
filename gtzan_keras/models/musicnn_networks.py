"""musicnn and its VGG sibling: music taggers pretrained on the Million Song Dataset or MagnaTagATune."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

import keras
import numpy as np

from gtzan_keras.audio.patches import MUSICNN_BANDS, MUSICNN_FRAMES
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.head import check_input, classifier, dropout_layer
from gtzan_keras.models.weights import musicnn_weights

__all__ = ["MUSICNN_TAGS", "musicnn", "musicnn_classifier", "musicnn_vgg"]

# fmt: off
MUSICNN_TAGS: Mapping[str, tuple[str, ...]] = {
    "msd": (
        "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
        "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock",
        "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental",
        "punk", "oldies", "blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist",
        "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy", "catchy", "funk",
        "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
    ),
    "mtt": (
        "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano",
        "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing",
        "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal",
        "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance",
        "male voice", "female vocal", "beats", "harp", "cello", "no voice", "weird", "country", "metal",
        "female voice", "choral",
    ),
}
# fmt: on
"""The 50 tags in the order of the outputs, by training set (the authors' ``configuration.py``)."""

_TIMBRAL = (("timbral_low", 38), ("timbral_high", 67))  # shares 0.4 and 0.7 of 96 bands, over 7 frames
_POOLED = 1506  # mean and maximum of 753 numbers each
_TEMPORAL = (("temporal_long", 128), ("temporal_medium", 64), ("temporal_short", 32))  # frames


def musicnn(
    weights: Literal["msd", "mtt"] | str | os.PathLike[str] | None = None,
    include_top: bool = True,
    *,
    pooling: Literal["mean+max", "penultimate"] = "mean+max",
    name: str = "musicnn",
) -> keras.Model:
    """Build musicnn on log-mel patches.

    Vertical (timbral) and horizontal (temporal) filters see the spectrogram; the maximum over the bands
    keeps what they found. Three convolutions over seven frames with residual connections follow. Maximum
    and mean of all this over time are the input of a dense layer of 200 units, then of the 50 tags.

    Parameters
    ----------
    weights : None, "msd", "mtt", str or os.PathLike
        None: random. ``"msd"`` or ``"mtt"``: the authors' weights, trained on the Million Song Dataset or
        on MagnaTagATune; downloaded once, see `gtzan_keras.models.weights.musicnn_weights`. A path: the
        wheel ``musicnn-0.1.0-py3-none-any.whl`` (its MSD weights are taken) or a converted ``.npz`` file.
    include_top : bool
        True: probabilities of the 50 tags. False: the features that `pooling` names.
    pooling : "mean+max" or "penultimate"
        Without the top: mean and maximum over time (753 numbers each, mean first), or the output of the
        dense layer (200) after its batch normalization.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, frames, 96) for any number of frames (trained on 187, 3 s), from
        `gtzan_keras.audio.patches.musicnn_patches`; output (batch, 50), (batch, 1506) or (batch, 200).
        792,079 parameters with the top.

    Raises
    ------
    GtzanKerasError
        `pooling` is unknown, or the weights cannot be found, downloaded or read.

    See Also
    --------
    gtzan_keras.embed : tracks -> a store of these features.

    References
    ----------
    Pons, Serra: "musicnn: Pre-trained convolutional neural networks for music audio tagging", 2019
    (arXiv:1909.06654); https://github.com/jordipons/musicnn (ISC licence).

    Examples
    --------
    >>> from gtzan_keras import models
    >>> models.musicnn().output_shape, models.musicnn(include_top=False).output_shape
    ((None, 50), (None, 1506))

    With the authors' weights::

        tagger = models.musicnn("msd")
        tags = tagger.predict(musicnn_patches(load_audio("song.mp3", 16000)))
    """
    if pooling not in ("mean+max", "penultimate"):
        raise GtzanKerasError(f"pooling={pooling!r}: expected 'mean+max' or 'penultimate'")
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((None, MUSICNN_BANDS), name="input")
    x = layers.Reshape((-1, MUSICNN_BANDS, 1), name="one_channel")(inputs)
    x = _normalized(x, "input_norm")
    padded = layers.ZeroPadding2D(((3, 3), (0, 0)), name="pad_frames")(x)
    found = [_front_end(padded, 204, (7, bands), "valid", part) for part, bands in _TIMBRAL]
    found += [_front_end(x, 51, (frames, 1), "same", part) for part, frames in _TEMPORAL]
    front = layers.Concatenate(name="front_end")(found)
    features, residual = [front], front
    for number in (1, 2, 3):
        convolved = layers.ZeroPadding1D(3, name=f"middle{number}_pad")(residual)
        convolved = layers.Conv1D(64, 7, activation="relu", name=f"middle{number}_conv")(convolved)
        convolved = _normalized(convolved, f"middle{number}_norm")
        residual = convolved if number == 1 else layers.Add(name=f"middle{number}_add")([convolved, residual])
        features.append(residual)
    sequence = layers.Concatenate(name="features")(features)
    mean, peak = ops.mean(sequence, axis=1), ops.max(sequence, axis=1)
    pooled = layers.Flatten(name="pooled")(ops.stack([peak, mean], axis=-1))  # interleaved, as the authors do
    x = layers.Dropout(0.5, name="pooled_dropout")(_normalized(pooled, "pooled_norm"))
    x = layers.Dense(200, activation="relu", name="dense")(x)
    penultimate = _normalized(x, "penultimate")
    x = layers.Dropout(0.5, name="penultimate_dropout")(penultimate)
    tags = layers.Dense(50, activation="sigmoid", name="tags")(x)
    model = keras.Model(inputs, tags, name=name)
    if weights is not None:
        _load(model, weights, "musicnn")
    if include_top:
        return model
    output = penultimate if pooling == "penultimate" else ops.concatenate([mean, peak], axis=-1)
    return keras.Model(inputs, output, name=name)


def musicnn_classifier(
    input_shape: Sequence[int] = (10, 1506),
    num_classes: int = 10,
    *,
    weights: Literal["msd", "mtt"] | str | os.PathLike[str] | None = "msd",
    dropout: float = 0.5,
    name: str = "musicnn_classifier",
) -> keras.Model:
    """Build musicnn's last layers on its pooled features, with a new head, for fine-tuning.

    Everything before them is frozen, and its output kept in a store of embeddings. The dense layer of 200
    starts from musicnn's and is trained; the batch normalization around it keeps its statistics. The mean of
    its output over the patches is the head's input.

    Parameters
    ----------
    input_shape : (int, int)
        Any number of patches (or None), and 1506: mean and maximum over a patch, as in the stores of
        `gtzan_keras.embed` with ``source="musicnn-msd"``. A patch of zeros is padding.
    num_classes : int >= 2
        Genres.
    weights : None, "msd", "mtt", str or os.PathLike
        As for `musicnn`.
    dropout : float in [0, 1)
        Before the dense layer, and before the head.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, any number of patches, 1506), output probabilities
        (batch, num_classes).

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or as `musicnn`.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> model = models.musicnn_classifier(weights=None)
    >>> model.input_shape, [layer.name for layer in model.layers if layer.trainable and layer.weights]
    ((None, None, 1506), ['dense', 'predictions'])
    """
    check_input([size for size in input_shape if size is not None], num_classes)
    if tuple(input_shape)[1:] != (_POOLED,):
        raise GtzanKerasError(f"input_shape={tuple(input_shape)}: expected (patches, {_POOLED})")
    tagger = musicnn(weights)
    inputs = keras.Input((None, _POOLED), name="input")
    x = keras.layers.Masking(0.0, name="without_padding")(inputs)
    x = dropout_layer(_normalized(x, "pooled_norm"), dropout, "pooled_dropout")
    x = keras.layers.Dense(200, activation="relu", name="dense")(x)
    x = keras.layers.GlobalAveragePooling1D(name="mean")(_normalized(x, "penultimate"))
    x = dropout_layer(x, dropout, "penultimate_dropout")
    model = keras.Model(inputs, classifier(x, num_classes, (), 0.0), name=name)
    # The stores hold all means, then all maxima; the authors' layer takes maximum and mean in turn.
    order = np.arange(_POOLED).reshape(-1, 2)[:, ::-1].T.ravel()
    for layer in ("pooled_norm", "dense", "penultimate"):
        values = tagger.get_layer(layer).get_weights()
        model.get_layer(layer).set_weights(
            [value[order] if len(value) == _POOLED else value for value in values]
        )
    for layer in ("pooled_norm", "penultimate"):
        model.get_layer(layer).trainable = False
    return model


def musicnn_vgg(
    weights: Literal["msd", "mtt"] | str | os.PathLike[str] | None = None,
    include_top: bool = True,
    *,
    name: str = "musicnn_vgg",
) -> keras.Model:
    """Build the VGG that was trained next to musicnn: five 3x3 convolutions of 128 filters.

    Parameters
    ----------
    weights : None, "msd", "mtt", str or os.PathLike
        As for `musicnn`.
    include_top : bool
        True: probabilities of the 50 tags. False: the 256 numbers before the last layer.
    name : str
        Name of the model.

    Returns
    -------
    keras.Model
        Uncompiled. Input float32 (batch, 187, 96), 3 s as from
        `gtzan_keras.audio.patches.musicnn_patches`; output (batch, 50) or (batch, 256). 607,030 parameters
        with the top.

    Raises
    ------
    GtzanKerasError
        The weights cannot be found, downloaded or read.

    References
    ----------
    As for `musicnn`.

    Examples
    --------
    >>> from gtzan_keras import models
    >>> models.musicnn_vgg().count_params()
    607030
    """
    layers = keras.layers
    inputs = keras.Input((MUSICNN_FRAMES, MUSICNN_BANDS), name="input")
    x = layers.Reshape((MUSICNN_FRAMES, MUSICNN_BANDS, 1), name="one_channel")(inputs)
    x = _normalized(x, "input_norm")
    for number in (1, 2, 3, 4, 5):
        x = layers.Conv2D(128, 3, padding="same", activation="relu", name=f"block{number}_conv")(x)
        x = _normalized(x, f"block{number}_norm")
        pool, strides = {1: ((4, 1), 2), 5: (4, 4)}.get(number, (2, 2))
        x = layers.MaxPooling2D(pool, strides, name=f"block{number}_pool")(x)
        if number < 5:
            x = layers.Dropout(0.25, name=f"block{number}_dropout")(x)
    features = layers.Flatten(name="features")(x)
    x = layers.Dropout(0.5, name="features_dropout")(features)
    tags = layers.Dense(50, activation="sigmoid", name="tags")(x)
    model = keras.Model(inputs, tags, name=name)
    if weights is not None:
        _load(model, weights, "vgg")
    return model if include_top else keras.Model(inputs, features, name=name)


def _front_end(
    x: keras.KerasTensor, filters: int, kernel: tuple[int, int], padding: str, name: str
) -> keras.KerasTensor:
    """Convolution, batch normalization, maximum over the bands: (batch, frames, filters)."""
    x = keras.layers.Conv2D(filters, kernel, padding=padding, activation="relu", name=f"{name}_conv")(x)
    return keras.ops.max(_normalized(x, f"{name}_norm"), axis=2)


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=name)(x)


def _load(model: keras.Model, weights: str | os.PathLike[str], kind: str) -> None:
    """Copy the authors' weights: by kind of layer, in order of creation."""
    source = musicnn_weights(weights, kind)
    counts: dict[str, int] = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        sort = type(layer).__name__.rstrip("12D").lower()  # conv, batchnormalization, dense
        number = counts[sort] = counts.get(sort, -1) + 1
        values = [source[f"{sort}/{number}/{weight.name}"] for weight in layer.weights]
        layer.set_weights([v.reshape(weight.shape) for v, weight in zip(values, layer.weights, strict=True)])
