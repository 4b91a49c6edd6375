"""The page of `gtzan-keras serve` in Chromium: start-up, the first answer, and that for a song of 4 minutes.

python -m tests.benchmarks.bench_serve FOLDER [ROUNDS]

An answer is timed from the file's drop to the figure in the page; then to its explanation. FOLDER holds
tracks; the song is several of them. Each round starts the server anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import sync_playwright

from gtzan_keras import load_audio, load_tracks
from tests.benchmarks.common import spread

SECONDS, RATE = 240, 22050
STEPS = ("start-up", "30 s, heard", "30 s, why", "4 min, heard", "4 min, why")
LIMITS = {"30 s, heard": 5}
COMMAND = "from gtzan_keras.cli import main; main()"


def one_round(songs: list[Path], port: str) -> list[float]:
    begin = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", "--port", port],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout
    try:
        address = server.stdout.readline().split()[0]
        taken = [time.perf_counter() - begin]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            for song in songs:
                page = browser.new_page()
                page.goto(address)
                page.get_by_text("Drop File Here").wait_for()
                begin = time.perf_counter()
                page.locator("input[type=file]").first.set_input_files(song)
                for sign in ("#result svg", "#result table"):
                    page.locator(sign).first.wait_for()
                    taken.append(time.perf_counter() - begin)
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()
    return taken


def main(folder: str, rounds: int) -> None:
    paths = list(load_tracks(folder)["path"])
    with tempfile.TemporaryDirectory() as work:
        song = Path(work) / "song.wav"
        pieces = [load_audio(path, RATE) for path in paths[: SECONDS // 30 + 1]]
        soundfile.write(song, np.concatenate(pieces)[: SECONDS * RATE], RATE)
        found = [one_round([Path(paths[0]), song], str(7870 + number)) for number in range(rounds)]
    print(f"{rounds} rounds")
    for step, values in zip(STEPS, zip(*found, strict=True), strict=True):
        limit = f", at most {LIMITS[step]}" if step in LIMITS else ""
        print(f"{step:>12}: {spread(values, 1)} s{limit}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
