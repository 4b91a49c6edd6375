"""Malvezzi: custom CNN, VGG16 and a feed-forward network on colour spectrograms of whole clips."""

from dataclasses import replace
from functools import partial

from gtzan_keras.experiments.recipe import Published, Recipe, SecondStage
from gtzan_keras.models.cnn_arguments import CNN_ARGUMENTS
from gtzan_keras.training.settings import TrainingSettings

_SOURCE = "Malvezzi, course project, University of Milan-Bicocca"
_NOTE = (
    "The source's 918, 273 and 280 images are 1471 of 1000 tracks, so several images of one track were "
    "probably in all three parts. Here tracks are split."
)
_SETTINGS = TrainingSettings(learning_rate=1e-3, epochs=50, batch_size=32, patience=10, plateau_patience=5)

_recipe = partial(Recipe, data="malvezzi-rgb224", split="70/15/15", settings=_SETTINGS, note=_NOTE)

BASIC_CNN = _recipe(
    name="malvezzi/basic-cnn",
    title="CNN with 4 convolutions, dropout 0.4",
    source=f"{_SOURCE}, model 1",
    builder="cnn",
    arguments=dict(CNN_ARGUMENTS["malvezzi"]),
    published=(Published(0.925), Published(0.384, "loss")),
    ours=(
        "filters 32-64-128-128, dense 512",
        "input rescaled to -2..2",
        "Adam at its default rate 1e-3",
        "batch 32, 50 epochs, patience 10",
    ),
)

VGG16 = _recipe(
    name="malvezzi/vgg16-frozen",
    title="VGG16 on ImageNet, base frozen",
    source=f"{_SOURCE}, model 3",
    builder="vgg16",
    published=(Published(0.9487, part="validation", kind="about"),),
    pretrained="imagenet",
    ours=("head: dense 256, dropout 0.5, L2 1e-4", "Adam 1e-3, batch 32, 50 epochs"),
)

RECIPES = (
    BASIC_CNN,
    BASIC_CNN.variant(
        "malvezzi/basic-cnn-pieces",
        "the same on 1471 pieces, split at random",
        data="malvezzi-pieces",
        split="segments 918-273-280",
        leaky=True,
        ours=(*BASIC_CNN.ours, "pieces of 15 s, two per track, 1471 of them drawn by the seed"),
        note="How the source's counts may have come about: pieces of one track are in training and test.",
    ),
    BASIC_CNN.variant(
        "malvezzi/tuned-cnn",
        "the same after a grid search: dropout 0.4, rate 1e-4",
        source=f"{_SOURCE}, model 2",
        settings=replace(_SETTINGS, learning_rate=1e-4),
        grid={"dropout": (0.2, 0.3, 0.4, 0.5), "learning_rate": (1e-3, 5e-4, 1e-4)},
        published=(Published(0.9357), Published(0.205, "loss")),
        ours=(
            "filters 32-64-128-128, dense 512",
            "input rescaled to -2..2",
            "Adam, batch 32, 50 epochs, patience 10",
            "the grid's other values: the source states only the best",
        ),
    ),
    VGG16,
    VGG16.variant(
        "malvezzi/vgg16-fine-tuned",
        "VGG16, fine-tuned from block3_conv1",
        source=f"{_SOURCE}, model 4",
        fine_tune=SecondStage("block3_conv1", learning_rate=1e-5, epochs=30),
        published=(Published(0.94, part="validation", kind="about"),),
        ours=(*VGG16.ours, "second stage at rate 1e-5 for 30 epochs"),
    ),
    _recipe(
        name="malvezzi/feed-forward",
        title="dense layers only",
        source=f"{_SOURCE}, model 5",
        builder="dense",
        published=(Published(0.1036), Published(2.302, "loss")),
        ours=("layers and rate",),
        note="A loss of 2.302 is ln 10: the source's network gives the same answer for every spectrogram.",
    ),
)
