"""The scripts of docs/in-other-projects.md run as they are printed."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.usefixtures("eagerly")

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/in-other-projects.md").read_text("utf-8")
SCRIPTS = dict(re.findall(r"^## (.+?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
METRIC = "A metric in `compile`"
PRINTED = {
    METRIC: r"\[[\d.]+, [\d.]+\]\ngtzan_keras.errors gtzan_keras.metrics",
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


def songs(folder):
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


def test_the_page_has_these_six_scripts_of_about_ten_lines():
    assert list(SCRIPTS) == list(PRINTED)
    assert max(len(script.strip().splitlines()) for script in SCRIPTS.values()) <= 14


def test_the_script_of_the_metric_loads_nothing_but_metrics():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTS[METRIC] + LOADED],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(PRINTED[METRIC], done.stdout.strip())


@pytest.mark.parametrize("title", [title for title in PRINTED if title != METRIC])
def test_a_script_runs_and_prints_what_it_should(title, tmp_path, monkeypatch, capsys, request):
    if "musicnn" in title:
        monkeypatch.setenv("GTZAN_KERAS_WEIGHTS", str(request.getfixturevalue("musicnn_folder")))
    songs(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(SCRIPTS[title], {})
    assert re.fullmatch(PRINTED[title], capsys.readouterr().out.strip())
