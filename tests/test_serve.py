"""The page of `gtzan-keras serve` in a real browser, on the packaged model: nothing stays, nothing leaves."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

from gtzan_keras import serve as serving
from gtzan_keras.audio.decode import AudioError
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.predict import predict

in_browser = pytest.mark.skipif(
    not shutil.which("chromium") or importlib.util.find_spec("gradio") is None,
    reason="no `chromium`, or no Gradio: the page is not tried in a browser",
)
RATE = 22050

# The command line, in a process that notes down every address outside this machine that it calls.
COMMAND = """
import sys

def note(event, given):
    host = {"socket.connect": lambda: given[1][0], "socket.getaddrinfo": lambda: given[0]}.get(event)
    if host and host() not in ("127.0.0.1", "localhost", None) and not isinstance(given[1], str):
        print("outside:", event, given, file=sys.stderr, flush=True)

sys.addaudithook(note)
from gtzan_keras.cli import main
main()
"""


class Server(NamedTuple):
    process: subprocess.Popen[str]
    address: str
    temporary: Path  # what it sees as the folder for temporary files
    log: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    temporary, log = tmp_path_factory.mktemp("tmp"), tmp_path_factory.mktemp("log") / "log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    command = [sys.executable, "-c", COMMAND, "serve", "--port", port]
    given = {"env": os.environ | {"TMPDIR": str(temporary)}, "stdout": subprocess.PIPE, "text": True}
    with log.open("w") as errors, subprocess.Popen(command, stderr=errors, **given) as process:
        try:
            first = process.stdout.readline()
            assert first == f"http://127.0.0.1:{port} (press Ctrl-C to stop)\n", log.read_text()
            yield Server(process, first.split()[0], temporary, log)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Chords of pure tones, and bursts of noise twice a second: the model tells them apart."""
    folder, t = tmp_path_factory.mktemp("songs"), np.arange(16 * RATE) / RATE
    chords = sum(np.sin(2 * np.pi * f * t * (1 + (t // 4) / 8)) for f in (220, 277, 330)) / 6
    beats = np.random.default_rng(0).uniform(-0.6, 0.6, t.size) * (t % 0.5 < 0.1)
    for name, sound in {"chords": chords, "beats": beats}.items():
        soundfile.write(folder / f"{name}.wav", sound, RATE)
    (folder / "notes.txt").write_text("no sound at all\n" * 20)
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture
def opened(browser: Any, server: Server) -> Iterator[Any]:
    """A function that opens the page; at the end, fails if it complained or asked another host."""
    wrong: list[str] = []
    contexts = []

    def open_page(width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if outside(request.url) else None)
        page.goto(server.address)
        page.get_by_text("Drop File Here").wait_for()
        return page

    def outside(url: str) -> bool:
        return not url.startswith((f"{server.address}/", "data:", f"blob:{server.address}/"))

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def drop(page: Any, song: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(song)


def answered(page: Any) -> list[str]:
    """The headings, once both parts of the answer are there and the next song can come."""
    page.locator("#sources:not(.busy)").wait_for()
    page.locator("#result table").nth(1).wait_for()
    return page.locator("#result h2").all_inner_texts()


def seconds(page: Any) -> float:
    return page.locator("#player audio").evaluate("audio => audio.currentTime")


def left_behind(server: Server) -> list[Path]:
    return [path for path in server.temporary.rglob("*") if path.is_file()]


@in_browser
def test_a_click_on_a_moment_plays_from_there_and_a_line_follows(opened, songs):
    page = opened()
    drop(page, songs["beats"])
    answered(page)
    for number, share in enumerate((0.75, 0.25)):
        figure = page.locator(".over-time").nth(number)
        left, right, duration = (
            float(figure.get_attribute(f"data-{key}")) for key in ("left", "right", "duration")
        )
        figure.scroll_into_view_if_needed()
        box = figure.bounding_box()
        place = left + share * (right - left)
        figure.click(position={"x": place * box["width"], "y": box["height"] / 2})
        page.wait_for_function("!document.querySelector('#player audio').paused")
        assert share * duration - 0.1 < seconds(page) < share * duration + 2
        page.wait_for_function("document.querySelector('.now').style.left")
        line = figure.locator(".now").bounding_box()
        assert place - 0.01 < (line["x"] - box["x"]) / box["width"] < place + 0.15
    part = page.locator("#result button").first
    part.click()
    minutes, rest = part.inner_text().split()[1].split(":")
    assert abs(seconds(page) - 60 * int(minutes) - int(rest)) < 1.6


@in_browser
def test_visitors_at_once_get_their_own_genres_timeline_reasons_and_nearest_tracks(opened, server, songs):
    asked = ["chords", "beats", "chords"]  # the same song twice
    pages = [opened() for _ in asked]
    for page, name in zip(pages, asked, strict=True):
        drop(page, songs[name])
    for page, name in zip(pages, asked, strict=True):
        heard, why = answered(page)
        best = predict(songs[name], progress=False).top(3)
        expected = ", ".join(f"{genre} {share:.0%}" for genre, share in best if share >= 0.005)
        assert re.sub(r"\s*%", "%", heard.replace("\N{NO-BREAK SPACE}", " ")) == expected
        assert why == f"Why {best[0][0]}?"
        assert page.locator("#result svg").count() == 2
        assert page.locator("#result table").last.locator("tr").count() == 3
    assert left_behind(server) == []


@in_browser
def test_a_file_without_sound_is_named_with_the_reason_and_the_next_one_is_answered(opened, server, songs):
    page = opened()
    drop(page, songs["notes"])
    reason = "not readable as sound (Format not recognised)"
    assert page.get_by_role("alert").inner_text() == f"notes.txt: {reason}"
    assert not page.locator("#player audio").is_visible()
    page.locator("#sources:not(.busy)").wait_for()
    assert left_behind(server) == []
    drop(page, songs["beats"])
    assert len(answered(page)) == 2
    assert page.get_by_role("alert").count() == 0


@in_browser
def test_a_file_that_is_too_large_is_refused(browser, server, tmp_path):
    with (tmp_path / "large.wav").open("wb") as file:
        file.truncate(serving.MEGABYTES * 1_100_000)
    page = browser.new_page()  # not `opened`: the browser complains
    page.goto(server.address)
    page.get_by_text("Drop File Here").wait_for()
    drop(page, tmp_path / "large.wav")
    page.get_by_text("exceed the maximum allowed size").wait_for()
    page.close()
    assert left_behind(server) == []


@in_browser
def test_what_the_microphone_hears_is_answered(opened, server):
    page = opened()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Stop").first.click()
    assert len(answered(page)) == 2
    page.locator(".over-time").first.click()
    page.wait_for_function("document.querySelector('#player audio').currentTime > 0.5")
    assert left_behind(server) == []


@in_browser
def test_on_a_phone_in_the_dark_only_figures_scroll_and_a_click_is_where_the_time_axis_is(opened, songs):
    page = opened(400, "dark")  # the other tests open it light
    drop(page, songs["chords"])
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.get_by_text("Gradio").count() == 0
    for figure in page.locator(".over-time").all():
        box, image = figure.bounding_box(), figure.locator("image").first.bounding_box()
        for key, edge in (("left", image["x"]), ("right", image["x"] + image["width"])):
            expected = (edge - box["x"]) / box["width"]  # the spectrogram spans the time axis
            assert float(figure.get_attribute(f"data-{key}")) == pytest.approx(expected, abs=0.003)


@in_browser
def test_interrupted_it_ends_without_an_error_and_leaves_nothing(server):
    """The last test of the server: it called nothing outside this machine, and its folder is gone."""
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) == 0
    assert server.log.read_text() == "Loading the model ...\n"
    assert list(server.temporary.iterdir()) == []


def test_a_recording_that_is_too_long_is_refused(songs, monkeypatch):
    monkeypatch.setattr(serving, "MINUTES", 0.25)
    with pytest.raises(AudioError, match=r"chords.wav: longer than 0.25 minutes"):
        next(serving.answer(songs["chords"]))


@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs Gradio")
def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(GtzanKerasError, match=f"127.0.0.1, port {port}: Address already in use"):
            serving.serve(port=port)


@pytest.mark.parametrize("version", [None, "5.49.1"])
def test_without_gradio_the_error_says_what_to_install(monkeypatch, version):
    def installed(name):
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", installed)
    with pytest.raises(GtzanKerasError, match=re.escape("pip install 'gtzan-keras[serve]'")):
        serving.serve()
