"""The documentation site: complete, whole, readable offline; and what its pages say of the code is true."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import soundfile
from typer.main import get_command

import gtzan_keras
from gtzan_keras.cli import app
from gtzan_keras.experiments import RECIPES, changes, find, run
from gtzan_keras.experiments.catalogue import read
from gtzan_keras.training.results import read_result
from tests.html_reader import Reader

ROOT = Path(__file__).resolve().parent.parent
HOW_TO = (ROOT / "docs/how-to.md").read_text("utf-8")
EXTERNAL = ("http:", "https:", "//")


def public() -> Iterator[tuple[str, Any]]:
    """Every public name of the package with what it stands for; of modules, what they offer."""
    for name in gtzan_keras.__all__:
        value = getattr(gtzan_keras, name)
        if isinstance(value, ModuleType):
            for member in value.__all__:
                yield f"gtzan_keras.{name}.{member}", getattr(value, member)
        else:
            yield f"gtzan_keras.{name}", value


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    if not importlib.util.find_spec("material"):
        pytest.skip("needs MkDocs: pip install 'gtzan-keras[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Reader]:
    return {path: Reader(path) for path in site.rglob("*.html")}


def test_every_public_name_is_in_the_reference(pages: dict[Path, Reader]) -> None:
    described = set().union(*(page.ids for path, page in pages.items() if path.parent.name == "api"))
    assert [name for name, _ in public() if name not in described] == []


def test_every_public_function_and_class_has_an_example() -> None:
    described = {name: value for name, value in public() if callable(value)}
    assert [name for name, value in described.items() if ">>> " not in (inspect.getdoc(value) or "")] == []


def test_internal_links_and_their_anchors_lead_somewhere(site: Path, pages: dict[Path, Reader]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or not (parts.path or parts.fragment):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].ids if target in pages and parts.fragment else {unquote(parts.fragment)}
            if not target.is_file() or unquote(parts.fragment) not in anchors:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_names_of_the_package_in_prose_and_see_also_lead_to_the_reference(
    site: Path, pages: dict[Path, Reader]
) -> None:
    assert "api/models.html#gtzan_keras.models.cnn" in pages[site / "guide.html"].links
    assert "#gtzan_keras.log_mel" in pages[site / "api/audio.html"].links  # load_audio's "See Also"


def test_every_command_has_a_section(site: Path) -> None:
    page, names = (site / "api/command-line.html").read_text("utf-8"), get_command(app).commands
    assert [name for name in names if f"<code>gtzan-keras {name}</code>" not in page] == []


def test_pages_load_nothing_from_elsewhere(site: Path, pages: dict[Path, Reader]) -> None:
    assert [link for page in pages.values() for link in page.loaded if link.startswith(EXTERNAL)] == []
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", styles)


def test_each_notebook_is_a_page_with_its_figures(site: Path) -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        page = (site / "tutorials" / path.with_suffix(".html").name).read_text("utf-8")
        assert page.count('alt="Output of the cell above"') == path.read_text("utf-8").count('"image/png":')


def test_the_search_works_on_the_file_system_and_pages_fit_a_phone(browser: Any, site: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.locator(".md-search__input").click()
    page.keyboard.type("MacroPrecision")
    page.locator(".md-search-result__link").first.click()
    page.wait_for_url("**/api/*.html*")
    page.set_viewport_size({"width": 400, "height": 900})
    for name in ("index", "leaderboard", "api/training", "tutorials/01_dataset_and_faults"):
        page.goto((site / f"{name}.html").as_uri())
        page.locator("h1").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.close()
    assert [url for url in asked if url.startswith(EXTERNAL)] == []


def test_the_design_page_lists_the_files_that_there_are() -> None:
    text = (ROOT / "docs/design.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .* \| (`.*) \|$", text, re.MULTILINE)
    listed = {(room, file) for room, files in rows for file in re.findall(r"`(\w+)`", files)}
    package = ROOT / "gtzan_keras"
    there = {(path.stem, path.stem) for path in package.glob("[!_]*.py")}
    files = (*package.glob("*/[!_]*.py"), *package.glob("*/_style.py"))
    there |= {(path.parent.name, path.stem) for path in files}
    there |= {(path.parts[-3], path.parts[-2]) for path in package.glob("*/*/*.toml")}
    assert listed == there


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Songs of two genres by two artists, a low and a high tone in noise, in the current folder."""
    rng = np.random.default_rng(0)
    seconds = np.arange(3 * 16000) / 16000
    for genre, pitch in (("jazz", 110), ("rock", 1760)):
        (tmp_path / "music" / genre).mkdir(parents=True)
        names = [f"{artist} {number}.wav" for artist in ("anna", "bert") for number in range(5)]
        for name in [*names, "a song.mp3"]:
            tone = 0.3 * np.sin(2 * np.pi * pitch * seconds) + 0.05 * rng.normal(size=seconds.size)
            soundfile.write(tmp_path / "music" / genre / name, tone, 16000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scripts(heading: str) -> list[str]:
    """The Python below a heading of the how-to page, with one epoch."""
    section = HOW_TO.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [re.sub(r"epochs=\d+", "epochs=1", code) for code in found]


@pytest.mark.usefixtures("eager")
def test_how_to_use_your_own_collection(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = scripts("Use your own collection")
    exec(code, {})
    assert re.search(r"'value': [\d.]+.*\n\[\('(jazz|rock)', 0\.\d+\)\]", capsys.readouterr().out)
    assert (music / "runs/music/result.json").is_file()


def test_how_to_use_your_own_split(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_hand, by_group = scripts("Use your own split")
    rows = ["jazz/anna 0,train", "jazz/anna 1,test", "rock/anna 0,train", "rock/anna 1,test"]
    (music / "parts.csv").write_text("\n".join(["track_id,part", *rows]))
    exec(by_hand, {})
    assert capsys.readouterr().out == "{'train': 2, 'validation': 0, 'test': 2}\n"
    for song in music.rglob("a song.mp3"):
        song.unlink()
    exec(by_group, {})
    assert capsys.readouterr().out == "artist-grouped fold 1 of 2 10 10\nartist-grouped fold 2 of 2 10 10\n"


def test_how_to_add_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, baseline = tmp_path / "baseline.toml", ROOT / "gtzan_keras/experiments/sources/baseline.toml"
    (added,) = re.findall(r"^```toml\n(.*?)^```", HOW_TO, re.DOTALL | re.MULTILINE)
    own.write_text(baseline.read_text("utf-8") + added, "utf-8")
    recipe = read(own)["baseline/thumbnail-narrow"]
    monkeypatch.setitem(RECIPES, recipe.name, recipe)
    assert changes(recipe) == ["filters: 16-32-64-128 -> 8-16-32-64"]
    (folder,) = run(recipe.name, out=tmp_path, max_epochs=1, verbose=0)
    result, tracks = read_result(folder / "seed0")
    assert (result["recipe"], len(tracks)) == (find(recipe.name).name, 290)


def test_how_to_use_a_model_of_your_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = scripts("Use a model of your own")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert re.search(r"'value': 0\.\d+", capsys.readouterr().out)
