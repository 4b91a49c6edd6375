"""Train a model on a split: a run."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.device import count_gpus, count_replicas, freed_memory_kept, scope_of
from gtzan_keras.models.saving import check_fit
from gtzan_keras.store.base import Store
from gtzan_keras.store.files import make_folder
from gtzan_keras.tracks.splits import Split, warn_of_unseen_genres
from gtzan_keras.training.precision import dtypes_in, policy_of, training_policy
from gtzan_keras.training.run import Outcome, Run, complete_run, environment, save_run
from gtzan_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    import keras

__all__ = ["train"]

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.npz"


def train(
    model: keras.Model,
    store: Store,
    split: Split,
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008 (frozen)
    *,
    out: str | os.PathLike[str],
    name: str | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 2,
    cache_frozen: bool | str | os.PathLike[str] = True,
    facts: Mapping[str, Any] | None = None,
) -> Run:
    """Train a model on the training part of a split.

    Fits a copy of the model with cross-entropy, accuracy and macro precision, in the precision of
    `settings` and, on a CPU, with `gtzan_keras.models.layers.FusedBatchNormalization` and `mish` in place
    of Keras' own; then copies the weights back. The seed of `settings` decides the order of batches and
    augmentation; initial weights and dropout follow the seed set before the model was built
    (``keras.utils.set_random_seed``).

    Parameters
    ----------
    model : keras.Model
        From a builder; its input fits the store's samples, its output the store's genres. Functional or
        sequential.
    store : Store
        The samples.
    split : Split
        Track ids. A recording in two parts is refused unless the split is marked leaky; tracks that
        are not in the store because they could not be read are dropped.
    settings : TrainingSettings
        How to train.
    out : str or os.PathLike
        Folder of the run; created if missing.
    name : str, optional
        Name of the run; the folder's name by default.
    resume : bool
        Keep a checkpoint in `out` after each epoch, and continue from it. A complete run is returned as it
        is, and its weights are copied into `model`. With other settings, start weights, split or data,
        training starts again.
    callbacks : sequence of keras.callbacks.Callback
        Further callbacks, such as ``keras.callbacks.TensorBoard(folder)``. Their ``model`` is the copy that
        is trained. A resumed training does not restore their state.
    verbose : int
        As in Keras' ``fit``: 0 silent, 1 a progress bar, 2 one line per epoch.
    cache_frozen : bool or path
        If the model begins with frozen layers and their input is not augmented, compute their output once
        per sample, keep it in a file, and train the rest on it; see
        `gtzan_keras.training.frozen.FrozenFeatures`. True puts the file next to the store, a path puts it
        into that folder.
    facts : mapping, optional
        Further facts for the record, as JSON values: ``data`` (a name), ``builder``, ``arguments``,
        ``command``.

    Returns
    -------
    Run
        Its model is `model` with the best weights (a float32 copy, if it was built in another precision).

    Raises
    ------
    GtzanKerasError
        The split leaks or has tracks that the store does not know; the model does not fit the
        store; or the training diverged.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore, TrainingSettings, models, train
    >>> from gtzan_keras.tracks.splits import Split
    >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
    >>> ids = [f"{genre}.0000{number}" for genre in ("pop", "rock") for number in range(4)]
    >>> images = np.repeat(np.array([[0], [255]], "uint8"), 4, 0)[:, :, None] + np.zeros((8, 8, 8), "uint8")
    >>> folder = tempfile.mkdtemp()
    >>> store = SpectrogramStore.from_arrays(f"{folder}/tiny.h5", images, ids, spec)
    >>> split = Split("by hand", tuple(ids[:3] + ids[4:7]), (), (ids[3], ids[7]))
    >>> model = models.cnn(spec.shape, 2, filters=(4,), dense_units=(8,))
    >>> run = train(model, store, split, TrainingSettings(epochs=2), out=f"{folder}/run", verbose=0)
    >>> len(run.history), sorted(path.name for path in run.folder.iterdir())
    (2, ['history.csv', 'model.keras', 'run.json'])
    """
    folder = Path(out)
    name = name or folder.resolve().name
    stage = Stage(store, split, settings, folder, name, facts or {}, resume, callbacks, verbose, cache_frozen)
    with scope_of(model):
        return train_stage(model, stage)


@dataclasses.dataclass(frozen=True)
class Stage:
    """The inputs of one training, besides the model; with the stage before, whose history comes first."""

    store: Store
    split: Split
    settings: TrainingSettings
    folder: Path
    name: str
    facts: Mapping[str, Any]
    resume: bool = False
    callbacks: Sequence[keras.callbacks.Callback] = ()
    verbose: int = 2
    cache_frozen: bool | str | os.PathLike[str] = True
    before: Run | None = None


def train_stage(model: keras.Model, stage: Stage) -> Run:
    """Train as `train` does, possibly after an earlier stage."""
    import keras

    from gtzan_keras.models.layers import clone, copy_state
    from gtzan_keras.training.frozen import FrozenFeatures, frozen_part

    store, split, settings, folder = stage.store, stage.split, stage.settings, stage.folder
    split.check(store.tracks)
    warn_of_unseen_genres(split, store.tracks)
    check_fit(model, store.spec.shape, len(store.genres))
    augmentation = settings.augmentation
    crop = 0 if augmentation is None else augmentation.crop
    if 0 < crop < store.spec.shape[1] and model.input_shape[2] is not None:
        raise GtzanKerasError(
            f"augmentation: crop={crop}: model {model.name!r} only accepts spectrograms of "
            f"{model.input_shape[2]} columns; build it for any width (None in input_shape), or omit crop"
        )
    policy, why = training_policy(settings.precision, policy_of(model))
    key = _key(model, stage, policy, bool(stage.cache_frozen)) if stage.resume else ""
    if stage.resume and (complete := complete_run(folder, key, store)) is not None:
        logger.info("%s: already complete", folder)
        copy_state(complete.model, model)
        return complete

    if stage.before is None:
        _check_answer(model, store, split)
    fused = _has_fused_kernels()
    logger.info("%s: precision %s (%s), fused kernels %s", folder, policy, why, "on" if fused else "off")
    trained = clone(model, dtypes_in(model, policy), fused)
    keras.utils.set_random_seed(settings.seed)
    head: keras.Model = trained
    samples: Any = store  # or the frozen part's output, for training the rest
    of_features = augmentation is not None and augmentation.of_features
    input_fixed = augmentation is None or of_features
    parts = frozen_part(trained) if stage.cache_frozen and input_fixed else None
    if of_features and parts is None:
        raise GtzanKerasError(
            f"augmentation: FeatureAugmentation changes the output of a frozen part, but model "
            f"{model.name!r} has none (or cache_frozen=False); use Augmentation, which changes spectrograms"
        )
    if parts is not None:
        base, head = parts
        cache = None if isinstance(stage.cache_frozen, bool) else stage.cache_frozen
        samples = FrozenFeatures(base, store, [*split.train, *split.validation], cache)
    history, best, seconds = _fit(head, samples, stage, key)
    _check_converged(head, history, best, settings.learning_rate)
    copy_state(trained, model)
    outcome = Outcome(
        epochs=len(history),
        best_epoch=best,
        seconds=round(seconds, 1),
        parameters=model.count_params(),
        precision=policy,
        frozen_part_cached=head is not trained,
        date=date.today().isoformat(),
        environment=environment(),
    )
    if stage.before is not None:
        history, outcome = _continued(stage.before, history, outcome)
    facts = json.loads(json.dumps(dict(stage.facts)))  # as `load_run` will read them
    # The file of a compiled model holds the optimizer's state, twice the size of the weights, and opens only
    # if our metrics are imported. A file in bfloat16 would run slowly on processors without it.
    if policy_of(model) != "float32" or model.compiled:
        model = clone(model, lambda _: "float32")
    run = Run(folder, stage.name, model, store, split, history, settings, outcome, facts)
    save_run(run, key)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    logger.info("%s: %d epochs in %.0f s, best epoch %d", run.name, len(history), seconds, outcome.best_epoch)
    return run


def _key(model: keras.Model, stage: Stage, policy: str, caches: bool) -> str:
    """Return a checksum of all that a training depends on."""
    from gtzan_keras.training.checkpoint import fingerprint

    store = stage.store
    return fingerprint(
        model,
        stage.settings.to_dict(),
        policy,
        dataclasses.asdict(stage.split),
        store.checksum,
        [store.track_id.tolist(), store.genre.tolist()],
        None if stage.before is None else stage.before.settings.to_dict(),
        caches,
        *filter(None, [stage.facts.get("kfold")]),
    )


def _has_fused_kernels() -> bool:
    """Return whether TensorFlow's kernels are faster than Keras: on a CPU, where Keras does not use XLA."""
    import keras

    return keras.backend.backend() == "tensorflow" and not count_gpus()


