"""Macro-averaged precision, recall and F1 as Keras metrics, exact over a whole epoch.

All three accumulate one confusion matrix and compute the score from it, so the result does not depend on
how the data was divided into batches or over devices.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from gtzan_keras.errors import GtzanKerasError

__all__ = ["MacroF1", "MacroPrecision", "MacroRecall"]


class _MacroMetric(keras.metrics.Metric, abc.ABC):
    """Base of the macro averages: the confusion matrix (row: label, column: prediction)."""

    _default_name: ClassVar[str]
    _direction = "up"  # tells Keras' callbacks that higher is better

    def __init__(
        self,
        num_classes: int,
        *,
        classes: Literal["seen", "all"] = "seen",
        zero_division: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or self._default_name, dtype=dtype)
        if not isinstance(num_classes, int | np.integer) or num_classes < 2:
            raise self._error(f"num_classes={num_classes!r}: expected a whole number >= 2")
        if classes not in ("seen", "all"):
            raise self._error(f"classes={classes!r}: expected seen or all")
        if zero_division not in (0.0, 1.0) and zero_division == zero_division:  # NaN differs from itself
            raise self._error(f"zero_division={zero_division!r}: expected 0.0, 1.0 or NaN")
        self.num_classes = int(num_classes)
        self.classes = classes
        self.zero_division = float(zero_division)
        self._confusion_matrix = keras.Variable(  # which Keras tracks as `add_weight` would
            "zeros",
            shape=(self.num_classes, self.num_classes),
            # Half precision cannot count beyond 2048 (float16) or 256 (bfloat16).
            dtype=keras.backend.result_type(self.dtype, "float32"),
            trainable=False,
            autocast=False,  # a mixed-precision layer that updates the metric would read half precision
            aggregation="sum",
            synchronization="on_read",
            name="confusion_matrix",
        )

    @abc.abstractmethod
    def _fraction(self, correct: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        """Return numerator and denominator of each class's score, from the class's counts."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Parameters
        ----------
        y_true : array [shape=(n,), (n, 1) or (n, num_classes)]
            Class numbers, or one-hot rows; in soft rows (mixup, label smoothing) the largest entry
            counts, the first among equal ones.
        y_pred : array [shape=(n, num_classes)]
            Probabilities or logits; the largest counts, the first among equal ones.
        sample_weight : array [shape=(n,) or (n, 1)], optional
            Weight of each sample, 1 by default. A sample of weight 0 is ignored.

        Raises
        ------
        GtzanKerasError
            Another shape. (Values cannot be checked in compiled code: a class number outside
            0..num_classes - 1 turns the result into NaN, unless its weight is 0.)
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        self._check_shape("y_pred", y_pred, (None, self.num_classes))
        n = y_pred.shape[0]
        self._check_shape("y_true", y_true, (n,), (n, 1), (n, self.num_classes))
        dtype = self._confusion_matrix.dtype

        prediction = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        if len(y_true.shape) == 1 or y_true.shape[-1] == 1:
            label = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        else:
            label = ops.cast(ops.argmax(y_true, axis=-1), "int32")
        if sample_weight is None:
            weight = ops.ones_like(label, dtype=dtype)
        else:
            sample_weight = ops.convert_to_tensor(sample_weight)
            self._check_shape("sample_weight", sample_weight, (n,), (n, 1))
            weight = ops.cast(ops.reshape(sample_weight, (-1,)), dtype)

        is_class = ops.logical_and(label >= 0, label < self.num_classes)
        weight = ops.where(ops.logical_or(is_class, weight == 0), weight, float("nan"))
        cell = ops.where(is_class, label, 0) * self.num_classes + prediction
        # Not a product of one-hot matrices: GPUs and TPUs round the factors (TF32, bfloat16).
        counts = ops.segment_sum(weight, cell, num_segments=self.num_classes**2)
        self._confusion_matrix.assign_add(ops.reshape(counts, self._confusion_matrix.shape))

    def result(self) -> Any:
        """Return the mean of the class scores over all samples since the last `reset_state`.

        Returns
        -------
        tensor [shape=(), dtype=float32 or float64]
            The score; `zero_division` while no class has one, as before the first sample.
        """
        matrix = ops.convert_to_tensor(self._confusion_matrix)
        predicted, actual = ops.sum(matrix, axis=0), ops.sum(matrix, axis=1)
        numerator, denominator = self._fraction(ops.diagonal(matrix), predicted, actual)

        undefined = ops.equal(denominator, 0)
        score = ops.where(undefined, self.zero_division, numerator / ops.where(undefined, 1.0, denominator))
        averaged = ops.ones_like(undefined)
        if self.classes == "seen":
            averaged = ops.not_equal(predicted + actual, 0)
        if self.zero_division not in (0.0, 1.0):
            averaged = ops.logical_and(averaged, ops.logical_not(undefined))
        number = ops.sum(ops.cast(averaged, score.dtype))
        mean = ops.sum(ops.where(averaged, score, 0.0)) / ops.maximum(number, 1)
        return ops.where(number > 0, mean, self.zero_division)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "num_classes": self.num_classes,
            "classes": self.classes,
            "zero_division": self.zero_division,
            **super().get_config(),
        }

    def _check_shape(self, argument: str, tensor: Any, *expected: tuple[int | None, ...]) -> None:
        """Refuse a tensor whose shape is not one of those expected; None matches any size."""
        shape = tuple(tensor.shape)
        for candidate in expected:
            pairs = zip(shape, candidate, strict=False)
            if len(shape) == len(candidate) and all(a == b or None in (a, b) for a, b in pairs):
                return
        wanted = " or ".join(str(shape).replace("None", "n") for shape in expected)
        got = str(shape).replace("None", "n")
        raise self._error(f"{argument} has shape {got}, expected {wanted} for num_classes={self.num_classes}")

    def _error(self, reason: str) -> GtzanKerasError:
        return GtzanKerasError(f"{type(self).__name__}: {reason}")


