"""The page that `gtzan-keras quickstart` writes."""

from __future__ import annotations

from pathlib import Path

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
