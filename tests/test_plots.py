"""Figures contain the numbers they were given, read back from the artists, not from pixels."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from sklearn.metrics import recall_score

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report import plots
from gtzan_keras.training.evaluate import calibration

GENRES = list(plots.GENRE_COLOURS)

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
VISIONS = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def cielab(colour: str, vision: np.ndarray) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = to_xyz @ np.clip(vision @ linear, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def closest_pair(colours: list[str], vision: np.ndarray) -> float:
    points = [cielab(colour, vision) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(points, 2))


def drawn(figure: Any) -> Any:
    """Draw the figure, so that whatever can warn or fail does."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


# --- colours ---------------------------------------------------------------------------------


@pytest.mark.parametrize("vision", VISIONS)
def test_genres_are_told_apart_with_any_colour_vision(vision: str) -> None:
    ten = list(plots.genre_colours(GENRES).values())
    assert closest_pair(ten, VISIONS[vision]) > 15  # CIE76; 2.3 is just noticeable
    assert closest_pair([*ten, *plots.OTHER_COLOURS], VISIONS[vision]) > 10


def test_a_genre_keeps_its_colour_whatever_the_other_genres() -> None:
    assert plots.genre_colours(["rock"])["rock"] == plots.genre_colours(GENRES)["rock"]
    assert plots.genre_colours(["fado"])["fado"] == plots.genre_colours([*GENRES, "fado"])["fado"]


def test_other_genres_get_distinct_colours_that_do_not_depend_on_their_order() -> None:
    names = [f"genre {number}" for number in range(20)]
    colours = plots.genre_colours(names)
    assert len(set(colours.values())) == 20
    assert not set(colours.values()) & set(plots.GENRE_COLOURS.values())
    assert plots.genre_colours(names[::-1]) == colours
    assert list(plots.genre_colours(names[::-1])) == names[::-1]


# --- history ---------------------------------------------------------------------------------


def full_history(epochs: int = 12) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
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


def test_history_works_with_one_epoch_and_without_validation() -> None:
    table = pd.DataFrame({"epoch": [1], "loss": [2.3], "accuracy": [0.1]})
    figure = drawn(plots.history(table))
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training"]


def test_history_of_folds_is_their_mean_and_range() -> None:
    folds = pd.concat([full_history(), full_history().assign(loss=lambda table: table["loss"] + 1)])
    ax = drawn(plots.history(folds)).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), full_history()["loss"] + 0.5)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((2.3 / 12, 3.3))


def test_history_names_the_line_of_a_last_epoch_that_was_kept() -> None:
    figure = plots.history(full_history(), 12, label="last epoch, kept")
    assert figure.legends[0].get_texts()[-1].get_text() == "last epoch, kept (12)"


def test_history_draws_a_run_that_diverged() -> None:
    table = full_history()
    table.loc[5:, ["loss", "val_loss"]] = [np.nan, np.inf]
    drawn(plots.history(table))


@pytest.mark.parametrize(
    ("table", "best_epoch", "message"),
    [
        (full_history(), 13, "best_epoch is 13, expected one of the epochs 1 to 12"),
        (full_history().drop(columns="accuracy"), None, "no column 'accuracy'"),
        (full_history().iloc[:0], None, "no rows"),
    ],
)
def test_history_refuses_a_wrong_table_or_epoch(table, best_epoch, message) -> None:
    with pytest.raises(GtzanKerasError, match=message):
        plots.history(table, best_epoch)


# --- confusion matrix ------------------------------------------------------------------------


@pytest.mark.parametrize("genres", [GENRES[:2], GENRES, [f"genre {n}" for n in range(20)]])
def test_confusion_matrix_writes_each_count_in_its_cell(genres: list[str]) -> None:
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


@pytest.mark.parametrize(
    "matrix", [np.zeros((2, 3), int), np.zeros(2, int), [[0.5, 0.5], [0, 1]], [[1, -1], [0, 1]]]
)
def test_confusion_matrix_refuses_another_shape_and_what_is_not_a_count(matrix: Any) -> None:
    with pytest.raises(GtzanKerasError, match=r"expected (\(2, 2\)|counts)"):
        plots.confusion_matrix(matrix, ["a", "b"])


# --- class distribution ----------------------------------------------------------------------


def some_tracks() -> pd.DataFrame:
    ids = [f"{genre}.{number:05d}" for genre in ("rock", "jazz") for number in range(10)]
    return pd.DataFrame({"track_id": ids, "genre": [name.split(".")[0] for name in ids]})


def layers(figure: Any) -> dict[str, list[int]]:
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    by_colour = {
        to_hex(c[0].get_facecolor()): [bar.get_width() for bar in c] for c in figure.axes[0].containers
    }
    return {name: by_colour.get(plots.PART_COLOURS[name], [0, 0]) for name in names}


def test_class_distribution_counts_each_part_of_each_genre() -> None:
    tracks = some_tracks()
    parts = {"train": list(tracks["track_id"][:15]), "test": list(tracks["track_id"][15:])}
    figure = drawn(plots.class_distribution(tracks, parts))
    assert layers(figure) == {"train": [5, 10], "test": [5, 0]}
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["jazz (10)", "rock (10)"]
    assert [text for text in texts(figure.axes[0]) if text] == ["5", "10", "5"]


