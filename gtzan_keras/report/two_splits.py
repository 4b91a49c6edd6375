"""The first page for a new user: the same models under two splits of real GTZAN."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gtzan_keras.experiments import PROTOCOLS
from gtzan_keras.report.ladder import measured
from gtzan_keras.report.page import embedded, render, write_page
from gtzan_keras.report.plots import leakage_ladder

__all__ = ["two_splits"]


def two_splits(folder: str | os.PathLike[str], names: Sequence[str]) -> Path:
    """Write a page with one sentence and one figure: the same models, two splits.

    Parameters
    ----------
    folder : str or os.PathLike
        Folder with results of the recipes under ``random`` and ``fault-filtered``.
    names : sequence of str
        The recipes; the sentence is about the first.

    Returns
    -------
    Path
        ``folder/two-splits.html``.

    Examples
    --------
    >>> from gtzan_keras.report.two_splits import two_splits
    >>> two_splits("reports/local", ["baseline/thumbnail-cnn"])  # doctest: +SKIP
    PosixPath('reports/local/two-splits.html')
    """
    scores = measured(folder, names)
    scores = scores[scores["split"].isin([PROTOCOLS["random"], PROTOCOLS["fault-filtered"]])]
    first = scores[scores["model"] == names[0]]
    figure = embedded(leakage_ladder(scores, {"chance": 0.1}), "ladder")
    rows = first[["split", "accuracy"]].itertuples(index=False, name=None)
    content = render(
        "two_splits.html.j2", title="The same network, two splits", rows=list(rows), figure=figure
    )
    return write_page(Path(folder) / "two-splits.html", content)
