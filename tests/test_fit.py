"""Training: it learns, keeps the best weights, is repeatable, and refuses wrong input."""

import dataclasses
import json
import shutil
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from sklearn.utils.class_weight import compute_class_weight

from gtzan_keras import models
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.layers import clone
from gtzan_keras.store.augmentation import Augmentation, FeatureAugmentation
from gtzan_keras.store.base import Sample, pack, write_store
from gtzan_keras.store.open import open_store
from gtzan_keras.tracks.catalogue import describe
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training import fit as fit_module
from gtzan_keras.training.fit import Stage, make_state, optimizer_for, train
from gtzan_keras.training.run import load_run
from gtzan_keras.training.settings import TrainingSettings
from tests.conftest import SEPARABLE_GENRES, TINY


def part(store, numbers):
    return tuple(track_id for track_id in store.track_id if int(track_id.split(".")[1]) in numbers)


def split_of(store, validation=True):
    """Tracks 0-7 of each genre, 8-9 (or none), 10-11."""
    return Split(
        "by hand", part(store, range(8)), part(store, range(8, 10 * validation)), part(store, range(10, 12))
    )


def fit(store, out, model=None, **arguments):
    """A training of a few seconds."""
    if model is None:
        keras.utils.set_random_seed(1)
        model = models.cnn(store.spec.shape, 3, filters=(4,), dense_units=(8,), dropout=0.1)
    split = arguments.pop("split", None) or split_of(store)
    options = {name: arguments.pop(name) for name in ("resume", "facts", "callbacks") if name in arguments}
    values = {"epochs": 12, "batch_size": 8, "learning_rate": 0.03, "precision": "float32", **arguments}
    return train(model, store, split, TrainingSettings(**values), out=out, verbose=0, **options)


def linear(store):
    """Without dropout: what it gives in training is what it gives."""
    keras.utils.set_random_seed(1)
    return models.dense(store.spec.shape, len(store.genres), units=())


def predict(run, track_ids):
    """Probabilities and class numbers of the samples of these tracks."""
    rows = run.store.rows(track_ids)
    images = run.store.read(rows).astype(np.float32) / 255
    truth = np.array([run.store.genres.index(genre) for genre in run.store.genre[rows]])
    return np.asarray(run.model(images)), truth


def cross_entropy(probabilities, truth):
    return -np.log(probabilities[np.arange(len(truth)), truth])


def assert_same_weights(model, other):
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.fixture(scope="module")
def run(separable, tmp_path_factory):
    return fit(
        separable,
        tmp_path_factory.mktemp("run") / "first",
        augmentation=Augmentation(time_shift=True),
        facts={"data": "stripes", "arguments": {"filters": (4,)}},
    )


def test_a_training_is_that_of_keras_own_fit_on_the_same_batches(separable, tmp_path):
    values = {"epochs": 3, "learning_rate": 0.01, "class_weights": True, "monitor": "val_loss"}
    augmentation = Augmentation(noise=0.1)
    model, split, size, seed = linear(separable), split_of(separable), 7, 5
    plain = clone(model, lambda _: "float32")
    own = fit(separable, tmp_path, model, batch_size=size, seed=seed, augmentation=augmentation, **values)
    plain.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    history = plain.fit(
        separable.batches(split.train, size, shuffle=True, seed=seed, augmentation=augmentation),
        validation_data=separable.batches(split.validation, size),
        epochs=3,
        shuffle=False,
        class_weight=dict.fromkeys(range(3), 1.0),  # the genres are equally frequent
        verbose=0,
    ).history
    for name, figures in history.items():
        np.testing.assert_allclose(own.history[name], figures, rtol=1e-5, err_msg=name)


# ---- the best weights


def test_validation_scores_of_the_history_are_those_of_the_kept_weights(run):
    probabilities, truth = predict(run, run.split.validation)
    kept = run.history.set_index("epoch").loc[run.outcome.best_epoch]
    assert kept["val_loss"] == pytest.approx(cross_entropy(probabilities, truth).mean(), rel=1e-3)
    assert kept["val_accuracy"] == (probabilities.argmax(axis=1) == truth).mean()


