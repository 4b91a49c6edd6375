"""The package as a whole: light to import, complete, of one version."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import gtzan_keras

HEAVY = {"tensorflow", "keras", "librosa", "matplotlib", "sklearn", "scipy", "soundfile", "h5py"}


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_what_needs_neither_sound_nor_models_imports_nothing_heavy() -> None:
    arguments = "import gtzan_keras; gtzan_keras.models.CNN_ARGUMENTS"
    assert not modules_after(arguments) & {*HEAVY, "numpy", "pandas"}
    light = "load_tracks", "splits", "TrainingSettings", "experiments.RECIPES"
    recipes = "from gtzan_keras.cli import app; app(['recipes', 'arrigo/18'], standalone_mode=False)"
    plots = "from gtzan_keras.report import plots"
    code = f"import gtzan_keras as gk; gk.{', gk.'.join(light)}; {recipes}; {plots}"
    assert not modules_after(code) & HEAVY


# Each name by itself, as if it were the first that is asked for. metrics is a module, and brings Keras.
RESOLVE = """
    import importlib, sys
    names = set(importlib.import_module("gtzan_keras").__all__) - {"metrics"}
    for name in sorted(names):
        for module in [module for module in sys.modules if module.startswith("gtzan_keras")]:
            del sys.modules[module]
        package = importlib.import_module("gtzan_keras")
        assert name in dir(package), name
        assert getattr(package, name) is not None, name
    print("all")
"""


def test_every_public_name_resolves_by_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RESOLVE)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "all\n", done.stderr
    assert gtzan_keras.metrics.MacroPrecision is not None


def test_the_names_the_design_promises_are_public() -> None:
    promised = """
        load_tracks verify splits load_audio AudioError SpectrogramSpec SPECTROGRAM_SPECS log_mel mel_image
        preprocess open_store SpectrogramStore metrics models train evaluate
    """
    assert set(promised.split()) <= set(gtzan_keras.__all__)


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert gtzan_keras.__version__ == importlib.metadata.version("gtzan-keras") == project["version"]