@keras.saving.register_keras_serializable(package="gtzan_keras")
class MacroPrecision(_MacroMetric):
    """Macro-averaged precision: the mean over classes of one-versus-rest precision.

    The precision of a class is the share of its predictions that are correct. The confusion matrix is
    accumulated over the whole epoch or evaluation. A mean of batch values would be wrong: the precision of
    a class in a batch that predicts it once is 0 or 1, and would count as much as one from a hundred
    predictions. Equals scikit-learn's
    ``precision_score(labels, predictions, average="macro", zero_division=zero_division)`` [1]_ to
    the precision of `dtype`. Arrigo (2025) monitors this score and calls it "mAP" [2]_; it is not the mean
    average precision of retrieval and object detection, which is an area under a curve.

    Parameters
    ----------
    num_classes : int >= 2
        Number of classes.
    classes : "seen" or "all"
        The classes to average over: "seen" takes those that occur in the labels or the predictions, as
        scikit-learn does by default; "all" takes all `num_classes`, as it does with
        ``labels=range(num_classes)``. A sample of weight 0 is ignored (scikit-learn counts its class as
        seen).
    zero_division : 0.0, 1.0 or NaN
        Score of a class whose score is 0 / 0; NaN leaves the class out of the mean. Also the result while
        no class has a score.
    name : str, optional
        Name in logs and histories; by default that of the class, in snake case.
    dtype : str or keras.DTypePolicy, optional
        "float64" counts exactly beyond 2**24 samples per cell and agrees with scikit-learn to the last of
        16 digits. Otherwise counts are float32, also under mixed precision.

    Raises
    ------
    GtzanKerasError
        An argument is out of range, or a batch has the wrong shape.

    See Also
    --------
    MacroRecall, MacroF1

    References
    ----------
    .. [1] M. Sokolova and G. Lapalme, "A systematic analysis of performance measures for
       classification tasks", Information Processing & Management 45 (2009), 427-437,
       https://doi.org/10.1016/j.ipm.2009.03.002
    .. [2] M. Arrigo, "Using CNN Networks for Music Genre Classification", Politecnico di Milano,
       2025

    Examples
    --------
    Blues is predicted once, correctly; classical twice, once correctly; country never:

    >>> from gtzan_keras.metrics import MacroPrecision
    >>> metric = MacroPrecision(3)
    >>> metric.update_state([0, 1], [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1]])
    >>> metric.update_state([2], [[0.1, 0.5, 0.4]])
    >>> float(metric.result())  # (1 + 1/2 + 0) / 3
    0.5

    In a model it is used like any metric, and `monitor="val_macro_precision"` knows its direction:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    >>> model.compile("adam", "categorical_crossentropy", metrics=[MacroPrecision(3)])
    """

    _default_name = "macro_precision"

    def _fraction(self, correct: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        return correct, predicted


@keras.saving.register_keras_serializable(package="gtzan_keras")
class MacroRecall(_MacroMetric):
    """Macro-averaged recall: the mean over classes of one-versus-rest recall.

    The recall of a class is the share of its samples that are predicted as such. Accumulated over the
    whole epoch like `MacroPrecision`. Equals scikit-learn's
    ``recall_score(labels, predictions, average="macro", zero_division=zero_division)`` [1]_ to the
    precision of `dtype`; where every class has samples, this is also the balanced accuracy.

    Parameters
    ----------
    num_classes, classes, zero_division, name, dtype
        As for `MacroPrecision`.

    Raises
    ------
    GtzanKerasError
        As `MacroPrecision`.

    See Also
    --------
    MacroPrecision, MacroF1

    References
    ----------
    .. [1] M. Sokolova and G. Lapalme, "A systematic analysis of performance measures for
       classification tasks", Information Processing & Management 45 (2009), 427-437,
       https://doi.org/10.1016/j.ipm.2009.03.002

    Examples
    --------
    >>> from gtzan_keras.metrics import MacroRecall
    >>> metric = MacroRecall(3)
    >>> metric.update_state([0, 0, 1], [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.5, 0.4]])
    >>> float(metric.result())  # (1/2 + 1) / 2: the third class does not occur
    0.75
    """

    _default_name = "macro_recall"

    def _fraction(self, correct: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        return correct, actual


@keras.saving.register_keras_serializable(package="gtzan_keras")
class MacroF1(_MacroMetric):
    """Macro-averaged F1: the mean over classes of one-versus-rest F1.

    The F1 of a class is the harmonic mean of its precision and recall. Accumulated over the whole epoch
    like `MacroPrecision`. Equals scikit-learn's
    ``f1_score(labels, predictions, average="macro", zero_division=zero_division)`` to the precision
    of `dtype`. Two scores go by this name [2]_: this one is the mean of the classes' F1, not the
    F1 of macro precision and macro recall that Sokolova and Lapalme define [1]_.

    Parameters
    ----------
    num_classes, classes, zero_division, name, dtype
        As for `MacroPrecision`.

    Raises
    ------
    GtzanKerasError
        As `MacroPrecision`.

    See Also
    --------
    MacroPrecision, MacroRecall

    References
    ----------
    .. [1] M. Sokolova and G. Lapalme, "A systematic analysis of performance measures for
       classification tasks", Information Processing & Management 45 (2009), 427-437,
       https://doi.org/10.1016/j.ipm.2009.03.002
    .. [2] J. Opitz and S. Burst, "Macro F1 and Macro F1", 2019, https://arxiv.org/abs/1911.03347

    Examples
    --------
    >>> from gtzan_keras.metrics import MacroF1
    >>> metric = MacroF1(2)
    >>> metric.update_state([0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    >>> round(float(metric.result()), 6)  # precision 1 and 1/2, recall 1/2 and 1, F1 2/3 and 2/3
    0.666667
    """

    _default_name = "macro_f1"

    def _fraction(self, correct: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        return 2 * correct, predicted + actual