def test_class_distribution_counts_a_track_in_two_parts_once() -> None:
    every = list(some_tracks()["track_id"])
    figure = plots.class_distribution(some_tracks(), {"train": every, "test": every[:3]})
    assert layers(figure) == {"train": [10, 7], "test": [0, 0], "in more than one part": [0, 3]}


def test_class_distribution_stacks_its_bars() -> None:
    every = list(some_tracks()["track_id"])
    figure = plots.class_distribution(some_tracks(), {"train": every[::2], "validation": every[1::4]})
    bars = sorted((bar.get_x(), bar.get_width()) for c in figure.axes[0].containers for bar in c[:1])
    assert bars == [(0, 5), (5, 3), (8, 2)] or bars == [(0, 5), (5, 2), (7, 3)]


# --- per class -------------------------------------------------------------------------------


def some_report() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "genre": ["jazz", "rock"],
            "precision": [0.5, 1.0],
            "recall": [0.8, 0.1],
            "f1": [0.615, 0.182],
            "support": [10, 7],
        }
    )


def test_per_class_draws_each_score_where_it_belongs() -> None:
    report = some_report()
    report.loc[1, "precision"] = np.nan  # not defined: no bar
    ax = drawn(plots.per_class(report)).axes[0]
    lengths = [[bar.get_width() for bar in bars] for bars in ax.containers]
    np.testing.assert_allclose(lengths[0][:1], [0.5])
    assert np.isnan(lengths[0][1:]).all()
    np.testing.assert_allclose(lengths[1:], [[0.8, 0.1], [0.615, 0.182]])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["jazz (10)", "rock (7)"]


def test_per_class_refuses_scores_in_percent() -> None:
    report = some_report()
    report["recall"] *= 100
    with pytest.raises(GtzanKerasError, match=r"outside 0\.\.1"):
        plots.per_class(report)


# --- examples --------------------------------------------------------------------------------


def some_images(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {genre: rng.integers(0, 256, shape).astype(np.uint8) for genre in GENRES}


@pytest.mark.parametrize("shape", [(16, 30), (16, 30, 1), (16, 30, 3)])
def test_examples_are_shown_unchanged_in_two_rows_of_five(shape: tuple[int, ...]) -> None:
    images = some_images(shape)
    figure: Any = drawn(plots.spectrogram_examples(images))
    assert [ax.get_title() for ax in figure.axes] == GENRES
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 5)
    for ax, image in zip(figure.axes, images.values(), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), image.squeeze())


@pytest.mark.parametrize(
    ("clip", "segment", "seconds"), [(30.0, None, 30.0), (30.0, 3.0, 3.0), (None, 3.0, 3.0)]
)
def test_examples_are_labelled_from_the_spec(clip: float, segment: float, seconds: float) -> None:
    spec = SimpleNamespace(clip_seconds=clip, segment_seconds=segment, n_mels=128)
    figure = drawn(plots.spectrogram_examples(some_images((224, 224, 3)), spec))
    assert list(figure.axes[0].images[0].get_extent()) == [0, seconds, 0, 128]
    assert figure.get_supxlabel() == "time (s)"
    assert figure.get_supylabel() == "mel band"


@pytest.mark.parametrize("count", [1, 3, 7])
def test_examples_leave_no_empty_panel(count: int) -> None:
    images = dict(list(some_images((8, 8)).items())[:count])
    assert len(drawn(plots.spectrogram_examples(images)).axes) == count


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros(4, np.uint8), np.zeros((4, 4, 2), np.uint8)])
def test_examples_refuse_what_is_no_image(image: np.ndarray) -> None:
    with pytest.raises(GtzanKerasError, match="spectrogram of 'jazz' is"):
        plots.spectrogram_examples({"jazz": image})
    with pytest.raises(GtzanKerasError, match="no spectrogram"):
        plots.spectrogram_examples({})


# --- intervals -------------------------------------------------------------------------------


def some_scores() -> dict[str, dict[str, float]]:
    return {
        "macro_f1": {"value": 0.33, "low": 0.2, "high": 0.48},
        "accuracy": {"value": 0.38, "low": 0.24, "high": 0.54},
    }


def test_intervals_draw_value_and_ends_accuracy_first() -> None:
    figure = drawn(plots.metric_intervals(some_scores(), chance=0.1))
    ax = figure.axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["accuracy\n38.0 % (24.0 to 54.0)", "macro F1\n33.0 % (20.0 to 48.0)"]
    assert [segment[:, 0].tolist() for segment in ax.collections[0].get_segments()] == [
        [0.24, 0.54],
        [0.2, 0.48],
    ]
    assert [list(np.atleast_1d(line.get_xdata())) for line in ax.lines] == [[0.38, 0.33], [0.1, 0.1]]
    assert figure.legends[0].get_texts()[0].get_text() == "chance 10 %"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "expected some of"),
        ({"loss": {"value": 0, "low": 0, "high": 0}}, "expected some of"),
        ({"accuracy": {"value": 0.5, "low": 0.4}}, "low <= high"),
        ({"accuracy": {"value": 38, "low": 24, "high": 54}}, "low <= high"),
        ({"accuracy": {"value": 0.5, "low": 0.6, "high": 0.4}}, "low <= high"),
        ({"accuracy": {"value": float("nan"), "low": 0.1, "high": 0.4}}, "low <= high"),
    ],
)
def test_intervals_refuse_what_is_no_interval(scores: dict, message: str) -> None:
    with pytest.raises(GtzanKerasError, match=message):
        plots.metric_intervals(scores)


