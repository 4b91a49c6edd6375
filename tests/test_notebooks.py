"""The form of the notebooks; nbval checks in `make test` that their cells run and give the same."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.normalise_notebooks import normalised

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
NEED_SOUND = ("01", "02", "08", "12")

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="an installation without notebooks")


def test_there_are_fourteen_numbered_in_order():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(1, 15)]


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(scope="module")
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_a_notebook_is_in_the_form_that_gives_clean_diffs(path):
    text = path.read_text("utf-8")
    assert text == normalised(text), f"run: python -m tests.normalise_notebooks {path}"


def test_a_notebook_opens_with_title_source_run_time_colab_and_question(path, notebook):
    opening = notebook.cells[0]
    assert opening.cell_type == "markdown"
    assert opening.source.startswith(f"# {path.name[:2]} ")
    colab = f"colab.research.google.com/github/gtzan-keras/gtzan-keras/blob/main/notebooks/{path.name}"
    for part in ("**Source", "**Run time:**", "pip install", "GTZAN_KERAS_DATA", "**The question:", colab):
        assert part in opening.source


def test_a_notebook_says_first_on_which_data_it_ran(path, notebook):
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    wanted = "demo set" if path.name[:2] in NEED_SOUND else "GTZAN, packaged"
    assert first.outputs[0].text.startswith(wanted)


def test_a_notebook_ends_with_what_was_learned_and_three_exercises(notebook):
    closing = notebook.cells[-1]
    assert closing.cell_type == "markdown"
    assert "What we learned" in closing.source
    exercises = closing.source.split("**Exercises**")[1]
    assert re.findall(r"^(\d)\. ", exercises, re.MULTILINE) == ["1", "2", "3"]


def test_outputs_have_no_errors_and_no_noise(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text[:200]


def test_no_path_of_a_machine_is_in_a_notebook(path):
    text = path.read_text("utf-8")
    assert not re.search(r"(/(home|root|Users|work|tmp)/|C:\\\\)", text)


def test_a_notebook_only_calls_the_library(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE), cell.source
