"""Which arithmetic a training uses."""

from __future__ import annotations

import keras
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.training import precision as module
from gtzan_keras.training.precision import use_precision


@pytest.mark.parametrize(("word", "name"), [("float32", "float32"), ("bfloat16", "mixed_bfloat16")])
def test_a_precision_that_was_asked_for_is_set(word: str, name: str) -> None:
    assert use_precision(word) == name
    assert keras.config.dtype_policy().name == name
    assert keras.layers.Dense(1).compute_dtype == word


@pytest.mark.parametrize(("able", "name"), [(True, "mixed_bfloat16"), (False, "float32")])
def test_auto_takes_bfloat16_where_the_machine_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, able: bool, name: str
) -> None:
    monkeypatch.setattr(module, "_has_bfloat16", lambda: able)
    assert use_precision() == name


def test_another_word_is_refused_and_changes_nothing() -> None:
    before = keras.config.dtype_policy().name
    with pytest.raises(GtzanKerasError, match="precision is 'float16'; expected auto, float32 or bfloat16"):
        use_precision("float16")
    assert keras.config.dtype_policy().name == before
