"""What every notebook must be. That its cells run, and give what they gave, is nbval's part: `make test`."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.normalise_notebooks import normalised

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
FIRST_CODE = "import gtzan_keras as gk\n\nstudy = gk.datasets.notebook_data(sound=True)\nprint(study)"

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="an installation without notebooks")


def test_there_are_thirteen_and_their_numbers_follow():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(1, 14)]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_a_notebook_is_in_the_form_that_gives_clean_diffs(path):
    assert path.read_text("utf-8") == normalised(path.read_text("utf-8")), (
        f"run: python -m tests.normalise_notebooks {path}"
    )


def test_a_notebook_opens_with_its_question_and_how_to_run_it_elsewhere(path, notebook):
    opening = notebook.cells[0]
    assert opening.cell_type == "markdown"
    assert opening.source.startswith(f"# {path.name[:2]} ")
    assert "?" in opening.source
    assert "pip install" in opening.source
    assert "GTZAN_KERAS_DATA" in opening.source


def test_a_notebook_says_first_on_which_data_it_ran(notebook):
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source == FIRST_CODE
    assert first.outputs


def test_a_notebook_ends_with_what_was_learned(notebook):
    assert notebook.cells[-1].cell_type == "markdown"
    assert "What we learned" in notebook.cells[-1].source


def test_outputs_are_there_without_errors_and_noise(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)
    for cell in code:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text[:200]


def test_no_path_of_a_machine_is_in_a_notebook(path):
    text = path.read_text("utf-8")
    assert not re.search(r"(/(home|root|Users|work|tmp)/|C:\\\\)", text)


def test_a_notebook_only_calls_the_library(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE), cell.source
