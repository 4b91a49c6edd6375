"""The table of all recipes: published figures and ours next to each other, under every split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import PROTOCOLS, RECIPES, Recipe, find
from gtzan_keras.experiments.runner import protocol_of
from gtzan_keras.report import page
from gtzan_keras.report.ladder import USUAL_DATA, ladder, measured
from gtzan_keras.report.page import Group
from gtzan_keras.report.plots import METRICS
from gtzan_keras.report.published import ON_FAULT_FILTERED, SOURCES, SYSTEM_SOURCES
from gtzan_keras.tracks.catalogue import GENRES
from gtzan_keras.training.results import RESULT

__all__ = ["ON_FAULT_FILTERED", "leaderboard", "measured", "report_all", "results_table"]

COLUMNS: Mapping[str, Sequence[str]] = {
    "same split": ("published", "random"),
    "artist-grouped folds": ("artist",),
    "fault-filtered": ("fault-filtered",),
}
"""Our columns, and the protocols in each. A leaky recipe on random tracks is shown below the leaky figure."""

NAMES: Mapping[str, str] = {
    "imagenet": "ImageNet weights", "coco": "COCO weights", "audioset": "AudioSet weights",
    "msd": "the sound of all ten genres",
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One figure of a cell: a group of runs, and its score."""

    group: Group
    metric: str
    label: str = ""

    @property
    def score(self) -> Mapping[str, Any]:
        """`value`, `artists` and `tracks`; of segments if the source counts them."""
        return self.group.score(self.metric)

    @property
    def usual(self) -> bool:
        """Whether the runs are on all of GTZAN."""
        return self.group.first["data"]["name"] in USUAL_DATA

    @property
    def text(self) -> str:
        """The figure with its intervals, the one over artists first."""
        score, group = self.score, self.group
        spans = [f"{page.interval(score[unit])} over {unit}" for unit in ("artists", "tracks") if score[unit]]
        data = "" if self.usual else f", {group.data}"
        words = f"{page.percent(score['value'])} ({'; '.join(spans)}), {group.runs}{data}"
        leaky = "leaky: " if group.leaky else ""
        return (f"{self.label}: " if self.label else "") + leaky + words.replace("\u00a0", " ")


@dataclass(frozen=True)
class Row:
    """One recipe: its published figure and ours, a list of figures for each of `COLUMNS`."""

    recipe: Recipe
    metric: str
    cells: Mapping[str, Sequence[Figure]]

    @property
    def prefix(self) -> str:
        """The first part of the recipe's name: a key of `SOURCES`."""
        return self.recipe.name.partition("/")[0]

    @property
    def date(self) -> str:
        """The day of the latest run, or ""."""
        dates = [r["date"] for cell in self.cells.values() for f in cell for r in f.group.results]
        return max(dates, default="")

    @property
    def published(self) -> str:
        """The source's figure in words."""
        none = "our own" if self.recipe.source == "ours" else "no figure"
        return str(self.recipe.published[0]) if self.recipe.published else none

    @property
    def badges(self) -> list[str]:
        """Why the row's figures cannot be compared with accuracies on ten genres."""
        found = [self.metric.replace("_", " ")] if self.metric not in ("accuracy", "segments") else []
        found += ["by segment"] if self.metric == "segments" else []
        return found + ([f"{len(GENRES) - len(self.recipe.without)} genres"] if self.recipe.without else [])

    def reason(self, column: str) -> str:
        """Return why a cell is empty."""
        if column == "same split" and self.recipe.split == "fault-filtered":
            return "not published"
        return f"not run: needs {NAMES[self.recipe.pretrained]}" if self.recipe.pretrained else "not run"


class Mark(NamedTuple):
    """One mark of the chart.

    Parameters
    ----------
    kind : str
        CSS classes: ``published`` (hollow), ``same`` (same split, ours), ``fault`` (fault-filtered).
    what : str
        Description in words.
    value : float
        An accuracy [0..1].
    span : mapping, optional
        ``low`` and ``high`` of its interval.
    """

    kind: str
    what: str
    value: float
    span: Mapping[str, float] | None = None


class Line(NamedTuple):
    """One line of the chart: a recipe or a published system."""

    name: str
    source: str
    marks: Sequence[Mark]
    group: Group | None = None
    link: str = ""


