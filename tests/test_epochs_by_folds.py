"""Folds that choose the number of epochs, then one training on everything."""

import pytest

from gtzan_keras import models
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.splits import Split, stratified
from gtzan_keras.training.epochs_by_folds import train_kfold_then_full
from gtzan_keras.training.run import load_run
from gtzan_keras.training.settings import TrainingSettings

pytestmark = pytest.mark.usefixtures("eagerly")


def test_the_folds_choose_how_long_to_train_on_all_but_the_test_part(separable, tmp_path):
    split = stratified(separable.tracks, (0.5, 0.25, 0.25))
    run = train_kfold_then_full(
        lambda: models.dense(separable.spec.shape, 3, units=()),
        separable,
        split,
        out=tmp_path,
        settings=TrainingSettings(epochs=3, patience=1, learning_rate=0.03, precision="float32"),
        k=2,
        verbose=0,
    )
    found = run.facts["kfold"]
    folds = [load_run(tmp_path / f"fold{number}", separable) for number in (1, 2)]
    pool = sorted(split.train + split.validation)
    assert sorted(folds[0].split.validation + folds[1].split.validation) == pool
    assert [sorted(fold.split.train + fold.split.validation) for fold in folds] == [pool, pool]
    assert found["best_epochs"] == [int(fold.history["val_loss"].argmin()) + 1 for fold in folds]
    assert found["seconds"] == pytest.approx(sum(fold.outcome.seconds for fold in folds))
    assert len(run.history) == max(1, round(sum(found["best_epochs"]) / 2))
    assert (list(run.split.train), run.split.test) == (pool, split.test)


def test_another_number_of_folds_in_the_same_folder_is_another_training(separable, tmp_path):
    split = stratified(separable.tracks, (0.5, 0.25, 0.25))

    def fit(k):
        return train_kfold_then_full(
            lambda: models.dense(separable.spec.shape, 3, units=()),
            separable,
            split,
            out=tmp_path,
            settings=TrainingSettings(epochs=1, precision="float32"),
            k=k,
            resume=True,
            verbose=0,
        )

    assert fit(2).facts["kfold"]["k"] == 2
    date = (tmp_path / "model.keras").stat().st_mtime_ns
    fit(2)
    assert (tmp_path / "model.keras").stat().st_mtime_ns == date
    assert fit(3).facts["kfold"]["k"] == load_run(tmp_path).facts["kfold"]["k"] == 3


def test_a_leaky_split_is_refused(separable, tmp_path):
    with pytest.raises(GtzanKerasError, match="leaky"):
        train_kfold_then_full(
            lambda: None, separable, Split("bad", ("a",), (), ("a",), leaky=True), out=tmp_path
        )
