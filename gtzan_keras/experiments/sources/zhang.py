"""Zhang 2025: a small CNN on 128 columns of log-mel, with classical models for comparison."""

from dataclasses import replace

from gtzan_keras.experiments.recipe import Published, Recipe
from gtzan_keras.models.cnn_arguments import CNN_ARGUMENTS
from gtzan_keras.store.augmentation import Augmentation
from gtzan_keras.training.settings import TrainingSettings

_SOURCE = 'Zhang, "Music Genre Classification Based on Deep Learning", 2025'
_SETTINGS = TrainingSettings(learning_rate=1e-4, epochs=50, batch_size=32, patience=5, plateau_patience=3)

CNN = Recipe(
    name="zhang/cnn",
    title="CNN 32-64, dense 128",
    source=f"{_SOURCE}, section 3.5",
    data="zhang-128",
    builder="cnn",
    arguments=dict(CNN_ARGUMENTS["zhang"]),
    split="72/8/20",
    settings=_SETTINGS,
    published=(Published(0.625),),
    ours=(
        "dropout 0.25 and 0.5",
        "input rescaled to -2..2",
        "a tenth of the training tracks, for early stopping",
    ),
    note="128 columns are the first 3 s of a track.",
)

AUGMENTED = CNN.variant(
    "zhang/cnn-augmented",
    "the same with time shift and Gaussian noise",
    source=f"{_SOURCE}, section 3.3",
    settings=replace(_SETTINGS, augmentation=Augmentation(time_shift=True, noise=0.02)),
    published=(Published(0.70, kind="near"),),
    ours=(*CNN.ours, "shift and noise are applied to the spectrogram; noise of 0.02 of its range"),
)

SVM = Recipe(
    name="zhang/svm",
    title="SVM (RBF) on hand-crafted features",
    source=f"{_SOURCE}, section 2.2",
    data="features",
    builder="svm",
    split="80/20",
    inputs="all",
    ours=("scikit-learn's defaults", "Kaggle's 57 features"),
    note="The source names the model and gives no figure.",
)

RECIPES = (
    CNN,
    AUGMENTED,
    AUGMENTED.variant(
        "zhang/cnn-kfold",
        "the same in 5 folds",
        source=f"{_SOURCE}, section 4",
        split="5 folds",
        published=(Published(0.60, part="each of 5 folds", kind="over"),),
    ),
    SVM,
    SVM.variant(
        "zhang/random-forest",
        "random forest on hand-crafted features",
        builder="random_forest",
        ours=("scikit-learn's defaults, but 500 trees", "Kaggle's 57 features"),
    ),
    AUGMENTED.variant(
        "zhang/without-country-rock",
        "the augmented CNN without country and rock",
        source=f"{_SOURCE}, section 4",
        without=("country", "rock"),
        published=(Published(0.80, kind="about"),),
    ),
    AUGMENTED.variant(
        "zhang/classical-jazz-metal",
        "the augmented CNN on classical, jazz and metal alone",
        source=f"{_SOURCE}, section 4",
        without=("blues", "country", "disco", "hiphop", "pop", "reggae", "rock"),
        published=(Published(0.85, kind="over"),),
    ),
)
