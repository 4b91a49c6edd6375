"""Uncu: a CNN on segments of tracks, and VGGish embeddings."""

from dataclasses import replace

from gtzan_keras.experiments.recipe import VGGISH, Published, Recipe
from gtzan_keras.models.cnn_arguments import CNN_ARGUMENTS
from gtzan_keras.training.settings import TrainingSettings

_SOURCE = "Uncu, survey of VGGish and scratch CNNs on GTZAN"
_SETTINGS = TrainingSettings(learning_rate=1e-4, epochs=30, batch_size=32)

SCRATCH = Recipe(
    name="uncu/scratch-cnn",
    title="CNN on 4 s segments, nine genres",
    source=f"{_SOURCE}, custom CNN",
    data="uncu-segments",
    builder="cnn",
    arguments=dict(CNN_ARGUMENTS["uncu"]),
    split="segments 80/20",
    settings=replace(_SETTINGS, monitor="val_accuracy", patience=5),
    published=(Published(0.91, part="test segments", kind="about"),),
    without=("jazz",),
    leaky=True,
    ours=(
        "filters 32-64-128",
        "one hidden dense layer, of 128; the paper's text has two",
        "input rescaled to -2..2",
        "patience 5",
        "a tenth of the training part, for early stopping",
    ),
    note=(
        "Segments overlap by half and were split at random: most test segments share 2 s of sound with a "
        "training segment. Jazz was left out because of its one unreadable file."
    ),
)

VGGISH_CNN = Recipe(
    name="uncu/vggish-cnn",
    title="VGGish embeddings, deep CNN head",
    source=f"{_SOURCE}, VGGish",
    data=VGGISH,
    builder="vggish_classifier",
    arguments={"head": "cnn"},
    split="80/20",
    settings=_SETTINGS,
    published=(Published(0.82),),
    pretrained="audioset",
    ours=("a stratified split of tracks",),
    note="The source's test part was its validation data too, and its split was not stratified.",
)

RECIPES = (
    SCRATCH,
    SCRATCH.variant(
        "uncu/scratch-cnn-ten-genres",
        "the same with jazz, whose one broken file is left out",
        without=(),
        published=(),
    ),
    SCRATCH.variant(
        "uncu/scratch-cnn-four-genres",
        "the same on blues, classical, country and metal",
        without=("disco", "hiphop", "jazz", "pop", "reggae", "rock"),
        published=(),
        note="The four genres whose sound was complete on our machine, so that the test part is not tiny.",
    ),
    VGGISH_CNN,
    VGGISH_CNN.variant(
        "uncu/vggish-dense",
        "VGGish embeddings, shallow dense head",
        source=f"{_SOURCE}, the paper's text",
        arguments={"head": "dense"},
        published=(),
        note="The paper describes this head; its code, and so its 82 %, has the deep one.",
    ),
)