def _fit(model: keras.Model, samples: Any, stage: Stage, key: str) -> tuple[pd.DataFrame, int, float]:
    """Fit a model to a store's samples, or frozen features; return history, best epoch (from 1), seconds."""
    import keras

    from gtzan_keras.metrics import MacroPrecision
    from gtzan_keras.store.batches import EvenBatches, tensorflow_dataset
    from gtzan_keras.training.checkpoint import Checkpoint

    settings, split, folder = stage.settings, stage.split, stage.folder
    training = samples.batches(
        split.train,
        settings.batch_size,
        shuffle=True,
        seed=settings.seed,
        augmentation=settings.augmentation,
    )
    validation = None
    if len(samples.rows(split.validation)):
        validation = samples.batches(split.validation, settings.batch_size)
    optimizer = optimizer_for(settings, len(training))
    metrics = ["accuracy", MacroPrecision(len(stage.store.genres), name="macro_precision")]
    class_weights = class_weights_of(training.labels) if settings.class_weights else None
    if (devices := count_replicas()) > 1:
        training = EvenBatches(training, devices, class_weights)
        validation = None if validation is None else EvenBatches(validation, devices)
        class_weights = None
        model.compile(optimizer, "categorical_crossentropy", weighted_metrics=metrics)
    else:
        model.compile(optimizer, "categorical_crossentropy", metrics=metrics)
        make_state(model)
    make_folder(folder)
    own = callbacks_for(settings, optimizer, validation is not None)
    checkpoint = Checkpoint(folder / CHECKPOINT, key, own)
    for _ in checkpoint.rows:
        training.on_epoch_end()  # the next epoch's order
    callbacks = [*own, *stage.callbacks, checkpoint]
    given, checked = training, validation
    if keras.backend.backend() == "tensorflow":
        given = tensorflow_dataset(training)
        checked = None if validation is None else tensorflow_dataset(validation)
        training.on_epoch_end()  # as `fit` does before the first epoch, too
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: training.on_epoch_end()))
    with freed_memory_kept():
        model.fit(
            given,
            validation_data=checked,
            epochs=settings.epochs,
            initial_epoch=settings.epochs if checkpoint.stopped else len(checkpoint.rows),
            shuffle=False,  # Batches draw a new order themselves, by sample rather than by batch
            class_weight=class_weights,
            callbacks=callbacks,
            verbose=stage.verbose,
        )
    history = pd.DataFrame(checkpoint.rows)
    history.insert(0, "epoch", np.arange(1, len(history) + 1))
    stopper = next((c for c in own if isinstance(c, keras.callbacks.EarlyStopping)), None)
    best = len(history) if stopper is None else stopper.best_epoch + 1
    return history, best, checkpoint.seconds()