def leaderboard(folder: str | os.PathLike[str], groups: Sequence[Group] | None = None) -> tuple[Path, Path]:
    """Write ``README.md``, ``index.html`` and ``ladder.svg`` from all results below a folder.

    They are the same whether or not there are pages of single recipes. If there are, a copy of
    ``index.html`` that links to them is written to ``pages/index.html``.

    Parameters
    ----------
    folder : str or os.PathLike
        Contains ``<recipe>/<protocol>/seed<n>`` as `gtzan_keras.experiments.run` writes them, and runs of
        `gtzan-keras train`, which are listed below the table.
    groups : sequence of Group, optional
        From `gtzan_keras.report.page.find_groups`; read when not given.

    Returns
    -------
    (Path, Path)
        ``README.md`` and ``index.html``: one file, complete in itself, whose columns can be sorted.

    Raises
    ------
    GtzanKerasError
        A result cannot be read, or a ``README.md`` or ``index.html`` exists that we did not write.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.leaderboard import leaderboard
    >>> [path.name for path in leaderboard(tempfile.mkdtemp())]
    ['README.md', 'index.html']
    """
    folder = Path(folder)
    check_folder(folder)
    groups = page.find_groups(folder) if groups is None else groups
    ours = [group for group in groups if group.recipe and group.scores]
    rows = _rows([group for group in ours if not group.random_weights])
    random = [row for row in _rows([g for g in ours if g.random_weights]) if any(row.cells.values())]
    figures = [f for row in [*rows, *random] for cell in row.cells.values() for f in cell]
    notes: dict[str, int] = {}
    for figure in figures:  # numbered in reading order
        for text in figure.group.departures:
            notes.setdefault(text, len(notes) + 1)

    context: dict[str, Any] = {
        "rows": rows,
        "random": random,
        "columns": list(COLUMNS),
        "reference": ON_FAULT_FILTERED,
        "sources": SOURCES,
        "system_sources": SYSTEM_SOURCES,
        "ladder": ladder(folder, groups),
        "ranked": _ranked(rows),
        "reproduced": _reproduced(rows),
        "notes": notes,
        "marks": lambda group: sorted((notes[text], text) for text in group.departures),
        "usual": USUAL_DATA,
        "groups": ours,
        "recipes": [
            (row.recipe, own) for row in rows if (own := [g for g in ours if g.recipe == row.recipe.name])
        ],
        "neighbours": page.neighbours,
        "known": {group.recipe: f"#{page.slug(group.recipe)}" for group in ours},
        "protocols": PROTOCOLS,
        "metrics": METRICS,
        "runs": [group for group in groups if not group.recipe],
        "title": "Published and measured",
    }
    pages = {path.name for path in (folder / "pages").glob("*.html")}

    def page_of(group: Group) -> str:
        """Return the address of a group's page, seen from another page; "" if there is none."""
        name = page.page_name(folder, group)
        return quote(name) + (f"#{group.protocol}" if group.recipe else "") if name in pages else ""

    readme = page.render("leaderboard.md.j2", **context)
    index = page.render("leaderboard.html.j2", page_of=lambda group: "", **context)
    written = page.write_page(folder / "README.md", readme), page.write_page(folder / "index.html", index)
    if pages:
        content = page.render("leaderboard.html.j2", page_of=page_of, **context)
        page.write_page(folder / "pages" / "index.html", content)
    return written


def check_folder(folder: Path) -> None:
    """Refuse a folder with a ``README.md`` or ``index.html`` that we did not write."""
    for name in ("README.md", "index.html"):
        page.check_ours(folder / name)


def report_all(folder: str | os.PathLike[str], only: str | None = None) -> Path:
    """Write the pages of all results below a folder, the leaderboard, and the ladder of splits.

    Parameters
    ----------
    folder : str or os.PathLike
        A run's folder, or a folder with results below it.
    only : str, optional
        A recipe: write only its page and the leaderboard.

    Returns
    -------
    Path
        The run's page, the recipe's page, or the leaderboard with links to all pages.

    Raises
    ------
    GtzanKerasError
        There is no result, one cannot be read, or a page would replace a file that we did not write.

    Examples
    --------
    >>> from gtzan_keras.report.leaderboard import report_all
    >>> report_all("runs")  # doctest: +SKIP
    PosixPath('runs/pages/index.html')
    """
    folder = Path(folder)
    if (folder / RESULT).is_file():
        return page.report_run(folder)
    groups = page.find_groups(folder)
    if not groups:
        raise GtzanKerasError(
            f"{folder}: no {RESULT} in any folder below; name a folder that `gtzan-keras run` or "
            "`gtzan-keras train` wrote to"
        )
    if only and only not in {group.recipe for group in groups}:
        raise GtzanKerasError(f"{folder}: no result of {only}; run it with `gtzan-keras run {only}`")
    check_folder(folder)
    pages = page.write_pages(folder, groups, only)
    leaderboard(folder, groups)
    return pages[only] if only else folder / "pages" / "index.html"


