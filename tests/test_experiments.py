"""Recipes as data, and the function that runs them."""

import csv
import inspect
import json

import numpy as np
import pytest

from gtzan_keras import models
from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import RECIPES, changes, find
from gtzan_keras.experiments.recipe import FEATURES, VGGISH
from gtzan_keras.store.batches import Augmentation
from gtzan_keras.store.hdf5 import SpectrogramStore
from gtzan_keras.training.classical import CLASSICAL
from gtzan_keras.training.fit import train

NAMES = {
    *(f"malvezzi/{name}" for name in ("basic-cnn", "tuned-cnn", "vgg16-frozen", "vgg16-fine-tuned")),
    "malvezzi/feed-forward",
    *(f"zhang/{name}" for name in ("cnn", "cnn-augmented", "cnn-kfold", "svm", "random-forest")),
    *("zhang/without-country-rock", "zhang/classical-jazz-metal"),
    *(f"feature-cnn/{name}" for name in ("all", "mfcc-only", "two-branch", "with-images")),
    *(f"uncu/{name}" for name in ("scratch-cnn", "scratch-cnn-ten-genres", "vggish-cnn", "vggish-dense")),
    *(f"arrigo/{row:02}" for row in range(1, 21)),
}  # fmt: skip


def test_every_published_experiment_has_a_recipe():
    assert set(RECIPES) >= NAMES


def test_arrigos_figures_are_those_of_table_2(real_data):
    table = real_data.parent / "sources" / "arrigo_table2.csv"
    if not table.is_file():
        pytest.skip(f"needs {table}")
    with open(table, newline="") as file:
        for row in csv.DictReader(file):
            recipe = RECIPES[f"arrigo/{int(row['id']):02}"]
            figures = {(p.metric, p.part): p.value for p in recipe.published}
            assert figures["macro_precision", "test"] == float(row["test_macro_precision"])
            assert figures["accuracy", "test"] == float(row["test_accuracy"])
            assert figures["macro_precision", "validation"] == float(row["val_macro_precision"])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_names_what_exists(recipe):
    for kind in recipe.data.split("+"):
        assert kind in (*SPECTROGRAM_SPECS, FEATURES, VGGISH)
    if recipe.base:
        find(recipe.base)
    if recipe.builder in CLASSICAL or recipe.members:
        return
    builder = inspect.signature(getattr(models, recipe.builder))
    builder.bind_partial(**recipe.arguments, name="x")
    if FEATURES not in recipe.data:
        training = {**recipe.training}
        Augmentation(**training.pop("augmentation", {}))
        inspect.signature(train).bind_partial(**training)


@pytest.mark.parametrize("recipe", [r for r in RECIPES.values() if r.base], ids=lambda r: r.name)
def test_a_recipe_differs_from_its_base_in_what_its_row_says(recipe):
    assert changes(recipe) or recipe.name in ("arrigo/12", "arrigo/17")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("arrigo/05", ["dropout: 0.4-0.0 -> 0.3-0.0", "dropout_before_output: 0.4 -> 0.0"]),
        ("arrigo/09", ["head: 256-128-64 -> 128-64"]),
        ("arrigo/15", ["norm: batch -> layer"]),
        ("arrigo/16", ["data: arrigo-v1 -> arrigo-v2"]),
        ("arrigo/20", ["patience: 0 -> 30"]),
        ("feature-cnn/mfcc-only", ["inputs: filtered -> mfcc"]),
    ],
)
def test_the_difference_between_neighbours_is_data(name, expected):
    assert changes(find(name)) == expected


