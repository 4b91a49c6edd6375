"""The benchmarks import, so that a renamed function does not break them unnoticed."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parent / "benchmarks").glob("bench_*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_imports(path: Path) -> None:
    runpy.run_path(str(path), run_name="imported")


def test_a_training_step_runs_in_each_setting() -> None:
    module = runpy.run_path(str(Path(__file__).parent / "benchmarks/bench_steps.py"), run_name="imported")
    module["BUILDS"]["small"] = ("cnn", (16, 16, 1), 2, {"filters": (4,), "normalization": "batch"})
    steps = module["steps_of"]("small")
    for step in steps.values():
        step()
    assert len(steps) == 3
