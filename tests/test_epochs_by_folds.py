"""Folds that choose the number of epochs, then one training on everything."""

import json

import pytest

from gtzan_keras import models
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.splits import Split, stratified
from gtzan_keras.training.epochs_by_folds import train_kfold_then_full
from gtzan_keras.training.settings import TrainingSettings


def test_the_final_training_takes_the_folds_mean_best_epoch_and_all_but_the_test_part(separable, tmp_path):
    split = stratified(separable.tracks, (0.5, 0.25, 0.25))
    run = train_kfold_then_full(
        lambda: models.cnn(separable.spec.shape, 3, filters=(4,), dense_units=()),
        separable,
        split,
        out=tmp_path,
        settings=TrainingSettings(epochs=4, patience=1, learning_rate=0.01),
        k=3,
        verbose=0,
    )
    found = run.facts["kfold"]
    assert len(found["best_epochs"]) == 3
    assert len(run.history) == max(1, round(sum(found["best_epochs"]) / 3))
    assert set(run.split.train) == {*split.train, *split.validation}
    assert run.split.test == split.test
    assert sorted(path.name for path in tmp_path.glob("fold*")) == ["fold1", "fold2", "fold3"]
    records = [json.loads((tmp_path / f"fold{number}" / "run.json").read_text()) for number in (1, 2, 3)]
    seconds = sum(record["outcome"]["seconds"] for record in records)
    assert found["seconds"] == pytest.approx(seconds)


def test_every_track_but_the_test_part_validates_once(separable, tmp_path):
    from gtzan_keras import load_run

    split = stratified(separable.tracks, (0.5, 0.25, 0.25))
    train_kfold_then_full(
        lambda: models.dense(separable.spec.shape, 3),
        separable,
        split,
        out=tmp_path,
        settings=TrainingSettings(epochs=1),
        k=2,
        verbose=0,
    )
    validated = [load_run(tmp_path / f"fold{number}").split.validation for number in (1, 2)]
    assert sorted(validated[0] + validated[1]) == sorted(split.train + split.validation)
    assert not set(validated[0]) & set(validated[1])


def test_a_leaky_split_is_refused(separable, tmp_path):
    with pytest.raises(GtzanKerasError, match="leaky"):
        train_kfold_then_full(
            lambda: None, separable, Split("bad", ("a",), (), ("a",), leaky=True), out=tmp_path
        )
