"""Recipes as data, and the function that runs them."""

import csv
import inspect
import json
import sys

import numpy as np
import pytest

from gtzan_keras import models
from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import RECIPES, changes, find
from gtzan_keras.experiments.recipe import FEATURES, VGGISH
from gtzan_keras.store.augmentation import Augmentation
from gtzan_keras.store.spectrograms import SpectrogramStore
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


@pytest.fixture
def small(monkeypatch):
    """Put a recipe in place of another, with a network that trains in no time."""
    import dataclasses

    from gtzan_keras.experiments import catalogue

    def change(name, **changed):
        arguments = {"filters": (4,), "dense_units": (4,)}
        training = {"epochs": 2, "batch_size": 8}
        recipe = {"builder": "cnn", "arguments": arguments, "training": training, **changed}
        monkeypatch.setitem(catalogue.RECIPES, name, dataclasses.replace(find(name), **recipe))
        return name

    return change


@pytest.fixture
def two_folds(monkeypatch):
    monkeypatch.setattr(sys.modules["gtzan_keras.experiments.runner"], "FOLDS", 2)


@pytest.fixture
def without_pages(monkeypatch):
    """Spares the figures, which take longer than the trainings."""
    from gtzan_keras.report import page

    monkeypatch.setattr(page, "report_run", lambda run: None)


def kept(path, file="result.json"):
    return json.loads((path.parent / "seed0" / file).read_text("utf-8"))


def test_the_folds_of_a_seed_are_pooled_by_track_on_one_page_with_a_line_each(
    store, small, two_folds, tmp_path
):
    from gtzan_keras.experiments import run

    (path,) = run(small("zhang/cnn-kfold"), store.path, protocol="artist", out=tmp_path, verbose=0)
    result = kept(path, "scores.json")
    tested = sorted(track["track_id"] for track in result["scores"]["test"]["tracks"])
    assert tested == sorted(store.track_id)
    assert summary_of(path)["tracks"] == 24
    single = [kept(path, f"fold{number}/result.json") for number in (1, 2)]
    assert [fold["count"] for fold in result["folds"]] == [
        len(one["scores"]["test"]["tracks"]) for one in single
    ]
    assert [fold["accuracy"] for fold in result["folds"]] == [
        one["scores"]["test"]["accuracy"] for one in single
    ]
    seconds = sum(one["training"]["seconds"] for one in single)
    assert result["seconds"] == summary_of(path)["seconds"] == pytest.approx(seconds)
    page = (path.parent / "seed0" / "index.html").read_text("utf-8")
    assert all(f'href="fold{number}/index.html"' in page for number in (1, 2))
    assert "artist-grouped folds (2)" in page


