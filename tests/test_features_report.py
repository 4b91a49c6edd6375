"""The report on hand-crafted features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gtzan_keras.audio.features import FEATURE_COLUMNS
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report import plots
from gtzan_keras.report.features import features_page, score_cell, score_table
from gtzan_keras.tracks import splits
from gtzan_keras.training.classical import classical
from gtzan_keras.training.cross_validate import cross_validate, row_folds, tracks_of


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    names = [f"{genre}.{number:05d}.wav" for genre in ("jazz", "pop", "rock") for number in range(12)]
    values = random.normal(size=(36, len(FEATURE_COLUMNS))) + np.repeat([0, 0.4, 0.8], 12)[:, None]
    made = pd.DataFrame(values, columns=list(FEATURE_COLUMNS))
    made.insert(0, "filename", names)
    made["label"] = made["filename"].str.split(".").str[0]
    return made


def test_a_cell_holds_the_accuracy_that_scikit_learn_gives_on_the_same_folds(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    path = score_cell(table, "knn", "all", "stratified", 2, tmp_path, data="toy", k=3, command="how")
    cell = json.loads(path.read_text("utf-8"))
    place = {name.removesuffix(".wav"): row for row, name in enumerate(table["filename"])}
    expected = []
    for seed in range(2):
        folds = [
            ([place[t] for t in fold.train], [place[t] for t in fold.test])
            for fold in splits.folds(tracks_of(table), 3, seed=seed)
        ]
        model = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
        expected.append(cross_val_score(model, table[list(FEATURE_COLUMNS)], table["label"], cv=folds))
    np.testing.assert_allclose(cell["accuracy_by_fold"], expected)
    assert cell["accuracy"]["value"] == pytest.approx(np.mean(expected))
    assert cell["accuracy"]["low"] < cell["accuracy"]["value"] < cell["accuracy"]["high"]
    assert np.sum(cell["confusion_matrix"]) == 2 * 36
    assert (cell["seeds"], cell["folds"], cell["command"], cell["leaky"]) == (2, 3, "how", False)


def test_the_page_shows_each_split_beside_the_other_with_interval_seeds_and_command(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    for split in ("rows", "stratified"):
        score_cell(table, "svm", "all", split, 1, tmp_path, data="toy", k=3, command=f"run {split}")
    score_cell(table, "knn", "mfcc", "stratified", 1, tmp_path, data="toy", k=3, without=["pop"])
    page = features_page(tmp_path).read_text("utf-8")
    assert "| model | inputs | published | random rows (leaky) | stratified folds |" in page
    assert "| k-NN | mfcc (40), without pop |  | not run |" in page
    assert "`run rows`" in page
    assert (tmp_path / "ladder-toy.png").stat().st_size > 0
    value = json.loads((tmp_path / "toy-svm-all-rows.json").read_text("utf-8"))["accuracy"]["value"]
    assert f"{100 * value:.1f} % (" in page


def test_published_figures_stand_only_beside_kaggles_table(table: pd.DataFrame, tmp_path: Path) -> None:
    cell = json.loads(
        score_cell(table, "knn", "mfcc", "stratified", 1, tmp_path, data="toy", k=3).read_text("utf-8")
    )
    cell |= {"model": "feature-cnn", "data": "Kaggle features_30_sec.csv"}
    (tmp_path / "kaggle.json").write_text(json.dumps(cell), "utf-8")
    (tmp_path / "own.json").write_text(json.dumps(cell | {"data": "own"}), "utf-8")
    page = features_page(tmp_path).read_text("utf-8")
    assert page.count("60.0 %") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "tree"}, "model is 'tree'; expected one of feature-cnn"),
        ({"inputs": "some"}, "inputs is 'some'"),
        ({"split": "none"}, "split is 'none'"),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_a_wrong_word_is_named(table: pd.DataFrame, tmp_path: Path, change: dict, message: str) -> None:
    arguments = {"model": "knn", "inputs": "all", "split": "stratified", "seeds": 1} | change
    with pytest.raises(GtzanKerasError, match=message):
        score_cell(table, **arguments, folder=tmp_path, data="toy")
    assert not list(tmp_path.iterdir())


def test_the_ladders_chance_line_is_that_of_the_tables_genres(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("rows", "stratified"):
        score_cell(table, "knn", "all", split, 1, tmp_path, data="three genres", k=3)
    drawn, real = [], plots.leakage_ladder
    monkeypatch.setattr(plots, "leakage_ladder", lambda *what: drawn.append(what[1]) or real(*what))
    features_page(tmp_path)
    assert drawn == [{"chance": 1 / 3}]


def test_a_track_of_several_leaky_rows_counts_once_in_the_interval(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    segments = pd.concat(
        table.assign(filename=table["filename"].str.replace(".wav", f".{part}.wav")) for part in range(3)
    )
    segments[list(FEATURE_COLUMNS)] += random.normal(scale=2, size=(len(segments), len(FEATURE_COLUMNS)))
    path = score_cell(segments, "knn", "all", "rows", 1, tmp_path, data="x", k=3)
    tested = cross_validate(lambda: classical("knn"), segments, row_folds(segments, 3)).tracks
    right = tested["genre"] == tested["predicted"]
    by_track = right.groupby(tested["track_id"]).mean()
    assert by_track.mean() != pytest.approx(right.mean())  # some have rows in two folds, some in three
    assert json.loads(path.read_text("utf-8"))["accuracy"]["value"] == pytest.approx(by_track.mean())


def test_a_folder_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GtzanKerasError, match="no scores here"):
        features_page(tmp_path)


def test_the_table_of_cells_can_be_drawn_as_a_ladder_that_ends_with_the_strictest_split(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    for split in ("artist", "rows"):
        score_cell(table, "knn", "all", split, 1, tmp_path, data="toy", k=3)
    scores = score_table(tmp_path)
    cell = json.loads((tmp_path / "toy-knn-all-artist.json").read_text("utf-8"))
    assert scores["split"].tolist() == ["random rows (leaky)", "artist-grouped folds"]
    assert scores.loc[1, ["accuracy", "low", "high"]].to_dict() == {
        "accuracy": cell["accuracy"]["value"],
        "low": cell["accuracy"]["low"],
        "high": cell["accuracy"]["high"],
    }
    labels = plots.leakage_ladder(scores).axes[0].get_xticklabels()
    assert [label.get_text().replace("\n", " ") for label in labels] == scores["split"].tolist()


def test_a_folder_without_cells_gives_a_table_without_rows(tmp_path: Path) -> None:
    assert score_table(tmp_path / "nowhere").columns.tolist()[-3:] == ["accuracy", "low", "high"]
