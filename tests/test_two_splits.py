"""The page that `gtzan-keras quickstart` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report.two_splits import two_splits
from tests.made_results import answers, put

NAME = "baseline/thumbnail-cnn"


def test_the_page_has_one_sentence_with_both_accuracies_and_one_figure(tmp_path: Path) -> None:
    for protocol, right in (("random", 9), ("fault-filtered", 6)):
        put(tmp_path / NAME / protocol / "seed0", answers(right), recipe=NAME, protocol=protocol, seed=0)
    page = two_splits(tmp_path, [NAME]).read_text("utf-8")
    sentence = page.replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ")
    assert sentence.index("90.0 %") < sentence.index("60.0 %")
    assert page.count("<svg") == 1


def test_one_split_is_not_enough(tmp_path: Path) -> None:
    put(tmp_path / NAME / "random" / "seed0", recipe=NAME, protocol="random", seed=0)
    with pytest.raises(GtzanKerasError, match=r"under 1 split"):
        two_splits(tmp_path, [NAME])
