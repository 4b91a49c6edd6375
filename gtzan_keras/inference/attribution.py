"""Which cells of its input a network's answer rests on: Grad-CAM, occlusion, integrated gradients."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gtzan_keras.errors import GtzanKerasError

if TYPE_CHECKING:
    import keras

__all__ = ["METHODS", "attribution"]

METHODS = ("grad-cam", "occlusion", "integrated-gradients")
Array = npt.NDArray[np.float32]

_SMALLEST_MAP = 16  # rows of the feature maps; docs/explain.md has the measurement
_STEPS = 32  # of integrated gradients
_PATCHES = 8  # of occlusion, along each side
_BATCH = 8  # inputs at a time: gradients of a large network need 200 MB for each
_TINY = 1e-30  # keeps logarithms finite


def attribution(model: keras.Model, inputs: Array, output: int, method: str) -> Array:
    """Compute how much each cell of an input speaks for an output of a network.

    The explained quantity is the log-odds of the output, ln p - ln(1 - p). A cell above 0 speaks for it, one
    below 0 against it. The "level" is an input with this input's mean in every cell: it is not silence,
    and it does not resemble any genre.

    - ``grad-cam``: the gradient times the deepest feature maps with at least 16 rows, minus their values for
      the level; summed over the maps and enlarged to the input's size. The gradient is not averaged over a
      map first (Draelos and Carin's HiResCAM), and negative values are kept. Quick. Maps without bands,
      such as musicnn's, say when, not at which frequency.
    - ``occlusion``: how much the log-odds fall when one of 8 x 8 patches is replaced by the level. It only
      needs the network's outputs.
    - ``integrated-gradients``: the gradient, averaged along the straight line from the level to the input,
      times their difference. The map's sum is the difference in log-odds between the two.

    Parameters
    ----------
    model : keras.Model
        One input; probabilities as output.
    inputs : np.ndarray [shape=(n, rows, columns, channels) or (n, rows, columns), dtype=float32]
        The network's inputs.
    output : int
        Index of the output.
    method : "grad-cam", "occlusion" or "integrated-gradients"

    Returns
    -------
    np.ndarray [shape=(n, rows, columns), dtype=float32]

    Raises
    ------
    GtzanKerasError
        `method` is unknown, the network has no feature maps for Grad-CAM, or Keras runs on a backend without
        gradients here.

    References
    ----------
    Selvaraju et al., "Grad-CAM", ICCV 2017 (arXiv:1610.02391); Draelos, Carin, "Use HiResCAM instead of
    Grad-CAM for faithful explanations of convolutional neural networks", 2020 (arXiv:2011.08891); Zeiler,
    Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (arXiv:1311.2901); Sundararajan
    et al., "Axiomatic Attribution for Deep Networks", ICML 2017 (arXiv:1703.01365).

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras import models
    >>> from gtzan_keras.inference.attribution import attribution
    >>> model = models.cnn((16, 16, 1), 3, filters=(4,), dense_units=())
    >>> images = np.random.default_rng(0).random((2, 16, 16, 1), dtype="float32")
    >>> attribution(model, images, 0, "occlusion").shape
    (2, 16, 16)
    """
    if method not in METHODS:
        raise GtzanKerasError(f"method={method!r}: expected one of {', '.join(METHODS)}")
    if method == "grad-cam":
        base, head = _feature_maps(model)
        found = [_grad_cam(base, _log_odds(head, output), part) for part in _parts(inputs)]
        return np.concatenate(found)
    one, score = {"occlusion": _occlusion}.get(method, _integrated_gradients), _log_odds(model, output)
    return np.stack([one(score, sample) for sample in inputs])


def _log_odds(model: keras.Model, output: int) -> Callable[[Any], Any]:
    """Return a differentiable function from inputs to the log-odds of an output."""
    import keras

    ops = keras.ops
    independent = getattr(model.layers[-1], "activation", None) is keras.activations.sigmoid  # tags
    others = np.arange(model.output_shape[-1]) != output

    def score(inputs: Any) -> Any:
        shares = ops.cast(model(inputs, training=False), "float32")
        chosen = shares[:, output]
        # Where outputs add up to 1, the sum of the others is more accurate than 1 - p.
        rest = 1 - chosen if independent else ops.sum(shares * ops.cast(others, "float32"), axis=1)
        return ops.log(chosen + _TINY) - ops.log(rest + _TINY)

    return score


def _gradient(function: Callable[[Any], Any], points: Any) -> Array:
    """Return the gradient of a function (batch, ...) -> (batch,) at each point, on any backend."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        watched = tf.convert_to_tensor(points)
        with tf.GradientTape() as tape:
            tape.watch(watched)
            values = function(watched)
        return tape.gradient(values, watched).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(lambda watched: function(watched).sum())(jax.numpy.asarray(points)))
    raise GtzanKerasError(
        f"Keras runs on {backend}: gradients are computed with tensorflow or jax; use method='occlusion'"
    )


