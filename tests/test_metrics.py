"""The macro averages against scikit-learn, in every way Keras runs a metric."""

import itertools
import math
import warnings
from typing import NamedTuple

import keras
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.metrics import MacroF1, MacroPrecision, MacroRecall

NAN = float("nan")
SCIKIT_LEARN = {
    MacroPrecision: sklearn.metrics.precision_score,
    MacroRecall: sklearn.metrics.recall_score,
    MacroF1: sklearn.metrics.f1_score,
}
METRICS = list(SCIKIT_LEARN)
all_metrics = pytest.mark.parametrize("metric_class", METRICS)


class Samples(NamedTuple):
    num_classes: int
    labels: np.ndarray
    predictions: np.ndarray
    weights: np.ndarray

    @property
    def scores(self):
        """What a model would put out: the prediction scores 1, all else 0."""
        return one_hot(self.predictions, self.num_classes)


def one_hot(labels, num_classes):
    return np.eye(num_classes, dtype="float32")[labels]


def reference(metric_class, samples, weighted=False, classes="seen", zero_division=0.0):
    with warnings.catch_warnings():
        # scikit-learn asks whether so many classes in so few samples are meant as classes.
        warnings.filterwarnings("ignore", "The number of unique classes")
        return float(
            SCIKIT_LEARN[metric_class](
                samples.labels,
                samples.predictions,
                average="macro",
                labels=range(samples.num_classes) if classes == "all" else None,
                sample_weight=samples.weights if weighted else None,
                zero_division=zero_division,
            )
        )


def random_samples(n, num_classes=5, seed=0):
    """Samples in which the second class is never predicted, the third absent, the last neither."""
    rng = np.random.default_rng(seed)
    return Samples(
        num_classes,
        rng.choice(np.setdiff1d(np.arange(num_classes - 1), [2]), n),
        rng.choice(np.setdiff1d(np.arange(num_classes - 1), [1]), n),
        rng.uniform(0.1, 3, n).astype("float32"),
    )


def copying_model(num_classes, metrics, **settings):
    """A model that puts out its input and that training leaves as it is."""
    copy = keras.layers.Dense(num_classes, use_bias=False, kernel_initializer="identity")
    model = keras.Sequential([keras.Input((num_classes,)), copy])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, weighted_metrics=metrics, **settings)
    return model


@st.composite
def batched_samples(draw):
    num_classes = draw(st.integers(2, 12))
    n = draw(st.integers(1, 40))

    def class_numbers():
        present = draw(st.sets(st.integers(0, num_classes - 1), min_size=1))
        return np.array(draw(st.lists(st.sampled_from(sorted(present)), min_size=n, max_size=n)))

    weight = st.floats(0.0625, 16, width=32)
    weights = np.array(draw(st.lists(weight, min_size=n, max_size=n)), "float32")
    cuts = [0, *sorted(draw(st.sets(st.integers(0, n), max_size=5))), n]
    batches = [slice(*pair) for pair in itertools.pairwise(cuts)]
    return Samples(num_classes, class_numbers(), class_numbers(), weights), batches


@all_metrics
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    data=batched_samples(),
    precision=st.sampled_from([("float32", 2e-6), ("float64", 1e-14)]),
    weighted=st.booleans(),
    label_format=st.sampled_from(["numbers", "column", "one-hot", "soft"]),
    classes=st.sampled_from(["seen", "all"]),
    zero_division=st.sampled_from([0.0, 1.0, NAN]),
)
def test_equals_scikit_learn_however_batched(
    metric_class, data, precision, weighted, label_format, classes, zero_division
):
    (samples, batches), (dtype, tolerance) = data, precision
    labels = {
        "numbers": samples.labels,
        "column": samples.labels[:, None],
        "one-hot": one_hot(samples.labels, samples.num_classes),
        "soft": 0.6 * one_hot(samples.labels, samples.num_classes) + 0.4 * samples.scores,
    }[label_format]
    metric = metric_class(samples.num_classes, classes=classes, zero_division=zero_division, dtype=dtype)
    for batch in batches:
        weights = samples.weights[batch] if weighted else None
        metric.update_state(labels[batch], samples.scores[batch], weights)

    expected = reference(metric_class, samples, weighted, classes, zero_division)
    assert float(metric.result()) == pytest.approx(expected, rel=tolerance, nan_ok=True)


def test_a_sample_of_weight_zero_is_as_good_as_left_out():
    samples = random_samples(50)
    weights = np.where(samples.labels == 3, 0, samples.weights)
    kept = weights > 0
    rest = Samples(5, samples.labels[kept], samples.predictions[kept], weights[kept])
    expected = pytest.approx(reference(MacroPrecision, rest, True), rel=1e-6)
    metric = MacroPrecision(5)
    metric.update_state(samples.labels, samples.scores, weights)
    assert float(metric.result()) == expected
    metric.reset_state()
    metric.update_state(np.where(kept, samples.labels, -1), samples.scores, weights[:, None])
    assert float(metric.result()) == expected


