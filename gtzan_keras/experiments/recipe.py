"""What a recipe is: one published experiment as data. Nothing here computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FEATURES", "VGGISH", "Published", "Recipe"]

FEATURES = "features"
"""`Recipe.data` of models of hand-crafted features: Kaggle's table, or ours."""

VGGISH = "vggish"
"""`Recipe.data` of models of VGGish embeddings."""


@dataclass(frozen=True)
class Published:
    """One figure of a source.

    Parameters
    ----------
    value : float
        A share (0.925 for 92.5 %), or nats for the loss.
    metric : str
        ``accuracy``, ``macro_precision`` or ``loss``.
    part : str
        What it was measured on, in the source's words: test, validation, mean of 5 folds, ...
    kind : str
        "", or how exact the source is: "about", "over".

    Examples
    --------
    >>> from gtzan_keras.experiments import Published
    >>> print(Published(0.8031, "macro_precision"))
    macro precision 80.3 % (test)
    """

    value: float
    metric: str = "accuracy"
    part: str = "test"
    kind: str = ""

    def __str__(self) -> str:
        figure = f"{self.value:.3f}" if self.metric == "loss" else f"{100 * self.value:.1f} %"
        return f"{self.metric.replace('_', ' ')} {' '.join([self.kind, figure]).strip()} ({self.part})"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One published experiment: its data, split, model, training, and what it was said to reach.

    Parameters
    ----------
    name : str
        ``source/experiment``.
    title : str
        The model in a few words.
    source : str
        Where it was published: paper, section, row of a table.
    data : str
        A spec of `SPECTROGRAM_SPECS`, `FEATURES`, `VGGISH`, or both of the first two with a plus.
    builder : str
        A function of `gtzan_keras.models`, or a model of `gtzan_keras.training.classical`.
    arguments : mapping
        Of the builder, but for the shape of the input and the number of genres.
    split : str
        As published: a preset of `gtzan_keras.tracks.splits`, "5 folds", "segments 80/20" (leaks),
        or "fault-filtered".
    training : mapping
        Arguments of `gtzan_keras.train`, or of `cross_validate` for features.
    published : tuple of Published
        The source's figures; the first is the one that tables show. Empty for our own.
    base : str
        The recipe that this one changes; see `gtzan_keras.experiments.changes`.
    ours : tuple of str
        Choices that the source leaves open.
    note : str
        What a reader should know when the figures differ.
    without : tuple of str
        Genres left out: of the split, the scores, and the model's outputs.
    leaky : bool
        The published protocol has pieces of one recording on two sides.
    pretrained : str
        The weights that the source started from, when it did.
    inputs : str
        Which features: a key of `gtzan_keras.report.features.INPUTS`.
    fine_tune : mapping
        Arguments of the second stage (`gtzan_keras.training.frozen.fine_tune`).
    grid : mapping of str to tuple
        What the search varies: an argument of the builder or of `train`, and its values.
    kfold : int
        Folds that choose the number of epochs for one final training (`train_kfold_then_full`).
    members : tuple of str
        Recipes whose probabilities this one averages.
    trains_on_validation : bool
        The validation part is trained on as well: everything has been chosen before.
    """

    name: str
    title: str
    source: str
    data: str
    builder: str
    split: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    base: str = ""
    ours: tuple[str, ...] = ()
    note: str = ""
    without: tuple[str, ...] = ()
    leaky: bool = False
    pretrained: str = ""
    inputs: str = ""
    fine_tune: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    kfold: int = 0
    members: tuple[str, ...] = ()
    trains_on_validation: bool = False
