"""What several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "agg")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real GTZAN data; tests that ask for it skip where it is absent."""
    folder = Path(os.environ.get("GTZAN_KERAS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "gtzan_mini").is_dir():
        pytest.skip(f"needs real GTZAN data in {folder} (set GTZAN_KERAS_TEST_DATA)")
    return folder
