"""Arrigo 2025: the twenty rows of Table 2, each as a change to an earlier one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gtzan_keras.experiments.recipe import Published, Recipe
from gtzan_keras.models.cnn_arguments import CNN_ARGUMENTS
from gtzan_keras.training.settings import TrainingSettings

TABLE = {
    1: (0.5439, 0.5540, 0.535),
    2: (0.7627, 0.6680, 0.61),
    3: (0.6489, 0.6401, 0.61),
    4: (0.6510, 0.5681, 0.51),
    5: (0.6458, 0.6658, 0.66),
    6: (0.6766, 0.6574, 0.66),
    7: (0.6959, 0.5907, 0.59),
    8: (0.6260, 0.5114, 0.49),
    9: (0.5641, 0.5114, 0.49),
    10: (0.5061, 0.3546, 0.28),
    11: (0.7308, 0.7126, 0.70),
    12: (0.7174, 0.5162, 0.46),
    13: (0.6474, 0.4939, 0.48),
    14: (0.8002, 0.6165, 0.63),
    15: (0.7772, 0.7401, 0.71),
    16: (0.8216, 0.7840, 0.78),
    17: (0.8120, 0.7270, 0.69),
    18: (0.8641, 0.8031, 0.80),
    19: (0.5916, 0.6427, 0.55),
    20: (0.7483, 0.8060, 0.80),
}
"""Arrigo's Table 2: macro precision on validation, on test, and accuracy on test, by model."""

_SOURCE = 'Arrigo, "Using CNN Networks for Music Genre Classification", 2025, Table 2, model'
_TEST_TRACKS = {"700-100-200": (200, 7), "800-100-100": (100, 8)}


@dataclass(frozen=True)
class _Row:
    """A row of the table, with the choices that are ours by topic, so that a later row replaces them."""

    recipe: Recipe
    ours: Mapping[str, str]

    def then(
        self,
        number: int,
        title: str,
        ours: Mapping[str, str] | None = None,
        arguments: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        **changed: Any,
    ) -> "_Row":
        """Return the row that changes this one; arguments and settings are merged into this one's."""
        base, choices = self.recipe, {**self.ours, **(ours or {})}
        assert base.settings is not None
        validation, test, accuracy = TABLE[number]
        tracks, points = _TEST_TRACKS[changed.get("split", base.split)]
        recipe = base.variant(
            f"arrigo/{number:02}",
            title,
            source=f"{_SOURCE} {number}",
            published=(
                Published(test, "macro_precision"),
                Published(accuracy),
                Published(validation, "macro_precision", "validation"),
            ),
            ours=tuple(choice for choice in choices.values() if choice),
            note=f"The published figure is of {tracks} test tracks, so it is known to about {points} points "
            "either way; the split is random, so artists are on both sides.",
            arguments={**base.arguments, **(arguments or {})},
            settings=replace(base.settings, **(settings or {})),
            **changed,
        )
        return _Row(recipe, choices)


_START = _Row(
    Recipe(
        name="",
        title="",
        source="",
        data="arrigo-v1",
        builder="",
        split="700-100-200",
        settings=TrainingSettings(
            batch_size=8,
            epochs=2000,
            monitor="val_macro_precision",
            learning_rate=1e-4,
            patience=15,
            plateau_patience=2000,  # the source states no schedule: the rate stays
        ),
    ),
    {},
)
_NO_BASE = {"base": "the row names no base"}

_01 = _START.then(1, "vanilla CNN",
                  {"cnn": "kernels of 3, no dropout, 2x2 pooling", "input": "input rescaled to -2..2"},
                  builder="cnn", arguments=CNN_ARGUMENTS["arrigo"], settings={"patience": 100})  # fmt: skip
_02 = _START.then(2, "YOLOv4 from its blocks",
                  {"head": "head 256-64, as model 4's", "dropout": "dropout 0.3",
                   "neck": "DropBlock 0.1 in the neck", "scales": "three scales pooled"},
                  builder="yolov4",
                  arguments={"head": (256, 64), "dropout": 0.3, "dropblock": 0.1})  # fmt: skip
