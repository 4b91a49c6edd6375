"""A model and a split to a run."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import platform
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

import gtzan_keras
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.saving import load_model, save_model
from gtzan_keras.store.hdf5 import SpectrogramStore, open_store
from gtzan_keras.tracks.splits import Split

if TYPE_CHECKING:
    import keras

    from gtzan_keras.store.batches import Augmentation

__all__ = ["Run", "load_run", "train"]

logger = logging.getLogger(__name__)

_MONITORS = tuple(part + name for part in ("val_", "") for name in ("loss", "accuracy", "macro_precision"))


@dataclass(frozen=True)
class Run:
    """One execution of a training: what went in, what came out, and the folder that holds it.

    Parameters
    ----------
    folder : Path
        Holds ``model.keras``, ``history.csv`` and ``run.json``; `evaluate` and the report add theirs.
    name : str
        How tables call it.
    model : keras.Model
        With its best weights, in float32, not compiled.
    store : SpectrogramStore
        What it was trained on.
    split : Split
        Who was in training, validation and test.
    history : pd.DataFrame
        One row an epoch: ``epoch`` (from 1), ``loss``, ``accuracy``, ``macro_precision``, the same
        with ``val_`` when there is a validation part, ``learning_rate``.
    settings : dict
        All that is needed to repeat it: model, training, environment, date, command.
    """

    folder: Path
    name: str
    model: keras.Model
    store: SpectrogramStore
    split: Split
    history: pd.DataFrame
    settings: dict[str, Any]


def train(
    model: keras.Model,
    store: SpectrogramStore,
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
    plateau_patience: int = 5,
    class_weights: bool = False,
    augmentation: Augmentation | None = None,
    seed: int = 0,
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
    store : SpectrogramStore
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
        `weight_decay` is AdamW's.
    learning_rate : float > 0
        To begin with.
    schedule : "plateau" or "cosine"
        Halve the rate when `monitor` has not improved for `plateau_patience` epochs, or let it fall
        to zero along a cosine over all epochs.
    ema : float in (0, 1), optional
        Keep an exponential moving average of the weights with this momentum a step; validation, and
        the model that comes back, use the average. Evens out the noise of training on few tracks
        (Polyak, Juditsky: "Acceleration of stochastic approximation by averaging", 1992).
    monitor : str
        The quantity of the history that decides; ``loss`` when there is no validation part.
    patience : int or None
        Epochs without improvement before training stops; None trains for all `epochs`. The best
        weights come back in any case when there is a validation part.
    class_weights : bool
        Weigh each genre by the inverse of its number of training samples.
    augmentation : Augmentation, optional
        What is done to the training pictures.
    seed : int
        Drives Python, NumPy and Keras.
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

    split.check(store.tracks)
    _check_fit(model, store)
    if epochs < 1:
        raise GtzanKerasError(f"epochs is {epochs}; expected a whole number above 0")
    if not learning_rate > 0:
        raise GtzanKerasError(f"learning_rate is {learning_rate}; expected a number above 0")
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise GtzanKerasError(
            "tensorboard=True, but TensorBoard is not installed; pip install 'gtzan-keras[tensorboard]'"
        )
    keras.utils.set_random_seed(seed)

    training = store.batches(split.train, batch_size, shuffle=True, seed=seed, augmentation=augmentation)
    validation = store.batches(split.validation, batch_size) if len(store.rows(split.validation)) else None
    if validation is None:
        monitor, patience = "loss", None
    elif monitor not in _MONITORS:
        raise GtzanKerasError(f"monitor is {monitor!r}; expected one of {', '.join(_MONITORS)}")
    rate: Any = learning_rate
    if schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(training))
    elif schedule != "plateau":
        raise GtzanKerasError(f"schedule is {schedule!r}; expected 'plateau' or 'cosine'")
    if ema is not None and not 0 < ema < 1:
        raise GtzanKerasError(f"ema is {ema}; expected a momentum between 0 and 1")
    averaging: dict[str, Any] = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    if optimizer == "adam":
        algorithm = keras.optimizers.Adam(rate, **averaging)
    elif optimizer == "adamw":
        algorithm = keras.optimizers.AdamW(rate, weight_decay=weight_decay, **averaging)
    else:
        raise GtzanKerasError(f"optimizer is {optimizer!r}; expected 'adam' or 'adamw'")
    model.compile(
        algorithm,
        "categorical_crossentropy",
        metrics=["accuracy", MacroPrecision(len(store.genres), name="macro_precision")],
    )

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    mode = "min" if monitor.endswith("loss") else "max"
    callbacks: list[keras.callbacks.Callback] = []
    stopper = keras.callbacks.EarlyStopping(
        monitor, patience=epochs if patience is None else patience, mode=mode, restore_best_weights=True
    )
    if ema is not None:  # before the others: what they look at, and keep, is the average
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    if validation is not None:
        callbacks.append(stopper)
    if schedule == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(monitor, factor=0.5, patience=plateau_patience, mode=mode)
        )
    else:  # which writes no rate into the history by itself
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda _, logs: logs.update(learning_rate=float(algorithm.learning_rate))
            )
        )
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard"))

    begin = time.perf_counter()
    fitted = model.fit(
        training,
        validation_data=validation,
        epochs=epochs,
        shuffle=False,  # Batches draw a new order themselves, by sample rather than by batch
        class_weight=_class_weights(training.labels) if class_weights else None,
        callbacks=callbacks,
        verbose=verbose,
    )
    seconds = time.perf_counter() - begin

    history = pd.DataFrame(fitted.history)
    history.insert(0, "epoch", np.arange(1, len(history) + 1))
    best = len(history) if validation is None else stopper.best_epoch + 1
    kept = history.filter(regex="loss$").iloc[best - 1]
    if kept.isna().any() or not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise GtzanKerasError(
            f"training diverged: epoch {best} of {len(history)}, whose weights would be kept, has "
            f"{', '.join(f'{name} {value:g}' for name, value in kept.items())}; lower learning_rate "
            f"(it is {learning_rate:g})"
        )
    record = {
        **(settings or {}),
        "parameters": model.count_params(),
        "training": {
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            **({"weight_decay": weight_decay} if optimizer == "adamw" else {}),
            "schedule": schedule,
            "ema": ema,
            "batch_size": batch_size,
            "epochs": len(history),
            "best_epoch": best,
            "max_epochs": epochs,
            "monitor": monitor,
            "patience": patience,
            "class_weights": class_weights,
            "augmentation": None if augmentation is None else asdict(augmentation),
            "seed": seed,
            "seconds": round(seconds, 1),
            "precision": model.dtype_policy.name,
        },
        "environment": _environment(),
        "date": date.today().isoformat(),
    }
    run = Run(folder, name or folder.resolve().name, _for_use(model), store, split, history, record)
    save_model(run.model, folder / "model.keras", store.spec, store.genres)
    history.to_csv(folder / "history.csv", index=False)
    write_json(
        folder / "run.json",
        {"name": run.name, "store": str(store.path.resolve()), "split": asdict(split), "settings": record},
    )
    logger.info("%s: %d epochs in %.0f s, best epoch %d", run.name, len(history), seconds, best)
    return run


def load_run(folder: str | os.PathLike[str], store: SpectrogramStore | None = None) -> Run:
    """Open a run's folder again.

    Parameters
    ----------
    folder : str or os.PathLike
        As `train` left it.
    store : SpectrogramStore, optional
        When the store is no longer where it was.

    Returns
    -------
    Run

    Raises
    ------
    GtzanKerasError
        The folder holds no run, its store is gone, or the store is of another spec or other genres
        than the model.
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise GtzanKerasError(
            f"{folder}: no run here (run.json is missing); make one with `gtzan-keras train`"
        )
    record = json.loads((folder / "run.json").read_text("utf-8"))
    parts = {key: tuple(record["split"][key]) for key in ("train", "validation", "test")}
    split = Split(record["split"]["name"], **parts, leaky=record["split"]["leaky"])
    model, spec, genres = load_model(folder / "model.keras")
    store = open_store(record["store"]) if store is None else store
    if spec != store.spec or genres != store.genres:
        raise GtzanKerasError(
            f"{folder}: the model takes spec {spec.name!r} and knows {', '.join(genres)}, but {store.path} "
            f"is of spec {store.spec.name!r} with {', '.join(store.genres)} ({spec.difference(store.spec)})"
        )
    history = pd.read_csv(folder / "history.csv")
    return Run(folder, record["name"], model, store, split, history, record["settings"])


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is either the old one or the whole new one."""
    temporary = path.with_name(path.name + ".writing")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(temporary, path)


def _check_fit(model: keras.Model, store: SpectrogramStore) -> None:
    if model.input_shape[1:] != store.spec.shape or model.output_shape[-1] != len(store.genres):
        raise GtzanKerasError(
            f"model {model.name!r} maps {model.input_shape[1:]} to {model.output_shape[-1]} classes, but "
            f"{store.path.name} holds {store.spec.shape} of {len(store.genres)} genres; build the model with "
            f"input_shape={store.spec.shape}, num_classes={len(store.genres)}"
        )


def _class_weights(labels: np.ndarray) -> dict[int, float]:
    from sklearn.utils.class_weight import compute_class_weight

    present = np.unique(labels)
    weights = compute_class_weight("balanced", classes=present, y=labels)
    return dict(zip(present.tolist(), weights.tolist(), strict=True))


def _for_use(model: keras.Model) -> keras.Model:
    """The same model, not compiled, computing in float32 whatever precision it was trained in.

    The file of a compiled model holds the optimizer's state, twice the size of the weights, and
    opens only where our metrics are imported. Weights are float32 under every policy; a file in
    bfloat16 would run slowly where the processor has none.
    """
    import keras

    plain = model
    if any(layer.compute_dtype != "float32" for layer in model.layers):
        plain = keras.models.clone_model(
            model,
            clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float32"}),
        )
        plain.set_weights(model.get_weights())
    return keras.Model(plain.input, plain.output, name=model.name)


def _environment() -> dict[str, Any]:
    import keras
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return {
        "python": platform.python_version(),
        "gtzan_keras": gtzan_keras.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "device": f"{len(devices)} GPU" if devices else f"CPU ({platform.machine()})",
        "cores": os.cpu_count(),
    }
