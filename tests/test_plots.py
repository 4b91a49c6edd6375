"""Figures hold the numbers they were given; read back from the artists, not from pixels."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import matplotlib.style
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
    """Lay the figure out and draw it, so that whatever can warn or fail does."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    return figure


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


# --- colours ---------------------------------------------------------------------------------


@pytest.mark.parametrize("vision", VISIONS)
def test_ten_genres_are_told_apart_with_any_colour_vision(vision: str) -> None:
    colours = list(plots.genre_colours(GENRES).values())
    assert closest_pair(colours, VISIONS[vision]) > 15  # CIE76; 2.3 is just noticeable


@pytest.mark.parametrize("vision", VISIONS)
def test_other_colours_are_told_apart_from_all_others(vision: str) -> None:
    colours = [*plots.GENRE_COLOURS.values(), *plots.OTHER_COLOURS]
    assert closest_pair(colours, VISIONS[vision]) > 10


def test_genre_colours_are_petroffs_ten_as_matplotlib_has_them() -> None:
    if "petroff10" not in matplotlib.style.library:
        pytest.skip("this matplotlib has no petroff10")
    theirs = matplotlib.style.library["petroff10"]["axes.prop_cycle"].by_key()["color"]
    assert set(plots.GENRE_COLOURS.values()) == set(theirs)


def test_a_genre_keeps_its_colour_whatever_stands_beside_it() -> None:
    assert plots.genre_colours(["rock"])["rock"] == plots.genre_colours(GENRES)["rock"]
    assert plots.genre_colours(["fado"])["fado"] == plots.genre_colours([*GENRES, "fado"])["fado"]


def test_other_genres_get_distinct_colours_that_do_not_depend_on_their_order() -> None:
    names = [f"genre {number}" for number in range(20)]
    colours = plots.genre_colours(names)
    assert len(set(colours.values())) == 20
    assert not set(colours.values()) & set(plots.GENRE_COLOURS.values())
    assert plots.genre_colours(names[::-1]) == colours
    assert list(plots.genre_colours(names[::-1])) == names[::-1]


def test_more_genres_than_colours_still_get_one_each() -> None:
    assert len(plots.genre_colours(f"genre {number}" for number in range(50))) == 50


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


def test_history_draws_every_column_in_its_panel() -> None:
    table = full_history()
    figure = drawn(plots.history(table, best_epoch=9))
    panels = {ax.get_ylabel(): ax for ax in figure.axes}
    assert list(panels) == ["loss", "accuracy", "macro precision", "learning rate"]
    for label, columns in {
        "loss": ["loss", "val_loss"],
        "accuracy": ["accuracy", "val_accuracy"],
        "macro precision": ["macro_precision", "val_macro_precision"],
        "learning rate": ["learning_rate"],
    }.items():
        lines = panels[label].lines
        for line, column in zip(lines, columns, strict=False):
            np.testing.assert_array_equal(line.get_xdata(), table["epoch"])
            np.testing.assert_array_equal(line.get_ydata(), table[column])
        assert len(lines) == len(columns) + 1  # the best epoch's


def test_history_marks_the_best_epoch_in_each_panel_and_names_it() -> None:
    figure = plots.history(full_history(), best_epoch=9)
    for ax in figure.axes:
        assert list(np.asarray(ax.lines[-1].get_xdata())) == [9, 9]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["training", "validation", "best epoch (9)"]


def test_history_works_with_one_epoch_and_without_validation() -> None:
    table = pd.DataFrame({"epoch": [1], "loss": [2.3], "accuracy": [0.1]})
    figure = drawn(plots.history(table))
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training"]


def test_history_draws_a_run_that_diverged() -> None:
    table = full_history()
    table.loc[5:, ["loss", "val_loss"]] = [np.nan, np.inf]
    drawn(plots.history(table))


def test_history_refuses_a_best_epoch_that_is_not_there() -> None:
    with pytest.raises(GtzanKerasError, match="best_epoch is 13, expected one of the epochs 1 to 12"):
        plots.history(full_history(), best_epoch=13)


def test_history_names_the_missing_column() -> None:
    with pytest.raises(GtzanKerasError, match="no column 'accuracy'"):
        plots.history(full_history().drop(columns="accuracy"))


def test_history_refuses_an_empty_table() -> None:
    with pytest.raises(GtzanKerasError, match="no rows"):
        plots.history(full_history().iloc[:0])


# --- confusion matrix ------------------------------------------------------------------------


