"""How a model is trained: one validated set of values, the same for recipes, runs and the command line."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.augmentation import Augmentation, FeatureAugmentation

__all__ = ["TrainingSettings"]

_MONITORS = tuple(part + name for part in ("val_", "") for name in ("loss", "accuracy", "macro_precision"))


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of one training, checked when they are made.

    Parameters
    ----------
    epochs : int >= 1
        Upper limit.
    batch_size : int >= 1
        Samples per step.
    optimizer : "adam" or "adamw"
        "adamw" applies `weight_decay` to every weight except biases and normalisation parameters.
    learning_rate : float > 0
        Initial rate.
    weight_decay : float >= 0
        Only used by "adamw", which takes this share, times the rate, off the weights at every step. Below
        3e-8 that product is lost in float32: 1e-4 has no effect at a rate of 1e-4.
    schedule : "plateau", "cosine" or "step"
        "plateau" halves the rate when `monitor` has not improved for `plateau_patience` epochs. "cosine"
        raises it over the first twentieth of all steps, then lowers it to zero along a cosine. "step"
        halves it every ten epochs, as the feature report does.
    ema : float in (0, 1), optional
        Momentum per step of an exponential moving average of the weights; validation and the returned model
        use the average. Smooths the noise of training on few tracks (Polyak, Juditsky: "Acceleration of
        stochastic approximation by averaging", 1992).
    monitor : str
        Column of the history that early stopping and "plateau" watch: ``val_loss``, ``val_accuracy``,
        ``val_macro_precision``, or one without ``val_``. Without a validation part, ``loss`` is used.
    patience : int >= 1, optional
        Epochs without improvement before training stops; None trains for all `epochs`.
    keep_best : bool
        Return the weights of the epoch with the best `monitor`. False returns the last weights and disables
        early stopping: with a schedule that ends near zero they are as good, and the validation part has
        not selected among epochs.
    plateau_patience : int >= 1
        See `schedule`.
    class_weights : bool
        Weight each genre by the inverse of its number of training samples.
    augmentation : Augmentation, optional
        Random changes to the training spectrograms; a `FeatureAugmentation` changes the output of the model's
        frozen part.
    precision : "auto", "float32" or "bfloat16"
        Precision of the computation; weights, probabilities and the returned model are always float32.
        "auto" uses bfloat16 if the GPU, or without one the processor, computes in it, which is up to twice
        as fast on a processor; it keeps the policy of a model that was built in one other than float32.
    seed : int >= 0
        Seed of Python, NumPy and Keras: order of batches, augmentation and dropout.

    Raises
    ------
    GtzanKerasError
        A field has the wrong type or is out of range.

    Examples
    --------
    >>> from gtzan_keras.training.settings import TrainingSettings
    >>> settings = TrainingSettings(epochs=20, schedule="cosine")
    >>> TrainingSettings.from_dict(settings.to_dict()) == settings
    True
    >>> TrainingSettings(patience=-3)
    Traceback (most recent call last):
    gtzan_keras.errors.GtzanKerasError: patience=-3: expected a whole number >= 1, or None
    """

    epochs: int = 50
    batch_size: int = 32
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    schedule: Literal["plateau", "cosine", "step"] = "plateau"
    ema: float | None = None
    monitor: str = "val_loss"
    patience: int | None = 10
    keep_best: bool = True
    plateau_patience: int = 5
    class_weights: bool = False
    augmentation: Augmentation | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in (("epochs", 1), ("batch_size", 1), ("plateau_patience", 1), ("seed", 0)):
            self._check(name, _is_int(self, name, lowest), f"a whole number >= {lowest}")
        is_patience = self.patience is None or _is_int(self, "patience", 1)
        self._check("patience", is_patience, "a whole number >= 1, or None")
        self._check("seed", self.seed < 2**32, "a whole number below 2**32")
        rate, decay, ema = (_number(self, name) for name in ("learning_rate", "weight_decay", "ema"))
        self._check("learning_rate", 0 < rate < math.inf, "a number > 0")
        self._check("weight_decay", 0 <= decay < math.inf, "a number >= 0")
        self._check("ema", self.ema is None or 0 < ema < 1, "0 < ema < 1, or None")
        for name in ("keep_best", "class_weights"):
            self._check(name, isinstance(getattr(self, name), bool), "True or False")
        for name, words in (
            ("optimizer", ("adam", "adamw")),
            ("schedule", ("plateau", "cosine", "step")),
            ("monitor", _MONITORS),
            ("precision", ("auto", "float32", "bfloat16")),
        ):
            self._check(name, getattr(self, name) in words, f"one of {', '.join(words)}")
        is_augmentation = isinstance(self.augmentation, Augmentation | None)
        self._check("augmentation", is_augmentation, "an Augmentation, or None")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise GtzanKerasError(f"{name}={getattr(self, name)!r}: expected {expected}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingSettings:
        """Make settings from `to_dict`'s values; fields that are missing take their defaults.

        Raises
        ------
        GtzanKerasError
            A name is not a field, or as the constructor.
        """
        given = dict(values)
        _check_names("settings", given, cls)
        if isinstance(inner := given.get("augmentation"), Mapping):
            kind = FeatureAugmentation if "of_features" in inner else Augmentation
            _check_names("augmentation", inner, kind)
            given["augmentation"] = kind(**inner)
        return cls(**given)


def _check_names(what: str, values: Iterable[str], kind: Any) -> None:
    """Refuse names that are no field of a dataclass."""
    names = [field.name for field in dataclasses.fields(kind)]
    if unknown := [name for name in values if name not in names]:
        raise GtzanKerasError(f"{what}: no field {', '.join(unknown)}; expected some of {', '.join(names)}")


def _is_int(settings: TrainingSettings, name: str, lowest: int) -> bool:
    value = getattr(settings, name)
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _number(settings: TrainingSettings, name: str) -> float:
    """Return a field as a number; NaN, which fails every comparison, if it is not one."""
    value = getattr(settings, name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
