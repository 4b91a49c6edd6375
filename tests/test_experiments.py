"""Recipes as data, and the function that runs them."""

import csv
import dataclasses
import inspect
import json
from collections import Counter
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gtzan_keras import load_run, models
from gtzan_keras.audio.features import FEATURE_COLUMNS
from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import RECIPES, catalogue, changes, find, run, runner
from gtzan_keras.experiments.inputs import Inputs, departures, digest_of_weights, find_inputs
from gtzan_keras.experiments.recipe import EMBEDDINGS, FEATURES
from gtzan_keras.models.layers import all_layers
from gtzan_keras.store.embeddings import EmbeddingSpec, EmbeddingsStore
from gtzan_keras.tracks import splits
from gtzan_keras.training.classical import CLASSICAL
from gtzan_keras.training.cross_validate import INPUTS, tracks_of
from gtzan_keras.training.results import read_result
from gtzan_keras.training.settings import TrainingSettings
from tests.made_results import put_recipe

pytestmark = pytest.mark.usefixtures("eagerly")


def test_every_published_experiment_has_a_recipe():
    sources = Counter(name.split("/")[0] for name in RECIPES if not name.startswith("baseline/"))
    assert sources == {"malvezzi": 6, "zhang": 7, "feature-cnn": 4, "uncu": 5, "arrigo": 20}


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
    for kind in recipe.kinds:
        assert kind in (*SPECTROGRAM_SPECS, *FEATURES, *EMBEDDINGS)
        assert kind not in FEATURES or recipe.members or recipe.inputs in INPUTS
    if recipe.base:
        find(recipe.base)
    if recipe.builder in CLASSICAL or recipe.members:
        assert recipe.settings is None
        return
    assert isinstance(recipe.settings, TrainingSettings)
    build = getattr(models, recipe.builder, partial(models.image_base, recipe.builder))
    inspect.signature(build).bind_partial(**recipe.arguments, name="x")


def built(name, **arguments):
    """A recipe's network, for small inputs."""
    recipe = find(name)
    shape = {"yolov8": (64, 64, 1), "feature_cnn": (51,)}.get(recipe.builder, (48, 48, 1))
    return getattr(models, recipe.builder)(shape, 10, **recipe.arguments, **arguments)


CNNS = [name for name, recipe in RECIPES.items() if recipe.builder == "cnn" and recipe.source != "ours"]


def test_a_cnn_rescales_its_input_as_its_recipe_says():
    rescaling = built(CNNS[0]).layers[1]  # no argument of `cnn` changes it
    assert (rescaling.offset, rescaling.scale + rescaling.offset) == (-2, 2)
    assert [name for name in CNNS if "input rescaled to -2..2" in find(name).ours] == CNNS


@pytest.mark.parametrize(
    ("name", "arguments", "rates", "words"),
    [
        ("zhang/cnn", {}, [0.25, 0.5], "dropout 0.25 and 0.5"),
        ("feature-cnn/all", {}, [0.3, 0.3, 0.3], "64 and 128 filters, dense 128, dropout 0.3"),
        ("arrigo/18", {"weights": None}, [0.2, 0.5, 0.5], "dropout 0.5, 0.2 before pooling"),
    ],
)
def test_a_network_has_the_dropout_that_its_recipe_names(name, arguments, rates, words):
    layers = all_layers(built(name, **arguments))
    assert [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)] == rates
    assert [choice for choice in find(name).ours if "dropout" in choice] == [words]


@pytest.mark.parametrize("recipe", [r for r in RECIPES.values() if r.base], ids=lambda r: r.name)
def test_a_recipe_differs_from_its_base(recipe):
    assert changes(recipe)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("arrigo/05", ["dropout: 0.4-0.0 -> 0.3-0.0", "dropout_before_output: 0.4 -> 0.0"]),
        ("arrigo/20", ["patience: 1 -> 30"]),
        ("feature-cnn/mfcc-only", ["inputs: filtered -> mfcc"]),
    ],
)
def test_the_difference_between_neighbours_is_data(name, expected):
    assert changes(find(name)) == expected


# ---- running


