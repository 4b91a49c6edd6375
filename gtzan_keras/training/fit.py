"""A model and a split to a run."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.saving import fits, save_model
from gtzan_keras.store.base import Store
from gtzan_keras.store.files import write_json
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.run import Run, environment, load_run

if TYPE_CHECKING:
    import keras

    from gtzan_keras.store.augmentation import Augmentation

__all__ = ["clone", "train"]

logger = logging.getLogger(__name__)

_MONITORS = tuple(part + name for part in ("val_", "") for name in ("loss", "accuracy", "macro_precision"))


def train(
    model: keras.Model,
    store: Store,
    split: Split,
    *,
    out: str | os.PathLike[str],
    name: str | None = None,
    epochs: int = 50,
    batch_size: int = 32,
    optimizer: Literal["adam", "adamw"] = "adam",
    learning_rate: float = 1e-4,
    weight_decay: float = 1e-4,
    schedule: Literal["plateau", "cosine"] = "plateau",
    ema: float | None = None,
    monitor: str = "val_loss",
    patience: int | None = 10,
    keep_best: bool = True,
    plateau_patience: int = 5,
    class_weights: bool = False,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    cache_frozen: bool | str | os.PathLike[str] = True,
    resume: bool = False,
    after: Run | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = "auto",
    jit_compile: bool | None = None,
    fused: bool = True,
    tensorboard: bool = False,
    verbose: int = 2,
    settings: dict[str, Any] | None = None,
) -> Run:
    """Train a model on the training part of a split.

    Compiles the model with cross-entropy, accuracy and macro precision; stops early, halves the
    rate on plateaus, keeps the best weights. The order of batches and augmentation follow `seed`;
    initial weights and dropout follow the seed set before the model was built
    (``keras.utils.set_random_seed``).

    Parameters
    ----------
    model : keras.Model
        From a builder; its input fits the store's pictures, its output the store's genres.
    store : Store
        Where the pictures are.
    split : Split
        Track ids. A recording on two sides is refused unless the split is marked leaky; tracks that
        the store had to leave out are dropped from it.
    out : str or os.PathLike
        Folder of the run; made when it is not there.
    name : str, optional
        Of the run; the folder's name when left out.
    epochs : int > 0
        At most.
    batch_size : int > 0
        Samples a step.
    optimizer : "adam" or "adamw"
        `weight_decay` is AdamW's; it leaves biases and normalisation alone.
    learning_rate : float > 0
        To begin with.
    schedule : "plateau" or "cosine"
        Halve the rate when `monitor` has not improved for `plateau_patience` epochs; or let it rise
        over the first twentieth of all steps, then fall to zero along a cosine.
    ema : float in (0, 1), optional
        Keep an exponential moving average of the weights with this momentum a step; validation, and
        the model that comes back, use the average. Evens out the noise of training on few tracks
        (Polyak, Juditsky: "Acceleration of stochastic approximation by averaging", 1992).
    monitor : str
        The quantity of the history that decides; ``loss`` when there is no validation part.
    patience : int or None
        Epochs without improvement before training stops; None trains for all `epochs`.
    keep_best : bool
        Bring back the weights of the epoch that was best on the validation part. False keeps the last
        ones and never stops early: with a schedule that ends near zero they are as good, and the
        validation part has not chosen among them.
    class_weights : bool
        Weigh each genre by the inverse of its number of training samples.
    augmentation : Augmentation, optional
        What is done to the training pictures.
    seed : int
        Drives Python, NumPy and Keras.
    cache_frozen : bool or path
        Where the model begins with frozen layers and there is no augmentation, compute their output
        once an image, keep it in a file, and train the rest on it; see
        `gtzan_keras.training.frozen.FrozenFeatures`. True keeps the file beside the store, a path in
        that folder.
    resume : bool
        Keep a checkpoint in `out` after each epoch, and go on from the one that is there. A run that
        is complete comes back as it is. With other settings, or another split, store or frozen
        weights, training begins afresh.
    after : Run, optional
        The stage before this one: its history precedes this one's, as `fine_tune` wants it.
    precision : "auto", "float32", "bfloat16" or None
        What the training computes in; weights, probabilities and the model that comes back are float32 in
        any case. "auto" takes bfloat16 where the GPU, or without one the processor, computes in it, which
        is up to twice as fast on a processor; a model that was built in another policy than float32 stays
        in that. None leaves any model as it was built.
    jit_compile : bool, optional
        Compile the training step with XLA. When left out, only where there is a GPU: on CPUs compiling
        takes longer than it saves (see the table in ``docs/speed.md``).
    fused : bool
        On a CPU, and without XLA, compute batch normalisation and Mish by fused kernels: the same values but
        for rounding; see `gtzan_keras.training.kernels.fused_kernels`. False leaves them to Keras.
    tensorboard : bool
        Write TensorBoard logs to ``out/tensorboard``.
    verbose : int
        As Keras' ``fit``: 0 silent, 1 a bar, 2 a line an epoch.
    settings : dict, optional
        Further facts for the record: ``data`` (a name), ``builder``, ``arguments``, ``command``.

    Returns
    -------
    Run

    Raises
    ------
    GtzanKerasError
        The split leaks or has tracks that the store does not know; the model does not fit the
        store; an argument is out of range; or the training diverged.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from gtzan_keras import SpectrogramSpec, SpectrogramStore, models, train
    >>> from gtzan_keras.tracks.splits import Split
    >>> spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
    >>> ids = [f"{genre}.0000{number}" for genre in ("pop", "rock") for number in range(4)]
    >>> images = np.repeat(np.array([[0], [255]], "uint8"), 4, 0)[:, :, None] + np.zeros((8, 8, 8), "uint8")
    >>> folder = tempfile.mkdtemp()
    >>> store = SpectrogramStore.from_arrays(f"{folder}/tiny.h5", images, ids, spec)
    >>> split = Split("by hand", tuple(ids[:3] + ids[4:7]), (), (ids[3], ids[7]))
    >>> model = models.cnn(spec.shape, 2, filters=(4,), dense_units=(8,))
    >>> run = train(model, store, split, out=f"{folder}/run", epochs=2, verbose=0)
    >>> len(run.history), sorted(path.name for path in run.folder.iterdir())
    (2, ['history.csv', 'model.keras', 'run.json'])
    """
    import keras

    from gtzan_keras.metrics import MacroPrecision
    from gtzan_keras.training.checkpoint import Checkpoint, fingerprint
    from gtzan_keras.training.kernels import fused_kernels
    from gtzan_keras.training.precision import computing_in, policy_of, training_policy

    split.check(store.tracks)
    _check_fit(model, store)
    has_validation = len(store.rows(split.validation)) > 0
    if not has_validation:
        monitor, patience = "loss", None
    policy, why = training_policy(precision, policy_of(model))
    facts: dict[str, Any] = {
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        **({"weight_decay": weight_decay} if optimizer == "adamw" else {}),
        "schedule": schedule,
        "ema": ema,
        "batch_size": batch_size,
        "max_epochs": epochs,
        "monitor": monitor,
        "patience": patience if keep_best else None,
        "keep_best": keep_best,
        "plateau_patience": plateau_patience,
        "class_weights": class_weights,
        "augmentation": None if augmentation is None else asdict(augmentation),
        "seed": seed,
        "precision": policy,
    }
    _check_settings(facts)
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise GtzanKerasError(
            "tensorboard=True, but TensorBoard is not installed; pip install 'gtzan-keras[tensorboard]'"
        )

    folder = Path(out)
    key = ""
    jit, compiler = _compiler(jit_compile)
    kernels = fused_kernels(model, policy) if fused and _has_kernels(jit) else contextlib.nullcontext(0)
    with computing_in(model, policy), kernels as count:
        if resume:
            begun = None if after is None else after.settings["training"]
            fixed = [keras.ops.convert_to_numpy(weights) for weights in model.non_trainable_weights]
            key = fingerprint(model, fixed, facts, asdict(split), store.checksum, begun, bool(cache_frozen))
            if (complete := _complete(folder, key, store)) is not None:
                logger.info("%s: complete", folder)
                return complete

        keras.utils.set_random_seed(seed)
        trainee, images = model, store
        if cache_frozen and augmentation is None:
            trainee, images = _without_frozen(model, store, split, cache_frozen)
        cached = trainee is not model
        training = images.batches(split.train, batch_size, shuffle=True, seed=seed, augmentation=augmentation)
        parts = [training, *([images.batches(split.validation, batch_size)] if has_validation else [])]
        algorithm = _optimizer(facts, len(training))
        logger.info(
            "%s: precision %s (%s), XLA %s, layers with fused kernels %d",
            *(folder, policy, why, compiler, count),
        )
        trainee.compile(
            algorithm,
            "categorical_crossentropy",
            metrics=["accuracy", MacroPrecision(len(store.genres), name="macro_precision")],
            jit_compile=jit,
        )
        folder.mkdir(parents=True, exist_ok=True)
        callbacks = _callbacks(facts, algorithm, has_validation)
        if not resume:
            (folder / "checkpoint.npz").unlink(missing_ok=True)
        checkpoint = Checkpoint(folder / "checkpoint.npz", key, callbacks.copy())
        if tensorboard:
            callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard"))
        if resume:
            callbacks.append(checkpoint)
        for _ in checkpoint.rows:
            training.on_epoch_end()  # the next epoch's order

        begin = time.perf_counter()
        fitted = trainee.fit(
            parts[0],
            validation_data=parts[1] if has_validation else None,
            epochs=epochs,
            initial_epoch=epochs if checkpoint.stopped else len(checkpoint.rows),
            shuffle=False,  # Batches draw a new order themselves, by sample rather than by batch
            class_weight=_class_weights(training.labels) if class_weights else None,
            callbacks=callbacks,
            verbose=verbose,
        )
        seconds = time.perf_counter() - begin + checkpoint.earlier_seconds

    history = pd.DataFrame(checkpoint.rows if resume else fitted.history)
    history.insert(0, "epoch", np.arange(1, len(history) + 1))
    stopper = next((c for c in callbacks if isinstance(c, keras.callbacks.EarlyStopping)), None)
    best = len(history) if stopper is None else stopper.best_epoch + 1
    try:
        _check_converged(trainee, history, best, learning_rate)
    except GtzanKerasError:
        checkpoint.forget()
        raise
    if after is not None:
        best += len(after.history)
        history = _appended(after.history, history)
    record = {
        **(settings or {}),
        "parameters": model.count_params(),
        "training": {
            **facts,
            "epochs": len(history),
            "best_epoch": best,
            "seconds": round(seconds, 1),
            "frozen_part_cached": cached,
            "jit_compile": jit_compile,
            **({} if after is None else {"first_stage": after.settings["training"]}),
        },
        "environment": environment(),
        "date": date.today().isoformat(),
        **({"key": key} if resume else {}),
    }
    run = Run(folder, name or folder.resolve().name, _for_use(model), store, split, history, record)
    save_model(run.model, folder / "model.keras", store.spec, store.genres)
    history.to_csv(folder / "history.csv", index=False)
    write_json(
        folder / "run.json",
        {"name": run.name, "store": str(store.path.resolve()), "split": asdict(split), "settings": record},
    )
    checkpoint.forget()
    logger.info("%s: %d epochs in %.0f s, best epoch %d", run.name, len(history), seconds, best)
    return run


def _check_fit(model: keras.Model, store: Store) -> None:
    wanted, shape = model.input_shape[1:], store.spec.shape
    if not fits(model, shape, len(store.genres)):
        raise GtzanKerasError(
            f"model {model.name!r} maps {wanted} to {model.output_shape[-1]} classes, but "
            f"{store.path.name} holds {shape} of {len(store.genres)} genres; build the model with "
            f"input_shape={shape}, num_classes={len(store.genres)}"
        )


def _check_settings(facts: dict[str, Any]) -> None:
    number = "a whole number above 0"
    rate, ema = facts["learning_rate"], facts["ema"]
    for name, value, good, expected in (
        ("epochs", facts["max_epochs"], facts["max_epochs"] >= 1, number),
        ("batch_size", facts["batch_size"], facts["batch_size"] >= 1, number),
        ("learning_rate", rate, rate > 0, "a number above 0"),
        ("ema", ema, ema is None or 0 < ema < 1, "a momentum between 0 and 1"),
    ):
        if not good:
            raise GtzanKerasError(f"{name} is {value}; expected {expected}")
    for name, names, expected in (
        ("optimizer", ("adam", "adamw"), "'adam' or 'adamw'"),
        ("schedule", ("plateau", "cosine"), "'plateau' or 'cosine'"),
        ("monitor", _MONITORS, f"one of {', '.join(_MONITORS)}"),
    ):
        if facts[name] not in names:
            raise GtzanKerasError(f"{name} is {facts[name]!r}; expected {expected}")


def _complete(folder: Path, key: str, store: Store) -> Run | None:
    """The run that the folder holds, if it was trained to its end with the same settings."""
    try:
        settings = json.loads((folder / "run.json").read_text("utf-8"))["settings"]
    except (OSError, ValueError, KeyError):
        return None
    return load_run(folder, store) if settings.get("key") == key else None


def _without_frozen(
    model: keras.Model, store: Store, split: Split, cache: str | os.PathLike[str] | bool
) -> tuple[keras.Model, Any]:
    """What is left to train of a model, and what to train it on: its frozen part's output, if it has one."""
    from gtzan_keras.training.frozen import FrozenFeatures, frozen_part

    parts = frozen_part(model)
    if parts is None:
        return model, store
    base, head = parts
    folder = None if cache is True else Path(cache)  # type: ignore[arg-type]
    return head, FrozenFeatures(base, store, [*split.train, *split.validation], folder)


