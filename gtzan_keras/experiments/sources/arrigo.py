"""Arrigo 2025: the twenty rows of Table 2, each as its difference from an earlier one."""

from dataclasses import replace
from typing import Any

from gtzan_keras.experiments.recipe import Published, Recipe
from gtzan_keras.models.custom_cnn import CNN_ARGUMENTS

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
_TEST_TRACKS = {"700-100-200": 200, "800-100-100": 100}


def _published(row: int) -> tuple[Published, ...]:
    validation, test, accuracy = TABLE[row]
    return (
        Published(test, "macro_precision"),
        Published(accuracy),
        Published(validation, "macro_precision", "validation"),
    )


def _note(split: str) -> str:
    tracks = _TEST_TRACKS[split]
    return (
        f"The published figure rests on {tracks} test tracks, so it carries about "
        f"{'7' if tracks == 200 else '8'} points either way; the split is random, artists stand on both "
        "sides."
    )


def _row(row: int, base: Recipe, title: str, *ours: str, **changed: Any) -> Recipe:
    """A recipe by what it changes; ``arguments`` and ``training`` are merged into the base's."""
    for mapping in ("arguments", "training"):
        changed[mapping] = {**getattr(base, mapping), **changed.get(mapping, {})}
    split = changed.get("split", base.split)
    return replace(
        base,
        name=f"arrigo/{row:02}",
        title=title,
        source=f"{_SOURCE} {row}",
        published=_published(row),
        base=base.name,
        ours=(*base.ours, *ours),
        note=_note(split),
        **changed,
    )


_STATED = {
    "batch_size": 8,
    "epochs": 2000,
    "monitor": "val_macro_precision",
    "learning_rate": 1e-4,
    "plateau_patience": 2000,  # the source states no schedule: the rate stays
}

_01 = Recipe(
    name="arrigo/01",
    title="vanilla CNN",
    source=f"{_SOURCE} 1",
    data="arrigo-v1",
    builder="cnn",
    arguments=dict(CNN_ARGUMENTS["arrigo"]),
    split="700-100-200",
    training={**_STATED, "patience": 100},
    published=_published(1),
    ours=("kernels of 3", "no dropout", "2x2 pooling", "input brought from 0..1 to -2..2"),
    note=_note("700-100-200"),
)
_02 = Recipe(
    name="arrigo/02",
    title="YOLOv4 from its blocks",
    source=f"{_SOURCE} 2",
    data="arrigo-v1",
    builder="yolov4",
    arguments={"head": (256, 64), "dropout": 0.3, "dropblock": 0.1},
    split="700-100-200",
    training={**_STATED, "patience": 15},
    published=_published(2),
    ours=("head 256-64, as model 4's", "dropout 0.3", "DropBlock 0.1 in the neck", "three scales pooled"),
    note=_note("700-100-200"),
)
_03 = _row(3, _02, "YOLOv4, more epochs and dropout", "more epochs: patience 30", "dropout 0.4",
           arguments={"dropout": 0.4}, training={"patience": 30})  # fmt: skip
_04 = Recipe(
    name="arrigo/04",
    title="YOLOv8, head 256-64",
    source=f"{_SOURCE} 4",
    data="arrigo-v1",
    builder="yolov8",
    arguments={
        "size": "s",
        "pooling": "avg",
        "head": (256, 64),
        "norm": None,
        "dropout": (0.4, 0.0),
        "dropout_before_pooling": 0.0,
        "dropout_before_output": 0.4,
    },
    split="700-100-200",
    training={**_STATED, "patience": 15},
    pretrained="coco",
    published=_published(4),
    ours=(
        "size s",
        "grey pictures as three equal channels",
        "dropout 0.4",
        "Adam, patience 15 as for model 2",
    ),
    note=_note("700-100-200"),
)
_05 = _row(5, _04, "YOLOv8, less dropout", "dropout 0.3",
           arguments={"dropout": (0.3, 0.0), "dropout_before_output": 0.0})  # fmt: skip
_06 = _row(6, _04, "YOLOv8, head 256-128-64", "dropout after the first two layers",
           arguments={"head": (256, 128, 64), "dropout": 0.4})  # fmt: skip
_07 = _row(7, _06, "YOLOv8, 800 training tracks, AdamW", split="800-100-100",
           training={"optimizer": "adamw", "weight_decay": 1e-4, "patience": 30})  # fmt: skip
_08 = _row(8, _07, "YOLOv8, Flatten, batch normalisation", "the row names no base",
           arguments={"pooling": "flatten", "norm": "batch", "dropout_before_output": 0.0})  # fmt: skip
_09 = _row(9, _08, "the same, head 128-64", arguments={"head": (128, 64)})
_10 = _row(10, _08, "the same, head 256-128-128-64", arguments={"head": (256, 128, 128, 64)})
_11 = _row(11, _07, "YOLOv8, more patience, less dropout", "patience 60",
           "dropout 0.3, none before the output",
           arguments={"dropout": 0.3, "dropout_before_output": 0.0}, training={"patience": 60})  # fmt: skip
_12 = _row(12, _11, "the same, head 256-128-128-64", "the row names no base",
           arguments={"head": (256, 128, 128, 64)})  # fmt: skip
_13 = _row(13, _12, "the same, head 256-128-64-64", "the row names no base",
           arguments={"head": (256, 128, 64, 64)})  # fmt: skip
_14 = _row(14, _11, "YOLOv8, batch normalisation in the head", arguments={"norm": "batch"})
_15 = _row(15, _14, "YOLOv8, layer normalisation in the head", arguments={"norm": "layer"})
_16 = _row(16, _15, "the same on 640 x 640 pictures", data="arrigo-v2")
_17 = _row(17, _16, "the same, head 256-128-128-64", "the row names no base",
           arguments={"head": (256, 128, 128, 64)})  # fmt: skip
_18 = _row(18, _16, "the best: more dropout, lower rate, class weights", "dropout 0.5, 0.2 before pooling",
           arguments={"dropout": 0.5, "dropout_before_pooling": 0.2},
           training={"learning_rate": 1e-5, "class_weights": True, "patience": 100})  # fmt: skip
_19 = _row(19, _18, "five folds choose the epochs, no patience", "5 folds",
           "model 18's network and rate", "mean of the best epochs, not of all trained",
           training={"patience": 0}, kfold=5)  # fmt: skip
_20 = _row(20, _19, "the same, patience 30", training={"patience": 30})

RECIPES = (_01, _02, _03, _04, _05, _06, _07, _08, _09, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _20)