@pytest.fixture(scope="module")
def small():
    """Add a recipe like another, with a network that trains in no time."""

    def add(like, **changed):
        recipe = {
            "name": f"small/{like.split('/')[1]}",
            "builder": "cnn",
            "arguments": {"filters": (4,), "dense_units": (4,)},
            "settings": TrainingSettings(epochs=2, batch_size=8, precision="float32"),
            **changed,
        }
        patch.setitem(catalogue.RECIPES, recipe["name"], dataclasses.replace(find(like), **recipe))
        return recipe["name"]

    with pytest.MonkeyPatch.context() as patch:
        yield add


def a_table(rows_a_track=1):
    """Features of 20 tracks of each of three genres, half told apart."""
    names = [f"{genre}.{number:05}" for genre in ("jazz", "pop", "rock") for number in range(20)]
    if rows_a_track > 1:
        names = [f"{name}.{row}" for name in names for row in range(rows_a_track)]
    values = np.random.default_rng(0).normal(size=(len(names), len(FEATURE_COLUMNS)))
    values += np.repeat([0, 0.4, 0.8], len(names) // 3)[:, None]
    return pd.DataFrame(values, columns=[*FEATURE_COLUMNS]).assign(
        filename=[f"{name}.wav" for name in names],
        length=661794 // rows_a_track,
        label=[name.split(".")[0] for name in names],
    )


FINISHED = {"max_epochs": 1, "precision": "bfloat16", "verbose": 0}


@pytest.fixture(scope="module")
def finished(separable, tmp_path_factory):
    """Two seeds of a recipe on a store, and the policy that they leave behind."""
    out = tmp_path_factory.mktemp("finished")
    (folder,) = run("malvezzi/feed-forward", separable.path, seeds=2, out=out, command="how", **FINISHED)
    return folder, out, keras.config.dtype_policy().name


def test_a_recipe_runs_on_a_store_and_says_what_is_not_as_published(finished):
    folder, out, _ = finished
    assert folder == out / "malvezzi" / "feed-forward" / "published"
    result, tracks = read_result(folder / "seed0")
    assert result["departures"] == [
        "at most 1 epochs in place of 50",
        "spectrograms of tiny in place of malvezzi-rgb224",
    ]
    facts = [result[field] for field in ("recipe", "protocol", "seed", "command")]
    assert facts == ["malvezzi/feed-forward", "published", 0, "how"]
    assert TrainingSettings.from_dict(result["settings"]).epochs == 1
    assert len(tracks) == result["split"]["test"]
    assert len(pd.read_csv(folder / "seed0" / "history.csv")) == 1
    assert not list(out.rglob("*.png")) + list(out.rglob("*.html"))


def test_every_seed_trains_in_the_precision_that_is_asked_for(finished):
    folder, _, policy_afterwards = finished
    results = [read_result(folder / f"seed{seed}")[0] for seed in (0, 1)]
    assert [result["outcome"]["precision"] for result in results] == ["mixed_bfloat16"] * 2
    assert policy_afterwards == "float32"


def test_a_second_run_uses_existing_results(finished, separable, monkeypatch):
    folder, out, _ = finished
    before = (folder / "seed0" / "result.json").read_bytes()

    def forbidden(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(runner, "train", forbidden)
    run("malvezzi/feed-forward", separable.path, seeds=2, out=out, **FINISHED)
    assert (folder / "seed0" / "result.json").read_bytes() == before
    with pytest.raises(AssertionError, match="trained again"):
        run("malvezzi/feed-forward", separable.path, seeds=3, out=out, **FINISHED)


def test_another_experiment_in_the_same_folder_is_refused(finished, separable, make_store):
    _, out, _ = finished
    with pytest.raises(GtzanKerasError, match=r"seed0: holds a run that differs in settings; .* --out"):
        run("malvezzi/feed-forward", separable.path, out=out, **{**FINISHED, "max_epochs": 2})
    with pytest.raises(GtzanKerasError, match="differs in data"):
        run("malvezzi/feed-forward", make_store(list(separable.track_id)).path, out=out, **FINISHED)
    with pytest.raises(GtzanKerasError, match="differs in recipe"):
        run("malvezzi/feed-forward", separable.path, out=out, arguments={"units": (8,)}, **FINISHED)


def test_a_result_is_not_used_again_when_facts_that_decide_its_split_were_corrected(tmp_path):
    tracks = tracks_of(a_table()).assign(artist=[f"artist {number // 2}" for number in range(60)])
    corrected = tracks.assign(artist=[f"artist {number // 4}" for number in range(60)])

    def key(protocol, known):
        inputs = Inputs(None, a_table(), "three genres", None, known)
        return runner.Experiment(find("baseline/svm"), inputs, protocol, None, (), "").key

    put_recipe(tmp_path, "baseline/svm", "artist", key=key("artist", tracks))
    folder = tmp_path / "baseline" / "svm" / "artist"
    runner._check_folder(folder, key("artist", tracks))
    with pytest.raises(GtzanKerasError, match=r"seed0: holds a run that differs in split; "):
        runner._check_folder(folder, key("artist", corrected))
    assert key("random", tracks) == key("random", corrected)  # artists do not decide this split
    older = {name: value for name, value in key("artist", tracks).items() if name != "split"}
    put_recipe(tmp_path, "baseline/svm", "artist", key=older)
    runner._check_folder(folder, key("artist", corrected))  # nothing is known of its split


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "baseline/knn",
            {"weights": "w.h5"},
            "weights='w.h5': recipe baseline/knn starts from no .* --weights",
        ),
        (
            "zhang/cnn",
            {"weights": "none"},
            "weights='none': recipe zhang/cnn starts from no pretrained weights",
        ),
        (
            "zhang/svm",
            {"max_epochs": 3},
            "max_epochs=3: recipe zhang/svm is not trained .* omit --max-epochs",
        ),
        ("baseline/ensemble", {"precision": "float32"}, "precision='float32': recipe .* omit --precision"),
        ("zhang/cnn", {"max_epochs": -3}, "max_epochs=-3: expected a whole number >= 1"),
    ],
)
def test_an_option_without_effect_on_a_recipe_is_refused(name, options, message, tmp_path):
    with pytest.raises(GtzanKerasError, match=message):
        run(name, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_arguments_of_json_are_compared_with_a_recipes_and_unknown_ones_named(separable, tmp_path):
    same = {"filters": [32, 64, 128, 256, 256], "dense_units": []}
    changed, differences = runner._changed(find("baseline/cnn"), same, None, None)
    assert (differences, changed) == ([], find("baseline/cnn"))
    with pytest.raises(GtzanKerasError, match=r"arguments=.*'filter': 3.*unexpected keyword"):
        run("malvezzi/feed-forward", separable.path, out=tmp_path, arguments={"filter": 3}, **FINISHED)


def test_weights_none_are_a_departure_only_where_a_network_is_built(tmp_path):
    def made(source):
        spec = EmbeddingSpec(name="x", patches=2, size=3, source=source)
        ids = [f"{genre}.0000{number}" for genre in ("jazz", "rock") for number in range(4)]
        return EmbeddingsStore.from_arrays(tmp_path / "x.h5", [np.ones((1, 3), "float32")] * 8, ids, spec)

    store = made("Keras model vggish 0123")
    inputs = find_inputs(find("uncu/vggish-cnn"), [store.path], tmp_path, 1, "none")
    (words,) = departures(find("uncu/vggish-cnn"), inputs, "none")
    assert words.startswith("random weights: embeddings of Keras model vggish 0123 in place of https://")
    store = made("musicnn-msd")
    with pytest.raises(GtzanKerasError, match="weights='none': recipe baseline/musicnn takes embeddings"):
        find_inputs(find("baseline/musicnn"), [store.path], tmp_path, 1, "none")


def test_weights_are_told_apart_by_content(tmp_path):
    one, copy, other = (tmp_path / name for name in ("one.h5", "copy.h5", "other.h5"))
    for path, content in ((one, b"1"), (copy, b"1"), (other, b"2")):
        path.write_bytes(content)
    assert digest_of_weights(str(one)) == digest_of_weights(str(copy)) != digest_of_weights(str(other))
    assert (digest_of_weights(None), digest_of_weights("none")) == ("", "none")


OWN_FACTS = "track_id,genre,artist,title,wav_md5,fault_filtered,exact_duplicate_of\n"


def test_own_facts_of_a_folder_reach_the_splits_of_recipes_on_features(tmp_path):
    for number, (genre, name) in enumerate([("fado", "one"), ("fado", "two"), ("polka", "three")]):
        file = tmp_path / "own" / genre / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.random.default_rng(number).uniform(-1, 1, 22050), 22050)
    (tmp_path / "own" / "polka" / "broken.wav").write_bytes(b"no music " * 99)
    rows = ["fado/one,fado,Ada,,,train,", "fado/two,fado,Bo,,,test,", "polka/three,polka,Cy,,,valid,"]
    (tmp_path / "own" / "tracks.csv").write_text(OWN_FACTS + "\n".join(rows))
    found = find_inputs(find("baseline/svm"), [tmp_path / "own"], tmp_path / "stores", 1, None)
    assert found.tracks["track_id"].tolist() == ["fado/one", "fado/two", "polka/three"]
    assert found.tracks["artist"].tolist() == ["Ada", "Bo", "Cy"]
    assert splits.fault_filtered(found.tracks).test == ("fado/two",)
    assert len(found.table) == 3


