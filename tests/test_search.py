"""Grid search: every combination is trained, ranked by its own history, and never trained twice."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.dense_network import dense
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks import splits
from gtzan_keras.training import search
from gtzan_keras.training.run import load_run
from gtzan_keras.training.search import divided, grid_search
from gtzan_keras.training.settings import TrainingSettings

pytestmark = pytest.mark.usefixtures("eagerly")

GRID = {"dropout": (0.0, 0.5), "learning_rate": (1e-2, 1e-4)}
SETTINGS = TrainingSettings(epochs=2, batch_size=8)


@pytest.fixture(scope="module")
def store(separable) -> SpectrogramStore:
    return separable


@pytest.fixture(scope="module")
def split(store):
    return splits.stratified(store.tracks, (0.5, 0.25, 0.25))


def build(dropout: float = 0.0, units: tuple[int, ...] = (4,)):
    return dense((8, 12, 1), 3, units=units, dropout=dropout)


@pytest.fixture(scope="module")
def searched(store, split, tmp_path_factory):
    out = tmp_path_factory.mktemp("search")
    return out, grid_search(build, store, split, GRID, SETTINGS, out=out, verbose=0)


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """The folders of the trainings that really ran an epoch."""
    names: list[str] = []
    original = search.train

    @functools.wraps(original)
    def spy(*arguments, **keywords):
        before = keywords["out"] / "run.json"
        changed = before.stat().st_mtime_ns if before.is_file() else None
        run = original(*arguments, **keywords)
        if before.stat().st_mtime_ns != changed:
            names.append(run.folder.name)
        return run

    monkeypatch.setattr(search, "train", spy)
    return names


def test_every_combination_is_a_run_with_its_settings(searched, store):
    out, table = searched
    wanted = {(dropout, rate) for dropout in GRID["dropout"] for rate in GRID["learning_rate"]}
    assert set(table[["dropout", "learning_rate"]].itertuples(index=False, name=None)) == wanted
    for name, dropout, rate in table[["run", "dropout", "learning_rate"]].itertuples(index=False):
        run = load_run(out / name, store)
        assert run.settings.learning_rate == rate
        rates = [layer.rate for layer in run.model.layers if layer.__class__.__name__ == "Dropout"]
        assert rates == ([dropout] if dropout else [])


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
    pd.testing.assert_frame_equal(pd.read_csv(out / "grid.csv"), table, check_dtype=False)


def test_accuracy_ranks_from_high_to_low(store, split, tmp_path):
    grid = {"learning_rate": (1e-6, 1e-2)}
    settings = dataclasses.replace(SETTINGS, epochs=6, monitor="val_accuracy")
    table = grid_search(build, store, split, grid, settings, out=tmp_path, verbose=0)
    assert table["val_accuracy"].is_monotonic_decreasing
    assert list(table) == ["learning_rate", "val_loss", "val_accuracy", "best_epoch", "seconds", "run"]


def test_an_interrupted_search_trains_only_what_is_missing(
    searched, store, split, tmp_path, monkeypatch, trained
):
    spied, calls = search.train, []

    @functools.wraps(spied)
    def interrupted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return spied(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(search, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            grid_search(build, store, split, GRID, SETTINGS, out=tmp_path, verbose=0)
    assert len(trained) == 2
    table = grid_search(build, store, split, GRID, SETTINGS, out=tmp_path, verbose=0)
    assert len(trained) == len(set(trained)) == 4
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), searched[1].drop(columns="seconds"))


def test_the_test_part_is_not_read(store, split, tmp_path, monkeypatch):
    seen: set[int] = set()
    original = SpectrogramStore.read

    def spy(self, rows):
        seen.update(int(row) for row in np.atleast_1d(rows))
        return original(self, rows)

    monkeypatch.setattr(SpectrogramStore, "read", spy)
    grid_search(build, store, split, {"dropout": (0.0,)}, SETTINGS, out=tmp_path, verbose=0)
    assert seen == set(store.rows([*split.train, *split.validation]).tolist())


def test_values_may_be_of_any_kind(store, split, tmp_path):
    grid = {"units": ((4,), (8, 4)), "patience": (None,)}
    table = grid_search(build, store, split, grid, SETTINGS, out=tmp_path, verbose=0)
    assert {*table["units"]} == {(4,), (8, 4)}
    assert table["patience"].tolist() == [None, None]
    best = {name: table[name].iloc[0] for name in grid}
    assert divided(best) == ({"units": best["units"]}, {"patience": None})


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"dropout": ()}, r"grid=.*'dropout': \(\)"),
        ({"dropout": 0.5}, "grid=.*'dropout': 0.5"),
        ({"optimizer": "adam"}, "grid=.*'optimizer': 'adam'"),
        ({"seed": (0, 1)}, "grid: seed must be the same for all combinations"),
    ],
)
def test_a_grid_of_nothing_is_refused(store, split, tmp_path, grid, words):
    with pytest.raises(GtzanKerasError, match=words):
        grid_search(build, store, split, grid, SETTINGS, out=tmp_path, verbose=0)


def test_a_ranking_without_a_validation_part_is_refused(store, split, tmp_path):
    for parts, settings in (
        (dataclasses.replace(split, validation=()), SETTINGS),
        (split, TrainingSettings(monitor="loss")),
    ):
        with pytest.raises(GtzanKerasError, match="a search is ranked on the validation part"):
            grid_search(build, store, parts, GRID, settings, out=tmp_path, verbose=0)


def test_an_error_of_a_training_or_a_builder_comes_through(store, split, tmp_path):
    with pytest.raises(GtzanKerasError, match=r"learning_rate=-1\.0: expected"):
        grid_search(build, store, split, {"learning_rate": (-1.0,)}, SETTINGS, out=tmp_path, verbose=0)
    with pytest.raises(TypeError, match="filters"):
        grid_search(build, store, split, {"filters": (8,)}, SETTINGS, out=tmp_path, verbose=0)
