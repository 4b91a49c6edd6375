"""The figure of one model after another under stricter and stricter splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtzan_keras.report.ladder import ladder, ladder_table
from gtzan_keras.report.page import Group
from tests.made_results import answers, put_recipe

NAME = "feature-cnn/all"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put_recipe(tmp_path, NAME, "published", 8, split__name="stratified folds (5)")
    put_recipe(tmp_path, NAME, "fault-filtered", 5)
    put_recipe(tmp_path, "baseline/svm", "published", 9, split__leaky=True)
    put_recipe(tmp_path, "baseline/knn", "random", 9, departures=["at most 2 epochs"])
    put_recipe(tmp_path, "baseline/random-forest", "random", 9, data__name="demo set")
    return tmp_path


def test_published_folds_are_random_tracks_and_leaky_rows_and_other_data_are_left_out(folder: Path) -> None:
    rows = ladder_table(folder)[["model", "split", "accuracy"]].to_numpy().tolist()
    assert rows == [["1-D CNN", "random tracks", 0.8], ["1-D CNN", "fault-filtered", 0.5]]


def test_it_is_written_as_svg_always_the_same(folder: Path) -> None:
    path = ladder(folder)
    assert path == folder / "ladder.svg"
    first = path.read_bytes()
    ladder(folder)
    assert first == path.read_bytes()
    assert b"<svg" in first


def test_one_split_is_no_ladder(tmp_path: Path) -> None:
    put_recipe(tmp_path, NAME, "random", 8, tracks=answers(8))
    assert ladder(tmp_path) is None


def test_the_committed_results_fill_the_ladder(committed: list[Group]) -> None:
    table = ladder_table("reports", committed)
    assert set(table["split"]) == {"random tracks", "artist-grouped folds", "fault-filtered"}
    assert len(table) >= 17
