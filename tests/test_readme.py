"""The figures in README.md and docs/guide.md are those of the committed results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtzan_keras.experiments import RECIPES
from gtzan_keras.report.leaderboard import ON_FAULT_FILTERED
from gtzan_keras.report.page import Group, find_groups

ROOT = Path(__file__).resolve().parent.parent
PROTOCOLS = {  # by the words in a column's or row's heading
    "same protocol": "published",
    "stratified folds": "random",
    "random tracks": "random",
    "artist-grouped folds": "artist",
    "fault-filtered": "fault-filtered",
    "test": "fault-filtered",
}
NAMES = {  # of rows that do not name their recipe
    "1-D CNN, 51 features": "feature-cnn/all",
    "1-D CNN, MFCC only": "feature-cnn/mfcc-only",
    "SVM (RBF)": "baseline/svm",
    "random forest": "baseline/random-forest",
    "logistic regression": "baseline/logistic-regression",
    "gradient boosting": "baseline/gradient-boosting",
    "k-NN": "baseline/knn",
}


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
    return match[1] if match and match[1] in RECIPES else NAMES.get(cell, "")


def protocol_of(words: str) -> str:
    return next((protocol for key, protocol in PROTOCOLS.items() if key in words), "")


def figure(group: Group, metric: str) -> str:
    score = group.score(metric)
    ends = score["artists"] or score["tracks"]
    return f"{100 * score['value']:.1f} % ({100 * ends['low']:.1f} to {100 * ends['high']:.1f})"


def test_the_tables_of_the_guide_show_the_committed_results(groups: dict[tuple[str, str], Group]) -> None:
    checked = 0
    for heading, *rows in tables("docs/guide.md"):
        for row in rows:
            name = recipe_of(row[0])
            for words, cell in zip(heading[1:], row[1:], strict=True):
                protocol = protocol_of(words)
                shown = re.search(r"[\d.]+ % \([\d.]+ to [\d.]+\)", cell)
                if not (name and protocol and shown):
                    continue
                other = "random" if protocol == "published" else "published"
                group = groups.get((name, protocol)) or groups[name, other]
                metric = next((p.metric for p in RECIPES[name].published), "accuracy")
                assert shown[0] == figure(group, metric), f"{name}, {words}"
                seeds = re.search(r"\d+ seeds?", cell)
                assert not seeds or seeds[0] == group.runs, f"{name}, {words}"
                checked += 1
    assert checked > 40


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


def test_published_figures_in_the_guide_are_those_of_the_recipes() -> None:
    for heading, *rows in tables("docs/guide.md"):
        for row in rows if "published" in heading else ():
            name, shown = recipe_of(row[0]), re.search(r"[\d.]+ %", row[heading.index("published")])
            if shown:
                assert float(shown[0][:-2]) == pytest.approx(100 * RECIPES[name].published[0].value, abs=0.06)
    text = (ROOT / "docs/guide.md").read_text("utf-8")
    scratch = next(value for what, value, _ in ON_FAULT_FILTERED if what == "CNN from scratch")
    assert f"(ISMIR 2021 tutorial) | | | | {100 * scratch:.1f} %" in text
