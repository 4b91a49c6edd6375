"""The package as a whole: light to import, of one version."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import gtzan_keras

HEAVY = {"tensorflow", "keras", "librosa", "matplotlib", "sklearn", "scipy", "soundfile", "h5py"}


def modules_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.check_output(command, text=True).splitlines()[-1].split())


def test_what_needs_neither_sound_nor_models_imports_nothing_heavy() -> None:
    arguments = "import gtzan_keras; gtzan_keras.models.CNN_ARGUMENTS"
    assert not modules_after(arguments) & {*HEAVY, "numpy", "pandas"}
    light = "load_tracks", "splits", "TrainingSettings", "experiments.RECIPES"
    recipes = "from gtzan_keras.cli import app; app(['recipes', 'arrigo/18'], standalone_mode=False)"
    plots = "from gtzan_keras.report import plots"
    code = f"import gtzan_keras as gk; gk.{', gk.'.join(light)}; {recipes}; {plots}"
    assert not modules_after(code) & HEAVY


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert gtzan_keras.__version__ == importlib.metadata.version("gtzan-keras") == project["version"]
