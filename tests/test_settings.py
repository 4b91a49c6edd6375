"""Training settings: every field is checked, and JSON keeps them."""

import dataclasses
import json

import numpy as np
import pytest

from gtzan_keras import GtzanKerasError, TrainingSettings
from gtzan_keras.store.augmentation import STRONG_AUGMENTATION

WRONG = {
    "epochs": (0, -1, 1.5, True, "5", None, float("nan"), np.int64(3)),
    "batch_size": (0, 32.0, False),
    "optimizer": ("sgd", None),
    "learning_rate": (0, -1e-3, float("nan"), float("inf"), "1e-3", True),
    "weight_decay": (-1, float("nan"), float("inf"), None),
    "schedule": ("linear", None),
    "ema": (0, 1, -0.5, float("nan"), True),
    "monitor": ("val_f1", "", None),
    "patience": (-3, 0, 2.5, True),
    "keep_best": (1, None, "yes"),
    "plateau_patience": (0, -1, 1.5, None),
    "class_weights": (0, "no"),
    "augmentation": ({"mixup": 0.2}, True),
    "precision": ("float16", None),
    "seed": (-1, 0.5, True, 2**32),
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in WRONG.items() for v in values])
def test_a_wrong_value_is_refused_with_its_name_and_value(field, value):
    with pytest.raises(GtzanKerasError) as caught:
        TrainingSettings(**{field: value})
    assert str(caught.value).startswith(f"{field}={value!r}: expected ")


def test_every_field_has_a_wrong_value_in_this_file():
    assert set(WRONG) == {field.name for field in dataclasses.fields(TrainingSettings)}


def test_settings_come_back_from_json():
    settings = TrainingSettings(
        epochs=3, learning_rate=1, ema=0.9, patience=None, augmentation=STRONG_AUGMENTATION, seed=7
    )
    assert TrainingSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_missing_fields_take_their_defaults():
    assert TrainingSettings.from_dict({"epochs": 3}) == TrainingSettings(epochs=3)


@pytest.mark.parametrize("values", [{"halve_every": 10}, {"augmentation": {"blur": 1}}])
def test_an_unknown_field_is_refused_by_name(values):
    with pytest.raises(GtzanKerasError, match=r"halve_every|blur"):
        TrainingSettings.from_dict(values)
