"""The figures in README.md are those of the committed results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtzan_keras.experiments import RECIPES
from gtzan_keras.report.page import Group, find_groups

ROOT = Path(__file__).resolve().parent.parent
PROTOCOLS = {"random tracks": "random", "fault-filtered": "fault-filtered"}  # by the words in a row


@pytest.fixture(scope="module")
def groups() -> dict[tuple[str, str], Group]:
    return {(group.recipe, group.protocol): group for group in find_groups(ROOT / "reports")}


def tables(file: str) -> Iterator[list[list[str]]]:
    """The tables of a Markdown file: lists of cells, the heading first."""
    text = (ROOT / file).read_text("utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()]
        yield [lines[0], *lines[2:]]


def recipe_of(cell: str) -> str:
    match = re.match(r"`([a-z0-9-]+/[a-z0-9-]+)`", cell)
    return match[1] if match and match[1] in RECIPES else ""


def protocol_of(words: str) -> str:
    return next((protocol for key, protocol in PROTOCOLS.items() if key in words), "")


def figure(group: Group, metric: str) -> str:
    score = group.score(metric)
    ends = score["artists"] or score["tracks"]
    return f"{100 * score['value']:.1f} % ({100 * ends['low']:.1f} to {100 * ends['high']:.1f})"


def test_the_table_of_the_readme_shows_the_committed_results(groups: dict[tuple[str, str], Group]) -> None:
    checked = 0
    for heading, *rows in tables("README.md"):
        name = recipe_of(heading[0])
        for words, *cells in rows if name else ():
            group = groups[name, protocol_of(words)]
            assert words.endswith(group.runs)
            assert f"{cells[0]} ({cells[1].removesuffix(' %')})" == figure(group, "accuracy")
            checked += 1
    assert checked == 2


def test_the_guide_repeats_no_result_of_the_leaderboard() -> None:
    assert not re.search(r"\d % \(\d", (ROOT / "docs/guide.md").read_text("utf-8"))
