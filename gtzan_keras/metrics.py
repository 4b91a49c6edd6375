"""Macro-averaged precision, recall and F1 as Keras metrics, exact over a whole epoch.

The three count every sample in one confusion matrix and work out the score from that, so the way
the data was cut into batches, or spread over devices, leaves no trace in it.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from gtzan_keras.errors import GtzanKerasError

__all__ = ["MacroF1", "MacroPrecision", "MacroRecall"]

_register = keras.saving.register_keras_serializable(package="gtzan_keras")


class _MacroMetric(keras.metrics.Metric, abc.ABC):
    """What the macro averages share: the confusion matrix (row: label, column: prediction)."""

    _default_name: ClassVar[str]
    _direction = "up"  # how Keras' callbacks learn that more is better

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
            raise self._error(f"num_classes is {num_classes!r}, expected a whole number of 2 or more")
        if classes not in ("seen", "all"):
            raise self._error(f"classes is {classes!r}, expected 'seen' or 'all'")
        if zero_division not in (0.0, 1.0) and zero_division == zero_division:  # NaN differs from itself
            raise self._error(f"zero_division is {zero_division!r}, expected 0.0, 1.0 or NaN")
        self.num_classes = int(num_classes)
        self.classes = classes
        self.zero_division = float(zero_division)
        self._confusion_matrix = self.add_weight(
            shape=(self.num_classes, self.num_classes),
            initializer="zeros",
            # Half precision can not count beyond 2048 (float16) or 256 (bfloat16).
            dtype=keras.backend.result_type(self.dtype, "float32"),
            name="confusion_matrix",
        )
        # A layer of a mixed-precision model that updates this metric in its `call` would otherwise
        # read the counts in half precision.
        self._confusion_matrix._autocast = False

    @abc.abstractmethod
    def _fraction(self, correct: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        """Numerator and denominator of each class's score, from the class's counts."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Parameters
        ----------
        y_true : array [shape=(n,), (n, 1) or (n, num_classes)]
            Class numbers, or one-hot rows; of soft rows (mixup, label smoothing) the largest entry
            counts, the first of equals.
        y_pred : array [shape=(n, num_classes)]
            Probabilities or logits; the largest counts, the first of equals.
        sample_weight : array [shape=(n,) or (n, 1)], optional
            How much each sample counts; 1 when left out. With weight 0 it is as good as left out.

        Raises
        ------
        GtzanKerasError
            A shape is none of these. (The values can not be checked in compiled code: a class
            number outside 0..num_classes - 1 turns the result into NaN, unless its weight is 0.)
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
        # Not one-hot matrices multiplied: GPUs and TPUs round the factors (TF32, bfloat16).
        counts = ops.segment_sum(weight, cell, num_segments=self.num_classes**2)
        self._confusion_matrix.assign_add(ops.reshape(counts, self._confusion_matrix.shape))

    def result(self) -> Any:
        """Mean of the class scores over all samples since the last `reset_state`.

        Returns
        -------
        tensor [shape=(), dtype=float32 or float64]
            The score; `zero_division` as long as no class has one, as before the first sample.
        """
        matrix = ops.convert_to_tensor(self._confusion_matrix)
        predicted, actual = ops.sum(matrix, axis=0), ops.sum(matrix, axis=1)
        numerator, denominator = self._fraction(ops.diagonal(matrix), predicted, actual)

        undefined = ops.equal(denominator, 0)
        score = numerator / ops.where(undefined, ops.ones_like(denominator), denominator)
        averaged = ops.ones_like(undefined)
        if self.classes == "seen":
            averaged = ops.not_equal(predicted + actual, 0)
        if self.zero_division in (0.0, 1.0):
            score = ops.where(undefined, ops.full_like(score, self.zero_division), score)
        else:
            averaged = ops.logical_and(averaged, ops.logical_not(undefined))

        number = ops.sum(ops.cast(averaged, score.dtype))
        mean = ops.sum(ops.where(averaged, score, ops.zeros_like(score))) / ops.maximum(number, 1)
        return ops.where(number > 0, mean, ops.full_like(mean, self.zero_division))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "num_classes": self.num_classes,
            "classes": self.classes,
            "zero_division": self.zero_division,
            **super().get_config(),
        }

    def _check_shape(self, argument: str, tensor: Any, *expected: tuple[int | None, ...]) -> None:
        """Refuse a tensor whose shape is none of those expected; None stands for any size."""
        shape = tuple(tensor.shape)
        for candidate in expected:
            if len(shape) == len(candidate) and all(
                a == b or a is None or b is None for a, b in zip(shape, candidate, strict=True)
            ):
                return
        wanted = " or ".join(str(shape).replace("None", "n") for shape in expected)
        got = str(shape).replace("None", "n")
        raise self._error(f"{argument} has shape {got}, expected {wanted} for num_classes={self.num_classes}")

    def _error(self, reason: str) -> GtzanKerasError:
        return GtzanKerasError(f"{type(self).__name__}: {reason}")