@pytest.fixture(scope="module")
def folds(separable, small, tmp_path_factory):
    """Two artist-grouped folds, interrupted in the second; what was there then, and after another run."""
    arguments = {"protocol": "artist", "out": tmp_path_factory.mktemp("folds"), "verbose": 0}
    name, train = small("zhang/cnn-kfold"), runner.train

    def interrupted(*what, **options):
        if options["out"].name == "fold2":
            raise KeyboardInterrupt
        return train(*what, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "FOLDS", 2)
        patch.setattr(runner, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(name, separable.path, **arguments, command="of the first run")
        before = {path: path.stat().st_mtime_ns for path in arguments["out"].rglob("*.*")}
        patch.setattr(runner, "train", train)
        (folder,) = run(name, separable.path, **arguments, command="of the second")
    return folder / "seed0", before


def test_interrupted_folds_are_no_result_and_are_used_again(folds):
    folder, before = folds
    assert folder / "result.json" not in before
    made = folder / "fold1" / "model.keras"
    assert made.stat().st_mtime_ns == before[made]
    assert read_result(folder)[0]["command"] == "of the second"


def test_the_folds_of_a_seed_are_pooled_by_track(folds, separable):
    result, tracks = read_result(folds[0])
    assert sorted(tracks["track_id"]) == sorted(separable.track_id)
    assert tracks["fold"].value_counts().to_dict() == {
        number: fold["test"] for number, fold in enumerate(result["folds"], start=1)
    }
    assert result["split"]["name"] == "artist-grouped folds (2)"
    seconds = sum(fold["outcome"]["seconds"] for fold in result["folds"])
    assert result["outcome"] == {"seconds": pytest.approx(seconds)}
    assert pd.read_csv(folds[0] / "history.csv")["fold"].tolist() == [1, 1, 2, 2]


def test_a_recipe_without_a_genre_has_no_output_and_no_score_for_it(make_store, small, tmp_path):
    ids = [f"{genre}.{number:05}" for genre in ("blues", "country", "metal", "rock") for number in range(12)]
    (folder,) = run(small("zhang/without-country-rock"), make_store(ids).path, out=tmp_path, verbose=0)
    result, tracks = read_result(folder / "seed0")
    assert result["data"]["genres"] == ["blues", "metal"]
    assert result["data"]["tracks"] == 24
    assert set(tracks["genre"]) == {"blues", "metal"}
    opened = load_run(folder / "seed0")  # on the whole store
    assert opened.store.genres == ["blues", "metal"]
    answers = opened.model.predict(opened.store.batches(opened.split.test, shuffle=False), verbose=0)
    np.testing.assert_allclose(answers, tracks[["blues", "metal"]], atol=6e-5)


def test_folds_that_choose_the_epochs_are_recorded_and_their_seconds_counted(separable, small, tmp_path):
    (folder,) = run(small("arrigo/19", kfold=2, pretrained=""), separable.path, out=tmp_path, verbose=0)
    result, _ = read_result(folder / "seed0")
    files = ("run.json", "fold1/run.json", "fold2/run.json")
    records = [json.loads((folder / "seed0" / file).read_text("utf-8")) for file in files]
    seconds = sum(record["outcome"]["seconds"] for record in records)
    assert result["outcome"]["seconds"] == pytest.approx(seconds)
    assert result["kfold"]["best_epochs"] == [record["outcome"]["best_epoch"] for record in records[1:]]
    assert result["name"] == "small/19, published, seed 0"


def test_both_stages_are_recorded_and_each_is_used_again(separable, small, tmp_path):
    second = dataclasses.replace(find("malvezzi/vgg16-fine-tuned").fine_tune, trainable_from="predictions")
    name = small("malvezzi/vgg16-fine-tuned", fine_tune=second, pretrained="")
    (folder,) = run(name, separable.path, max_epochs=1, out=tmp_path, verbose=0)
    result, _ = read_result(folder / "seed0")
    assert result["name"] == f"{name}, published, seed 0"
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("model.keras")}
    assert len(made) == 2
    (folder / "seed0" / "result.json").unlink()  # as after an interruption in a later fold
    run(name, separable.path, max_epochs=1, out=tmp_path, verbose=0)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    rates = [part["settings"]["learning_rate"] for part in (result["first_stage"], result)]
    assert rates == [1e-4, 1e-5]
    assert (result["first_stage"]["outcome"]["epochs"], result["outcome"]["epochs"]) == (1, 2)