def _compiler(wanted: bool | None) -> tuple[bool, str]:
    """Whether the step is compiled with XLA; for the log, why."""
    from gtzan_keras.models.device import use_xla

    if wanted is not None:
        return wanted, "on (asked for)" if wanted else "off (asked for)"
    return (True, "on") if use_xla() else (False, "off (oneDNN is faster here)")


def _has_kernels(jit: bool) -> bool:
    """Whether TensorFlow's kernels can do better than Keras: on a CPU, unless XLA fuses by itself."""
    import keras

    from gtzan_keras.models.device import count_gpus

    return keras.backend.backend() == "tensorflow" and not jit and not count_gpus()


def _optimizer(facts: dict[str, Any], steps: int) -> keras.optimizers.Optimizer:
    import keras

    rate: Any = facts["learning_rate"]
    if facts["schedule"] == "cosine":
        total = facts["max_epochs"] * steps
        rise = total // 20
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if rise else rate, total - rise, warmup_target=rate if rise else None, warmup_steps=rise
        )
    ema = facts["ema"]
    averaging: dict[str, Any] = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    if facts["optimizer"] == "adam":
        return keras.optimizers.Adam(rate, **averaging)
    decaying = keras.optimizers.AdamW(rate, weight_decay=facts["weight_decay"], **averaging)
    decaying.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return decaying