@pytest.mark.parametrize("genres", [GENRES[:2], GENRES, [f"genre {n}" for n in range(20)]])
def test_confusion_matrix_writes_each_count_in_its_cell(genres: list[str]) -> None:
    counts = np.random.default_rng(0).integers(0, 100, (len(genres), len(genres)))
    ax = drawn(plots.confusion_matrix(counts, genres)).axes[0]
    written = {text.get_position(): int(text.get_text()) for text in ax.texts}
    assert written == {(c, r): counts[r, c] for r, c in np.ndindex(counts.shape)}
    assert [label.get_text() for label in ax.get_yticklabels()] == genres
    assert [label.get_text() for label in ax.get_xticklabels()] == genres


def test_confusion_matrix_colours_the_diagonal_by_recall() -> None:
    truth = [0] * 10 + [1] * 5 + [2] * 20
    said = [0] * 7 + [1] * 3 + [1] * 4 + [2] + [2] * 20
    counts = np.zeros((3, 3), dtype=int)
    np.add.at(counts, (truth, said), 1)
    image: Any = plots.confusion_matrix(counts, ["a", "b", "c"]).axes[0].images[0]
    np.testing.assert_allclose(np.diag(image.get_array()), recall_score(truth, said, average=None))
    assert image.get_clim() == (0, 1)


def test_confusion_matrix_leaves_a_genre_without_tracks_white() -> None:
    image = drawn(plots.confusion_matrix([[3, 1], [0, 0]], ["a", "b"])).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array()[1], [0, 0])


def test_confusion_matrix_writes_light_on_dark_and_dark_on_light() -> None:
    ax = plots.confusion_matrix([[100, 1], [1, 100]], ["a", "b"]).axes[0]
    assert [text.get_color() for text in ax.texts] == ["white", "black", "black", "white"]


@pytest.mark.parametrize("matrix", [np.zeros((2, 3), int), np.zeros((3, 3), int), np.zeros(2, int)])
def test_confusion_matrix_refuses_another_shape_than_the_genres(matrix: np.ndarray) -> None:
    with pytest.raises(GtzanKerasError, match=r"has shape .* expected \(2, 2\)"):
        plots.confusion_matrix(matrix, ["a", "b"])


@pytest.mark.parametrize("matrix", [[[0.5, 0.5], [0.0, 1.0]], [[1, -1], [0, 1]]])
def test_confusion_matrix_refuses_what_is_no_count(matrix: list) -> None:
    with pytest.raises(GtzanKerasError, match="expected counts"):
        plots.confusion_matrix(matrix, ["a", "b"])


# --- class distribution ----------------------------------------------------------------------


def some_tracks() -> pd.DataFrame:
    ids = [f"{genre}.{number:05d}" for genre in ("rock", "jazz") for number in range(10)]
    return pd.DataFrame({"track_id": ids, "genre": [name.split(".")[0] for name in ids]})


def layers(figure: Any) -> dict[str, list[int]]:
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    bars = figure.axes[0].containers
    return {n: [bar.get_width() for bar in c] for n, c in zip(names, bars, strict=True)}


def test_class_distribution_counts_each_part_of_each_genre() -> None:
    tracks = some_tracks()
    parts = {"train": list(tracks["track_id"][:15]), "test": list(tracks["track_id"][15:])}
    figure = drawn(plots.class_distribution(tracks, parts))
    assert layers(figure) == {"train": [5, 10], "test": [5, 0]}
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["jazz (10)", "rock (10)"]
    assert texts(figure.axes[0]) == ["5", "10", "5"]


def test_class_distribution_shows_tracks_in_no_part_as_left_out() -> None:
    figure = drawn(plots.class_distribution(some_tracks(), {"train": ["rock.00001", "jazz.00001"]}))
    assert layers(figure) == {"train": [1, 1], "left out": [9, 9]}


def test_class_distribution_counts_a_track_in_two_parts_once() -> None:
    every = list(some_tracks()["track_id"])
    figure = plots.class_distribution(some_tracks(), {"train": every, "test": every[:3]})
    assert layers(figure) == {"train": [10, 7], "test": [0, 0], "in more than one part": [0, 3]}


def test_class_distribution_does_not_draw_ids_that_are_not_there() -> None:
    figure = plots.class_distribution(some_tracks(), {"train": ["jazz.00001", "jazz.99999"]})
    assert layers(figure)["train"] == [1, 0]


def test_class_distribution_bars_touch_and_do_not_overlap() -> None:
    every = list(some_tracks()["track_id"])
    parts = {"train": every[::2], "validation": every[1::4]}
    bars = plots.class_distribution(some_tracks(), parts).axes[0].containers
    for first, second in itertools.pairwise(bars):
        for one, two in zip(first, second, strict=True):
            assert one.get_x() + one.get_width() == two.get_x()