def test_a_search_chooses_what_the_recipe_is_then_trained_with(separable, small, tmp_path):
    grid = {"dropout": (0.3,), "learning_rate": (1e-4, 1e-2)}
    (folder,) = run(small("malvezzi/tuned-cnn", grid=grid), separable.path, out=tmp_path, verbose=0)
    seed = folder / "seed0"
    result, _ = read_result(seed)
    ranked = pd.read_csv(seed / "search" / "grid.csv")
    assert ranked["val_loss"].is_monotonic_increasing
    last = json.loads((seed / "run.json").read_text("utf-8"))["outcome"]["seconds"]
    assert result["outcome"]["seconds"] == pytest.approx(ranked["seconds"].sum() + last, abs=0.1)
    assert result["settings"]["learning_rate"] == ranked["learning_rate"][0]
    assert result["model"]["arguments"]["dropout"] == 0.3


def test_what_a_search_chose_in_each_fold_is_recorded(separable, small, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "FOLDS", 2)
    grid = {"dropout": (0.1, 0.5), "learning_rate": (1e-3, 1e-2)}
    name = small("malvezzi/tuned-cnn", grid=grid)
    (folder,) = run(name, separable.path, protocol="artist", out=tmp_path, verbose=0)
    result, _ = read_result(folder / "seed0")
    best = [pd.read_csv(folder / "seed0" / f"fold{n}" / "search" / "grid.csv").iloc[0] for n in (1, 2)]
    found = {**result["settings"], **result["model"]["arguments"]}
    for name in grid:
        chosen = [float(one[name]) for one in best]
        assert found[name] == (chosen if len(set(chosen)) > 1 else chosen[0])