@pytest.mark.parametrize(("classes", "zero_division"), [("seen", 0.0), ("all", 1.0), ("seen", NAN)])
def test_before_the_first_sample_and_after_reset_the_result_is_zero_division(classes, zero_division):
    metric = MacroF1(3, classes=classes, zero_division=zero_division)
    before = float(metric.result())
    metric.update_state([0, 1, 1], np.eye(3)[[0, 1, 2]])
    metric.reset_state()
    after = float(metric.result())
    np.testing.assert_array_equal([before, after], zero_division)


@pytest.mark.parametrize("stray", [-1, 3])
def test_a_label_that_is_no_class_turns_the_result_into_nan(stray):
    metric = MacroRecall(3)
    metric.update_state([0, 1, 2, stray], np.eye(3)[[0, 1, 2, 2]])
    assert math.isnan(metric.result())


# In a model


@pytest.mark.parametrize(
    "how",
    [{"jit_compile": False}, {"jit_compile": True, "steps_per_execution": 2}],
    ids=["graph", "XLA, two steps at once"],
)
def test_fit_and_evaluate_report_the_whole_epoch(how):
    train, test = random_samples(50), random_samples(31, seed=1)
    model = copying_model(5, [metric_class(5) for metric_class in METRICS], **how)
    options = {"batch_size": 8, "verbose": 0}
    history = model.fit(
        train.scores,
        train.labels,
        sample_weight=train.weights,
        validation_data=(test.scores, test.labels),
        epochs=2,
        **options,
    ).history
    evaluated = model.evaluate(
        test.scores, test.labels, sample_weight=test.weights, return_dict=True, **options
    )
    for metric_class in METRICS:
        name = metric_class(5).name
        assert history[name] == pytest.approx([reference(metric_class, train, True)] * 2, rel=1e-5)
        assert history[f"val_{name}"] == pytest.approx([reference(metric_class, test)] * 2, rel=1e-5)
        assert evaluated[name] == pytest.approx(reference(metric_class, test, True), rel=1e-5)


def test_a_mixed_precision_layer_that_updates_it_counts_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")

    class Endpoint(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.metric = MacroPrecision(5)

        def call(self, labels, scores):
            self.metric.update_state(labels, scores)
            return scores

    samples = random_samples(30000)
    endpoint = Endpoint()
    for start in range(0, 30000, 1000):
        endpoint(samples.labels[start : start + 1000], samples.scores[start : start + 1000])
    expected = reference(MacroPrecision, samples)
    assert float(endpoint.metric.result()) == pytest.approx(expected, rel=1e-6)


@all_metrics
def test_a_metric_that_was_saved_has_the_same_arguments(metric_class):
    samples, options = random_samples(31), {"classes": "all", "zero_division": NAN}
    saved = keras.saving.serialize_keras_object(metric_class(5, **options))
    metric = keras.saving.deserialize_keras_object(saved)
    metric.update_state(samples.labels, samples.scores)
    expected = reference(metric_class, samples, **options)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


def test_callbacks_know_that_more_is_better():
    samples = random_samples(20)
    model = copying_model(5, [MacroPrecision(5)])
    stopping = keras.callbacks.EarlyStopping(monitor="macro_precision", patience=1)
    model.fit(samples.scores, samples.labels, epochs=4, verbose=0, callbacks=[stopping])
    assert stopping.stopped_epoch == 1


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "MacroF1: num_classes=1: expected a whole number >= 2"),
        ({"num_classes": 2.5}, "num_classes=2.5: expected a whole number"),
        ({"num_classes": 3, "classes": "present"}, "classes='present': expected seen or"),
        ({"num_classes": 3, "zero_division": 0.5}, "zero_division=0.5: expected 0.0, 1.0 or"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(GtzanKerasError, match=message):
        MacroF1(**arguments)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4,), (4, 9)], r"y_pred has shape \(4, 9\), expected \(n, 10\) for num_classes=10"),
        ([(3,), (4, 10)], r"y_true has shape \(3,\), expected \(4,\) or \(4, 1\) or \(4, 10\)"),
        ([(4, 9), (4, 10)], r"y_true has shape \(4, 9\), expected"),
        ([(4,), (4, 10), (4, 10)], r"sample_weight has shape \(4, 10\), expected \(4,\) or"),
    ],
)
def test_wrong_shapes_are_refused(shapes, message):
    with pytest.raises(GtzanKerasError, match=message):
        MacroRecall(10).update_state(*(np.zeros(shape, "float32") for shape in shapes))
