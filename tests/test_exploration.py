"""Figures of features and splits contain what NumPy, SciPy or scikit-learn get from the same table."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from scipy.stats import pearsonr
from sklearn.manifold import TSNE, trustworthiness
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from gtzan_keras.audio.features import FEATURE_COLUMNS, MFCC_COLUMNS, NON_MFCC_COLUMNS
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report import plots
from tests.conftest import drawn

GENRES = list(plots.GENRE_COLOURS)
CROSS = "\N{MULTIPLICATION SIGN}"


def features(per_genre: int = 8, shift: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(10, 1, 57)) * shift + rng.normal(size=(10, per_genre, 57))
    table = pd.DataFrame(values.reshape(-1, 57) * 40 + 7, columns=list(FEATURE_COLUMNS))
    return table.assign(label=np.repeat(GENRES, per_genre))


def standardised(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return (values - values.mean(axis=0)) / values.std(axis=0)


def tick_labels(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_density_is_a_sum_of_gaussians_of_scotts_width_scaled_to_its_peak() -> None:
    table = features()
    ax = drawn(plots.feature_kde(table, "tempo")).axes[0]
    assert tick_labels(ax.yaxis) == GENRES
    violins = [violin for violin in ax.collections if len(violin.get_paths())]
    assert len(violins) == 10
    for row, (genre, violin) in enumerate(zip(GENRES, violins, strict=True)):
        assert to_hex(violin.get_facecolor()[0]) == plots.GENRE_COLOURS[genre]
        group = table["tempo"][table["label"] == genre].to_numpy()
        width = group.std(ddof=1) * len(group) ** -0.2
        x, y = violin.get_paths()[0].vertices.T
        expected = np.exp(-(((x[:, np.newaxis] - group) / width) ** 2) / 2).sum(axis=1)
        height = np.abs(y - row)
        np.testing.assert_allclose(height / height.max(), expected / expected.max(), atol=1e-6)


def test_density_marks_the_medians() -> None:
    table = features()
    ax = drawn(plots.feature_kde(table, "rms_var")).axes[0]
    medians = table.groupby("label")["rms_var"].median()
    inner = [line.get_xdata()[0] for line in ax.lines[1:-1:3]]  # quartile, median, quartile of each genre
    assert inner == pytest.approx(medians[GENRES].tolist())
    assert ax.lines[-1].get_xdata()[0] == pytest.approx(table["rms_var"].median())


def test_density_counts_values_far_outside_instead_of_squeezing_the_rest() -> None:
    values = np.append(np.linspace(0, 1, 20), 1e6)
    table = pd.DataFrame({"tempo": values, "label": ["jazz", "rock", "pop"] * 7})
    ax = drawn(plots.feature_kde(table, "tempo")).axes[0]
    assert ax.get_xlim()[1] < 5
    assert ax.get_xlabel() == "tempo (beats per minute)\n1 of 21 values are outside"


def test_correlations_are_pearsons_in_the_lower_triangle() -> None:
    table = features(shift=0)
    ax = drawn(plots.correlation_heatmap(table)).axes[0]
    shown = np.ma.filled(ax.collections[0].get_array(), np.nan)
    assert tick_labels(ax.yaxis) == tick_labels(ax.xaxis) == list(NON_MFCC_COLUMNS)
    assert np.isnan(shown[np.triu_indices(17)]).all()
    for row, column in zip(*np.tril_indices(17, -1), strict=True):
        expected = pearsonr(table[NON_MFCC_COLUMNS[row]], table[NON_MFCC_COLUMNS[column]]).statistic
        assert shown[row, column] == pytest.approx(expected)


def test_high_correlations_are_framed_whatever_their_sign_and_the_later_of_a_pair_crossed() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 50))
    table = pd.DataFrame({"tempo": a, "rms_mean": b, "rms_var": 1 - 2 * a, "rolloff_var": b + 0.01 * a})
    columns = ["tempo", "rms_mean", "rms_var", "rolloff_var"]
    ax = drawn(plots.correlation_heatmap(table, columns)).axes[0]
    framed = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert {(round(cell.get_y()), round(cell.get_x())) for cell in framed} == {(2, 0), (3, 1)}
    expected = ["tempo", "rms_mean", f"{CROSS} rms_var", f"{CROSS} rolloff_var"]
    assert tick_labels(ax.yaxis) == tick_labels(ax.xaxis) == expected


def clouds(ax: Any) -> dict[str, np.ndarray]:
    """Points by genre, found by their colours."""
    points, by_colour = ax.collections[0], {colour: genre for genre, colour in plots.GENRE_COLOURS.items()}
    genres = [by_colour[to_hex(colour)] for colour in points.get_facecolor()]
    offsets = np.asarray(points.get_offsets())
    return {genre: offsets[np.array(genres) == genre] for genre in dict.fromkeys(genres)}


def test_principal_components_are_those_of_the_singular_value_decomposition() -> None:
    table = features()
    ax = drawn(plots.pca_scatter(table)).axes[0]
    values = standardised(table[list(FEATURE_COLUMNS)])
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    shown = clouds(ax)
    assert list(shown) == GENRES
    points = np.concatenate([shown[genre] for genre in GENRES])  # the table is in this order
    for axis in (0, 1):
        expected = left[:, axis] * singular[axis]
        sign = np.sign(expected @ points[:, axis])
        np.testing.assert_allclose(points[:, axis], sign * expected, atol=1e-9)
    share = 100 * singular**2 / (singular**2).sum()
    assert ax.get_xlabel() == f"first component: {share[0]:.1f} % of the variance"
    assert ax.get_ylabel() == f"second component: {share[1]:.1f} % of the variance"


@threadpool_limits.wrap(limits=1)  # on so few points, threads wait for each other longer than they work
def test_tsne_is_scikit_learns_of_standardised_values() -> None:
    table = features(per_genre=4)
    values = table[list(MFCC_COLUMNS)].to_numpy()
    ax = drawn(plots.tsne_scatter(values, list(table["label"]), "MFCC", seed=3, perplexity=5)).axes[0]
    expected = TSNE(perplexity=5, random_state=3).fit_transform(standardised(values))
    points = np.concatenate([clouds(ax)[genre] for genre in GENRES])
    # t-SNE magnifies differences in the last digit: what matters is who is whose neighbour.
    assert trustworthiness(expected, points, n_neighbors=3) > 0.99
    assert ax.get_title() == "MFCC"
    assert ax.get_xlabel() == "t-SNE: perplexity 5, seed 3"


def test_similarity_is_the_cosine_between_the_genres_means() -> None:
    table = features().sample(frac=1, random_state=0)
    ax = drawn(plots.genre_similarity(table, MFCC_COLUMNS, "MFCC features")).axes[0]
    values = standardised(table[list(MFCC_COLUMNS)])
    means = [values[(table["label"] == genre).to_numpy()].mean(axis=0) for genre in GENRES]
    shown = np.asarray(ax.collections[0].get_array()).reshape(10, 10)
    for (i, one), (j, other) in itertools.product(enumerate(means), repeat=2):
        cosine = one @ other / np.sqrt((one @ one) * (other @ other))
        assert shown[i, j] == pytest.approx(cosine)
        text = ax.texts[10 * i + j]
        assert text.get_position() == (j + 0.5, i + 0.5)
        assert float(text.get_text()) == pytest.approx(cosine, abs=0.0051)
    assert tick_labels(ax.xaxis) == tick_labels(ax.yaxis) == GENRES
    assert ax.get_title() == "MFCC features"


SPLITS = ["random rows", "by track", "by artist", "fault-filtered"]
LADDER = {
    "SVM": [0.905, 0.735, 0.620, 0.480],
    "random forest": [0.880, 0.714, 0.600, 0.490],
    "1-D CNN": [0.890, 0.682, 0.580, 0.481],
}


def ladder(models: dict[str, list[float]] = LADDER) -> pd.DataFrame:
    rows = [
        {"model": model, "split": split, "accuracy": value, "low": value - 0.04, "high": value + 0.03}
        for model, values in models.items()
        for split, value in zip(SPLITS, values, strict=False)
    ]
    return pd.DataFrame(rows)


def lines_of(ax: Any) -> dict[str, Any]:
    """The line of each model, by its name without the figure behind it."""
    return {c.get_label().split("  ")[0]: c.lines[0] for c in ax.containers}


def test_ladder_has_a_line_per_model_over_the_splits_in_their_order() -> None:
    first, rest = ladder().head(4), ladder().tail(8)
    mixed = pd.concat([first, rest.sample(frac=1, random_state=1)])  # rows of a model in any order
    ax = drawn(plots.leakage_ladder(mixed)).axes[0]
    assert tick_labels(ax.xaxis) == SPLITS
    lines = lines_of(ax)
    for model, values in LADDER.items():
        assert lines[model].get_ydata().tolist() == values
        np.testing.assert_array_equal(np.round(lines[model].get_xdata()), range(4))
    for bars, line in zip(ax.collections, lines.values(), strict=True):
        ends = np.array(bars.get_segments())[:, :, 1].astype(float) - line.get_ydata()[:, None].astype(float)
        np.testing.assert_allclose(ends, [[-0.04, 0.03]] * 4)


def test_ladder_names_each_line_and_reference_next_to_its_last_point() -> None:
    ax = drawn(plots.leakage_ladder(ladder(), {"chance": 0.1, "published": 0.495})).axes[0]
    texts = sorted(ax.texts, key=lambda text: -text.get_position()[1])
    assert [text.get_text() for text in texts] == [
        "published  49.5 %", "random forest  49.0 %", "1-D CNN  48.1 %", "SVM  48.0 %", "chance  10.0 %",
    ]  # fmt: skip
    boxes = [Text.get_window_extent(text) for text in texts]  # without the leader line
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))  # none on another
    by_name = {text.get_text().split("  ")[0]: text.xy for text in texts}
    for model, line in lines_of(ax).items():
        assert by_name[model] == (line.get_xdata()[-1], line.get_ydata()[-1])


def test_ladder_breaks_a_line_where_a_split_was_not_run() -> None:
    rows = ladder({"SVM": LADDER["SVM"], "k-NN": LADDER["SVM"]}).drop(index=[5, 7])
    ax = drawn(plots.leakage_ladder(rows)).axes[0]
    values = lines_of(ax)["k-NN"].get_ydata().astype(float)
    np.testing.assert_array_equal(values, [0.905, np.nan, 0.62, np.nan])
    text = next(text for text in ax.texts if text.get_text() == "k-NN  62.0 %")
    assert text.xy[1] == 0.62
    assert text.get_position()[0] == pytest.approx(2.36)


def test_folds_show_every_score_with_mean_and_deviation() -> None:
    scores = {"1-D CNN": [0.71, 0.66, 0.70, 0.70, 0.74], "SVM": [0.7, 0.75, 0.72, 0.73, 0.76]}
    rows = [(model, fold, value) for model, own in scores.items() for fold, value in enumerate(own)]
    ax = drawn(plots.fold_scores(pd.DataFrame(rows, columns=["model", "fold", "accuracy"]))).axes[0]
    swarms = [np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())]
    for swarm, own in zip(swarms, scores.values(), strict=True):
        assert sorted(swarm[:, 0]) == pytest.approx(sorted(own))
        assert len({tuple(point) for point in swarm.round(6)}) == 5  # equal scores do not hide each other
    # By hand: 70.2, squared deviations 0.64 + 17.64 + 0.04 + 0.04 + 14.44 = 32.8; sqrt(32.8 / 4) = 2.86.
    assert tick_labels(ax.yaxis) == ["1-D CNN\n70.2 ± 2.9 %", "SVM\n73.2 ± 2.4 %"]
    alone = pd.DataFrame({"model": ["SVM"], "fold": 0, "accuracy": 0.7})
    assert tick_labels(drawn(plots.fold_scores(alone)).axes[0].yaxis) == ["SVM\n70.0 %"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.feature_kde(features().drop(columns="label"), "tempo"), "no column label"),
        (lambda: plots.pca_scatter(features().assign(tempo=np.inf)), "column 'tempo' holds something other"),
        (lambda: plots.correlation_heatmap(features(), ["tempo", "label"]), "column 'label' holds"),
        (lambda: plots.correlation_heatmap(features(), threshold=0), "threshold=0"),
        (lambda: plots.leakage_ladder(ladder().assign(accuracy=90.5)), r"outside 0\.\.1"),
    ],
)
def test_wrong_tables_are_refused(draw: Any, message: str) -> None:
    with pytest.raises(GtzanKerasError, match=message):
        draw()