def _parts(inputs: Array) -> list[Array]:
    return [inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH)]


def _level(inputs: Array) -> Array:
    """Return inputs that have their own mean everywhere."""
    return np.broadcast_to(inputs.mean(axis=(1, 2), keepdims=True), inputs.shape)


def _feature_maps(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a network after its deepest feature maps that are large enough, or else its deepest ones."""
    import keras

    for smallest, layer in product((_SMALLEST_MAP, 1), reversed(model.layers)):
        maps = layer.output
        if isinstance(maps, list) or len(maps.shape) not in (3, 4) or (maps.shape[1] or smallest) < smallest:
            continue
        try:
            base, head = keras.Model(model.inputs[0], maps), keras.Model(maps, model.outputs[0])
        except ValueError:  # another path bypasses them
            continue
        if base.weights and maps.shape[-1] > model.inputs[0].shape[-1]:  # not the input, normalized
            return base, head
    raise GtzanKerasError(
        f"model {model.name!r} has no feature maps, which grad-cam explains; use method='occlusion' or "
        "'integrated-gradients'"
    )


def _grad_cam(base: keras.Model, score: Callable[[Any], Any], inputs: Array) -> Array:
    import keras

    maps, level = (base(part, training=False) for part in (inputs, _level(inputs)))
    found = (_gradient(score, maps) * keras.ops.convert_to_numpy(maps - level)).sum(axis=-1)
    found = found.reshape(*found.shape[:2], -1, 1)  # also if the maps have no bands
    resized = keras.ops.image.resize(found, inputs.shape[1:3], interpolation="bilinear")
    return keras.ops.convert_to_numpy(resized)[..., 0]


def _occlusion(score: Callable[[Any], Any], sample: Array) -> Array:
    import keras

    rows, columns = (pairwise(np.arange(_PATCHES + 1) * side // _PATCHES) for side in sample.shape[:2])
    places = [tuple(slice(*edges) for edges in place) for place in product(rows, columns)]
    level = _level(sample[None])[0]
    hidden = np.repeat(sample[None], len(places) + 1, axis=0)  # the last one stays unchanged
    for image, place in zip(hidden, places, strict=False):
        image[place] = level[place]
    values = np.concatenate([keras.ops.convert_to_numpy(score(part)) for part in _parts(hidden)])
    found = np.zeros(sample.shape[:2], np.float32)
    for value, place in zip(values, places, strict=False):
        found[place] = values[-1] - value
    return found


def _integrated_gradients(score: Callable[[Any], Any], sample: Array) -> Array:
    level = _level(sample[None])[0]
    shares = (np.arange(_STEPS, dtype=np.float32) + 0.5) / _STEPS
    way = level + shares.reshape(-1, *[1] * sample.ndim) * (sample - level)
    slopes = np.concatenate([_gradient(score, part) for part in _parts(way)]).mean(axis=0)
    return (slopes * (sample - level)).reshape(*sample.shape[:2], -1).sum(axis=-1)