def test_values_that_differ_between_folds_are_lists():
    values = [{"seed": 0, "dropout": 0.4}, {"seed": 0, "dropout": 0.2}]
    assert runner._by_fold(values) == {"seed": 0, "dropout": [0.4, 0.2]}


def test_a_cell_has_the_accuracy_that_scikit_learn_gives_on_the_same_folds(tmp_path):
    table = a_table()
    table.to_csv(tmp_path / "table.csv", index=False)
    (folder,) = run("baseline/knn", tmp_path / "table.csv", protocol="random", seeds=2, out=tmp_path)
    place = {name.removesuffix(".wav"): row for row, name in enumerate(table["filename"])}
    for seed in range(2):
        folds = [
            ([place[t] for t in fold.train], [place[t] for t in fold.test])
            for fold in splits.folds(tracks_of(table), 5, seed=seed)
        ]
        model = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
        expected = cross_val_score(model, table[list(FEATURE_COLUMNS)], table["label"], cv=folds)
        result, tracks = read_result(folder / f"seed{seed}")
        right = (tracks["genre"] == tracks["predicted"]).groupby(tracks["fold"])
        np.testing.assert_allclose(right.mean(), expected)
        assert right.size().tolist() == [fold["test"] for fold in result["folds"]]
        assert (result["split"]["name"], result["settings"]) == ("stratified folds (5)", {})


