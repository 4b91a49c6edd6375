"""The macro averages against scikit-learn, in every way Keras runs a metric."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.metrics import MacroF1, MacroPrecision, MacroRecall

NAN = float("nan")
SCIKIT_LEARN: dict[type, Callable[..., float]] = {
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
    def scores(self) -> np.ndarray:
        """What a model would put out: the prediction scores 1, all else 0."""
        return one_hot(self.predictions, self.num_classes)


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.eye(num_classes, dtype="float32")[labels]


def reference(
    metric_class: type,
    samples: Samples,
    weighted: bool = False,
    classes: str = "seen",
    zero_division: float = 0.0,
) -> float:
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


def random_samples(n: int, num_classes: int = 5, seed: int = 0) -> Samples:
    """Samples in which the second class is never predicted, the third absent, the last neither."""
    rng = np.random.default_rng(seed)
    return Samples(
        num_classes,
        rng.choice(np.setdiff1d(np.arange(num_classes - 1), [2]), n),
        rng.choice(np.setdiff1d(np.arange(num_classes - 1), [1]), n),
        rng.uniform(0.1, 3, n).astype("float32"),
    )


def copying_model(num_classes: int, metrics: list[Any], **settings: Any) -> keras.Model:
    """A model that puts out its input and that training leaves as it is."""
    model = keras.Sequential(
        [
            keras.Input((num_classes,)),
            keras.layers.Dense(num_classes, use_bias=False, kernel_initializer="identity"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=metrics,
        **settings,
    )
    return model


@st.composite
def batched_samples(draw: st.DrawFn) -> tuple[Samples, list[slice]]:
    num_classes = draw(st.integers(2, 12))
    n = draw(st.integers(1, 40))

    def class_numbers() -> np.ndarray:
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
    label_format=st.sampled_from(["numbers", "column", "one-hot"]),
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
    }[label_format]
    metric = metric_class(samples.num_classes, classes=classes, zero_division=zero_division, dtype=dtype)
    for batch in batches:
        weights = samples.weights[batch] if weighted else None
        metric.update_state(labels[batch], samples.scores[batch], weights)

    expected = reference(metric_class, samples, weighted, classes, zero_division)
    assert float(metric.result()) == pytest.approx(expected, rel=tolerance, nan_ok=True)


def test_soft_labels_count_by_their_largest_entry():
    samples = random_samples(50)
    rng = np.random.default_rng(1)
    share = rng.uniform(0.55, 1, (50, 1))
    other = one_hot(rng.integers(0, 5, 50), 5)
    mixed = share * one_hot(samples.labels, 5) + (1 - share) * other
    metric = MacroPrecision(5)
    metric.update_state(mixed, samples.scores)
    assert float(metric.result()) == pytest.approx(reference(MacroPrecision, samples), rel=1e-6)


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


@pytest.mark.parametrize("classes", ["seen", "all"])
@pytest.mark.parametrize("zero_division", [0.0, 1.0, NAN])
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


def test_float64_counts_on_where_float32_stands_still():
    metric = MacroPrecision(2, zero_division=NAN, dtype="float64")
    metric.update_state([0], [[1.0, 0.0]], [2.0**24])
    metric.update_state([1], [[1.0, 0.0]], [1.0])
    assert float(metric.result()) == 2**24 / (2**24 + 1)


# In a model


@pytest.mark.parametrize(
    "how",
    [{"jit_compile": False}, {"jit_compile": True, "steps_per_execution": 2}],
    ids=["graph", "XLA, two steps at once"],
)
def test_fit_and_evaluate_report_the_whole_epoch(how):
    train, test = random_samples(50), random_samples(31, seed=1)
    model = copying_model(5, [metric_class(5) for metric_class in METRICS], **how)
    history = model.fit(
        train.scores,
        train.labels,
        sample_weight=train.weights,
        validation_data=(test.scores, test.labels),
        batch_size=8,
        epochs=2,
        verbose=0,
    ).history
    evaluated = model.evaluate(
        test.scores, test.labels, sample_weight=test.weights, verbose=0, return_dict=True
    )
    for metric_class in METRICS:
        name = metric_class(5).name
        assert history[name] == pytest.approx([reference(metric_class, train, True)] * 2, rel=1e-5)
        assert history[f"val_{name}"] == pytest.approx([reference(metric_class, test)] * 2, rel=1e-5)
        assert evaluated[name] == pytest.approx(reference(metric_class, test, True), rel=1e-5)


def test_mixed_precision_models_count_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")  # until the end of the test: see conftest.py
    samples = random_samples(30000)  # in half precision a count stands still at 256 or 2048
    model = copying_model(5, [metric_class(5) for metric_class in METRICS])
    assert model.layers[-1].compute_dtype == "bfloat16"
    history = model.fit(samples.scores, samples.labels, batch_size=1000, epochs=1, verbose=0).history
    for metric_class in METRICS:
        assert history[metric_class(5).name] == pytest.approx([reference(metric_class, samples)], rel=1e-6)


def test_a_mixed_precision_layer_that_updates_it_counts_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")

    class Endpoint(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.metric = MacroPrecision(5)

        def call(self, labels: Any, scores: Any) -> Any:
            self.metric.update_state(labels, scores)
            return scores

    samples = random_samples(30000)
    endpoint = Endpoint()
    for start in range(0, 30000, 1000):
        endpoint(samples.labels[start : start + 1000], samples.scores[start : start + 1000])
    expected = reference(MacroPrecision, samples)
    assert float(endpoint.metric.result()) == pytest.approx(expected, rel=1e-6)


MIRRORED = """
    import json, sys
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    import numpy as np
    from gtzan_keras.metrics import MacroF1, MacroPrecision, MacroRecall

    labels, predictions, weights = (np.array(each) for each in json.load(sys.stdin))
    scores = np.eye(5, dtype="float32")[predictions]

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        copy = keras.layers.Dense(5, use_bias=False, kernel_initializer="identity")
        model = keras.Sequential([keras.Input((5,)), copy])
        model.compile(
            keras.optimizers.SGD(0.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=[MacroPrecision(5), MacroRecall(5), MacroF1(5)],
        )
    # Batches of 8 over 33 samples: the last one leaves a replica without any.
    history = model.fit(scores, labels, sample_weight=weights, batch_size=8, epochs=2, verbose=0).history
    print(json.dumps(history))
"""


def test_two_mirrored_devices_report_what_one_does():
    samples = random_samples(33)
    completed = subprocess.run(  # devices can only be split before TensorFlow starts
        [sys.executable, "-c", textwrap.dedent(MIRRORED)],
        input=json.dumps([each.tolist() for each in samples[1:]]),
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stderr
    history = json.loads(completed.stdout.splitlines()[-1])
    for metric_class in METRICS:
        expected = reference(metric_class, samples, weighted=True)
        assert history[metric_class(5).name] == pytest.approx([expected] * 2, rel=1e-5)


# Keras reads a variable with `np.array(variable)`, which NumPy 2 deprecates for want of `copy=`.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
def test_a_saved_model_brings_its_metrics_back(tmp_path):
    samples = random_samples(31)
    settings: dict[str, Any] = {"classes": "all", "zero_division": NAN}
    model = copying_model(5, [metric_class(5, **settings) for metric_class in METRICS])
    model.evaluate(samples.scores, samples.labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    evaluated = loaded.evaluate(samples.scores, samples.labels, verbose=0, return_dict=True)
    for metric_class in METRICS:
        expected = reference(metric_class, samples, **settings)
        assert evaluated[metric_class(5).name] == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_callbacks_know_that_more_is_better():
    samples = random_samples(20)
    model = copying_model(5, [MacroPrecision(5)])
    stopping = keras.callbacks.EarlyStopping(monitor="macro_precision", patience=1)
    model.fit(samples.scores, samples.labels, epochs=4, verbose=0, callbacks=[stopping])
    assert stopping.monitor_op is keras.ops.greater
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