@_register
class MacroPrecision(_MacroMetric):
    """Macro-averaged precision: the mean over classes of one-versus-rest precision.

    Precision of a class is the share of its predictions that are right. The confusion matrix is
    accumulated over the whole epoch, or the whole evaluation: a mean of batch values would be
    wrong, because the precision of a class in a batch that predicts it once is 0 or 1, and counts
    there as much as one from a hundred predictions. Equals scikit-learn's
    ``precision_score(labels, predictions, average="macro", zero_division=zero_division)`` [1]_ to
    the precision of `dtype`. Arrigo (2025) monitors this figure and calls it "mAP" [2]_; it is not
    the mean average precision of retrieval and object detection, an area under a curve.

    Parameters
    ----------
    num_classes : int >= 2
        Number of classes.
    classes : "seen" or "all"
        The classes to average over: "seen" takes those that stand among the labels or the
        predictions, as scikit-learn does when called plainly; "all" takes all `num_classes`, as it
        does with ``labels=range(num_classes)``. A sample of weight 0 shows no class (to
        scikit-learn it does; leave it out there).
    zero_division : 0.0, 1.0 or NaN
        Score of a class whose score is 0 / 0, here a class never predicted; NaN leaves the class
        out of the mean. Also the result as long as no class has a score.
    name : str, optional
        Name in logs and histories; "macro_precision" when left out.
    dtype : str or keras.DTypePolicy, optional
        "float64" to count exactly beyond 2**24 samples a cell and to agree with scikit-learn to
        the last of 16 digits. Otherwise float32 does the counting, under mixed precision too.

    Raises
    ------
    GtzanKerasError
        An argument is out of its range, or a batch has the wrong shape.

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
    Blues is predicted once and rightly, classical twice and once rightly, country never:

    >>> from gtzan_keras.metrics import MacroPrecision
    >>> metric = MacroPrecision(3)
    >>> metric.update_state([0, 1], [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1]])
    >>> metric.update_state([2], [[0.1, 0.5, 0.4]])
    >>> float(metric.result())  # (1 + 1/2 + 0) / 3
    0.5

    In a model it is one more metric, and `monitor="val_macro_precision"` knows its direction:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    >>> model.compile("adam", "categorical_crossentropy", metrics=[MacroPrecision(3)])
    """

    _default_name = "macro_precision"

    def _fraction(self, correct: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        return correct, predicted


@_register
class MacroRecall(_MacroMetric):
    """Macro-averaged recall: the mean over classes of one-versus-rest recall.

    Recall of a class is the share of its samples that are predicted as such. Accumulated over the
    whole epoch like `MacroPrecision`, whose parameters it shares. Equals scikit-learn's
    ``recall_score(labels, predictions, average="macro", zero_division=zero_division)`` [1]_ to the
    precision of `dtype`; where every class has samples that is balanced accuracy too.

    Parameters
    ----------
    num_classes : int >= 2
        Number of classes.
    classes : "seen" or "all"
        The classes to average over, see `MacroPrecision`.
    zero_division : 0.0, 1.0 or NaN
        Score of a class without samples; NaN leaves it out of the mean.
    name : str, optional
        Name in logs and histories; "macro_recall" when left out.
    dtype : str or keras.DTypePolicy, optional
        "float64" to count in double precision, see `MacroPrecision`.

    Raises
    ------
    GtzanKerasError
        An argument is out of its range, or a batch has the wrong shape.

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
    >>> float(metric.result())  # (1/2 + 1) / 2: the third class was not seen
    0.75
    """

    _default_name = "macro_recall"

    def _fraction(self, correct: Any, predicted: Any, actual: Any) -> tuple[Any, Any]:
        return correct, actual


@_register
class MacroF1(_MacroMetric):
    """Macro-averaged F1: the mean over classes of one-versus-rest F1.

    F1 of a class is the harmonic mean of its precision and recall. Accumulated over the whole epoch
    like `MacroPrecision`, whose parameters it shares. Equals scikit-learn's
    ``f1_score(labels, predictions, average="macro", zero_division=zero_division)`` to the precision
    of `dtype`. Two scores go by this name [2]_: this one is the mean of the classes' F1, not the
    F1 of macro precision and macro recall that Sokolova and Lapalme define [1]_.

    Parameters
    ----------
    num_classes : int >= 2
        Number of classes.
    classes : "seen" or "all"
        The classes to average over, see `MacroPrecision`.
    zero_division : 0.0, 1.0 or NaN
        Score of a class neither labelled nor predicted, as happens with ``classes="all"``; NaN
        leaves it out of the mean.
    name : str, optional
        Name in logs and histories; "macro_f1" when left out.
    dtype : str or keras.DTypePolicy, optional
        "float64" to count in double precision, see `MacroPrecision`.

    Raises
    ------
    GtzanKerasError
        An argument is out of its range, or a batch has the wrong shape.

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