def test_random_rows_of_segments_leak_and_are_marked(tmp_path):
    a_table(rows_a_track=3).to_csv(tmp_path / "segments.csv", index=False)
    folders = run("baseline/knn-segments-10s", tmp_path / "segments.csv", out=tmp_path)
    assert [folder.name for folder in folders] == ["published", "random"]
    (leaky, rows), (honest, tracks) = (read_result(folder / "seed0") for folder in folders)
    assert (leaky["split"]["leaky"], honest["split"]["leaky"]) == (True, False)
    assert len(rows) > len(tracks) == 60  # a track is tested in several folds
    for result, table in ((leaky, rows), (honest, tracks)):
        assert table["segments"].sum() == result["scores"]["test"]["segments"]["count"] == 180
        assert (table["segments_right"] <= table["segments"]).all()
        assert result["departures"] == []


MEMBER = ("baseline/cnn", "fault-filtered")
KEY = {"settings": "0", "data": "same"}


@pytest.fixture
def members(tmp_path):
    """Two seeds of the recipe that `baseline/ensemble` averages."""
    return [
        put_recipe(tmp_path, *MEMBER, right=right, seed=seed, departures=["at most 3 epochs"], key=KEY)
        for seed, right in enumerate((7, 5))
    ]


def test_an_ensemble_averages_its_members(members, tmp_path):
    (folder,) = run("baseline/ensemble", seeds=2, out=tmp_path)
    result, tracks = read_result(folder / "seed0")
    each = [read_result(member)[1].sort_values("track_id")["rock"].to_numpy() for member in members]
    np.testing.assert_allclose(tracks["rock"], np.mean(each, axis=0))
    assert result["members"] == [f"../../../cnn/fault-filtered/seed{seed}" for seed in (0, 1)]
    assert result["departures"] == ["at most 3 epochs"]


def test_an_ensemble_looks_for_members_where_their_own_command_puts_them(members, tmp_path):
    for seed in (0, 1):
        put_recipe(tmp_path, "baseline/cnn", "random", seed=seed, key=KEY)
    words = "run `gtzan-keras run zhang/svm --split random --seeds 2` first"
    with pytest.raises(GtzanKerasError, match=rf"zhang/svm/published/seed0.*{words}"):
        run("baseline/ensemble-with-features", protocol="random", seeds=2, out=tmp_path)
    with pytest.raises(GtzanKerasError, match=r"(?!.*mobilenet/fault-filtered/seed1)ensemble-of-all: "):
        run("baseline/ensemble-of-all", seeds=2, out=tmp_path)


@pytest.mark.parametrize(
    ("seeds", "changed", "message"),
    [
        (3, {}, "seed2 missing; run `gtzan-keras run baseline/cnn --sp"),
        (2, {"key": {**KEY, "settings": "1"}}, "seed1: holds a run that differs in settings;"),
    ],
)
def test_an_ensemble_of_missing_or_unlike_runs_is_refused(seeds, changed, message, members, tmp_path):
    put_recipe(tmp_path, *MEMBER, seed=1, **{"key": KEY, **changed})
    with pytest.raises(GtzanKerasError, match=message):
        run("baseline/ensemble", seeds=seeds, out=tmp_path)


def test_missing_weights_are_one_clear_error(separable, tmp_path):
    absent = str(tmp_path / "absent.weights.h5")
    with pytest.raises(GtzanKerasError, match=r"absent\.weights\.h5"):
        run("arrigo/15", separable.path, max_epochs=1, out=tmp_path, weights=absent)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("feature-cnn/all", "a table of features"), ("uncu/vggish-cnn", r"embeddings \(.h5, from .* hub`")],
)
def test_data_of_the_wrong_kind_is_refused(name, expected, separable, tmp_path):
    with pytest.raises(GtzanKerasError, match=f"tiny.h5; expected a folder of tracks, or .*{expected}"):
        run(name, separable.path, out=tmp_path)