def make_state(model: keras.Model) -> None:
    """Make the variables of a compiled model's optimizer, loss and metrics, so that `fit` finds them.

    TensorFlow traces a step that makes variables twice, which is half of the time before the first step.
    """
    example = np.eye(1, model.output_shape[-1], dtype="float32")
    model.optimizer.build(model.trainable_variables)
    model.compute_loss(y=example, y_pred=example)
    model.compute_metrics(None, example, example)
    model.reset_metrics()


def optimizer_for(settings: TrainingSettings, steps: int) -> keras.optimizers.Optimizer:
    """Make the optimizer that settings describe, for this many steps per epoch."""
    import keras

    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        total = settings.epochs * steps
        rise = total // 20
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if rise else rate, total - rise, warmup_target=rate if rise else None, warmup_steps=rise
        )
    elif settings.schedule == "step":
        rate = keras.optimizers.schedules.ExponentialDecay(rate, 10 * steps, 0.5, staircase=True)
    averaging = {} if settings.ema is None else {"use_ema": True, "ema_momentum": settings.ema}
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(rate, **averaging)
    decaying = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, **averaging)
    decaying.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return decaying


def callbacks_for(
    settings: TrainingSettings, optimizer: keras.optimizers.Optimizer, has_validation: bool
) -> list[keras.callbacks.Callback]:
    """Make the callbacks that settings describe; without validation, nothing stops early."""
    from keras.callbacks import EarlyStopping, LambdaCallback, ReduceLROnPlateau, SwapEMAWeights

    def note_rate(epoch: int, logs: dict[str, float]) -> None:
        logs["learning_rate"] = float(optimizer.learning_rate)

    monitor = settings.monitor if has_validation else "loss"
    mode = "min" if monitor.endswith("loss") else "max"
    callbacks = []
    if settings.ema is not None:  # before the others: they watch, and keep, the average
        callbacks.append(SwapEMAWeights(swap_on_epoch=True))
    if has_validation and settings.keep_best:
        patience = settings.epochs if settings.patience is None else settings.patience
        callbacks.append(EarlyStopping(monitor, patience=patience, mode=mode, restore_best_weights=True))
    if settings.schedule == "plateau":
        plateau = settings.plateau_patience
        callbacks.append(ReduceLROnPlateau(monitor, factor=0.5, patience=plateau, mode=mode))
    else:  # this one writes no rate into the history itself
        callbacks.append(LambdaCallback(on_epoch_end=note_rate))
    return callbacks