@pytest.fixture(scope="module")
def turned(make_store):
    """Tracks from 8 on wear the next genre's stripes: the better it learns, the worse validation gets."""
    ids = [f"{genre}.{number:05d}" for genre in SEPARABLE_GENRES for number in range(12)]
    images = np.zeros((len(ids), 8, 12, 1), np.uint8)
    for row in range(len(ids)):
        stripe = (row // 12 + (row % 12 >= 8)) % 3
        images[row, 3 * stripe : 3 * stripe + 2] = 200
    return make_store(ids, images)


def test_training_stops_early_and_the_best_weights_come_back(turned, tmp_path):
    run = fit(turned, tmp_path, linear(turned), patience=2)
    losses = run.history["val_loss"]
    best = int(losses.argmin()) + 1
    assert len(run.history) == best + 2 < 12
    assert run.outcome.best_epoch == best
    probabilities, truth = predict(run, run.split.validation)
    assert cross_entropy(probabilities, truth).mean() == pytest.approx(losses.min(), rel=1e-4)


def test_the_best_macro_precision_is_the_highest(separable, tmp_path):
    run = fit(separable, tmp_path, linear(separable), monitor="val_macro_precision", learning_rate=3e-3)
    scores = run.history["val_macro_precision"]
    assert scores.min() < scores.max()
    assert run.outcome.best_epoch == scores.argmax() + 1
    probabilities, truth = predict(run, run.split.validation)
    assert sklearn.metrics.precision_score(
        truth, probabilities.argmax(axis=1), average="macro", zero_division=0
    ) == pytest.approx(scores.max())


# ---- rates, optimizers, weights


@pytest.mark.usefixtures("eager")
def test_the_rate_is_halved_on_plateaus(separable, tmp_path):
    # So low a rate that nothing ever improves; after the first epoch, each is a plateau.
    run = fit(separable, tmp_path, linear(separable), learning_rate=1e-9, plateau_patience=1, epochs=4)
    np.testing.assert_allclose(run.history["learning_rate"], [1e-9, 1e-9, 5e-10, 2.5e-10], rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("step", {0: 1, 9: 1, 10: 1 / 2, 19: 1 / 2, 20: 1 / 4}),
        # It rises for one epoch in twenty.
        ("cosine", {0: 0, 0.5: 0.5, 1: 1, 10.5: 0.5, 20: 0}),
    ],
)
def test_a_schedule_gives_each_epoch_its_share_of_the_rate(schedule, rates):
    optimizer = optimizer_for(TrainingSettings(schedule=schedule, epochs=20, learning_rate=0.03), steps=8)
    for epochs, share in rates.items():
        optimizer.iterations.assign(int(8 * epochs))
        assert float(optimizer.learning_rate) == pytest.approx(0.03 * share, abs=1e-8)


@pytest.mark.usefixtures("eager")
def test_without_a_validation_part_all_epochs_are_run_and_the_last_weights_kept(separable, tmp_path):
    split = split_of(separable, validation=False)
    run = fit(separable, tmp_path, linear(separable), split=split, schedule="cosine", epochs=5)
    assert len(run.history) == run.outcome.best_epoch == 5
    assert not [name for name in run.history if name.startswith("val_")]
    assert run.history["learning_rate"].is_monotonic_decreasing
    probabilities, truth = predict(run, split.train)
    assert cross_entropy(probabilities, truth).mean() < run.history["loss"].min()


@pytest.mark.parametrize(
    ("decay", "rate", "share"),
    [(0.5, 0.01, 0.005), (1e-4, 1e-4, 0)],  # the second is Arrigo's: lost in float32
)
def test_adamw_decays_weights_but_not_biases(decay, rate, share):
    model = models.dense((4,), 3, units=())
    kernel, bias = model.trainable_variables
    bias.assign(bias + 1)
    before = kernel.numpy()
    settings = TrainingSettings(optimizer="adamw", weight_decay=decay, learning_rate=rate)
    optimizer_for(settings, steps=1).apply([0 * kernel, 0 * bias], model.trainable_variables)
    np.testing.assert_allclose(kernel, (1 - share) * before, rtol=1e-6 if share else 0)
    np.testing.assert_array_equal(bias, 1)


@pytest.mark.usefixtures("eager")
def test_class_weights_are_scikit_learns_balanced_ones(separable, tmp_path):
    uneven = tuple(separable.track_id[[0, 1, 2, 3, 12, 13, 24]])
    # So low a rate that the loss of the epoch is that of the weights that are there.
    split = Split("uneven", uneven, (), part(separable, range(11, 12)))
    step = {"epochs": 1, "batch_size": 100, "learning_rate": 1e-30, "class_weights": True}
    run = fit(separable, tmp_path, linear(separable), split=split, **step)
    probabilities, truth = predict(run, uneven)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=truth)[truth]
    expected = (weights * cross_entropy(probabilities, truth)).mean()
    assert run.history["loss"].item() == pytest.approx(expected, rel=1e-4)


