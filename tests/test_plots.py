"""Figures contain the numbers they were given, read back from the artists, not from pixels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import recall_score

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report import plots
from gtzan_keras.training.evaluate import calibration
from tests.conftest import drawn

GENRES = list(plots.GENRE_COLOURS)


def test_other_genres_get_distinct_colours_that_do_not_depend_on_their_order() -> None:
    names = [f"genre {number}" for number in range(20)]
    colours = plots.genre_colours(names)
    assert len(set(colours.values())) == 20
    assert not set(colours.values()) & set(plots.GENRE_COLOURS.values())
    assert plots.genre_colours(names[::-1]) == colours
    assert plots.genre_colours(["fado"])["fado"] == plots.genre_colours([*GENRES, "fado"])["fado"]
    assert list(plots.genre_colours(names[::-1])) == names[::-1]


def full_history() -> pd.DataFrame:
    epoch = np.arange(1, 13)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "loss": 2.3 / epoch,
            "val_loss": 2.4 / epoch,
            "accuracy": 1 - 0.9 / epoch,
            "val_accuracy": 0.6 - 0.5 / epoch,
            "macro_precision": 1 - 0.95 / epoch,
            "val_macro_precision": 0.55 - 0.5 / epoch,
            "learning_rate": np.where(epoch < 7, 1e-3, 5e-4),
        }
    )


def test_history_draws_every_column_in_its_panel_and_marks_the_best_epoch() -> None:
    table = full_history()
    figure = drawn(plots.history(table, best_epoch=9))
    panels = {ax.get_ylabel(): ax for ax in figure.axes}
    expected = {
        "loss": ["loss", "val_loss"],
        "accuracy": ["accuracy", "val_accuracy"],
        "macro precision": ["macro_precision", "val_macro_precision"],
        "learning rate": ["learning_rate"],
    }
    assert list(panels) == list(expected)
    for label, columns in expected.items():
        *lines, best = panels[label].lines
        for line, column in zip(lines, columns, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), table["epoch"])
            np.testing.assert_allclose(line.get_ydata(), table[column])
        assert list(np.asarray(best.get_xdata())) == [9, 9]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["training", "validation", "best epoch (9)"]


def test_history_of_folds_is_their_mean_and_range() -> None:
    folds = pd.concat([full_history(), full_history().assign(loss=lambda table: table["loss"] + 1)])
    ax = drawn(plots.history(folds)).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), full_history()["loss"] + 0.5)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((2.3 / 12, 3.3))


def test_confusion_matrix_writes_each_count_in_its_cell() -> None:
    genres = [*GENRES, *(f"genre {n}" for n in range(10))]
    counts = np.random.default_rng(0).integers(0, 100, (len(genres), len(genres)))
    ax = drawn(plots.confusion_matrix(counts, genres)).axes[0]
    written = {text.get_position(): int(text.get_text()) for text in ax.texts}
    assert written == {(c + 0.5, r + 0.5): counts[r, c] for r, c in np.ndindex(counts.shape)}
    assert [label.get_text() for label in ax.get_yticklabels()] == genres
    assert [label.get_text() for label in ax.get_xticklabels()] == genres


def test_confusion_matrix_colours_the_diagonal_by_recall() -> None:
    truth = [0] * 10 + [1] * 5 + [2] * 20
    predicted = [0] * 7 + [1] * 3 + [1] * 4 + [2] + [2] * 20
    counts = np.zeros((4, 4), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    mesh: Any = drawn(plots.confusion_matrix(counts, ["a", "b", "c", "no track"])).axes[0].collections[0]
    expected = [*recall_score(truth, predicted, average=None), 0]
    np.testing.assert_allclose(np.diag(mesh.get_array()), expected)
    assert mesh.get_clim() == (0, 1)


def some_tracks() -> pd.DataFrame:
    ids = [f"{genre}.{number:05d}" for genre in ("rock", "jazz") for number in range(10)]
    return pd.DataFrame({"track_id": ids, "genre": [name.split(".")[0] for name in ids]})


def layers(figure: Any) -> dict[str, list[int]]:
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    bars = figure.axes[0].containers
    by_colour = {to_hex(bar[0].get_facecolor()): [part.get_width() for part in bar] for bar in bars}
    return {name: by_colour.get(plots.PART_COLOURS[name], [0, 0]) for name in names}


def test_class_distribution_counts_each_part_of_each_genre() -> None:
    tracks = some_tracks()
    parts = {"train": list(tracks["track_id"][:15]), "test": list(tracks["track_id"][15:])}
    figure = drawn(plots.class_distribution(tracks, parts))
    assert layers(figure) == {"train": [5, 10], "test": [5, 0]}
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["jazz (10)", "rock (10)"]
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text()] == ["5", "10", "5"]


def test_class_distribution_counts_a_track_in_two_parts_once() -> None:
    every = list(some_tracks()["track_id"])
    figure = plots.class_distribution(some_tracks(), {"train": every, "test": every[:3]})
    assert layers(figure) == {"train": [10, 7], "test": [0, 0], "in more than one part": [0, 3]}


def some_report() -> pd.DataFrame:
    rows = [("jazz", 0.5, 0.8, 0.615, 10), ("rock", 1.0, 0.1, 0.182, 7)]
    return pd.DataFrame(rows, columns=["genre", "precision", "recall", "f1", "support"])


def test_per_class_draws_each_score_where_it_belongs() -> None:
    report = some_report()
    report.loc[1, "precision"] = np.nan  # not defined: no bar
    ax = drawn(plots.per_class(report)).axes[0]
    lengths = [[bar.get_width() for bar in bars] for bars in ax.containers]
    np.testing.assert_allclose(lengths[0][:1], [0.5])
    assert np.isnan(lengths[0][1:]).all()
    np.testing.assert_allclose(lengths[1:], [[0.8, 0.1], [0.615, 0.182]])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["jazz (10)", "rock (7)"]


def some_images(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {genre: rng.integers(0, 256, shape).astype(np.uint8) for genre in GENRES}


@pytest.mark.parametrize("shape", [(16, 30, 1), (16, 30, 3)])
def test_examples_are_shown_unchanged_in_two_rows_of_five(shape: tuple[int, ...]) -> None:
    images = some_images(shape)
    figure: Any = drawn(plots.spectrogram_examples(images))
    assert [ax.get_title() for ax in figure.axes] == GENRES
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 5)
    for ax, image in zip(figure.axes, images.values(), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), image.squeeze())


@pytest.mark.parametrize(("segment", "seconds"), [(None, 30.0), (3.0, 3.0)])
def test_examples_are_labelled_from_the_spec(segment: float | None, seconds: float) -> None:
    spec = SimpleNamespace(clip_seconds=30.0, segment_seconds=segment, n_mels=128)
    figure = drawn(plots.spectrogram_examples(some_images((16, 30, 3)), spec))
    assert list(figure.axes[0].images[0].get_extent()) == [0, seconds, 0, 128]
    assert figure.get_supxlabel() == "time (s)"
    assert figure.get_supylabel() == "mel band"


def test_intervals_draw_value_and_ends_accuracy_first() -> None:
    scores = {
        "macro_f1": {"value": 0.33, "low": 0.2, "high": 0.48},
        "accuracy": {"value": 0.38, "low": 0.24, "high": 0.54},
    }
    figure = drawn(plots.metric_intervals(scores, chance=0.1))
    ax = figure.axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["accuracy\n38.0 % (24.0 to 54.0)", "macro F1\n33.0 % (20.0 to 48.0)"]
    ends = [segment[:, 0].tolist() for segment in ax.collections[0].get_segments()]
    assert ends == [[0.24, 0.54], [0.2, 0.48]]
    assert [list(np.atleast_1d(line.get_xdata())) for line in ax.lines] == [[0.38, 0.33], [0.1, 0.1]]
    assert figure.legends[0].get_texts()[0].get_text() == "chance 10 %"


@pytest.fixture
def search() -> pd.DataFrame:
    rows = [
        (0.2, 1e-3, 1.50, 0.40),
        (0.2, 1e-4, 1.10, 0.55),
        (0.4, 1e-3, 1.25, 0.50),
        (0.4, 1e-4, 1.30, 0.45),
        (0.5, 1e-4, 1.75, 0.30),
    ]
    return pd.DataFrame(rows, columns=["dropout", "learning_rate", "val_loss", "val_accuracy"])


def test_grid_shows_each_combination_at_its_values(search):
    ax = drawn(plots.grid_heat_map(search, "dropout", "learning_rate")).axes[0]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert (columns, rows) == (["0.2", "0.4", "0.5"], ["0.0001", "0.001"])
    shown = {
        (columns[int(x)], rows[int(y)]): float(text.get_text())
        for text in ax.texts
        for x, y in [text.get_position()]
    }
    assert shown == {(f"{x:g}", f"{y:g}"): loss for x, y, loss, _ in search.itertuples(index=False)}


@pytest.mark.parametrize(("value", "text"), [("val_loss", "1.100"), ("val_accuracy", "55.0 %")])
def test_grid_frames_the_lowest_loss_and_the_highest_accuracy(search, value, text):
    ax = plots.grid_heat_map(search, "dropout", "learning_rate", value).axes[0]
    (frame,) = ax.patches
    middle = (frame.get_x() + 0.5, frame.get_y() + 0.5)
    assert [t.get_text() for t in ax.texts if t.get_position() == middle] == [text]


def test_a_grid_may_have_none_among_its_values():
    table = pd.DataFrame({"ema": [None, 0.99], "learning_rate": 1e-3, "val_loss": [1.0, 2.0]}, dtype=object)
    ax = plots.grid_heat_map(table.astype({"val_loss": float}), "ema", "learning_rate").axes[0]
    assert sorted(text.get_text() for text in ax.texts) == ["1.000", "2.000"]


def test_genres_that_the_font_lacks_are_drawn_as_numbers_without_a_warning() -> None:
    genres = ["jazz", "演歌", "a$b$c"]
    tracks = pd.DataFrame({"track_id": list("abc"), "genre": genres})
    figure = drawn(plots.confusion_matrix(np.eye(3, dtype=int), genres))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["jazz", "genre 2", r"a\$b\$c"]
    drawn(plots.class_distribution(tracks, {"train": ["a"]}))
    drawn(plots.per_class(some_report().assign(genre=genres[:2])))
    drawn(plots.spectrogram_examples({genre: np.zeros((4, 4), np.uint8) for genre in genres}))


def test_reliability_draws_the_share_of_right_tracks_of_each_bin_with_its_interval_and_count() -> None:
    sure, right = [0.95] * 10 + [0.5] * 4, [True] * 8 + [False] * 5 + [True]
    figure = drawn(plots.reliability(calibration(sure, right)))
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [0.25, 0.8]
    assert [bar.get_height() for bar in below.patches] == [4, 10]
    assert [text.get_text() for text in below.texts] == ["4", "10"]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in above.patches]
    assert middles == pytest.approx([7.5 / 15, 14.5 / 15])
    # Wilson's formula for 8 in 10: (0.8 + z²/20 ± z sqrt(0.016 + z²/400)) / (1 + z²/10), z = 1.96
    whisker = above.collections[0].get_segments()[1]
    assert whisker[:, 1] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    ece = (10 * 0.15 + 4 * 0.25) / 14
    assert f"error {100 * ece:.1f} %" in above.get_title(loc="left")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.history(full_history().drop(columns="accuracy")), "no column accuracy"),
        (lambda: plots.history(full_history().head(0)), "no rows"),
        (lambda: plots.confusion_matrix(np.zeros((2, 3), int), ["a", "b"]), r"expected \(2, 2\)"),
        (lambda: plots.per_class(some_report().assign(recall=80)), r"outside 0\.\.1"),
    ],
)
def test_a_table_without_a_column_and_scores_in_percent_are_refused(draw: Any, message: str) -> None:
    with pytest.raises(GtzanKerasError, match=message):
        draw()