def test_an_unknown_recipe_is_met_with_the_nearest_names():
    with pytest.raises(GtzanKerasError, match="did you mean arrigo/18"):
        find("arigo/18")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Twelve tracks of each of two genres, told apart by brightness."""
    from gtzan_keras.audio.spectrogram import SpectrogramSpec

    ids = [f"{genre}.{number:05}" for genre in ("jazz", "rock") for number in range(12)]
    noise = np.random.default_rng(0).integers(0, 60, size=(24, 16, 16))
    images = (noise + np.repeat([20, 180], 12)[:, None, None]).astype("uint8")
    spec = SpectrogramSpec(name="tiny", n_mels=16, height=16, width=16)
    path = tmp_path_factory.mktemp("stores") / "tiny.h5"
    return SpectrogramStore.from_arrays(path, images, ids, spec)


def summary_of(path):
    return json.loads(path.read_text("utf-8"))


def test_a_recipe_runs_on_a_store_and_says_what_is_not_as_published(store, tmp_path):
    from gtzan_keras.experiments import run

    (path,) = run("malvezzi/feed-forward", store.path, max_epochs=2, out=tmp_path, verbose=0)
    summary = summary_of(path)
    assert path == tmp_path / "malvezzi" / "feed-forward" / "published" / "summary.json"
    assert summary["deviations"] == [
        "pictures of tiny in place of malvezzi-rgb224",
        "at most 2 epochs in place of 50",
    ]
    assert summary["seeds"] == 1
    assert (path.parent / "seed0" / "index.html").is_file()


def test_a_second_run_uses_what_is_there(store, tmp_path, monkeypatch):
    from gtzan_keras.experiments import run
    from gtzan_keras.training import fit

    arguments = {"max_epochs": 1, "out": tmp_path, "verbose": 0}
    (first,) = run("malvezzi/feed-forward", store.path, **arguments)
    before = summary_of(first)

    def forbidden(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(fit, "train", forbidden)
    (second,) = run("malvezzi/feed-forward", store.path, **arguments)
    assert summary_of(second)["scores"] == before["scores"]
    with pytest.raises(AssertionError, match="trained again"):
        run("malvezzi/feed-forward", store.path, seeds=2, **arguments)


def test_the_folds_of_a_seed_are_pooled_by_track(store, tmp_path):
    from gtzan_keras.experiments import run

    (path,) = run(
        "malvezzi/feed-forward", store.path, protocol="artist", max_epochs=1, out=tmp_path, verbose=0
    )
    scores = json.loads((path.parent / "seed0" / "scores.json").read_text("utf-8"))["scores"]["test"]
    assert sorted(track["track_id"] for track in scores["tracks"]) == sorted(store.track_id)
    assert summary_of(path)["tracks"] == 24


def test_weights_that_can_not_be_had_are_one_clear_error(store, tmp_path):
    from gtzan_keras.experiments import run

    with pytest.raises(GtzanKerasError, match=r"absent\.weights\.h5"):
        run("arrigo/15", store.path, max_epochs=1, out=tmp_path, weights=str(tmp_path / "absent.weights.h5"))


def test_data_of_the_wrong_kind_is_refused(store, tmp_path):
    from gtzan_keras.experiments import run

    with pytest.raises(GtzanKerasError, match="table of features"):
        run("feature-cnn/all", store.path, out=tmp_path)


def test_a_search_chooses_what_the_recipe_is_then_trained_with(store, tmp_path, monkeypatch):
    import dataclasses

    from gtzan_keras.experiments import catalogue, run

    tuned = catalogue.RECIPES["malvezzi/tuned-cnn"]
    small = dataclasses.replace(
        tuned,
        arguments={"filters": (4,), "dense_units": (4,), "dropout": 0.4},
        grid={"dropout": (0.1, 0.3), "learning_rate": (1e-2, 1e-4)},
    )
    monkeypatch.setitem(catalogue.RECIPES, small.name, small)
    (path,) = run(small.name, store.path, max_epochs=2, out=tmp_path, verbose=0)
    seed = path.parent / "seed0"
    result = json.loads((seed / "result.json").read_text("utf-8"))
    with open(seed / "search" / "grid.csv", newline="") as file:
        ranked = list(csv.DictReader(file))
    assert len(ranked) == 4
    losses = [float(row["val_loss"]) for row in ranked]
    assert losses[0] == min(losses)
    assert result["training"]["learning_rate"] == float(ranked[0]["learning_rate"])
    assert result["model"]["arguments"]["dropout"] == float(ranked[0]["dropout"])
    assert (seed / "grid.png").is_file()


def test_every_seed_trains_in_the_same_precision(store, tmp_path):
    import keras

    from gtzan_keras.experiments import run

    keras.config.set_dtype_policy("mixed_bfloat16")  # until the end of the test: see conftest.py
    (path,) = run("malvezzi/feed-forward", store.path, seeds=2, max_epochs=1, out=tmp_path, verbose=0)
    results = [json.loads((path.parent / f"seed{seed}" / "result.json").read_text()) for seed in (0, 1)]
    assert [result["training"]["precision"] for result in results] == ["mixed_bfloat16"] * 2
