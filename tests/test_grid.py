"""The heat map of a grid search holds the numbers it was given."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report.grid import grid_heat_map


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        (0.2, 1e-3, 1.50, 0.40),
        (0.2, 1e-4, 1.10, 0.55),
        (0.4, 1e-3, 1.25, 0.50),
        (0.4, 1e-4, 1.30, 0.45),
        (0.5, 1e-4, 1.75, 0.30),
    ]
    return pd.DataFrame(rows, columns=["dropout", "learning_rate", "val_loss", "val_accuracy"])


def framed(figure) -> tuple[float, float]:
    """Middle of the frame, in columns and rows."""
    (frame,) = figure.axes[0].patches
    return frame.get_x() + frame.get_width() / 2, frame.get_y() + frame.get_height() / 2


def test_each_combination_stands_where_its_values_are(table):
    ax = grid_heat_map(table, "dropout", "learning_rate").axes[0]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert (columns, rows) == (["0.2", "0.4", "0.5"], ["0.0001", "0.001"])
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    assert shown == {
        (columns.index(f"{row.dropout:g}"), rows.index(f"{row.learning_rate:g}")): f"{row.val_loss:.3f}"
        for row in table.itertuples()
    }


@pytest.mark.parametrize(("value", "text"), [("val_loss", "1.100"), ("val_accuracy", "55.0 %")])
def test_the_lowest_loss_and_the_highest_accuracy_are_framed(table, value, text):
    figure = grid_heat_map(table, "dropout", "learning_rate", value)
    (at_frame,) = [t for t in figure.axes[0].texts if t.get_position() == framed(figure)]
    assert at_frame.get_text() == text


def test_the_better_the_brighter(table):
    for value, best, worst in (("val_loss", 1.10, 1.75), ("val_accuracy", 0.55, 0.30)):
        image = grid_heat_map(table, "dropout", "learning_rate", value).axes[0].images[0]
        brightness = [sum(image.to_rgba(number)[:3]) for number in (best, worst)]
        assert brightness[0] > brightness[1]


def test_a_third_value_shows_its_best(table):
    twice = pd.concat(
        [table.assign(batch_size=8), table.assign(batch_size=32, val_loss=table["val_loss"] + 1)]
    )
    texts = [
        [text.get_text() for text in grid_heat_map(rows, "dropout", "learning_rate").axes[0].texts]
        for rows in (table, twice)
    ]
    assert texts[0] == texts[1]


def test_words_may_be_varied(table):
    words = table.assign(schedule=np.where(table["learning_rate"] > 5e-4, "cosine", "plateau"))
    ax = grid_heat_map(words, "dropout", "schedule").axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cosine", "plateau"]


def test_the_figure_can_be_drawn(table):
    file = io.BytesIO()
    grid_heat_map(table, "learning_rate", "dropout").savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changed", "arguments", "words"),
    [
        ({}, ("dropout", "batch_size"), "no column 'batch_size'"),
        ({}, ("dropout", "dropout"), "x and y are both 'dropout'"),
        ({"val_loss": np.nan}, ("dropout", "learning_rate"), "'val_loss' holds something else"),
    ],
)
def test_bad_input_meets_one_clear_error(table, changed, arguments, words):
    with pytest.raises(GtzanKerasError, match=words):
        grid_heat_map(table.assign(**changed), *arguments)


def test_an_empty_table_is_refused(table):
    with pytest.raises(GtzanKerasError, match="no rows"):
        grid_heat_map(table.iloc[:0], "dropout", "learning_rate")
