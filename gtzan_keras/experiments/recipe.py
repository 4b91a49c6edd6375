"""What a recipe is: one published experiment as data. Nothing here computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gtzan_keras.store.augmentation import FeatureAugmentation
from gtzan_keras.training.settings import TrainingSettings

__all__ = ["EMBEDDINGS", "FEATURES", "VGGISH", "Published", "Recipe", "SecondStage"]

FEATURES: Mapping[str, float | None] = {"features": None, "features-3s": 3.0, "features-10s": 10.0}
"""`Recipe.data` of models on hand-crafted features: of whole tracks, or of segments of this many seconds."""

VGGISH = "vggish"
EMBEDDINGS: Mapping[str, str | None] = {
    VGGISH: None,
    "musicnn-msd": None,
    "musicnn-msd-penultimate": None,
    "mobilenet-v2": "librosa-128x387",
}
"""`Recipe.data` of models on a frozen network's output: from sound, or from spectrograms of a spec."""


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
        The data that it was measured on, in the source's words: test, validation, mean of 5 folds, ...
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


@dataclass(frozen=True)
class SecondStage:
    """Fine-tuning after the first training; see `gtzan_keras.fine_tune`.

    Parameters
    ----------
    trainable_from : str
        The first layer that is trained.
    learning_rate : float
        Learning rate of this stage.
    epochs : int
        Upper limit of this stage.
    augmentation : FeatureAugmentation, optional
        Random changes to the frozen part's output in this stage.

    Examples
    --------
    >>> from gtzan_keras import experiments
    >>> experiments.find("malvezzi/vgg16-fine-tuned").fine_tune.trainable_from
    'block3_conv1'
    """

    trainable_from: str
    learning_rate: float
    epochs: int
    augmentation: FeatureAugmentation | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One published experiment: its data, split, model, training, and the published figures.

    Parameters
    ----------
    name : str
        ``source/experiment``.
    title : str
        The model in a few words.
    source : str
        Place of publication: paper, section, row of a table.
    data : str
        A spec of `SPECTROGRAM_SPECS`, one of `FEATURES` or `EMBEDDINGS`, or features and a spec with a
        plus.
    builder : str
        A function of `gtzan_keras.models`, one of its `IMAGE_BASES`, or a model of
        `gtzan_keras.training.classical`.
    arguments : mapping
        Arguments of the builder, except the input shape and the number of genres.
    split : str
        As published: a preset of `gtzan_keras.tracks.splits`, "5 folds", "fault-filtered", or leaky:
        "random rows" (folds of a table's rows), "segments 80/20", "segments 918-273-280".
    settings : TrainingSettings, optional
        How the model is trained; None for classical models and ensembles.
    published : tuple of Published
        The source's figures; tables show the first. Empty for our own models.
    base : str
        The recipe that this one changes; see `gtzan_keras.experiments.changes`.
    ours : tuple of str
        Choices that the source leaves open, or that depart from it.
    note : str
        What a reader should know when the figures differ.
    without : tuple of str
        Genres left out of the split, the scores, and the model's outputs.
    leaky : bool
        The published protocol has segments of one recording in training and test.
    pretrained : str
        The weights that the source started from, if any.
    inputs : str
        The features: a key of `gtzan_keras.training.cross_validate.INPUTS`.
    fine_tune : SecondStage, optional
        A second training of the same model.
    grid : mapping of str to tuple
        What a search varies: an argument of the builder or a field of the settings, and its values.
    kfold : int
        Folds that choose the number of epochs for one final training (`train_kfold_then_full`).
    members : tuple of str
        Recipes whose probabilities this one averages.
    trains_on_validation : bool
        The model is trained on the validation part as well: everything was chosen before.

    Examples
    --------
    >>> from gtzan_keras.experiments import Recipe
    >>> about = {"name": "mine/features-and-image", "title": "two branches", "source": "ours"}
    >>> Recipe(**about, data="features+zhang-128", builder="two_branch", split="fault-filtered").kinds
    ('features', 'zhang-128')
    """

    name: str
    title: str
    source: str
    data: str
    builder: str
    split: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    settings: TrainingSettings | None = None
    published: tuple[Published, ...] = ()
    base: str = ""
    ours: tuple[str, ...] = ()
    note: str = ""
    without: tuple[str, ...] = ()
    leaky: bool = False
    pretrained: str = ""
    inputs: str = ""
    fine_tune: SecondStage | None = None
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    kfold: int = 0
    members: tuple[str, ...] = ()
    trains_on_validation: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of data that the model takes, by name."""
        return tuple(self.data.split("+"))
