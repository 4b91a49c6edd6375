"""The committed results: each can be opened, and its scores follow from its tracks."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score, precision_score

from gtzan_keras.experiments import PROTOCOLS, RECIPES
from gtzan_keras.training.results import read_result

REPORTS = Path(__file__).resolve().parent.parent / "reports"
IGNORED = {"local", "pages"}  # by git: what the user ran, and renderings
FILES = [
    path
    for path in REPORTS.rglob("*")
    if path.is_file() and not IGNORED & set(path.relative_to(REPORTS).parts)
]
FOLDERS = sorted(path.parent for path in FILES if path.name == "result.json")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(REPORTS).as_posix())
def test_a_committed_result_says_what_its_tracks_give_and_is_in_its_recipes_folder(folder: Path) -> None:
    result, tracks = read_result(folder)
    if "recipe" in result:
        assert result["recipe"] in RECIPES
        assert result["protocol"] in PROTOCOLS
        parts = (*result["recipe"].split("/"), result["protocol"], f"seed{result['seed']}")
        assert folder.relative_to(REPORTS).parts == parts
    scores, truth, predicted = result["scores"]["test"], tracks["genre"], tracks["predicted"]
    assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(truth, predicted), abs=1e-12)
    precision = precision_score(truth, predicted, average="macro", zero_division=0)
    assert scores["macro_precision"]["value"] == pytest.approx(precision, abs=1e-12)
    for group in (scores, scores["by_artist"]):
        for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1"):
            assert 0 <= group[name]["low"] <= group[name]["value"] <= group[name]["high"] <= 1
    assert tracks[result["data"]["genres"]].sum(axis=1).between(0.999, 1.001).all()
    assert scores["by_artist"]["count"] > 1
    assert (scores["segments"] is None) or scores["segments"]["count"] > len(tracks)


def test_there_are_results() -> None:
    assert len(FOLDERS) > 250


def test_only_data_is_kept_and_not_too_much() -> None:
    ours = [path for path in FILES if path.parent != REPORTS and path.suffix not in (".keras", ".npz")]
    assert {path.name for path in ours} <= {"result.json", "tracks.csv", "history.csv", "run.json"}
    assert sum(path.stat().st_size for path in FILES) < 15.2e6
