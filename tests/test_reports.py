"""The committed results: each can be opened, and its scores follow from its tracks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gtzan_keras.experiments import PROTOCOLS, RECIPES
from gtzan_keras.report.page import Group

REPORTS = Path(__file__).resolve().parent.parent / "reports"


def test_a_committed_result_says_what_its_tracks_give_and_is_in_its_recipes_folder(
    committed: list[Group],
) -> None:
    folders = [folder for group in committed for folder in group.folders]
    results = [result for group in committed for result in group.results]
    tables = [table for group in committed for table in group.tables]
    assert len(results) > 250
    for folder, result, tracks in zip(folders, results, tables, strict=True):
        if "recipe" in result:
            assert result["recipe"] in RECIPES, folder
            assert result["protocol"] in PROTOCOLS, folder
            parts = (*result["recipe"].split("/"), result["protocol"], f"seed{result['seed']}")
            assert folder.relative_to(REPORTS).parts == parts
        # By hand, as scikit-learn needs 20 ms a table; a genre that is never predicted has precision 0.
        scores, right = result["scores"]["test"], tracks["genre"] == tracks["predicted"]
        assert scores["accuracy"]["value"] == pytest.approx(right.mean(), abs=1e-12), folder
        genres = {*tracks["genre"], *tracks["predicted"]}
        precision = right.groupby(tracks["predicted"]).mean().sum() / len(genres)
        assert scores["macro_precision"]["value"] == pytest.approx(precision, abs=1e-12), folder
        for group in (scores, scores["by_artist"]):
            for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1"):
                assert 0 <= group[name]["low"] <= group[name]["value"] <= group[name]["high"] <= 1, folder
        assert tracks[result["data"]["genres"]].sum(axis=1).between(0.999, 1.001).all(), folder
        assert scores["by_artist"]["count"] > 1, folder
        assert scores["segments"] is None or scores["segments"]["count"] > len(tracks), folder


def test_the_command_beside_a_figure_gives_all_of_its_seeds(committed: list[Group]) -> None:
    for group in committed:
        asked = re.search(r"--seeds (\d+)", group.command)
        if group.recipe and "members" not in group.first:
            assert f"run {group.recipe} " in group.command + " "
            assert (int(asked[1]) if asked else 1) >= len(group.results), group.command


def test_only_data_is_kept_and_not_too_much() -> None:
    ignored = {"local", "pages"}  # by git: what the user ran, and renderings
    files = [path for path in REPORTS.rglob("*.*") if not ignored & set(path.relative_to(REPORTS).parts)]
    ours = {path.name for path in files if path.parent != REPORTS and path.suffix not in (".keras", ".npz")}
    assert ours <= {"result.json", "tracks.csv", "history.csv", "run.json"}
    assert sum(path.stat().st_size for path in files) < 19.5e6


def test_tracks_that_several_folds_test_are_counted_once(committed: list[Group]) -> None:
    (group,) = (g for g in committed if (g.recipe, g.protocol) == ("baseline/svm-segments-3s", "published"))
    for results in (group.results, group.results[:1]):
        one = Group(group.recipe, group.protocol, group.folders[: len(results)], results, group.tables)
        assert one.scores["count"] == 489
