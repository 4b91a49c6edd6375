"""Grid search: every combination is trained, ranked by its own history, and never trained twice."""

import dataclasses
import itertools
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.dense_network import dense
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks import splits
from gtzan_keras.training import search
from gtzan_keras.training.run import load_run
from gtzan_keras.training.search import grid_search
from gtzan_keras.training.settings import TrainingSettings

pytestmark = pytest.mark.usefixtures("eagerly")

GRID = {"units": ((4,), (8, 4)), "learning_rate": (1e-2, 1e-4), "patience": (None,)}
SETTINGS = TrainingSettings(epochs=2, batch_size=8, precision="float32")


@pytest.fixture(scope="module")
def split(separable):
    return splits.stratified(separable.tracks, (0.5, 0.25, 0.25))


def build(dropout=0.0, units=(4,)):
    return dense((8, 12, 1), 3, units=units, dropout=dropout)


@pytest.fixture(scope="module")
def searched(separable, split, tmp_path_factory):
    out = tmp_path_factory.mktemp("search")
    return out, grid_search(build, separable, split, GRID, SETTINGS, out=out, verbose=0)


def test_every_combination_is_a_run_with_its_settings(searched, separable):
    out, table = searched
    assert {*table[[*GRID]].itertuples(index=False, name=None)} == {*itertools.product(*GRID.values())}
    for row in table.itertuples():
        run = load_run(out / row.run, separable)
        assert (run.settings.learning_rate, run.settings.patience) == (row.learning_rate, None)
        layers = [layer for layer in run.model.layers if isinstance(layer, keras.layers.Dense)]
        assert [layer.units for layer in layers] == [*row.units, 3]


def test_the_ranking_is_that_of_the_runs_own_histories(searched):
    out, table = searched
    best = []
    for row in table.itertuples():
        history = pd.read_csv(out / row.run / "history.csv")
        lowest = history.loc[history["val_loss"].idxmin()]
        assert row.val_loss == pytest.approx(lowest["val_loss"])
        assert row.val_accuracy == pytest.approx(lowest["val_accuracy"])
        assert row.best_epoch == lowest["epoch"]
        best.append(history["val_loss"].min())
    assert best == sorted(best)
    assert best[0] < best[-1]
    written = pd.read_csv(out / "grid.csv")[table.columns]
    pd.testing.assert_frame_equal(written.drop(columns=[*GRID]), table.drop(columns=[*GRID]))


def test_accuracy_ranks_from_high_to_low(separable, split, tmp_path, monkeypatch):
    accuracies = iter((0.2, 0.9, 0.5))

    def trained(*_, **__):
        history = pd.DataFrame({"val_loss": [1.0], "val_accuracy": [next(accuracies)]})
        return SimpleNamespace(history=history, outcome=SimpleNamespace(best_epoch=1, seconds=0.0))

    monkeypatch.setattr(search, "train", trained)
    settings = dataclasses.replace(SETTINGS, monitor="val_accuracy")
    grid = {"dropout": (0.1, 0.2, 0.3)}
    table = grid_search(build, separable, split, grid, settings, out=tmp_path, verbose=0)
    assert table["dropout"].tolist() == [0.2, 0.3, 0.1]


def test_an_interrupted_search_trains_only_what_is_missing(searched, separable, split, tmp_path):
    whole, expected = searched
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    missing = tmp_path / expected["run"][0]
    shutil.rmtree(missing)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model.keras")}
    table = grid_search(build, separable, split, GRID, SETTINGS, out=tmp_path, verbose=0)
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), expected.drop(columns="seconds"))
    assert len(before) == 3
    assert (missing / "model.keras").is_file()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_test_part_is_not_read(separable, split, tmp_path, monkeypatch):
    seen = set()
    original = SpectrogramStore.read

    def spy(self, rows):
        seen.update(int(row) for row in np.atleast_1d(rows))
        return original(self, rows)

    monkeypatch.setattr(SpectrogramStore, "read", spy)
    grid_search(build, separable, split, {"dropout": (0.0,)}, SETTINGS, out=tmp_path, verbose=0)
    assert seen == set(separable.rows([*split.train, *split.validation]).tolist())


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({}, "grid is empty; expected at least one name"),
        ({"dropout": ()}, r"grid=.*'dropout': \(\)"),
        ({"optimizer": "adam"}, "grid=.*'optimizer': 'adam'"),
        ({"seed": (0, 1)}, "grid: seed must be the same for all combinations"),
    ],
)
def test_a_grid_of_nothing_is_refused(separable, split, tmp_path, grid, words):
    with pytest.raises(GtzanKerasError, match=words):
        grid_search(build, separable, split, grid, SETTINGS, out=tmp_path, verbose=0)


def test_a_ranking_without_a_validation_part_is_refused(separable, split, tmp_path):
    for parts, settings in (
        (dataclasses.replace(split, validation=()), SETTINGS),
        (split, TrainingSettings(monitor="loss")),
    ):
        with pytest.raises(GtzanKerasError, match="a search is ranked on the validation part"):
            grid_search(build, separable, parts, GRID, settings, out=tmp_path, verbose=0)
