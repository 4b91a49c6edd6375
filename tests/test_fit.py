"""Training: it learns, keeps the best weights, is repeatable, and refuses wrong input."""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from sklearn.utils.class_weight import compute_class_weight

from gtzan_keras import models
from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.augmentation import Augmentation, FeatureAugmentation
from gtzan_keras.store.base import Sample, pack, write_store
from gtzan_keras.store.open import open_store
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.catalogue import describe
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training import fit as fit_module
from gtzan_keras.training.fit import Stage, make_state, optimizer_for, train
from gtzan_keras.training.run import Run, load_run
from gtzan_keras.training.settings import TrainingSettings
from tests.conftest import TINY

MakeStore = Callable[..., SpectrogramStore]


def part(store: SpectrogramStore, numbers: range) -> tuple[str, ...]:
    return tuple(track_id for track_id in store.track_id if int(track_id.split(".")[1]) in numbers)


def split_of(store: SpectrogramStore, validation: bool = True) -> Split:
    """Tracks 0-7 of each genre, 8-9 (or none), 10-11."""
    return Split(
        "by hand", part(store, range(8)), part(store, range(8, 10 * validation)), part(store, range(10, 12))
    )


def fit(store: SpectrogramStore, out: Path, model: keras.Model | None = None, **arguments: Any) -> Run:
    """A training of a few seconds."""
    if model is None:
        keras.utils.set_random_seed(1)
        model = models.cnn(store.spec.shape, 3, filters=(4,), dense_units=(8,), dropout=0.1)
    split = arguments.pop("split", None) or split_of(store)
    options = {name: arguments.pop(name) for name in ("resume", "facts", "callbacks") if name in arguments}
    values = {"epochs": 12, "batch_size": 8, "learning_rate": 0.03, "precision": "float32", **arguments}
    return train(model, store, split, TrainingSettings(**values), out=out, verbose=0, **options)


def linear(store: SpectrogramStore) -> keras.Model:
    """Without dropout: what it gives in training is what it gives."""
    keras.utils.set_random_seed(1)
    return models.dense(store.spec.shape, len(store.genres), units=())


