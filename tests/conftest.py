"""What several test files share."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report.page import Group, find_groups
from gtzan_keras.store.spectrograms import SpectrogramStore

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


@pytest.fixture(scope="session")
def committed() -> list[Group]:
    """The results in reports/, read once."""
    return find_groups(ROOT / "reports")


@pytest.fixture(autouse=True, scope="module")
def no_old_models() -> Iterator[None]:
    """Free the models of a file after it: otherwise a run of the suite needs over 5 GB."""
    yield
    if keras := sys.modules.get("keras"):
        keras.utils.clear_session()
        gc.collect()


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    """Every test begins in float32, whatever precision the one before it set."""
    yield
    if keras := sys.modules.get("keras"):
        keras.config.set_dtype_policy("float32")


def run_eagerly() -> Iterator[None]:
    """TensorFlow's functions are not traced."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def eagerly() -> Iterator[None]:
    """For files that train networks so small that they take longer to trace than to train."""
    yield from run_eagerly()


@pytest.fixture
def eager() -> Iterator[None]:
    """For single tests, in a file whose other tests are about the traced step."""
    yield from run_eagerly()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium with a microphone that is none, which finds no host but this machine; skips without one."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no `chromium`: the pages are not tried in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
            ],
        )  # fmt: skip
        yield browser
        browser.close()


def drawn(figure: Any) -> Any:
    """Lay the figure out and draw it, so that whatever can warn or fail does; nothing may be cut."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    assert figure.canvas.manager is None  # pyplot keeps no figure of ours
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    outer = figure.get_tightbbox(canvas.get_renderer())
    assert outer.x0 > -0.02
    assert outer.y0 > -0.02
    assert outer.x1 < figure.get_figwidth() + 0.02
    assert outer.y1 < figure.get_figheight() + 0.02
    return figure


TINY = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=12)
SEPARABLE_GENRES = ("disco", "metal", "rock")


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SpectrogramStore]:
    """A small store of these samples; random pictures when none are given."""

    def make(ids: list[str], images: np.ndarray | None = None, **options: object) -> SpectrogramStore:
        if images is None:
            images = np.random.default_rng(0).integers(256, size=(len(ids), *TINY.shape), dtype=np.uint8)
        path = tmp_path_factory.mktemp("store") / "tiny.h5"
        return SpectrogramStore.from_arrays(path, images, ids, **{"spec": TINY, **options})

    return make


@pytest.fixture(scope="session")
def separable(make_store: Callable[..., SpectrogramStore]) -> SpectrogramStore:
    """12 tracks each of three genres that a glance tells apart: which third of the bands is bright."""
    ids = [f"{genre}.{number:05d}" for genre in SEPARABLE_GENRES for number in range(12)]
    images = np.random.default_rng(0).integers(100, size=(len(ids), *TINY.shape), dtype=np.uint8)
    for row in range(len(ids)):
        first = 3 * (row // 12)
        images[row, first : first + 2] += 150
    return make_store(ids, images)


@pytest.fixture(scope="session")
def musicnn_folder() -> Path:
    """The folder with musicnn's converted weights, downloaded once; tests skip where it cannot be."""
    from gtzan_keras.models.weights import musicnn_weights

    folder = ROOT / "data" / "weights"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GTZAN_KERAS_WEIGHTS", str(folder))
        try:
            musicnn_weights("msd")
        except GtzanKerasError as error:
            if "downloaded" not in str(error):
                raise
            pytest.skip(f"needs musicnn's weights: {error}")
    return folder
