"""Classical models on hand-crafted features: scikit-learn pipelines by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from gtzan_keras.audio.features import correlation_filter
from gtzan_keras.errors import GtzanKerasError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["CLASSICAL", "classical"]

CLASSICAL: Mapping[str, Mapping[str, Any]] = {
    "svm": {"kernel": "rbf", "C": 1.0, "gamma": "scale", "break_ties": True},
    "random_forest": {"n_estimators": 500},
    "knn": {"n_neighbors": 5},
    "logistic_regression": {"C": 1.0, "max_iter": 1000},
    "gradient_boosting": {"learning_rate": 0.1, "max_iter": 100, "early_stopping": False},
}
"""Hyperparameters by name of the model. None is tuned: they are scikit-learn's defaults (Pedregosa et
al., "Scikit-learn: Machine Learning in Python", JMLR 12, 2011), except for 500 trees, the default of
Breiman's and Cutler's random forest (R package randomForest), and for settings that make results
repeatable: ties of the SVM's votes go to the larger decision value, and boosting holds out no rows."""


def classical(name: str, *, threshold: float | None = None, **arguments: Any) -> Pipeline:
    """Build a classical model: standardise, then classify.

    Zhang compares a CNN with the SVM and the random forest; Tzanetakis and Cook used k-NN on these tracks.

    Parameters
    ----------
    name : str
        One of `CLASSICAL`.
    threshold : float, optional
        Put the correlation filter in front; it is then fitted with the pipeline, whose input must be a
        DataFrame.
    **arguments
        Hyperparameters in place of those in `CLASSICAL`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted. Steps ``filter`` (with `threshold`), ``scaler``, ``model``.

    Raises
    ------
    GtzanKerasError
        An unknown name.

    References
    ----------
    Zhang, "Music Genre Classification Based on Deep Learning", 2025, section 2.2. Tzanetakis, Cook:
    "Musical Genre Classification of Audio Signals", IEEE Transactions on Speech and Audio Processing
    10(5), 2002.

    Examples
    --------
    >>> from gtzan_keras.training.classical import classical
    >>> model = classical("knn", n_neighbors=1)
    >>> model.fit([[0.0, 0.0], [1.0, 5.0]], ["jazz", "rock"]).predict([[0.9, 4.0]]).tolist()
    ['rock']
    """
    if name not in CLASSICAL:
        raise GtzanKerasError(f"model={name!r}: expected one of {', '.join(CLASSICAL)}")
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    kinds: Mapping[str, Callable[..., Any]] = {
        "svm": SVC,
        "random_forest": RandomForestClassifier,
        "knn": KNeighborsClassifier,
        "logistic_regression": LogisticRegression,
        "gradient_boosting": HistGradientBoostingClassifier,
    }
    steps: list[tuple[str, Any]] = [
        ("scaler", StandardScaler()),
        ("model", kinds[name](**{**CLASSICAL[name], **arguments})),
    ]
    if threshold is not None:
        steps.insert(0, ("filter", ColumnTransformer([("kept", "passthrough", partial(_kept, threshold))])))
    return Pipeline(steps)


def _kept(threshold: float, table: pd.DataFrame) -> list[str]:
    """Return the columns that the correlation filter keeps; ColumnTransformer calls it when fitted."""
    return correlation_filter(table, threshold)[0]
