"""The page that `gtzan-keras quickstart` writes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gtzan_keras.report.two_splits import two_splits
from gtzan_keras.training.results import read_result
from tests.made_results import answers, put

NAME = "baseline/thumbnail-cnn"


def test_the_page_has_one_sentence_with_both_accuracies_and_one_figure(tmp_path):
    for protocol, right in (("random", 9), ("fault-filtered", 6)):
        put(tmp_path / NAME / protocol / "seed0", answers(right), recipe=NAME, protocol=protocol, seed=0)
    page = two_splits(tmp_path, [NAME]).read_text("utf-8")
    sentence = page.replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ")
    assert sentence.index("90.0 %") < sentence.index("60.0 %")
    assert page.count("<svg") == 1


# One process a seed, each with its own TensorFlow: by night.
@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_quickstart_trains_seeds_side_by_side_and_says_nothing_else(seeds, tmp_path):
    options = f"quickstart --out results --max-epochs 1 --seeds {seeds}"
    command = [sys.executable, "-c", "from gtzan_keras.cli import main; main()", *options.split()]
    plain = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=True)
    assert len(list(tmp_path.glob("results/*/*/*/seed[01]/tracks.csv"))) == 2 * 2 * seeds
    assert done.stdout.splitlines()[-1] == str(tmp_path / "results" / "two-splits.html")
    assert done.stderr == ""
    result, _ = read_result(tmp_path / "results" / NAME / "random" / f"seed{seeds - 1}")
    assert result["departures"] == ["at most 1 epochs in place of 60"]
    assert result["command"].endswith(options)