def class_weights_of(labels: np.ndarray) -> dict[int, float]:
    """Return the inverse of each class's number of samples, scaled to a mean of 1 over the samples."""
    from sklearn.utils.class_weight import compute_class_weight

    present = np.unique(labels)
    weights = compute_class_weight("balanced", classes=present, y=labels)
    return dict(zip(present.tolist(), weights.tolist(), strict=True))


def _check_answer(model: keras.Model, store: Store, split: Split) -> None:
    """Refuse a model that gives no probabilities for the first training sample, and a split without one."""
    import keras

    rows = store.rows(split.train)[:1]
    if not len(rows):
        raise GtzanKerasError(
            f"split {split.name!r}: {len(split.train)} training tracks, none of them in {store.path}; "
            "train on a split of this store's tracks"
        )
    plain = keras.Model(model.inputs[0], model.outputs[0])  # the model's own inputs may be a list
    sample = store.as_input(store.read(rows))
    answer = keras.ops.convert_to_numpy(plain(sample, training=False)).astype(float)
    if not (answer >= 0).all() or abs(answer.sum() - 1) > 0.01:
        raise GtzanKerasError(f"model {model.name!r} gives no probabilities; let it end in a softmax")


def _check_converged(model: keras.Model, history: pd.DataFrame, best: int, learning_rate: float) -> None:
    kept = history.filter(regex="loss$").iloc[best - 1]
    if kept.isna().any() or not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise GtzanKerasError(
            f"training diverged: epoch {best} of {len(history)}, whose weights would be kept, has "
            f"{', '.join(f'{name} {value:g}' for name, value in kept.items())}; lower learning_rate "
            f"(it is {learning_rate:g})"
        )


def _continued(before: Run, history: pd.DataFrame, outcome: Outcome) -> tuple[pd.DataFrame, Outcome]:
    """Return history and outcome of two stages: epochs are numbered through, each row names its stage."""
    earlier = before.history if "stage" in before.history else before.history.assign(stage=1)
    history = history.assign(epoch=history["epoch"] + len(earlier), stage=earlier["stage"].max() + 1)
    outcome = dataclasses.replace(
        outcome,
        epochs=len(earlier) + outcome.epochs,
        best_epoch=len(earlier) + outcome.best_epoch,
        seconds=round(before.outcome.seconds + outcome.seconds, 1),
        first_stage={"settings": before.settings.to_dict(), "outcome": dataclasses.asdict(before.outcome)},
    )
    return pd.concat([earlier, history], ignore_index=True), outcome
