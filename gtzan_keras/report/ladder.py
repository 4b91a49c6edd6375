"""The package's one figure: the same models on 1000 tracks, where only the split changes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from gtzan_keras.report.page import Group, find_groups
from gtzan_keras.store.files import replacing

__all__ = ["LADDER", "ladder", "ladder_table"]

LADDER: Mapping[str, str] = {
    "feature-cnn/all": "1-D CNN",
    "baseline/svm": "SVM (RBF)",
    "baseline/random-forest": "random forest",
    "baseline/logistic-regression": "logistic regression",
    "baseline/gradient-boosting": "gradient boosting",
    "baseline/knn": "k-NN",
}
"""The recipes of the ladder: models of whole tracks' features, so that no segments can leak."""

RUNGS: Mapping[str, str] = {
    "random": "random tracks",
    "artist": "artist-grouped folds",
    "fault-filtered": "fault-filtered",
}
"""Its splits, the strictest last; a published split into stratified folds counts as random tracks."""


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
        ``model``, ``split``, ``accuracy``, ``low``, ``high`` (over artists) [0..1], ``seeds``; no row for
        what was not run on all tracks and as in the recipe.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.ladder import ladder_table
    >>> ladder_table(tempfile.mkdtemp()).empty
    True
    """
    rows = []
    for group in find_groups(folder) if groups is None else groups:
        stratified = group.first["split"]["name"].startswith("stratified folds")
        rung = "random" if group.protocol == "published" and stratified else group.protocol
        if group.recipe in LADDER and rung in RUNGS and group.scores and not group.departures:
            score = group.score("accuracy")
            ends = score["artists"] or score["tracks"]
            facts = [score["value"], ends["low"], ends["high"], len(group.results)]
            rows.append([LADDER[group.recipe], RUNGS[rung], *facts])
    table = pd.DataFrame(rows, columns=["model", "split", "accuracy", "low", "high", "seeds"])
    places = {"model": list(LADDER.values()), "split": list(RUNGS.values())}
    return table.sort_values(["split", "model"], key=lambda c: c.map(places[str(c.name)].index))


def ladder(folder: str | os.PathLike[str], groups: Sequence[Group] | None = None) -> Path | None:
    """Write ``ladder.svg``: a line a model, from split to split.

    Parameters
    ----------
    folder : str or os.PathLike
        As for `ladder_table`.
    groups : sequence of Group, optional
        As for `ladder_table`.

    Returns
    -------
    Path or None
        ``folder/ladder.svg``; None where no model was run under two of the splits.

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