def test_class_distribution_names_the_missing_column() -> None:
    with pytest.raises(GtzanKerasError, match="tracks: no column 'genre'"):
        plots.class_distribution(some_tracks().drop(columns="genre"), {})


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


def points(figure: Any) -> dict[str, float]:
    return {
        c.get_label(): float(np.ma.filled(c.get_offsets(), np.nan)[0, 0]) for c in figure.axes[0].collections
    }


def test_per_class_draws_each_score_where_it_belongs() -> None:
    figure = drawn(plots.per_class(some_report()))
    assert points(figure) == {
        "jazz precision": 0.5,
        "jazz recall": 0.8,
        "jazz f1": 0.615,
        "rock precision": 1.0,
        "rock recall": 0.1,
        "rock f1": 0.182,
    }
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["jazz (10)", "rock (7)"]


def test_per_class_draws_a_score_that_is_not_defined_as_nothing() -> None:
    report = some_report()
    report.loc[0, "precision"] = np.nan
    assert np.isnan(points(drawn(plots.per_class(report)))["jazz precision"])


def test_per_class_refuses_scores_in_percent() -> None:
    report = some_report()
    report["recall"] *= 100
    with pytest.raises(GtzanKerasError, match=r"within 0\.\.1"):
        plots.per_class(report)


def test_per_class_names_the_missing_column() -> None:
    with pytest.raises(GtzanKerasError, match="no column 'support'"):
        plots.per_class(some_report().drop(columns="support"))


def test_a_genre_has_the_same_colour_in_every_figure() -> None:
    bars = plots.class_distribution(some_tracks(), {"train": list(some_tracks()["track_id"])})
    dots = plots.per_class(some_report())
    frames = plots.spectrogram_examples({"jazz": np.zeros((4, 4), np.uint8)})
    assert {
        to_hex(bars.axes[0].containers[0][0].get_facecolor()),
        to_hex(dots.axes[0].collections[0].get_facecolor()[0]),
        to_hex(frames.axes[0].spines["left"].get_edgecolor()),
    } == {plots.GENRE_COLOURS["jazz"]}


# --- examples --------------------------------------------------------------------------------


def some_images(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {genre: rng.integers(0, 256, shape).astype(np.uint8) for genre in GENRES}


@pytest.mark.parametrize("shape", [(16, 30), (16, 30, 1), (16, 30, 3)])
def test_examples_show_the_images_as_they_are_two_rows_of_five(shape: tuple[int, ...]) -> None:
    images = some_images(shape)
    figure: Any = drawn(plots.spectrogram_examples(images))
    assert [ax.get_title() for ax in figure.axes] == GENRES
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 5)
    for ax, image in zip(figure.axes, images.values(), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), image.squeeze())


def test_examples_put_row_zero_on_top() -> None:
    image = plots.spectrogram_examples({"jazz": np.zeros((4, 6), np.uint8)}).axes[0].images[0]
    assert image.origin == "upper"
    assert image.get_extent()[3] > image.get_extent()[2]


def test_grey_examples_keep_one_scale_for_all() -> None:
    figure = plots.spectrogram_examples({"a": np.full((4, 4), 9, np.uint8), "b": np.eye(4, dtype=np.uint8)})
    assert {ax.images[0].get_clim() for ax in figure.axes} == {(0, 255)}
    assert {ax.images[0].get_cmap().name for ax in figure.axes} == {"magma"}


@pytest.mark.parametrize(
    ("clip", "segment", "seconds"), [(30.0, None, 30.0), (30.0, 3.0, 3.0), (None, 3.0, 3.0)]
)
def test_examples_are_labelled_from_the_spec(clip: float, segment: float, seconds: float) -> None:
    spec = SimpleNamespace(clip_seconds=clip, segment_seconds=segment, n_mels=128)
    figure = drawn(plots.spectrogram_examples(some_images((224, 224, 3)), spec))
    assert list(figure.axes[0].images[0].get_extent()) == [0, seconds, 0, 128]
    assert figure.get_supxlabel() == "time (s)"
    assert figure.get_supylabel() == "mel band"


def test_examples_without_spec_carry_no_scale() -> None:
    figure = drawn(plots.spectrogram_examples(some_images((16, 30))))
    assert len(figure.axes[0].get_xticks()) == len(figure.axes[0].get_yticks()) == 0


@pytest.mark.parametrize("count", [1, 3, 7])
def test_examples_leave_no_empty_panel(count: int) -> None:
    images = dict(list(some_images((8, 8)).items())[:count])
    assert len(drawn(plots.spectrogram_examples(images)).axes) == count


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros(4, np.uint8), np.zeros((4, 4, 2), np.uint8)])
def test_examples_refuse_what_is_no_image(image: np.ndarray) -> None:
    with pytest.raises(GtzanKerasError, match="image of 'jazz' is"):
        plots.spectrogram_examples({"jazz": image})


