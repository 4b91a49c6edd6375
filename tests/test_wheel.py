"""The wheel holds what an installation needs, and nothing else."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


def test_it_holds_the_package_and_nothing_else_in_under_12_mb(wheel: Path) -> None:
    assert wheel.stat().st_size < 12_000_000
    names = set(zipfile.ZipFile(wheel).namelist())
    information = {name for name in names if name.startswith("gtzan_keras-")}
    assert {name.partition("/")[2] for name in information} == {
        "METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE",
    }  # fmt: skip
    package = (path for path in (ROOT / "gtzan_keras").rglob("*.*") if path.parent.name != "__pycache__")
    assert names - information == {path.relative_to(ROOT).as_posix() for path in package}


def test_without_extras_it_asks_for_no_particular_setuptools(wheel: Path) -> None:
    file = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in file.namelist() if name.endswith("/METADATA"))
    message = email.message_from_bytes(file.read(metadata))
    needed = [line for line in message.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert any(line.startswith("keras>=") for line in needed)
    assert not [line for line in needed if line.startswith(("setuptools", "tensorflow-hub"))]


def test_an_installation_has_the_data_without_anything_else(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel alone, in an empty folder, with this environment's dependencies."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import gtzan_keras as gk\n"
        "print(gk.__file__, len(gk.datasets.thumbnails()), len(gk.datasets.feature_table()), sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    found = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True)
    file, *counts = found.splitlines()
    assert Path(file).is_relative_to(tmp_path / "site")
    assert counts == ["999", "1000"]