def _callbacks(
    facts: dict[str, Any], algorithm: keras.optimizers.Optimizer, has_validation: bool
) -> list[keras.callbacks.Callback]:
    import keras

    monitor, patience = facts["monitor"], facts["patience"]
    mode = "min" if monitor.endswith("loss") else "max"
    callbacks: list[keras.callbacks.Callback] = []
    if facts["ema"] is not None:  # before the others: what they look at, and keep, is the average
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    if has_validation and facts["keep_best"]:
        patience = facts["max_epochs"] if patience is None else patience
        callbacks.append(
            keras.callbacks.EarlyStopping(monitor, patience=patience, mode=mode, restore_best_weights=True)
        )
    if facts["schedule"] == "plateau":
        plateau = facts["plateau_patience"]
        callbacks.append(keras.callbacks.ReduceLROnPlateau(monitor, factor=0.5, patience=plateau, mode=mode))
    else:  # which writes no rate into the history by itself
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda _, logs: logs.update(learning_rate=float(algorithm.learning_rate))
            )
        )
    return callbacks


def _check_converged(model: keras.Model, history: pd.DataFrame, best: int, learning_rate: float) -> None:
    kept = history.filter(regex="loss$").iloc[best - 1]
    if kept.isna().any() or not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise GtzanKerasError(
            f"training diverged: epoch {best} of {len(history)}, whose weights would be kept, has "
            f"{', '.join(f'{name} {value:g}' for name, value in kept.items())}; lower learning_rate "
            f"(it is {learning_rate:g})"
        )