# ---- what is kept


def test_a_run_whose_store_has_moved_says_how_to_name_it(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    record = json.loads((copy / "run.json").read_text("utf-8"))
    (copy / "run.json").write_text(json.dumps({**record, "store": "elsewhere/store.h5"}), "utf-8")
    with pytest.raises(
        GtzanKerasError, match=r"elsewhere/store\.h5 is missing; move it back, or pass .* open_store"
    ):
        load_run(copy)


def test_a_run_opens_again_as_it_was_also_with_a_store_that_has_moved(run, tmp_path):
    (tmp_path / "moved.h5").write_bytes(run.store.path.read_bytes())
    assert load_run(run.folder, open_store(tmp_path / "moved.h5")).store.path.name == "moved.h5"
    again = load_run(run.folder)
    assert (again.name, again.split, again.settings) == ("first", run.split, run.settings)
    assert (again.outcome, again.facts) == (run.outcome, run.facts)
    assert again.store.path == run.store.path
    pd.testing.assert_frame_equal(again.history, run.history)
    assert_same_weights(again.model, run.model)


@pytest.mark.parametrize(
    ("genre", "hop_length", "message"),
    [
        ("blues", 512, r"genres disco, metal, rock, but .* genres blues, metal, rock"),
        ("disco", 256, "hop_length: 512 against 256"),
    ],
)
def test_a_run_does_not_open_with_a_store_of_other_genres_or_spec(
    run, make_store, genre, hop_length, message
):
    spec = dataclasses.replace(TINY, hop_length=hop_length)
    store = make_store([f"{genre}.00000", "metal.00000", "rock.00000"], spec=spec)
    with pytest.raises(GtzanKerasError, match=message):
        load_run(run.folder, store)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(GtzanKerasError, match=r"run\.json is missing, so this is not a run"):
        load_run(tmp_path)


@pytest.mark.parametrize("gone", ["history.csv", "run.json"])
def test_a_run_that_was_copied_in_part_is_refused(run, tmp_path, gone):
    shutil.copytree(run.folder, tmp_path / "copy")
    if gone == "run.json":
        (tmp_path / "copy" / gone).write_text("{}")
    else:
        (tmp_path / "copy" / gone).unlink()
    with pytest.raises(GtzanKerasError, match=r"copy: not a complete run .*; copy the whole folder"):
        load_run(tmp_path / "copy")


@pytest.mark.usefixtures("eager")
def test_a_new_training_deletes_the_result_of_the_old_one(separable, tmp_path):
    for name in ("result.json", "tracks.csv", "nearest.csv", "notes.txt"):
        (tmp_path / name).touch()
    fit(separable, tmp_path, linear(separable), epochs=1)
    assert {path.name for path in tmp_path.iterdir()} == {
        "history.csv", "model.keras", "notes.txt", "run.json"
    }  # fmt: skip


# ---- the model that was given


@pytest.mark.usefixtures("eager")
def test_callbacks_are_called_and_the_given_model_gets_the_weights_and_is_not_compiled(separable, tmp_path):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    model = linear(separable)
    before = model.get_weights()
    run = fit(separable, tmp_path, model, callbacks=(callback,), epochs=2)
    assert seen == [0, 1]
    assert run.model is model
    assert not model.compiled
    assert not np.allclose(model.get_weights()[0], before[0])


@pytest.mark.usefixtures("eager")
def test_the_saved_model_has_layers_of_keras_alone(separable, tmp_path):
    inputs = keras.Input(separable.spec.shape)
    x = keras.layers.Activation("mish")(keras.layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(x)))
    run = fit(separable, tmp_path, model, epochs=1, precision="bfloat16")
    saved = zipfile.ZipFile(tmp_path / "model.keras").read("config.json").decode()
    for config in (run.model.to_json(), saved):
        assert "gtzan_keras" not in config
        assert "bfloat16" not in config


# ---- splits


@pytest.mark.usefixtures("eager")
def test_a_split_that_leaks_is_refused_or_if_it_says_so_trained_on_and_remembered(make_store, tmp_path):
    store = make_store(["metal.00057", "metal.00058", "rock.00015", "rock.00016"])
    leak = Split("leak", ("metal.00058", "rock.00015"), (), ("metal.00057", "rock.00016"))  # one recording
    with pytest.raises(GtzanKerasError, match=r"metal\.00058 in train, rock\.00016 in test.*leaky=True"):
        fit(store, tmp_path / "run", linear(store), split=leak)
    assert not (tmp_path / "run").exists()
    leak = dataclasses.replace(leak, leaky=True)
    fit(store, tmp_path / "run", linear(store), split=leak, epochs=1)
    assert load_run(tmp_path / "run").split == leak