_03 = _02.then(3, "YOLOv4, more epochs and dropout",
               {"dropout": "dropout 0.4", "patience": "more epochs: patience 30"},
               arguments={"dropout": 0.4}, settings={"patience": 30})  # fmt: skip
_04 = _START.then(4, "YOLOv8, head 256-64",
                  {"size": "size s", "grey": "grey spectrograms as three equal channels",
                   "dropout": "dropout 0.4", "patience": "Adam, patience 15 as for model 2"},
                  builder="yolov8", pretrained="coco",
                  arguments={"size": "s", "pooling": "avg", "head": (256, 64), "norm": None,
                             "dropout": (0.4, 0.0), "dropout_before_pooling": 0.0,
                             "dropout_before_output": 0.4})  # fmt: skip
_05 = _04.then(5, "YOLOv8, less dropout", {"dropout": "dropout 0.3"},
               arguments={"dropout": (0.3, 0.0), "dropout_before_output": 0.0})  # fmt: skip
_06 = _04.then(6, "YOLOv8, head 256-128-64", {"dropout": "dropout 0.4 after the first two layers"},
               arguments={"head": (256, 128, 64), "dropout": 0.4})  # fmt: skip
_07 = _06.then(7, "YOLOv8, 800 training tracks, AdamW", {"patience": ""}, split="800-100-100",
               settings={"optimizer": "adamw", "weight_decay": 1e-4, "patience": 30})  # fmt: skip
_08 = _07.then(8, "YOLOv8, Flatten, batch normalization", _NO_BASE,
               arguments={"pooling": "flatten", "norm": "batch", "dropout_before_output": 0.0})  # fmt: skip
_09 = _08.then(9, "the same, head 128-64", arguments={"head": (128, 64)})
_10 = _08.then(10, "the same, head 256-128-128-64", arguments={"head": (256, 128, 128, 64)})
_11 = _07.then(11, "YOLOv8, more patience, less dropout",
               {"patience": "patience 60", "dropout": "dropout 0.3, none before the output"},
               arguments={"dropout": 0.3, "dropout_before_output": 0.0},
               settings={"patience": 60})  # fmt: skip
_12 = _11.then(12, "the same, head 256-128-128-64", _NO_BASE, arguments={"head": (256, 128, 128, 64)})
_13 = _12.then(13, "the same, head 256-128-64-64", arguments={"head": (256, 128, 64, 64)})
_14 = _11.then(14, "YOLOv8, batch normalization in the head", arguments={"norm": "batch"})
_15 = _14.then(15, "YOLOv8, layer normalization in the head", arguments={"norm": "layer"})
_16 = _15.then(16, "the same on 640 x 640 spectrograms", data="arrigo-v2")
_17 = _16.then(17, "the same, head 256-128-128-64", _NO_BASE, arguments={"head": (256, 128, 128, 64)})
_18 = _16.then(18, "the best: more dropout, lower rate, class weights",
               {"dropout": "dropout 0.5, 0.2 before pooling", "patience": ""},
               arguments={"dropout": 0.5, "dropout_before_pooling": 0.2},
               settings={"learning_rate": 1e-5, "class_weights": True, "patience": 100})  # fmt: skip
_19 = _18.then(19, "five folds choose the epochs, no patience",
               {"folds": "5 folds", "base": "model 18's network and rate",
                "mean": "mean of the best epochs, not of all trained",
                "patience": "patience 1, which in Keras is the same as 0"},
               settings={"patience": 1}, kfold=5)  # fmt: skip
_20 = _19.then(20, "the same, patience 30", {"patience": ""}, settings={"patience": 30})

_ROWS = (_01, _02, _03, _04, _05, _06, _07, _08, _09, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _20)
RECIPES = tuple(row.recipe for row in _ROWS)
