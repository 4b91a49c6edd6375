"""The leaderboard's chart: its marks and their places; the template draws them in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gtzan_keras.report.page import Group, interval, percent
from gtzan_keras.report.published import ON_FAULT_FILTERED, SYSTEM_SOURCES

if TYPE_CHECKING:
    from gtzan_keras.report.leaderboard import Figure, Row

__all__ = ["Line", "Mark", "fault_filtered", "published_and_ours"]


@dataclass(frozen=True)
class Mark:
    """One mark on the axis.

    Parameters
    ----------
    kind : str
        CSS classes: ``published`` (hollow), ``same`` (same split, ours), ``fault`` (fault-filtered).
    value : float
        An accuracy [0..1].
    what : str
        Description in words.
    span : mapping, optional
        ``low`` and ``high`` of its interval.
    """

    kind: str
    value: float
    what: str
    span: Mapping[str, float] | None = None

    @property
    def text(self) -> str:
        """The mark in words, for its tooltip and for screen readers."""
        ends = f", 95 % interval {interval(self.span)}" if self.span else ""
        return f"{self.what} {percent(self.value)}{ends}"


@dataclass(frozen=True)
class Line:
    """One line of the chart: a recipe or a published system."""

    name: str
    source: str
    marks: Sequence[Mark]
    group: Group | None = None
    link: str = ""

    @property
    def values(self) -> str:
        """The figures of its marks, in their order."""
        return " / ".join(percent(mark.value) for mark in self.marks).replace("\u00a0% /", " /")


def fault_filtered(rows: Sequence[Row]) -> list[Line]:
    """Return our recipes and the published systems by their accuracy on the fault-filtered split."""
    lines = [
        Line(row.recipe.name, row.prefix, [_ours("fault", "ours", figure)], figure.group)
        for row in rows
        if not row.badges
        for figure in row.cells["fault-filtered"]
    ]
    lines += [
        Line(
            what, "systems", [Mark("fault published", value, "published")], link=SYSTEM_SOURCES.get(where, "")
        )
        for what, value, where in ON_FAULT_FILTERED
    ]
    return sorted(lines, key=lambda line: -line.marks[0].value)


def published_and_ours(rows: Sequence[Row]) -> list[Line]:
    """Return the recipes with a published accuracy: that, ours on the same split, ours fault-filtered."""
    lines = []
    for row in rows:
        if row.badges or not row.recipe.published:
            continue
        marks = [Mark("published", row.recipe.published[0].value, "published")]
        groups = []
        for kind, column in (("same", "same split"), ("fault", "fault-filtered")):
            for figure in row.cells[column][:1]:
                marks.append(_ours(kind, f"ours, {column}", figure))
                groups.append(figure.group)
        lines.append(Line(row.recipe.name, row.prefix, marks, groups[0] if groups else None))
    return lines


def _ours(kind: str, what: str, figure: Figure) -> Mark:
    score: Mapping[str, Any] = figure.score
    return Mark(kind, score["value"], what, score["artists"] or score["tracks"])
