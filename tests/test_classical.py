"""Classical models by name."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.training.classical import CLASSICAL, classical


@pytest.fixture(scope="module")
def flowers():
    return load_iris(return_X_y=True)


@pytest.fixture
def table():
    """``rms_mean`` follows ``tempo`` in the first 20 rows, and nothing in the others."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(40, 3)), columns=["tempo", "rms_mean", "mfcc1_mean"])
    table.loc[:19, "rms_mean"] = 2 * table.loc[:19, "tempo"]
    return table


@pytest.mark.parametrize("name", CLASSICAL)
def test_every_model_learns_the_iris_flowers(name, flowers):
    features, labels = flowers
    small = {"random_forest": {"n_estimators": 20}, "gradient_boosting": {"max_iter": 10}}
    model = classical(name, **small.get(name, {}))
    assert model.fit(features[::2], labels[::2]).score(features[1::2], labels[1::2]) > 0.9


def test_the_svm_is_scikit_learns_on_standardised_features(flowers):
    features, labels = flowers
    scaled = StandardScaler().fit_transform(features)
    expected = SVC(C=3.0).fit(scaled, labels).decision_function(scaled)
    found = classical("svm", C=3.0).fit(features, labels).decision_function(features)
    np.testing.assert_allclose(found, expected)


def test_the_filter_is_learnt_from_the_rows_that_are_fitted(table):
    labels = np.arange(20) % 2
    model = classical("knn", threshold=0.8)
    correlated = clone(model).fit(table[:20], labels)
    free = clone(model).fit(table[20:], labels)
    assert correlated["scaler"].n_features_in_ == 2
    assert free["scaler"].n_features_in_ == 3


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(GtzanKerasError, match=r"model='svn': expected one of svm, random_forest"):
        classical("svn")
