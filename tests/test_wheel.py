"""The wheel holds what an installation needs, and nothing else."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gtzan_keras.experiments.catalogue import SOURCES

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [*command, "--wheel-dir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        env={name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"},
    )
    (path,) = folder.glob("*.whl")
    return path


def test_it_holds_code_data_and_model_in_under_12_mb(wheel: Path) -> None:
    assert wheel.stat().st_size < 12_000_000
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith(".py")}
    information = {name for name in names if name.startswith("gtzan_keras-")}
    assert {name.partition("/")[2] for name in information} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }
    assert names - information == {
        "gtzan_keras/__init__.pyi",
        "gtzan_keras/models/__init__.pyi",
        "gtzan_keras/py.typed",
        "gtzan_keras/serve.css",
        "gtzan_keras/serve.js",
        "gtzan_keras/data/baseline-cnn-training-tracks.npz",
        "gtzan_keras/data/baseline-cnn.keras",
        "gtzan_keras/data/features_30_sec.csv.gz",
        "gtzan_keras/data/gtzan_thumbnail_64.h5",
        *(f"gtzan_keras/experiments/sources/{source}.toml" for source in SOURCES),
        "gtzan_keras/report/base.html.j2",
        "gtzan_keras/report/leaderboard.html.j2",
        "gtzan_keras/report/leaderboard.md.j2",
        "gtzan_keras/report/page.html.j2",
        "gtzan_keras/report/recipe.html.j2",
        "gtzan_keras/report/song.html.j2",
        "gtzan_keras/report/two_splits.html.j2",
        "gtzan_keras/tracks/demo.toml",
        "gtzan_keras/tracks/near_duplicates.csv",
        "gtzan_keras/tracks/tracks.csv",
    }


def test_its_code_is_that_of_the_checkout(wheel: Path) -> None:
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gtzan_keras").rglob("*.py")}
    assert {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")} == sources


def test_without_extras_it_asks_for_no_particular_setuptools(wheel: Path) -> None:
    (metadata,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA"))
    message = email.message_from_bytes(zipfile.ZipFile(wheel).read(metadata))
    needed = [line for line in message.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert any(line.startswith("keras>=") for line in needed)
    assert not [line for line in needed if line.startswith(("setuptools", "tensorflow-hub"))]


def test_an_installation_has_the_data_without_anything_else(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel alone, in an empty folder, with this environment's dependencies."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import gtzan_keras as gk\n"
        "print(gk.__file__)\n"
        "print(len(gk.datasets.thumbnails()), len(gk.datasets.feature_table()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    file, counts = done.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path / "site")
    assert counts == "999 1000"
