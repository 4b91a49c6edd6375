"""The scripts of docs/in-other-projects.md run as they are printed, each in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/in-other-projects.md").read_text("utf-8")
SCRIPTS = dict(re.findall(r"^## (.+?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
PRINTED = {
    "A metric in `compile`": r"\[[\d.]+, [\d.]+\]\ngtzan_keras.errors gtzan_keras.metrics",
    "A YOLOv8 classifier for small colour images": "",
    "DropBlock in a ResNet": "9900",  # 448 + 4 x 2320 + 170, and 2 counters of DropBlock's steps
    "musicnn and VGGish as feature extractors for your own labels": r"\[1\. 1\.\]",  # a low and a high tone
    "A store for other spectrograms": r"\['blackbird', 'robin'\] 2 \(8, 64, 100, 1\)",
    "Splits without leaks for another collection": "\n".join(
        f"artist-grouped fold {fold} of 2 2 2 4" for fold in (1, 2)
    ),
}
LOADED = (  # a metric brings no audio, store or training along
    "import sys; print(*sorted(name for name in sys.modules if name.startswith('gtzan_keras.')))"
)


def songs(folder: Path) -> None:
    """Two labels, four songs each by two artists: a low and a high tone in noise."""
    rng = np.random.default_rng(0)
    seconds = np.arange(4 * 16000) / 16000
    for label, pitch in (("low", 110), ("high", 1760)):
        (folder / "songs" / label).mkdir(parents=True)
        for number in range(4):
            tone = 0.3 * np.sin(2 * np.pi * pitch * seconds) + 0.05 * rng.normal(size=seconds.size)
            soundfile.write(
                folder / "songs" / label / f"{'anna' if number < 2 else 'bert'} {number}.wav", tone, 16000
            )


def run(script: str, folder: Path, **variables: str) -> str:
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, **paths, **variables},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_page_has_these_six_scripts_of_about_ten_lines() -> None:
    assert list(SCRIPTS) == list(PRINTED)
    assert max(len(script.strip().splitlines()) for script in SCRIPTS.values()) <= 14


@pytest.mark.parametrize("title", [title for title in PRINTED if not re.search("musicnn|YOLOv8", title)])
def test_a_script_runs_alone(title: str, tmp_path: Path) -> None:
    songs(tmp_path)
    script = SCRIPTS[title] + (LOADED if "metric" in title else "")
    assert re.fullmatch(PRINTED[title], run(script, tmp_path))


def test_musicnn_separates_a_low_from_a_high_tone(tmp_path: Path, musicnn_folder: Path) -> None:
    songs(tmp_path)
    title = next(title for title in PRINTED if "musicnn" in title)
    assert re.fullmatch(
        PRINTED[title], run(SCRIPTS[title], tmp_path, GTZAN_KERAS_WEIGHTS=str(musicnn_folder))
    )


def test_the_saved_yolov8_classifier_opens_without_this_package(tmp_path: Path) -> None:
    title = "A YOLOv8 classifier for small colour images"
    assert run(SCRIPTS[title], tmp_path) == PRINTED[title]
    alone = (
        "import sys; sys.modules['gtzan_keras'] = None; sys.modules['keras_cv'] = None\n"
        "import keras; print(keras.models.load_model('classifier.keras').output_shape)"
    )
    assert run(alone, tmp_path) == "(None, 10)"
