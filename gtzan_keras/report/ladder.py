"""The package's main figure: the same models on 1000 tracks, and only the split changes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from gtzan_keras.experiments import PROTOCOLS, RECIPES, find
from gtzan_keras.report.page import Group, find_groups
from gtzan_keras.store.files import replacing

__all__ = ["LADDER", "ladder", "ladder_table", "measured"]

LADDER: Mapping[str, str] = {
    "feature-cnn/all": "1-D CNN",
    "baseline/svm": "SVM (RBF)",
    "baseline/random-forest": "random forest",
    "baseline/logistic-regression": "logistic regression",
    "baseline/gradient-boosting": "gradient boosting",
    "baseline/knn": "k-NN",
}
"""The recipes of the ladder: models of whole tracks' features, so that no segments can leak."""

USUAL_DATA = ("GTZAN", "features_30_sec.csv")
"""All of GTZAN: data that a cell of the leaderboard does not name."""

RUNGS = ("random tracks", "artist-grouped folds", "fault-filtered")
"""Its splits, the strictest last; a published split that does not leak counts as random tracks."""


def measured(
    folder: str | os.PathLike[str],
    names: Iterable[str] | None = None,
    groups: Sequence[Group] | None = None,
) -> pd.DataFrame:
    """Return our accuracies from the results below a folder, as `plots.leakage_ladder` takes them.

    Parameters
    ----------
    folder : str or os.PathLike
        As for `gtzan_keras.report.leaderboard.leaderboard`.
    names : iterable of str, optional
        Recipes; all by default.
    groups : sequence of Group, optional
        From `gtzan_keras.report.page.find_groups`; read when not given.

    Returns
    -------
    pd.DataFrame
        ``model`` (the recipe), ``split`` (in the words of `PROTOCOLS`), ``accuracy``, ``low``, ``high``
        (over artists if they are known) [0..1], ``seeds``, ``data``, ``leaky``, ``departures``; the
        strictest split last, no row if nothing was run.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.ladder import measured
    >>> measured(tempfile.mkdtemp()).empty
    True
    """
    wanted = list(RECIPES) if names is None else [find(name).name for name in names]
    groups = find_groups(folder, wanted) if groups is None else groups
    found = {(g.protocol, g.recipe): g for g in groups if g.recipe in wanted and g.scores}
    rows = []
    for protocol, label in PROTOCOLS.items():
        for group in (found[protocol, name] for name in wanted if (protocol, name) in found):
            score = group.score("accuracy")
            ends = score["artists"] or score["tracks"]
            figures = [score["value"], ends["low"], ends["high"], len(group.results)]
            facts = [group.first["data"]["name"], group.leaky, "; ".join(group.departures)]
            rows.append([group.recipe, label, *figures, *facts])
    columns = ["model", "split", "accuracy", "low", "high", "seeds", "data", "leaky", "departures"]
    return pd.DataFrame(rows, columns=columns)


def ladder_table(folder: str | os.PathLike[str], groups: Sequence[Group] | None = None) -> pd.DataFrame:
    """Return the figures of the ladder, as `plots.leakage_ladder` takes them.

    Parameters
    ----------
    folder : str or os.PathLike
        As for `gtzan_keras.report.leaderboard.leaderboard`.
    groups : sequence of Group, optional
        From `gtzan_keras.report.page.find_groups`; read when not given.

    Returns
    -------
    pd.DataFrame
        ``model``, ``split``, ``accuracy``, ``low``, ``high`` (over artists) [0..1], ``seeds``; only
        for runs on all tracks and as in the recipe.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.ladder import ladder_table
    >>> ladder_table(tempfile.mkdtemp()).empty
    True
    """
    table = measured(folder, LADDER, groups).replace({"split": {PROTOCOLS["published"]: RUNGS[0]}})
    table = table[table["leaky"].eq(False) & table["departures"].eq("") & table["data"].isin(USUAL_DATA)]
    table = table.sort_values("split", key=lambda splits: splits.map(RUNGS.index), kind="stable")
    names = table["model"].map(LADDER)
    return table.assign(model=names)[["model", "split", "accuracy", "low", "high", "seeds"]]


def ladder(folder: str | os.PathLike[str], groups: Sequence[Group] | None = None) -> Path | None:
    """Write ``ladder.svg``: one line per model, from split to split.

    Parameters
    ----------
    folder : str or os.PathLike
        As for `ladder_table`.
    groups : sequence of Group, optional
        As for `ladder_table`.

    Returns
    -------
    Path or None
        ``folder/ladder.svg``; None if no model was run under two of the splits.

    Examples
    --------
    >>> from gtzan_keras.report.ladder import ladder
    >>> ladder("reports")  # doctest: +SKIP
    PosixPath('reports/ladder.svg')
    """
    import matplotlib as mpl

    from gtzan_keras.report.plots import leakage_ladder

    table = ladder_table(folder, groups)
    if not table.duplicated("model").any():
        return None
    path = Path(folder) / "ladder.svg"
    with replacing(path) as temporary, mpl.rc_context({"svg.hashsalt": "ladder"}):
        leakage_ladder(table, {"chance": 0.1}).savefig(temporary, format="svg", metadata={"Date": None})
    return path