def results_table(
    folder: str | os.PathLike[str], names: Iterable[str] | None = None, metric: str | None = None
) -> pd.DataFrame:
    """Return published figures and ours from the results below a folder.

    Parameters
    ----------
    folder : str or os.PathLike
        As for `leaderboard`.
    names : iterable of str, optional
        Recipes; all by default.
    metric : str, optional
        ``accuracy``, ``macro_precision``, ``macro_recall`` or ``macro_f1``, by track; by default each
        recipe's published one.

    Returns
    -------
    pd.DataFrame
        Indexed by recipe: ``published``, then our columns as text with intervals, seeds, and departures
        from the recipe; ``not run`` and why if there is no result.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.leaderboard import results_table
    >>> results_table(tempfile.mkdtemp(), ["zhang/cnn"]).loc["zhang/cnn"].tolist()
    ['accuracy 62.5 % (test)', 'not run', 'not run', 'not run']
    """
    if metric not in (None, *METRICS):
        raise GtzanKerasError(f"metric={metric!r}: expected one of {', '.join(METRICS)}")
    recipes = None if names is None else [find(name) for name in names]
    read = page.find_groups(folder, None if recipes is None else [recipe.name for recipe in recipes])
    table = {}
    for row in _rows([group for group in read if group.recipe and group.scores], recipes, metric):
        texts = {column: "; ".join(map(_in_full, figures)) for column, figures in row.cells.items()}
        cells = {column: text or row.reason(column) for column, text in texts.items()}
        table[row.recipe.name] = {"published": row.published, **cells}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("recipe")


def _rows(
    groups: Sequence[Group], recipes: Iterable[Recipe] | None = None, metric: str | None = None
) -> list[Row]:
    """Return one row per recipe; our own first.

    The metric is the source's (by segment where it counts segments), or `metric`, by track.
    """
    if recipes is None:
        recipes = sorted(RECIPES.values(), key=lambda recipe: recipe.source != "ours")
    rows = []
    for recipe in recipes:
        chosen = metric or next((p.metric for p in recipe.published if p.metric != "loss"), "accuracy")
        counts_segments = metric is None and any("segments" in p.part for p in recipe.published[:1])
        figures = []
        for group in groups:
            if group.recipe == recipe.name and protocol_of(recipe, group.protocol) == group.protocol:
                own = "segments" if counts_segments and group.scores.get("segments") else chosen
                figures.append(Figure(group, own, PROTOCOLS["random"] if group.protocol == "random" else ""))
        by_segment = any(figure.metric == "segments" for figure in figures)
        cells = {
            column: [figure for figure in figures if figure.group.protocol in protocols]
            for column, protocols in COLUMNS.items()
        }
        rows.append(Row(recipe, "segments" if by_segment else chosen, cells))
    return rows


def _in_full(figure: Figure) -> str:
    """Return a figure with what departs from the recipe in words."""
    departures = "; ".join(figure.group.departures)
    return figure.text + (f" [{departures}]" if departures else "")


def _ranked(rows: Sequence[Row]) -> list[Line]:
    """Return our recipes and the published systems by their accuracy on the fault-filtered split."""
    lines = [
        Line(row.recipe.name, row.prefix, [_ours("fault", "ours", figure)], figure.group)
        for row in rows
        if not row.badges
        for figure in row.cells["fault-filtered"]
        if figure.usual
    ]
    for what, value, where in ON_FAULT_FILTERED:
        mark = Mark("fault published", "published", value)
        lines.append(Line(what, "systems", [mark], link=SYSTEM_SOURCES.get(where, "")))
    return sorted(lines, key=lambda line: -line.marks[0].value)


def _reproduced(rows: Sequence[Row]) -> list[Line]:
    """Return the recipes with a published accuracy: that, ours on the same split, ours fault-filtered."""
    lines = []
    for row in rows:
        if row.badges or not row.recipe.published:
            continue
        ours = [
            (kind, column, figure)
            for kind, column in (("same", "same split"), ("fault", "fault-filtered"))
            for figure in row.cells[column][:1]
            if figure.usual
        ]
        marks = [_ours(kind, f"ours, {column}", figure) for kind, column, figure in ours]
        group = ours[0][2].group if ours else None
        published = Mark("published", "published", row.recipe.published[0].value)
        lines.append(Line(row.recipe.name, row.prefix, [published, *marks], group))
    return lines


def _ours(kind: str, what: str, figure: Figure) -> Mark:
    score = figure.score
    return Mark(kind, what, score["value"], score["artists"] or score["tracks"])
