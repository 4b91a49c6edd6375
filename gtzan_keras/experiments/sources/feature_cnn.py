"""The feature 1-D CNN report: networks on Kaggle's table of hand-crafted features."""

from gtzan_keras.experiments.recipe import Published, Recipe
from gtzan_keras.training.settings import TrainingSettings

_SOURCE = '"Music Genre Classification via CNNs using the GTZAN dataset"'

ALL = Recipe(
    name="feature-cnn/all",
    title="1-D CNN on 51 features",
    source=f"{_SOURCE}, final model",
    data="features",
    builder="feature_cnn",
    split="5 folds",
    inputs="filtered",
    settings=TrainingSettings(
        epochs=50, batch_size=32, learning_rate=1e-3, schedule="step", keep_best=False, precision="float32"
    ),
    published=(Published(0.7170, part="mean of 5 folds"),),
    ours=("64 and 128 filters, dense 128, dropout 0.3", "batch 32, Adam 1e-3"),
    note="The scaler is fitted inside each fold; the source does not say.",
)

TWO_BRANCH = ALL.variant(
    "feature-cnn/with-images",
    "two branches: all features, and the mel spectrogram",
    source=f"{_SOURCE}, first model",
    data="features+zhang-128",
    builder="two_branch",
    inputs="all",
    published=(),
    ours=(*ALL.ours, "2-D branch 32-64-128 with global average pooling", "spectrograms of zhang-128"),
    note="The source dropped the spectrogram because it added nothing to the MFCCs, and gives no figure.",
)

RECIPES = (
    ALL,
    ALL.variant(
        "feature-cnn/mfcc-only",
        "1-D CNN on 40 MFCC columns",
        inputs="mfcc",
        published=(Published(0.60, part="mean of 5 folds", kind="about"),),
    ),
    TWO_BRANCH.variant(
        "feature-cnn/two-branch",
        "two branches: filtered features, and the mel spectrogram",
        inputs="filtered",
        note="The first model with the final model's 51 features: shows what the spectrogram adds to them.",
    ),
    TWO_BRANCH,
)