def _appended(before: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """One history of two stages: epochs count on, and each row says its stage."""
    if "stage" not in before:
        before = before.assign(stage=1)
    history = history.assign(epoch=history["epoch"] + len(before), stage=before["stage"].max() + 1)
    return pd.concat([before, history], ignore_index=True)


def _class_weights(labels: np.ndarray) -> dict[int, float]:
    from sklearn.utils.class_weight import compute_class_weight

    present = np.unique(labels)
    weights = compute_class_weight("balanced", classes=present, y=labels)
    return dict(zip(present.tolist(), weights.tolist(), strict=True))


def clone(model: keras.Model, dtype_of: Callable[[keras.layers.Layer], str]) -> keras.Model:
    """A copy of a model, weights included, whose layers compute in the precision that `dtype_of` names."""
    import keras

    def copy(part: Any) -> Any:
        if not isinstance(part, keras.layers.Layer):
            return part  # a plain operation, such as flip, has neither weights nor precision
        return type(part).from_config({**part.get_config(), "dtype": dtype_of(part)})

    other = keras.models.clone_model(model, clone_function=copy, recursive=True)
    other.set_weights(model.get_weights())
    return other


def _for_use(model: keras.Model) -> keras.Model:
    """The same model, not compiled, computing in float32 whatever precision it was trained in.

    The file of a compiled model holds the optimizer's state, twice the size of the weights, and
    opens only where our metrics are imported. Weights are float32 under every policy; a file in
    bfloat16 would run slowly where the processor has none.
    """
    import keras

    plain = model
    if any(layer.compute_dtype != "float32" for layer in model.layers):
        plain = clone(model, lambda _: "float32")
    return keras.Model(plain.input, plain.output, name=model.name)