def test_interrupted_folds_are_no_runs(store, small, without_pages, tmp_path, monkeypatch):
    from gtzan_keras.experiments import run
    from gtzan_keras.report.page import list_runs
    from gtzan_keras.training import fit

    real = fit.train

    def interrupted(*what, **options):
        if options["out"].name == "fold2":
            raise KeyboardInterrupt
        return real(*what, **options)

    monkeypatch.setattr(fit, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(small("zhang/cnn-kfold"), store.path, out=tmp_path, verbose=0)
    assert len(list(tmp_path.glob("**/fold*/result.json"))) == 1
    assert list_runs(tmp_path) == []


def test_a_recipe_without_a_genre_has_no_output_no_score_and_no_name_for_it(make_store, small, tmp_path):
    from gtzan_keras import load_run
    from gtzan_keras.experiments import run
    from gtzan_keras.models.saving import load_model

    ids = [f"{genre}.{number:05}" for genre in ("blues", "country", "metal", "rock") for number in range(12)]
    store = make_store(ids)
    (path,) = run(small("zhang/without-country-rock"), store.path, out=tmp_path, verbose=0)
    seed, result = path.parent / "seed0", kept(path)
    model, _, genres = load_model(seed / "model.keras")
    assert (model.output_shape, genres) == ((None, 2), ["blues", "metal"])
    assert result["data"]["genres"] == ["blues", "metal"]
    assert result["data"]["tracks"] == 24
    scores = result["scores"]["test"]
    assert {track["genre"] for track in scores["tracks"]} == {"blues", "metal"}
    assert np.shape(scores["confusion_matrix"]) == (2, 2)
    assert np.sum(scores["confusion_matrix"]) == len(scores["tracks"])
    page = (seed / "index.html").read_text("utf-8")
    assert "chance 50" in page
    assert "country" not in page.split("<h2>How it was made")[0].split("</header>")[1]
    opened = load_run(seed)  # on the whole store
    assert opened.store.genres == genres
    answers = opened.model.predict(opened.store.batches(opened.split.test, shuffle=False), verbose=0)
    np.testing.assert_allclose(answers, [track["probabilities"] for track in scores["tracks"]], atol=1e-5)


def test_the_seconds_of_folds_that_choose_the_epochs_are_counted(store, small, without_pages, tmp_path):
    from gtzan_keras.experiments import run

    name = small("arrigo/19", kfold=2, pretrained="")
    (path,) = run(name, store.path, out=tmp_path, verbose=0)
    runs = ["run.json", "fold1/run.json", "fold2/run.json"]
    seconds = [kept(path, file)["outcome"]["seconds"] for file in runs]
    assert summary_of(path)["seconds"] == pytest.approx(sum(seconds))


def test_the_seconds_of_both_stages_are_counted(store, small, without_pages, tmp_path):
    from gtzan_keras.experiments import run

    second = {"trainable_from": "predictions", "learning_rate": 1e-4, "epochs": 1}
    name = small("malvezzi/vgg16-fine-tuned", fine_tune=second, pretrained="")
    (path,) = run(name, store.path, out=tmp_path, verbose=0)
    outcome = kept(path, "run.json")["outcome"]
    assert summary_of(path)["seconds"] == pytest.approx(outcome["seconds"])
    assert outcome["seconds"] >= outcome["first_stage"]["outcome"]["seconds"]
    assert outcome["first_stage"]["outcome"]["epochs"] == 2


def test_features_have_a_page_with_a_line_a_fold(tmp_path):
    import pandas as pd

    from gtzan_keras.audio.features import FEATURE_COLUMNS
    from gtzan_keras.experiments import run

    names = [f"{genre}.{number:05}.wav" for genre in ("jazz", "pop", "rock") for number in range(20)]
    values = (
        np.random.default_rng(0).normal(size=(60, len(FEATURE_COLUMNS))) + np.repeat([0, 1, 2], 20)[:, None]
    )
    table = pd.DataFrame(values, columns=list(FEATURE_COLUMNS))
    table.insert(0, "filename", names)
    table.insert(1, "length", 661794)
    table["label"] = [name.split(".")[0] for name in names]
    table.to_csv(tmp_path / "table.csv", index=False)
    (path,) = run("zhang/svm", tmp_path / "table.csv", protocol="artist", out=tmp_path / "reports")
    result = kept(path, "scores.json")
    folds = result["folds"]
    assert [fold["count"] + fold["train"] for fold in folds] == [60] * 5
    right = [round(fold["count"] * fold["accuracy"]["value"]) for fold in folds]
    assert sum(right) == np.trace(result["scores"]["test"]["confusion_matrix"])
    assert result["split"]["name"] == "artist-grouped folds (5)"
    assert 0 < summary_of(path)["seconds"] < 60
    page = (path.parent / "seed0" / "index.html").read_text("utf-8")
    assert page.count("artist-grouped fold ") == 5
    assert "chance 33" in page


def test_an_ensembles_page_lists_and_links_its_members(store, small, tmp_path):
    from gtzan_keras.experiments import run

    member = small("malvezzi/feed-forward")
    (first,) = run(member, store.path, protocol="random", out=tmp_path, verbose=0)
    first.parent.rename(tmp_path / member / "fault-filtered")  # which these few tracks do not have
    name = small("baseline/ensemble", builder="ensemble", members=(member, member))
    with pytest.raises(GtzanKerasError, match=r"averages runs that are not.*seed 1; .*seed 1"):
        run(name, [], seeds=2, out=tmp_path)
    (path,) = run(name, [], out=tmp_path)
    summary = summary_of(path)
    assert (summary["members"], summary["seeds"]) == (2, 1)
    assert summary["deviations"] == ["pictures of tiny in place of malvezzi-rgb224"]
    page = (path.parent / "seed0" / "index.html").read_text("utf-8")
    assert page.count(f'href="../../../../{member}/fault-filtered/seed0/index.html"') == 2


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
    searched = sum(float(row["seconds"]) for row in ranked)
    assert summary_of(path)["seconds"] == pytest.approx(searched + result["training"]["seconds"])
    assert result["training"]["learning_rate"] == float(ranked[0]["learning_rate"])
    assert result["model"]["arguments"]["dropout"] == float(ranked[0]["dropout"])
    assert (seed / "grid.png").is_file()


def test_every_seed_trains_in_the_same_precision(store, without_pages, tmp_path):
    import keras

    from gtzan_keras.experiments import run

    keras.config.set_dtype_policy("mixed_bfloat16")  # until the end of the test: see conftest.py
    (path,) = run("malvezzi/feed-forward", store.path, seeds=2, max_epochs=1, out=tmp_path, verbose=0)
    results = [json.loads((path.parent / f"seed{seed}" / "result.json").read_text()) for seed in (0, 1)]
    assert [result["training"]["precision"] for result in results] == ["mixed_bfloat16"] * 2