@pytest.mark.usefixtures("eager")
def test_tracks_that_the_store_left_out_are_dropped(tmp_path):
    ids = ["jazz.00054", "metal.00000", "metal.00001", "pop.00000", "rock.00000"]
    broken = ("jazz.00054", "pop.00000")
    with write_store(tmp_path / "x.h5", TINY, describe({i: i.split(".")[0] for i in ids})) as writer:
        for track_id in ids:
            chunks = () if track_id in broken else pack([np.zeros(TINY.shape, np.uint8)])
            writer.append(Sample(track_id, chunks, refused="no sound" if track_id in broken else ""))
    store = open_store(tmp_path / "x.h5")
    split = Split("s", ("jazz.00054", "metal.00000", "rock.00000"), ("pop.00000",), ("metal.00001",))
    run = fit(store, tmp_path / "run", linear(store), split=split, epochs=1)
    assert "val_loss" not in run.history  # nothing of the validation part is left
    assert run.model.output_shape == (None, 4)


# ---- what is refused


@pytest.mark.parametrize(
    ("shape", "augmentation", "message"),
    [
        ((8, 10, 1), None, r"takes samples of \(8, 10, 1\), .* input_shape=\(8, 12, 1\)"),
        (TINY.shape, "sigmoid", "model 'sigmoid' gives no probabilities; let it end in a softmax"),
        (TINY.shape, "lambda", "layer 'twice' is a Lambda, which cannot be copied; use a class"),
        (TINY.shape, Augmentation(crop=4), "crop=4: model 'dense' only accepts spectrograms of 12 columns"),
        (TINY.shape, FeatureAugmentation(mixup=0.4), "output of a frozen part, but model 'dense' has none"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_training(
    separable, tmp_path, shape, augmentation, message
):
    model = models.dense(shape, 3, units=())
    if augmentation == "sigmoid":
        layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3, "sigmoid")]
        model, augmentation = keras.Sequential(layers, name="sigmoid"), None
    if augmentation == "lambda":
        x = keras.layers.Lambda(lambda x: 2 * x, name="twice")(model.inputs[0])
        model, augmentation = keras.Model(model.inputs, model(x)), None
    with pytest.raises(GtzanKerasError, match=message):
        fit(separable, tmp_path / "run", model, augmentation=augmentation)
    assert not (tmp_path / "run").exists()


def test_a_split_without_training_tracks_is_refused_before_training(separable, tmp_path):
    split = Split("test only", (), (), tuple(separable.track_id))
    with pytest.raises(
        GtzanKerasError, match=r"'test only': 0 training tracks, none of them in .*tiny\.h5; "
    ):
        train(models.dense(TINY.shape, 3), separable, split, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("eager")
def test_a_file_where_the_run_should_be_is_named(separable, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(GtzanKerasError, match="run: this folder cannot be made"):
        fit(separable, tmp_path / "run", linear(separable), epochs=1)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("validation", [True, False])
def test_a_training_that_diverges_is_one_clear_error_and_leaves_the_given_model_as_it_was(
    separable, tmp_path, validation
):
    model = linear(separable)
    split = split_of(separable, validation)
    with pytest.raises(
        GtzanKerasError, match=r"training diverged: .* loss nan.*lower learning_rate \(it is 1e"
    ):
        fit(separable, tmp_path, model, split=split, learning_rate=1e38, epochs=2)
    assert list(tmp_path.iterdir()) == []
    assert_same_weights(model, linear(separable))


# ---- averaged weights


@pytest.mark.usefixtures("eager")
def test_the_average_is_what_is_validated_and_what_comes_back(separable, tmp_path):
    plain = fit(separable, tmp_path / "plain", linear(separable), epochs=2)
    run = fit(separable, tmp_path / "averaged", linear(separable), epochs=2, ema=0.9)
    assert not np.allclose(plain.model.get_weights()[0], run.model.get_weights()[0], atol=1e-3)
    loss = cross_entropy(*predict(run, run.split.validation)).mean()
    assert loss == pytest.approx(run.history["val_loss"].min(), rel=1e-4)


# ---- resume


class Interruption(keras.callbacks.Callback):
    """Interrupts a training in the middle of this epoch (from 1)."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 1:
            raise KeyboardInterrupt


RESUMED = {
    "dropout, augmentation and a falling rate": {
        "plateau_patience": 1, "learning_rate": 0.3, "augmentation": Augmentation(time_shift=True, mixup=0.3),
    },
    "averaged weights, a cosine, and the best epoch before": {
        "ema": 0.5, "schedule": "cosine", "optimizer": "adamw", "patience": 3,
    },
    "weights of bfloat16": {},
}  # fmt: skip


@pytest.mark.parametrize("case", RESUMED)
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(turned, tmp_path, case):
    def begin(folder, *callbacks):
        model = linear(turned) if "patience" in RESUMED[case] else None  # whose first epoch is best
        if case == "weights of bfloat16":
            model = clone(linear(turned), lambda _: "bfloat16")
        options = {"epochs": 5, "resume": True, "callbacks": callbacks, **RESUMED[case]}
        return fit(turned, tmp_path / folder, model, **options)

    whole = begin("whole")
    assert (whole.outcome.best_epoch, len(whole.history)) == (1, 4) or "patience" not in RESUMED[case]
    with pytest.raises(KeyboardInterrupt):
        begin("broken", Interruption(epoch=3))
    assert [path.name for path in (tmp_path / "broken").iterdir()] == ["checkpoint.npz"]
    resumed = begin("broken")
    pd.testing.assert_frame_equal(resumed.history, whole.history, check_exact=True)
    assert resumed.outcome.best_epoch == whole.outcome.best_epoch
    assert_same_weights(resumed.model, whole.model)
    names = sorted(path.name for path in (tmp_path / "broken").iterdir())
    assert names == ["history.csv", "model.keras", "run.json"]


@pytest.mark.usefixtures("eager")
def test_a_complete_run_gives_its_weights_to_the_model_that_asks_again(separable, tmp_path):
    first, again = linear(separable), linear(separable)
    fit(separable, tmp_path, first, epochs=2, resume=True)
    assert not np.array_equal(first.get_weights()[0], again.get_weights()[0])
    fit(separable, tmp_path, again, epochs=2, resume=True)
    assert_same_weights(again, first)


@pytest.mark.usefixtures("eager")
def test_with_other_settings_training_begins_afresh(separable, tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        fit(separable, tmp_path, epochs=3, resume=True, seed=1, callbacks=(Interruption(epoch=2),))
    run = fit(separable, tmp_path, epochs=1, resume=True)
    assert "made by another training; training starts again" in caplog.text
    assert (len(run.history), run.settings.seed) == (1, 0)
    fit(separable, tmp_path, epochs=2, resume=True)
    assert "holds another training, which is replaced when this one is complete" in caplog.text


def test_whatever_a_training_depends_on_makes_it_another(separable, make_store, run, tmp_path):
    model, split = linear(separable), split_of(separable)
    stage = Stage(separable, split, TrainingSettings(), tmp_path, "name", {})
    doubled = linear(separable)
    doubled.set_weights([2 * weights for weights in model.get_weights()])
    relabelled = make_store(
        separable.track_id.tolist(), separable.read(), genres=separable.genre[::-1].tolist()
    )

    def key(model=model, precision="float32", caches=True, **changed):
        return fit_module._key(model, dataclasses.replace(stage, **changed), precision, caches)

    keys = [
        key(),
        key(model=doubled),
        key(model=models.dense(separable.spec.shape, 3, units=(4,))),
        key(precision="mixed_bfloat16"),
        key(caches=False),
        key(settings=TrainingSettings(seed=1)),
        key(split=split_of(separable, validation=False)),
        key(store=relabelled),
        key(before=run),
    ]
    assert key(model=linear(separable)) == keys[0]
    assert len(set(keys)) == len(keys)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("content", [b"PK\3\4 not much", b""])
def test_a_damaged_checkpoint_is_left_alone(separable, tmp_path, caplog, content):
    (tmp_path / "checkpoint.npz").write_bytes(content)
    run = fit(separable, tmp_path, epochs=1, resume=True)
    assert "not readable" in caplog.text
    assert len(run.history) == 1
    assert not (tmp_path / "checkpoint.npz").exists()


class Counting(keras.layers.Layer):
    """Counts how often its code runs: once for every tracing."""

    calls = 0

    def call(self, inputs):
        Counting.calls += 1
        return inputs


def test_a_training_step_whose_variables_are_there_is_traced_once():
    model = keras.Sequential([keras.Input((3,)), Counting(), keras.layers.Dense(2, "softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    make_state(model)
    Counting.calls = 0
    model.fit(np.ones((4, 3)), np.eye(2)[[0, 1, 1, 0]], epochs=2, verbose=0)
    assert Counting.calls == 1
