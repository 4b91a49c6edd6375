"""Our own models: nothing pretrained, chosen on the fault-filtered validation part."""

from dataclasses import replace

from gtzan_keras.experiments.recipe import FEATURES, Published, Recipe
from gtzan_keras.models.custom_cnn import CNN_ARGUMENTS

_TUTORIAL = Published(0.541, part="a CNN from scratch, ISMIR 2021 tutorial")
_WITH_VALIDATION = ("443 + 197 = 640 tracks to learn from; every setting was chosen before, on 443 and 197",)
_NOTE_640 = "Systems that train on the 443 alone are to be held against the recipe that this one is based on."

CNN = Recipe(
    name="baseline/cnn",
    title="five blocks with batch normalisation, on 10 s segments",
    source="ours",
    data="librosa-128x387",
    builder="cnn",
    arguments={
        "filters": (32, 64, 128, 256, 256),
        "dense_units": (),
        "dropout_before_head": 0.4,
        "normalization": "batch",
        "pooling": "avg+max",
    },
    split="fault-filtered",
    training={
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "ema": 0.99,
        "keep_best": False,
        "epochs": 120,
        "batch_size": 32,
        "augmentation": {
            "crop": 128,
            "time_stretch": 0.2,
            "band_shift": 6,
            "tone": 0.2,
            "masks": 2,
            "mixup": 0.4,
        },
    },
    published=(_TUTORIAL,),
    ours=(
        "crops of 128 of 387 columns to learn from; the whole picture at once to answer (global pooling)",
        "about eleven configurations were compared on the 197 validation tracks: crops of 256 columns, "
        "stronger masks and mixup, residual blocks, other heads and 200 epochs were no better",
    ),
    note="Chosen on the validation part; the last weights are kept, not the epoch that validated best.",
)

DEFAULT_CNN = Recipe(
    name="baseline/default-cnn",
    title="the default CNN (Malvezzi's), trained our way",
    source="ours",
    data="librosa-128x387",
    builder="cnn",
    arguments=dict(CNN_ARGUMENTS["malvezzi"]),
    split="fault-filtered",
    training={
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "ema": 0.99,
        "keep_best": False,
        "epochs": 60,
        "batch_size": 32,
        "augmentation": {
            "time_shift": True,
            "time_stretch": 0.2,
            "band_shift": 6,
            "tone": 0.2,
            "masks": 2,
            "mixup": 0.4,
        },
    },
    published=(_TUTORIAL,),
)

THUMBNAIL_CNN = replace(
    CNN,
    name="baseline/thumbnail-cnn",
    title="four blocks on the packaged 64 x 64 thumbnails, trained in half a minute",
    data="thumbnail-64",
    arguments={**CNN.arguments, "filters": (16, 32, 64, 128)},
    training={
        **CNN.training,
        "learning_rate": 4e-3,
        "epochs": 60,
        "batch_size": 16,
        "augmentation": {**CNN.training["augmentation"], "crop": 32, "band_shift": 3},
    },
    ours=(
        "crops of 32 of 64 columns in training; the whole thumbnail at once in use (global pooling)",
        "four configurations were compared on the 197 validation tracks; this one is for speed, "
        "120 epochs of baseline/cnn's settings reach more",
    ),
)

RECIPES: tuple[Recipe, ...] = (
    CNN,
    THUMBNAIL_CNN,
    replace(
        CNN,
        name="baseline/cnn-640",
        title="the same, trained on the validation part too",
        trains_on_validation=True,
        base=CNN.name,
        ours=_WITH_VALIDATION,
        note=_NOTE_640,
    ),
    DEFAULT_CNN,
    replace(
        DEFAULT_CNN,
        name="baseline/default-cnn-640",
        title="the same, trained on the validation part too",
        trains_on_validation=True,
        base=DEFAULT_CNN.name,
        ours=_WITH_VALIDATION,
        note=_NOTE_640,
    ),
    Recipe(
        name="baseline/ensemble",
        title="mean probabilities of the seeds of baseline/cnn",
        source="ours",
        data="librosa-128x387",
        builder="ensemble",
        split="fault-filtered",
        members=("baseline/cnn",),
        published=(_TUTORIAL,),
    ),
    Recipe(
        name="baseline/ensemble-640",
        title="mean probabilities of the seeds of baseline/cnn-640",
        source="ours",
        data="librosa-128x387",
        builder="ensemble",
        split="fault-filtered",
        members=("baseline/cnn-640",),
        published=(_TUTORIAL,),
    ),
    Recipe(
        name="baseline/ensemble-with-features",
        title="the same, and an SVM on hand-crafted features in equal parts",
        source="ours",
        data=f"{FEATURES}+librosa-128x387",
        builder="ensemble",
        split="fault-filtered",
        members=("baseline/cnn", "zhang/svm"),
        published=(_TUTORIAL,),
    ),
)