def test_examples_refuse_none_at_all() -> None:
    with pytest.raises(GtzanKerasError, match="no image"):
        plots.spectrogram_examples({})


# --- intervals -------------------------------------------------------------------------------


def some_scores() -> dict[str, dict[str, float]]:
    return {
        "macro_f1": {"value": 0.33, "low": 0.2, "high": 0.48},
        "accuracy": {"value": 0.38, "low": 0.24, "high": 0.54},
    }


def test_intervals_draw_value_and_ends_accuracy_first() -> None:
    ax = drawn(plots.metric_intervals(some_scores(), chance=0.1)).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["accuracy", "macro F1"]
    drawn_values = [list(np.atleast_1d(line.get_xdata())) for line in ax.lines]
    assert drawn_values == [[0.24, 0.54]] * 2 + [[0.38]] + [[0.2, 0.48]] * 2 + [[0.33]] + [[0.1, 0.1]]
    assert texts(ax) == ["38.0 %  (24.0 to 54.0)", "33.0 %  (20.0 to 48.0)", "chance 10 %"]


def test_intervals_of_a_perfect_score_are_drawn() -> None:
    perfect = {"value": 1.0, "low": 1.0, "high": 1.0}
    assert texts(drawn(plots.metric_intervals({"accuracy": perfect})).axes[0]) == [
        "100.0 %  (100.0 to 100.0)"
    ]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "expected some of"),
        ({"loss": {"value": 0, "low": 0, "high": 0}}, "expected some of"),
        ({"accuracy": {"value": 0.5, "low": 0.4}}, "lacks"),
        ({"accuracy": {"value": 38, "low": 24, "high": 54}}, "low <= high"),
        ({"accuracy": {"value": 0.5, "low": 0.6, "high": 0.4}}, "low <= high"),
        ({"accuracy": {"value": float("nan"), "low": 0.1, "high": 0.4}}, "low <= high"),
    ],
)
def test_intervals_refuse_what_is_no_interval(scores: dict, message: str) -> None:
    with pytest.raises(GtzanKerasError, match=message):
        plots.metric_intervals(scores)


# --- all -------------------------------------------------------------------------------------


def test_importing_the_module_leaves_matplotlib_alone_and_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys; from gtzan_keras.report import plots; assert 'matplotlib' not in sys.modules;"
        "plots.confusion_matrix([[1]], ['a']); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- reliability -----------------------------------------------------------------------------


def test_reliability_draws_the_share_of_right_tracks_of_each_bin_with_its_interval_and_count() -> None:
    sure, right = [0.95] * 10 + [0.5] * 4, [True] * 8 + [False] * 5 + [True]
    figure = drawn(plots.reliability(calibration(sure, right)))
    above, beneath = figure.axes
    assert [bar.get_height() for bar in above.patches] == [0.25, 0.8]
    assert [bar.get_height() for bar in beneath.patches] == [4, 10]
    assert texts(beneath) == ["4", "10"]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in above.patches]
    assert middles == pytest.approx([7.5 / 15, 14.5 / 15])
    # Wilson's formula for 8 in 10: (0.8 + z²/20 ± z sqrt(0.016 + z²/400)) / (1 + z²/10), z = 1.96
    whisker = above.collections[0].get_segments()[1]
    assert whisker[:, 1] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    ece = (10 * 0.15 + 4 * 0.25) / 14
    assert f"error {100 * ece:.1f} %" in above.get_title(loc="left")


def test_reliability_has_the_diagonal() -> None:
    line = drawn(plots.reliability(calibration([0.9], [True]))).axes[0].lines[0]
    assert line.get_xydata().tolist() == [[0, 0], [1, 1]]


def test_reliability_refuses_what_is_no_calibration() -> None:
    found = calibration([0.9], [True])
    with pytest.raises(GtzanKerasError, match="no bin holds a track"):
        plots.reliability(found | {"bins": found["bins"][:3]})
    with pytest.raises(GtzanKerasError, match=r"within 0\.\.1"):
        plots.reliability(found | {"ece": 12.5})


def test_a_spec_that_cuts_frames_off_labels_the_seconds_it_shows():
    from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS

    spec = SPECTROGRAM_SPECS["zhang-128"]
    figure = plots.spectrogram_examples({"rock": np.zeros(spec.shape, np.uint8)}, spec)
    assert figure.axes[0].get_xlim()[1] == pytest.approx(128 * 512 / 22050)