def predict(run: Run, track_ids: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and class numbers of the samples of these tracks."""
    rows = run.store.rows(track_ids)
    images = run.store.read(rows).astype(np.float32) / 255
    truth = np.array([run.store.genres.index(genre) for genre in run.store.genre[rows]])
    return np.asarray(run.model(images)), truth


def cross_entropy(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return -np.log(probabilities[np.arange(len(truth)), truth])


@pytest.fixture(scope="module")
def run(separable: SpectrogramStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(
        separable,
        tmp_path_factory.mktemp("run") / "first",
        augmentation=Augmentation(time_shift=True),
        facts={"data": "stripes", "arguments": {"filters": (4,)}},
    )


# ---- learning


def test_what_a_glance_tells_apart_is_learnt_without_a_mistake(run: Run) -> None:
    for ids in (run.split.train, run.split.validation, run.split.test):
        probabilities, truth = predict(run, ids)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), truth)


def test_history_has_a_row_an_epoch_and_a_column_a_score(run: Run) -> None:
    assert run.history["epoch"].tolist() == list(range(1, 13))
    scores = {"loss", "accuracy", "macro_precision"}
    assert set(run.history) == {"epoch", "learning_rate", *scores, *(f"val_{name}" for name in scores)}
    assert not run.history.isna().any(axis=None)


def test_validation_scores_of_the_history_are_those_of_the_kept_weights(run: Run) -> None:
    probabilities, truth = predict(run, run.split.validation)
    kept = run.history.iloc[run.outcome.best_epoch - 1]
    assert kept["val_loss"] == pytest.approx(cross_entropy(probabilities, truth).mean(), rel=1e-3)
    assert kept["val_accuracy"] == (probabilities.argmax(axis=1) == truth).mean()


# ---- the best weights


@pytest.fixture(scope="module")
def turned(make_store: MakeStore) -> SpectrogramStore:
    """Tracks from 8 on wear the next genre's stripes: the better it learns, the worse validation gets."""
    ids = [f"{genre}.{number:05d}" for genre in ("disco", "metal", "rock") for number in range(12)]
    images = np.zeros((len(ids), 8, 12, 1), np.uint8)
    for row in range(len(ids)):
        stripe = (row // 12 + (row % 12 >= 8)) % 3
        images[row, 3 * stripe : 3 * stripe + 2] = 200
    return make_store(ids, images)


def test_training_stops_early_and_the_best_weights_come_back(
    turned: SpectrogramStore, tmp_path: Path
) -> None:
    run = fit(turned, tmp_path, linear(turned), patience=2)
    losses = run.history["val_loss"]
    best = int(losses.argmin()) + 1
    assert len(run.history) == best + 2 < 12
    assert run.outcome.best_epoch == best
    probabilities, truth = predict(run, run.split.validation)
    assert cross_entropy(probabilities, truth).mean() == pytest.approx(losses.min(), rel=1e-4)


def test_the_best_macro_precision_is_the_highest(separable: SpectrogramStore, tmp_path: Path) -> None:
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
def test_the_rate_is_halved_on_plateaus(separable: SpectrogramStore, tmp_path: Path) -> None:
    # So low a rate that nothing ever improves; after the first epoch, each is a plateau.
    run = fit(separable, tmp_path, linear(separable), learning_rate=1e-9, plateau_patience=1, epochs=4)
    np.testing.assert_allclose(run.history["learning_rate"], [1e-9, 1e-9, 5e-10, 2.5e-10], rtol=1e-5)


@pytest.fixture(scope="module")
def cosine(separable: SpectrogramStore, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Cosine, no validation part."""
    return fit(
        separable,
        tmp_path_factory.mktemp("cosine"),
        linear(separable),
        split=split_of(separable, validation=False),
        schedule="cosine",
        learning_rate=0.01,
        epochs=5,
    )


def test_the_step_schedule_halves_the_rate_every_ten_epochs() -> None:
    optimizer = optimizer_for(TrainingSettings(schedule="step", learning_rate=0.03), steps=7)
    for epochs, rate in ((9, 0.03), (10, 0.015), (19, 0.015), (20, 0.0075)):
        optimizer.iterations.assign(7 * epochs)
        assert float(optimizer.learning_rate) == pytest.approx(rate)


def test_the_cosine_ends_at_zero(cosine: Run) -> None:
    expected = [0.01 * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(1, 6)]
    np.testing.assert_allclose(cosine.history["learning_rate"], expected, rtol=1e-4, atol=1e-9)


def test_without_a_validation_part_all_epochs_are_run_and_the_last_weights_kept(cosine: Run) -> None:
    assert len(cosine.history) == cosine.outcome.best_epoch == 5
    assert not [name for name in cosine.history if name.startswith("val_")]
    probabilities, truth = predict(cosine, cosine.split.train)
    assert cross_entropy(probabilities, truth).mean() < cosine.history["loss"].min()


def test_adamw_decays_weights_but_not_biases() -> None:
    model = models.dense((4,), 3, units=())
    kernel, bias = model.trainable_variables
    bias.assign(bias + 1)
    before = kernel.numpy()
    settings = TrainingSettings(optimizer="adamw", weight_decay=0.5, learning_rate=0.01)
    optimizer_for(settings, steps=1).apply([0 * kernel, 0 * bias], model.trainable_variables)
    np.testing.assert_allclose(kernel, (1 - 0.01 * 0.5) * before, rtol=1e-6)
    np.testing.assert_array_equal(bias, 1)


def test_class_weights_are_scikit_learns_balanced_ones(separable: SpectrogramStore, tmp_path: Path) -> None:
    uneven = tuple(
        track_id for row, track_id in enumerate(separable.track_id) if row in (0, 1, 2, 3, 12, 13, 24)
    )
    # So low a rate that the loss of the epoch is that of the weights that are there.
    split = Split("uneven", uneven, (), part(separable, range(11, 12)))
    step = {"epochs": 1, "batch_size": 100, "learning_rate": 1e-30, "class_weights": True}
    run = fit(separable, tmp_path, linear(separable), split=split, **step)
    probabilities, truth = predict(run, uneven)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=truth)[truth]
    expected = (weights * cross_entropy(probabilities, truth)).mean()
    assert run.history["loss"].item() == pytest.approx(expected, rel=1e-4)


# ---- what is kept


def test_the_folder_holds_model_history_and_a_record_of_how_to_repeat_it(run: Run) -> None:
    assert sorted(path.name for path in run.folder.iterdir()) == ["history.csv", "model.keras", "run.json"]
    record = json.loads((run.folder / "run.json").read_text("utf-8"))
    outcome = record["outcome"]
    assert record["name"] == "first"
    assert record["store"] == str(run.store.path)
    assert tuple(record["split"]["train"]) == run.split.train
    assert record["facts"] == {"data": "stripes", "arguments": {"filters": [4]}}
    assert outcome["parameters"] == (9 * 4 + 4) + (4 * 6 * 4 * 8 + 8) + (8 * 3 + 3)
    assert outcome["environment"]["keras"] == keras.__version__
    assert (outcome["epochs"], outcome["precision"]) == (12, "float32")
    assert TrainingSettings.from_dict(record["settings"]) == run.settings
    assert run.settings.augmentation == Augmentation(time_shift=True)


def test_a_run_opens_again_as_it_was_also_with_a_store_that_has_moved(run: Run, tmp_path: Path) -> None:
    (tmp_path / "moved.h5").write_bytes(run.store.path.read_bytes())
    assert load_run(run.folder, open_store(tmp_path / "moved.h5")).store.path.name == "moved.h5"
    again = load_run(run.folder)
    assert (again.name, again.split, again.settings) == (run.name, run.split, run.settings)
    assert (again.outcome, again.facts) == (run.outcome, run.facts)
    assert again.store.path == run.store.path
    pd.testing.assert_frame_equal(again.history, run.history)
    for one, other in zip(again.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_does_not_open_with_a_store_of_other_genres_or_spec(run: Run, make_store: MakeStore) -> None:
    genres = make_store(["blues.00000", "pop.00000", "rock.00000"])
    spec = make_store(
        ["disco.00000", "metal.00000", "rock.00000"],
        spec=SpectrogramSpec(name="tiny", n_mels=8, height=8, width=12, hop_length=256),
    )
    with pytest.raises(GtzanKerasError, match=r"genres disco, metal, rock, but .* genres blues, pop, rock"):
        load_run(run.folder, genres)
    with pytest.raises(GtzanKerasError, match="hop_length: 512 against 256"):
        load_run(run.folder, spec)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GtzanKerasError, match=r"run\.json is missing, so this is not a run"):
        load_run(tmp_path)


# ---- the model that was given


@pytest.mark.usefixtures("eager")
def test_callbacks_are_called_and_the_given_model_gets_the_weights_and_is_not_compiled(
    separable: SpectrogramStore, tmp_path: Path
) -> None:
    seen: list[int] = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    model = linear(separable)
    before = model.get_weights()
    run = fit(separable, tmp_path, model, callbacks=(callback,), epochs=2)
    assert seen == [0, 1]
    assert run.model is model
    assert not model.compiled
    assert not np.allclose(model.get_weights()[0], before[0])


def test_the_saved_model_has_layers_of_keras_alone(separable: SpectrogramStore, tmp_path: Path) -> None:
    inputs = keras.Input(separable.spec.shape)
    x = keras.layers.Activation("mish")(keras.layers.BatchNormalization()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(x)))
    run = fit(separable, tmp_path, model, epochs=1, precision="bfloat16")
    for config in (
        run.model.to_json(),
        zipfile.ZipFile(tmp_path / "model.keras").read("config.json").decode(),
    ):
        assert "gtzan_keras" not in config
        assert "bfloat16" not in config


# ---- splits


@pytest.fixture(scope="module")
def copies(make_store: MakeStore) -> SpectrogramStore:
    """metal.00058 and rock.00016 are one recording."""
    return make_store(["metal.00057", "metal.00058", "rock.00015", "rock.00016"])


def test_a_split_that_leaks_is_refused(copies: SpectrogramStore, tmp_path: Path) -> None:
    leak = Split("leak", ("metal.00058", "rock.00015"), (), ("metal.00057", "rock.00016"))
    with pytest.raises(GtzanKerasError, match=r"metal\.00058 in train, rock\.00016 in test.*leaky=True"):
        fit(copies, tmp_path / "run", linear(copies), split=leak)
    assert not (tmp_path / "run").exists()


def test_augmentation_that_the_model_cannot_take_is_refused(
    separable: SpectrogramStore, tmp_path: Path
) -> None:
    with pytest.raises(GtzanKerasError, match=r"crop=4: model 'cnn' only accepts spectrograms of 12 columns"):
        fit(separable, tmp_path / "run", augmentation=Augmentation(crop=4))
    with pytest.raises(GtzanKerasError, match=r"output of a frozen part, but model 'cnn' has none"):
        fit(separable, tmp_path / "run", augmentation=FeatureAugmentation(mixup=0.4))
    assert not (tmp_path / "run").exists()


def test_a_new_training_deletes_the_result_of_the_old_one(
    separable: SpectrogramStore, tmp_path: Path
) -> None:
    for name in ("result.json", "tracks.csv", "nearest.csv", "notes.txt"):
        (tmp_path / name).touch()
    fit(separable, tmp_path, linear(separable), epochs=1)
    assert {path.name for path in tmp_path.iterdir()} == {
        "history.csv", "model.keras", "notes.txt", "run.json"
    }  # fmt: skip


@pytest.mark.usefixtures("eager")
def test_a_leak_that_is_meant_is_trained_on_and_remembered(copies: SpectrogramStore, tmp_path: Path) -> None:
    leak = Split("leak", ("metal.00058", "rock.00015"), (), ("rock.00016",), leaky=True)
    fit(copies, tmp_path, linear(copies), split=leak, epochs=1)
    assert load_run(tmp_path).split == leak


@pytest.mark.usefixtures("eager")
def test_tracks_that_the_store_left_out_are_dropped(tmp_path: Path) -> None:
    ids = ["jazz.00054", "metal.00000", "metal.00001", "pop.00000", "rock.00000"]
    broken = ("jazz.00054", "pop.00000")
    with write_store(tmp_path / "x.h5", TINY, describe({i: i.split(".")[0] for i in ids})) as writer:
        for track_id in ids:
            chunks = () if track_id in broken else pack([np.zeros(TINY.shape, np.uint8)])
            writer.append(Sample(track_id, chunks, refused="no sound" if track_id in broken else ""))
    store = open_store(tmp_path / "x.h5")
    assert store.genres == ["jazz", "metal", "pop", "rock"]
    split = Split("s", ("jazz.00054", "metal.00000", "rock.00000"), ("pop.00000",), ("metal.00001",))
    run = fit(store, tmp_path / "run", linear(store), split=split, epochs=1)
    assert "val_loss" not in run.history  # nothing of the validation part is left
    assert run.model.output_shape == (None, 4)


# ---- what is refused


def test_a_model_that_does_not_fit_the_store_is_refused_before_training(
    separable: SpectrogramStore, tmp_path: Path
) -> None:
    with pytest.raises(GtzanKerasError, match=r"maps \(8, 10, 1\) to 3 .* input_shape=\(8, 12, 1\)"):
        fit(separable, tmp_path / "run", models.dense((8, 10, 1), 3, units=()))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("validation", [True, False])
def test_a_training_that_diverges_is_one_clear_error_and_leaves_the_given_model_as_it_was(
    separable: SpectrogramStore, tmp_path: Path, validation: bool
) -> None:
    model = linear(separable)
    before, split = model.get_weights(), split_of(separable, validation)
    with pytest.raises(
        GtzanKerasError, match=r"training diverged: .* loss nan.*lower learning_rate \(it is 1e"
    ):
        fit(separable, tmp_path, model, split=split, learning_rate=1e38, epochs=2)
    assert list(tmp_path.iterdir()) == []
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# ---- averaged weights


def test_the_average_is_what_is_validated_and_what_comes_back(
    separable: SpectrogramStore, tmp_path: Path
) -> None:
    plain = fit(separable, tmp_path / "plain", linear(separable), epochs=4)
    run = fit(separable, tmp_path / "averaged", linear(separable), epochs=4, ema=0.9)
    assert not np.allclose(plain.model.get_weights()[0], run.model.get_weights()[0], atol=1e-3)
    images, labels = separable.batches(run.split.validation, 100)[0]
    likely = np.asarray(run.model(images))[np.arange(len(labels)), labels.argmax(axis=1)]
    assert -np.log(likely).mean() == pytest.approx(run.history["val_loss"].min(), rel=1e-4)


# ---- resume


def interrupted(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """The next training is interrupted in the middle of this epoch (from 1)."""
    original = keras.callbacks.EarlyStopping.on_train_begin

    def begin(self: keras.callbacks.EarlyStopping, logs: Any = None) -> None:
        original(self, logs)
        self.now = 0

    def epoch_begin(self: keras.callbacks.EarlyStopping, now: int, logs: Any = None) -> None:
        self.now = now + 1

    def batch_end(self: keras.callbacks.EarlyStopping, batch: int, logs: Any = None) -> None:
        if self.now == epoch and batch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(keras.callbacks.EarlyStopping, "on_train_begin", begin)
    monkeypatch.setattr(keras.callbacks.EarlyStopping, "on_epoch_begin", epoch_begin)
    monkeypatch.setattr(keras.callbacks.EarlyStopping, "on_train_batch_end", batch_end)


RESUMED: dict[str, dict[str, Any]] = {
    "dropout, augmentation and a falling rate": {
        "plateau_patience": 1, "learning_rate": 0.3, "augmentation": Augmentation(time_shift=True, mixup=0.3),
    },
    "averaged weights, a cosine, and the best epoch before": {
        "ema": 0.5, "schedule": "cosine", "optimizer": "adamw", "patience": 3,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", RESUMED)
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(
    turned: SpectrogramStore, tmp_path: Path, case: str
) -> None:
    def begin(folder: str) -> Run:
        model = linear(turned) if "patience" in RESUMED[case] else None  # whose first epoch is best
        return fit(turned, tmp_path / folder, model, epochs=5, resume=True, **RESUMED[case])

    whole = begin("whole")
    assert (whole.outcome.best_epoch, len(whole.history)) == (1, 4) or "patience" not in RESUMED[case]
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, epoch=3)
        with pytest.raises(KeyboardInterrupt):
            begin("broken")
    assert [path.name for path in (tmp_path / "broken").iterdir()] == ["checkpoint.npz"]
    resumed = begin("broken")
    pd.testing.assert_frame_equal(resumed.history, whole.history, check_exact=True)
    assert resumed.outcome.best_epoch == whole.outcome.best_epoch
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    names = sorted(path.name for path in (tmp_path / "broken").iterdir())
    assert names == ["history.csv", "model.keras", "run.json"]


@pytest.mark.usefixtures("eager")
def test_with_other_settings_training_begins_afresh(
    separable: SpectrogramStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, epoch=2)
        with pytest.raises(KeyboardInterrupt):
            fit(separable, tmp_path, epochs=3, resume=True, seed=1)
    run = fit(separable, tmp_path, epochs=1, resume=True)
    assert "made by another training; training starts again" in caplog.text
    assert (len(run.history), run.settings.seed) == (1, 0)


def test_whatever_a_training_depends_on_makes_it_another(
    separable: SpectrogramStore, make_store: MakeStore, run: Run, tmp_path: Path
) -> None:
    model, split = linear(separable), split_of(separable)
    stage = Stage(separable, split, TrainingSettings(), tmp_path, "name", {})
    doubled = linear(separable)
    doubled.set_weights([2 * weights for weights in model.get_weights()])
    relabelled = make_store(
        separable.track_id.tolist(), separable.read(), genres=separable.genre[::-1].tolist()
    )
    changes = [
        (doubled, stage, "float32", True),
        (models.dense(separable.spec.shape, 3, units=(4,)), stage, "float32", True),
        (model, stage, "mixed_bfloat16", True),
        (model, stage, "float32", False),
        (model, dataclasses.replace(stage, settings=TrainingSettings(seed=1)), "float32", True),
        (model, dataclasses.replace(stage, split=split_of(separable, False)), "float32", True),
        (model, dataclasses.replace(stage, store=relabelled), "float32", True),
        (model, dataclasses.replace(stage, before=run), "float32", True),
    ]
    key = fit_module._key(model, stage, "float32", True)
    assert fit_module._key(linear(separable), stage, "float32", True) == key
    assert len({key, *(fit_module._key(*change) for change in changes)}) == 1 + len(changes)


@pytest.mark.usefixtures("eager")
def test_a_damaged_checkpoint_is_left_alone(
    separable: SpectrogramStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoint.npz").write_bytes(b"PK\3\4 not much")
    run = fit(separable, tmp_path, epochs=1, resume=True)
    assert "not readable" in caplog.text
    assert len(run.history) == 1
    assert not (tmp_path / "checkpoint.npz").exists()


@pytest.mark.usefixtures("eager")
def test_a_complete_run_comes_back_without_training(separable: SpectrogramStore, tmp_path: Path) -> None:
    first = fit(separable, tmp_path, epochs=2, resume=True)
    written = (tmp_path / "model.keras").stat().st_mtime_ns
    again = fit(separable, tmp_path, epochs=2, resume=True)
    assert (tmp_path / "model.keras").stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(again.history, first.history)


class Counting(keras.layers.Layer):
    """Counts how often its code runs: once for every tracing."""

    calls = 0

    def call(self, inputs: Any) -> Any:
        Counting.calls += 1
        return inputs


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces twice")
def test_a_training_step_whose_variables_are_there_is_traced_once() -> None:
    def traced(prepare: Callable[[keras.Model], None]) -> tuple[int, dict[str, list[float]]]:
        """How often, and the history."""
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), Counting(), keras.layers.Dense(2, "softmax")])
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        prepare(model)
        Counting.calls = 0
        x = np.arange(12, dtype="float32").reshape(4, 3)
        history = model.fit(x, np.eye(2)[[0, 1, 1, 0]], epochs=2, verbose=0).history
        return Counting.calls, history

    (once, prepared), (twice, plain) = traced(make_state), traced(lambda model: None)
    assert (once, twice) == (1, 2)
    assert prepared == plain