# --- grid search -----------------------------------------------------------------------------


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
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    assert shown == {
        (columns.index(f"{row.dropout:g}") + 0.5, rows.index(f"{row.learning_rate:g}") + 0.5): (
            f"{row.val_loss:.3f}"
        )
        for row in search.itertuples()
    }


@pytest.mark.parametrize(("value", "text"), [("val_loss", "1.100"), ("val_accuracy", "55.0 %")])
def test_grid_frames_the_lowest_loss_and_the_highest_accuracy(search, value, text):
    ax = plots.grid_heat_map(search, "dropout", "learning_rate", value).axes[0]
    (frame,) = ax.patches
    middle = (frame.get_x() + 0.5, frame.get_y() + 0.5)
    assert [t.get_text() for t in ax.texts if t.get_position() == middle] == [text]


def test_grid_shows_the_best_of_a_third_value(search):
    worse = search.assign(batch_size=32, val_loss=search["val_loss"] + 1)
    twice = pd.concat([search.assign(batch_size=8), worse])
    shown = [texts(plots.grid_heat_map(t, "dropout", "learning_rate").axes[0]) for t in (search, twice)]
    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    ("changed", "arguments", "words"),
    [
        ({}, ("dropout", "batch_size"), "no column 'batch_size'"),
        ({}, ("dropout", "dropout"), "x and y are both 'dropout'"),
        ({"val_loss": np.nan}, ("dropout", "learning_rate"), "'val_loss' has missing"),
    ],
)
def test_grid_refuses_bad_input(search, changed, arguments, words):
    with pytest.raises(GtzanKerasError, match=words):
        plots.grid_heat_map(search.assign(**changed), *arguments)


# --- all -------------------------------------------------------------------------------------


def test_importing_the_module_leaves_matplotlib_alone_and_drawing_registers_no_figure() -> None:
    code = (
        "import sys; from gtzan_keras.report import plots; assert 'matplotlib' not in sys.modules;"
        "plots.confusion_matrix([[1]], ['a']); import matplotlib.pyplot as p; assert not p.get_fignums()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_genres_that_the_font_lacks_are_drawn_as_numbers_without_a_warning() -> None:
    genres = ["jazz", "演歌", "a$b$c"]
    tracks = pd.DataFrame({"track_id": list("abc"), "genre": genres})
    figure = drawn(plots.confusion_matrix(np.eye(3, dtype=int), genres))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["jazz", "genre 2", r"a\$b\$c"]
    drawn(plots.class_distribution(tracks, {"train": ["a"]}))
    drawn(plots.per_class(some_report().assign(genre=genres[:2])))
    drawn(plots.spectrogram_examples({genre: np.zeros((4, 4), np.uint8) for genre in genres}))


# --- reliability -----------------------------------------------------------------------------


def test_reliability_draws_the_share_of_right_tracks_of_each_bin_with_its_interval_and_count() -> None:
    sure, right = [0.95] * 10 + [0.5] * 4, [True] * 8 + [False] * 5 + [True]
    figure = drawn(plots.reliability(calibration(sure, right)))
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [0.25, 0.8]
    assert [bar.get_height() for bar in below.patches] == [4, 10]
    assert texts(below) == ["4", "10"]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in above.patches]
    assert middles == pytest.approx([7.5 / 15, 14.5 / 15])
    # Wilson's formula for 8 in 10: (0.8 + z²/20 ± z sqrt(0.016 + z²/400)) / (1 + z²/10), z = 1.96
    whisker = above.collections[0].get_segments()[1]
    assert whisker[:, 1] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    ece = (10 * 0.15 + 4 * 0.25) / 14
    assert f"error {100 * ece:.1f} %" in above.get_title(loc="left")


def test_reliability_refuses_what_is_no_calibration() -> None:
    found = calibration([0.9], [True])
    with pytest.raises(GtzanKerasError, match="no bin holds a track"):
        plots.reliability(found | {"bins": found["bins"][:3]})
    with pytest.raises(GtzanKerasError, match=r"outside 0\.\.1"):
        plots.reliability(found | {"ece": 12.5})


def test_a_spec_that_cuts_frames_off_labels_the_seconds_it_shows():
    from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS

    spec = SPECTROGRAM_SPECS["zhang-128"]
    figure = plots.spectrogram_examples({"rock": np.zeros(spec.shape, np.uint8)}, spec)
    assert figure.axes[0].get_xlim()[1] == pytest.approx(128 * 512 / 22050)
