"""The timeline of a prediction, checked on what is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from gtzan_keras.inference.explain import Explanation
from gtzan_keras.report._style import FAINT, GENRE_COLOURS, TRAINING, VALIDATION
from gtzan_keras.report.timeline import explanation_figure, taggram, timeline
from tests.made_results import prediction_of


def bands_at(figure, seconds: float) -> dict[tuple[float, ...], tuple[float, float]]:
    """Lower and upper end of each colour's area at a moment, read from the drawn shapes."""
    found = {}
    for area in figure.axes[1].collections:
        points = np.concatenate([path.vertices for path in area.get_paths()])
        colour = tuple(np.round(area.get_facecolor()[0][:3], 3))
        near = points[np.abs(points[:, 0] - seconds) <= 1e-6, 1]
        if len(near):
            found[colour] = (near.min(), near.max())
    return found


def test_areas_are_the_mean_of_the_windows_that_hear_each_moment():
    figure = timeline(prediction_of([[0, 30], [15, 45]], [[0.75, 0.25], [0.25, 0.75]], 45.0))
    disco = tuple(np.round(to_rgb(GENRE_COLOURS["disco"]), 3))
    assert bands_at(figure, 0)[disco] == pytest.approx((0, 0.75))
    assert bands_at(figure, 45)[disco] == pytest.approx((0, 0.25))
    assert bands_at(figure, 15)[disco] == pytest.approx((0, 0.75))  # the step from 0.75 down to 0.5
    assert bands_at(figure, 30)[disco] == pytest.approx((0, 0.5))


@pytest.mark.parametrize(("duration", "some"), [(30, {"0:05", "0:30"}), (7200, {"30:00", "1:00:00"})])
def test_times_are_minutes_and_seconds_and_few(duration, some):
    figure = timeline(prediction_of([[0, duration]], [[0.5, 0.5]], float(duration)))
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert some <= set(labels)
    assert len(labels) <= 13


def test_the_legend_lists_genres_as_they_are_stacked_with_their_share_and_marks_the_top_one():
    figure = timeline(prediction_of([[0, 30]], [[0.25, 0.65, 0.1]], 30.0))
    texts = figure.legends[0].get_texts()
    assert [text.get_text() for text in texts] == ["rock  10 %", "metal  65 %", "disco  25 %"]
    assert [text.get_fontweight() for text in texts] == ["normal", "bold", "normal"]


def test_long_silence_is_drawn_as_such_and_named():
    figure = timeline(prediction_of([[0, 30], [60, 90]], [[0.9, 0.1], [0.2, 0.8]], 90.0))
    texts = figure.legends[0].get_texts()
    assert [text.get_text() for text in texts] == ["metal  45 %", "disco  55 %", "silence"]
    assert texts[1].get_fontweight() == "bold"
    assert to_hex(figure.axes[1].get_facecolor()) == FAINT


def test_the_title_names_the_song_its_length_and_padding():
    figure = timeline(prediction_of([[0, 12]], [[0.5, 0.5]], 12.0, padded=True, song="a/$money$.mp3"))
    assert figure.axes[0].get_title(loc="left") == "$money$.mp3  (0:12, padded with silence)"


def test_an_explanation_encloses_what_speaks_for_the_genre_and_marks_the_parts():
    values = np.zeros((32, 120), np.float32)
    values[20:26, 30:50], values[4:8, 90:110] = 1, -0.9
    values[:, 115:] = np.nan
    times, hertz = np.arange(121) / 4, np.linspace(0, 8000, 33)
    shares, image = {"jazz": 0.8, "rock": 0.2}, 0.5 + 0 * values
    song = ("a/$song$.mp3", 30.0, "jazz", shares, "occlusion", values, image, times, hertz, pd.DataFrame())
    above, below = explanation_figure(Explanation(*song)).axes
    assert above.get_title(loc="left") == "$song$.mp3  (0:30): what speaks for jazz, 80 %"
    expected = ((TRAINING, (7.5, 12.5)), (VALIDATION, (22.5, 27.5)))
    for lines, (colour, where) in zip(above.collections, expected, strict=True):
        points = np.concatenate([path.vertices for path in lines.get_paths() if len(path.vertices)])
        assert to_hex(lines.get_edgecolor()[0]) == colour
        assert (points[:, 0].min(), points[:, 0].max()) == pytest.approx(where, abs=1)
    marked = [tuple(line.get_xdata()) for line in below.lines if line.get_linewidth() == 3]
    assert any(start >= 7 and end <= 13 for start, end in marked)
    assert any(start >= 22 and end <= 28 for start, end in marked)
    assert above.get_xlim() == (0, 30)


def test_an_explanation_shows_any_genre_as_it_is_written():
    values, times, hertz = np.ones((4, 8), np.float32), np.arange(9.0), np.linspace(0, 8000, 5)
    song = (
        "song.mp3",
        8.0,
        "a$b_$c",
        {"a$b_$c": 1.0},
        "occlusion",
        values,
        values,
        times,
        hertz,
        pd.DataFrame(),
    )
    figure = explanation_figure(Explanation(*song))
    figure.canvas.draw()
    shown = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert shown == ["against a$b_$c", "for a$b_$c"]
    assert figure.axes[0].get_title(loc="left") == "song.mp3  (0:08): what speaks for a$b_$c, 100 %"


def test_a_taggram_has_a_row_a_tag_the_most_probable_first():
    rows = [[0.1, 0.8, 0.3], [0.3, 0.6, 0.3]]
    figure = taggram(prediction_of([[0, 3], [2, 5]], rows, 5.0, tags=True))
    ax = figure.axes[1]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["metal  70 %", "rock  30 %", "disco  20 %"]
    assert ax.get_xlim() == figure.axes[0].get_xlim() == (0, 5)
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first row is on top
    drawn = ax.collections[0].get_array()
    np.testing.assert_allclose(drawn[0], [0.8, 0.7, 0.6])  # 0 to 2, 2 to 3 (both windows), 3 to 5 s
    np.testing.assert_allclose(drawn[2], [0.1, 0.2, 0.3])
