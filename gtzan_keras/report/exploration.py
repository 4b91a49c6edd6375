"""Figures of features and of splits: what the numbers look like before, and beside, a model's scores.

They are to be had from `gtzan_keras.report.plots`, with all other figures, and keep to its rules.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.features import FEATURE_COLUMNS, NON_MFCC_COLUMNS, correlation_filter
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report._style import (
    GENRE_COLOURS,
    GRID,
    INK,
    TRAINING,
    VALIDATION,
    WIDTH,
    genre_axis,
    genre_colours,
    ink_on,
    need_columns,
    new_figure,
    quiet,
    tint,
)
from gtzan_keras.tracks.catalogue import genre_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = [
    "correlation_heatmap",
    "feature_kde",
    "fold_scores",
    "genre_similarity",
    "leakage_ladder",
    "pca_scatter",
    "tsne_scatter",
]

MARKERS = "osD^v<>PX*"
MODEL_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito, "Color Universal Design" (2008), without their yellow."""

DROPPED, CROSS, MINUS = "#b00020", "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}"
UNITS = {"spectral_centroid": "Hz", "spectral_bandwidth": "Hz", "rolloff": "Hz", "tempo": "beats a minute"}

Array = npt.NDArray[np.floating]


def feature_kde(table: pd.DataFrame, feature: str) -> Figure:
    """How a feature is distributed in each genre: one density a genre, one below the other.

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`: `feature` and ``label``.
    feature : str
        Name of a column of numbers.

    Returns
    -------
    matplotlib.figure.Figure
        Gaussian kernels, width by Scott's rule, each density scaled to its own peak; the ticks below are
        the tracks (or segments), the upright line is their median. A genre whose values are all the same
        is an upright line. Values more than three interquartile ranges from the middle half lie outside
        and are counted in the axis label.

    Raises
    ------
    GtzanKerasError
        A column is missing, there is no row, or a value is not a finite number.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> table = pd.DataFrame({"tempo": [99.0, 103.0, 112.0, 129.0], "label": ["jazz"] * 2 + ["rock"] * 2})
    >>> figure = plots.feature_kde(table, "tempo")
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['jazz', 'rock']
    """
    from matplotlib.lines import Line2D
    from scipy.stats import gaussian_kde

    need_columns(table, (feature, "label"), "feature_kde")
    values = _numbers(table, [feature], "feature_kde")[:, 0]
    colours = genre_colours(genre_names(table["label"]))
    groups = [values[(table["label"] == genre).to_numpy()] for genre in colours]
    low, high = _view(values, groups)
    grid = np.linspace(low, high, 400)

    figure = new_figure(WIDTH, 1.2 + 0.46 * len(colours))
    ax = figure.subplots()
    everyone = float(np.median(values))
    ax.axvline(everyone, color="#888888", linestyle=":", linewidth=1.2, zorder=1)
    for row, (colour, group) in enumerate(zip(colours.values(), groups, strict=True)):
        middle = float(np.median(group))
        top = 0.78
        if np.ptp(group) > 0:
            density = gaussian_kde(group)
            x = np.union1d(grid, group[(group >= low) & (group <= high)])
            curve = density(x) / density(x).max()
            ax.fill_between(x, row, row - top * curve, color=tint(colour, 0.55), linewidth=0, zorder=2)
            ax.plot(x, row - top * curve, color=colour, linewidth=1.6, zorder=3)
            top *= float(np.interp(middle, x, curve))
        ax.plot([middle, middle], [row, row - top], color=INK, linewidth=1.6, zorder=4)
        ax.vlines(group, row + 0.03, row + 0.15, color=colour, linewidth=0.7, alpha=0.6, zorder=2)
    genre_axis(ax, list(colours))
    ax.set(xlim=(low, high), ylim=(len(colours) - 0.7, -1))
    ax.spines["left"].set_visible(False)
    outside = int(((values < low) | (values > high)).sum())
    unit = next((unit for name, unit in UNITS.items() if feature.startswith(name)), "")
    power = "²" if feature.endswith("_var") else ""
    note = f"\n{outside} of {len(values)} lie outside" if outside else ""
    ax.set_xlabel(feature + (f" ({unit}{power})" if unit else "") + note)
    legend = [
        Line2D([], [], color=INK, linewidth=1.6, label="median of the genre"),
        Line2D([], [], color="#888888", linestyle=":", linewidth=1.2, label="median of all"),
        Line2D([], [], color="#888888", marker="|", linewidth=0, label="one value"),
    ]
    figure.legend(handles=legend, loc="outside upper center", ncols=3, frameon=False)
    return figure


def correlation_heatmap(
    table: pd.DataFrame, columns: Sequence[str] | None = None, threshold: float = 0.8
) -> Figure:
    """Pearson's r of each two features, and which of them the correlation filter drops.

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`, at least two rows.
    columns : sequence of str, optional
        At least two features; all that are no MFCCs when left out, as in the feature CNN report.
    threshold : float in (0, 1]
        From which |r| on a pair is framed and the filter drops the later of it.

    Returns
    -------
    matplotlib.figure.Figure
        The lower triangle, r as colour and, for up to 20 features, as text. A constant feature has no r.

    Raises
    ------
    GtzanKerasError
        A column is missing, named twice or holds something else than finite numbers; fewer than two
        columns or rows; `threshold` is out of range.

    See Also
    --------
    gtzan_keras.audio.features.correlation_filter : the rule.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> table = pd.DataFrame({"tempo": [1, 2, 3], "rms_mean": [2, 4, 7]})
    >>> figure = plots.correlation_heatmap(table, ["tempo", "rms_mean"])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['tempo', '× rms_mean']
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    names = list(NON_MFCC_COLUMNS if columns is None else columns)
    numbers = pd.DataFrame(_numbers(table, names, "correlation_heatmap"), columns=names)
    if len(names) < 2:
        raise GtzanKerasError(f"correlation_heatmap: columns are {names}, expected at least two")
    dropped = correlation_filter(numbers, threshold)[1]
    r = numbers.corr().to_numpy()

    figure = new_figure(WIDTH, WIDTH - 0.1)
    ax = figure.subplots()
    shown = np.where(np.tri(len(names), k=-1, dtype=bool), r, np.nan)
    small = len(names) > 20
    labels = [f"{CROSS} {name}" if name in dropped else name for name in names]
    image = _heat_map(ax, shown, labels, min(9.0, 300 / len(names)))
    for row, column in zip(*map(np.ndarray.tolist, np.tril_indices(len(names), -1)), strict=True):
        value = r[row, column]
        if not small:
            ink = INK if math.isnan(value) else ink_on(tuple(image.to_rgba(value)))
            text = _two_digits(value).replace("0.", ".")
            ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=min(9, 115 / len(names)))
        if abs(value) >= threshold:
            frame: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 0.9 if small else 1.6}
            ax.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, **frame))
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        if label.get_text() not in names:
            label.set(color=DROPPED, fontweight="bold")
    bar = figure.colorbar(image, cax=ax.inset_axes((0.5, 0.93, 0.46, 0.025)), orientation="horizontal")
    bar.set_label("correlation r", fontsize=9)
    bar.outline.set_visible(False)
    legend = [
        Patch(fill=False, edgecolor="black", linewidth=1.6, label=f"|r| of {threshold:g} or more"),
        Line2D([], [], color=DROPPED, marker="x", linewidth=0, label="dropped by the correlation filter"),
    ]
    ax.legend(handles=legend, loc="upper right", bbox_to_anchor=(1, 0.83), frameon=False, fontsize=9)
    return figure


def pca_scatter(table: pd.DataFrame, columns: Sequence[str] | None = None) -> Figure:
    """The first two principal components of the standardised features, a point a track.

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`, at least two rows, with ``label``.
    columns : sequence of str, optional
        At least two features; all 57 when left out.

    Returns
    -------
    matplotlib.figure.Figure
        The large mark is a genre's mean.

    Raises
    ------
    GtzanKerasError
        A column is missing, named twice or holds something else than finite numbers; fewer than two
        columns or rows; no two rows differ.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> table = pd.DataFrame({"tempo": [1, 2, 4], "rms_mean": [3, 2, 2], "label": ["jazz", "jazz", "pop"]})
    >>> plots.pca_scatter(table, ["tempo", "rms_mean"]).axes[0].get_xlabel()
    'first component: 87.8 % of the variance'
    """
    from sklearn.decomposition import PCA

    names = list(FEATURE_COLUMNS if columns is None else columns)
    need_columns(table, ("label",), "pca_scatter")
    values = _standardised(_numbers(table, names, "pca_scatter"))
    if min(values.shape) < 2 or not values.any():
        raise GtzanKerasError(
            f"pca_scatter: {len(values)} row(s) of {len(names)} feature(s), expected at least two of each, "
            "and rows that differ"
        )
    pca = PCA(2, svd_solver="full")
    points = pca.fit_transform(values)

    figure, ax = _genre_scatter(points, list(table["label"]), lambda group: group.mean(axis=0))
    first, second = 100 * pca.explained_variance_ratio_
    ax.set_xlabel(f"first component: {first:.1f} % of the variance")
    ax.set_ylabel(f"second component: {second:.1f} % of the variance")
    return figure


def tsne_scatter(
    values: npt.ArrayLike, genres: Sequence[str], title: str, seed: int = 0, perplexity: float = 30
) -> Figure:
    """Which tracks are neighbours: t-SNE of their features, a point a track.

    Parameters
    ----------
    values : array_like of float [shape=(n, d)]
        Features of any kind. They are standardised; more than 50 are first brought down to their first
        50 principal components.
    genres : sequence of str [length n]
        One a track.
    title : str
        Stands above the figure.
    seed : int
        Another seed gives another picture.
    perplexity : float > 0, below n
        How many neighbours a point looks to.

    Returns
    -------
    matplotlib.figure.Figure
        The large mark stands where a genre's points are densest. Distances between far points mean
        nothing, so that the axes have no scale.

    Raises
    ------
    GtzanKerasError
        `values` is not two-dimensional, not of the genres' number, or not finite; `perplexity` is out
        of range.

    References
    ----------
    L. van der Maaten and G. Hinton, "Visualizing Data using t-SNE", JMLR 9 (2008),
    https://www.jmlr.org/papers/v9/vandermaaten08a.html

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.report import plots
    >>> values = np.random.default_rng(0).normal(size=(12, 3))
    >>> plots.tsne_scatter(values, ["jazz", "pop"] * 6, "noise", perplexity=3).axes[0].get_title()
    'noise'
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or not array.size or len(array) != len(genres):
        raise GtzanKerasError(
            f"tsne_scatter: values have shape {array.shape}, expected ({len(genres)}, features): "
            f"a row for each of the {len(genres)} genres given"
        )
    if not np.isfinite(array).all():
        raise GtzanKerasError("tsne_scatter: values hold NaN or infinite numbers")
    if not 0 < perplexity < len(array):
        raise GtzanKerasError(
            f"tsne_scatter: perplexity is {perplexity!r}, expected above 0 and below the {len(array)} rows"
        )
    array = _standardised(array)
    if array.shape[1] > 50:
        array = PCA(min(50, len(array)), random_state=seed).fit_transform(array)
    start = "pca" if min(array.shape) > 1 and array.any() else "random"
    points = TSNE(init=start, perplexity=perplexity, random_state=seed).fit_transform(array)

    figure, ax = _genre_scatter(points, list(genres), _densest)
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=GRID)
    ax.set_xlabel(f"t-SNE: perplexity {perplexity:g}, seed {seed}", fontsize=9, color="#777777")
    return figure


def genre_similarity(table: pd.DataFrame, columns: Sequence[str], title: str) -> Figure:
    """How alike the genres are on average: the cosine between the means of their standardised features.

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`, at least two genres in ``label``.
    columns : sequence of str
        Features to compare, such as `MFCC_COLUMNS` or `NON_MFCC_COLUMNS`.
    title : str
        Stands above the figure.

    Returns
    -------
    matplotlib.figure.Figure
        1 is the same direction away from the mean of all tracks, -1 the opposite one.

    Raises
    ------
    GtzanKerasError
        A column is missing, named twice or holds something else than finite numbers, or there are fewer
        than two genres.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> table = pd.DataFrame({"tempo": [1, 2, 4], "rms_mean": [3, 2, 2], "label": ["jazz", "pop", "rock"]})
    >>> figure = plots.genre_similarity(table, ["tempo", "rms_mean"], "two features")
    >>> [text.get_text() for text in figure.axes[0].texts][:3]
    ['1.00', '−0.53', '−0.91']
    """
    from sklearn.metrics.pairwise import cosine_similarity

    need_columns(table, ("label",), "genre_similarity")
    values = _standardised(_numbers(table, list(columns), "genre_similarity"))
    genres = genre_names(table["label"])
    if len(genres) < 2:
        raise GtzanKerasError(f"genre_similarity: the only genre is {genres[0]!r}, expected at least two")
    similarity = cosine_similarity(pd.DataFrame(values).groupby(table["label"].to_numpy()).mean().loc[genres])

    side = max(2.4, 0.54 * min(len(genres), 10) + 0.3 * max(len(genres) - 10, 0))
    figure = new_figure(side + WIDTH - 5.4, side + 0.7)
    ax = figure.subplots()
    image = _heat_map(ax, similarity, genres, 10 if len(genres) <= 12 else 8)
    for (row, column), value in np.ndenumerate(similarity):
        ink, text = ink_on(tuple(image.to_rgba(value))), _two_digits(value)
        ax.text(
            column, row, text, ha="center", va="center", color=ink, fontsize=9 if len(genres) <= 12 else 5
        )
    ax.set_title(title)
    bar = figure.colorbar(image, ax=ax, shrink=0.75, label="cosine similarity")
    bar.outline.set_visible(False)
    return figure


def leakage_ladder(scores: pd.DataFrame, references: Mapping[str, float] | None = None) -> Figure:
    """The same models on one split after the other: what of an accuracy is owed to the split alone.

    Parameters
    ----------
    scores : pd.DataFrame
        Columns ``model``, ``split``, ``accuracy``, ``low`` and ``high`` (the interval) [0..1], one row a
        model and split. Splits stand in the order in which they first appear, which should lead from the
        leakiest to the strictest; a model may lack some.
    references : mapping of str to float [0..1], optional
        Accuracies to compare with, by name, such as ``{"chance": 0.1}``; a dashed line each.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GtzanKerasError
        A column is missing, there is no row, a model has two rows for one split, or a number lies outside
        0..1 or has its interval's ends swapped.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> rows = [["SVM", "random rows", 0.90, 0.88, 0.92], ["SVM", "by artist", 0.48, 0.42, 0.54]]
    >>> scores = pd.DataFrame(rows, columns=["model", "split", "accuracy", "low", "high"])
    >>> [text.get_text() for text in plots.leakage_ladder(scores, {"chance": 0.1}).axes[0].texts]
    ['chance 10.0 %', 'SVM 48.0 %']
    """
    from matplotlib.ticker import PercentFormatter
    from sklearn.isotonic import isotonic_regression

    references = references or {}
    _check_ladder(scores, references)
    splits, models = list(scores["split"].unique()), list(scores["model"].unique())
    dodge = min(0.08, 0.5 / len(models))  # between intervals that would hide each other
    ends = []  # where the lines end, what they are called, their colours

    height = max(4.4, 1.2 + 0.2 * (len(models) + len(references)))
    figure = new_figure(WIDTH, height)
    ax = figure.subplots()
    for name, level in references.items():
        ax.axhline(level, color="#777777", linestyle="--", linewidth=1, zorder=1, label=name)
        ends.append((len(splits) - 0.7, level, f"{name} {100 * level:.1f} %", "#777777"))
    for place, model in enumerate(models):
        rows = scores[scores["model"] == model].set_index("split")
        rows = rows.loc[[split for split in splits if split in rows.index]]
        colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
        x = np.array([splits.index(split) for split in rows.index]) + dodge * (place - (len(models) - 1) / 2)
        ax.vlines(x, rows["low"], rows["high"], color=colour, linewidth=2.2, alpha=0.55)
        ax.plot(
            x, rows["accuracy"], color=colour, marker=MARKERS[place % len(MARKERS)], markersize=6,
            markeredgecolor="white", markeredgewidth=0.7, linewidth=1.5, zorder=3, label=model,
        )  # fmt: skip
        last = float(rows["accuracy"].iloc[-1])
        ends.append((x[-1], last, f"{model} {100 * last:.1f} %", colour))
    ceiling = min(1.0, 0.05 + max(scores["high"].max(), *references.values(), 0.0))
    ax.set(xlim=(-0.3, len(splits) - 0.7), ylim=(0, ceiling))

    # As near to the line's end as the others let it: isotonic regression of what is left after the gaps.
    order = np.argsort([end[1] for end in ends], kind="stable")
    gap = 14 / 72 / (height - 1.1) * ceiling
    steps = gap * np.arange(len(ends))
    targets = np.array([ends[index][1] for index in order]) - steps
    levels = isotonic_regression(targets, y_min=gap / 3, y_max=ceiling - steps[-1]) + steps
    places = dict(zip(order.tolist(), levels, strict=True))
    for index, (x_end, y_end, text, colour) in enumerate(ends):
        ax.annotate(
            text, (x_end, y_end), (1.03, places[index]), color=colour, fontsize=9.5,
            va="center", textcoords=ax.get_yaxis_transform(),
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkB": 4, "relpos": (0, 0.5)},
        )  # fmt: skip
    ax.set_xticks(range(len(splits)), [textwrap.fill(str(split), 18) for split in splits])
    ax.set(xlabel="split", ylabel="accuracy")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    quiet(ax, grid="y")
    return figure


def fold_scores(folds: pd.DataFrame, published: Mapping[str, Sequence[float]] | None = None) -> Figure:
    """The accuracy of each fold, ours beside the published ones, with their means.

    Parameters
    ----------
    folds : pd.DataFrame
        Columns ``model``, ``fold`` and ``accuracy`` [0..1]; several rows a fold where it was run with
        several seeds.
    published : mapping of str to sequence of float [0..1], optional
        Published accuracies of a model's folds, by the name that it has in `folds`.

    Returns
    -------
    matplotlib.figure.Figure
        Beside each strip stand mean and standard deviation (n - 1).

    Raises
    ------
    GtzanKerasError
        A column is missing, there is no row, a model is not in `folds` or has no published score, or an
        accuracy lies outside 0..1.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> folds = pd.DataFrame({"model": "SVM", "fold": [1, 2], "accuracy": [0.70, 0.74]})
    >>> figure = plots.fold_scores(folds, {"SVM": [0.69, 0.695]})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['72.0 ± 2.8 %', '69.2 ± 0.4 %']
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import PercentFormatter

    published = published or {}
    need_columns(folds, ("model", "fold", "accuracy"), "fold_scores")
    models = list(folds["model"].unique())
    if unknown := [model for model in published if model not in models]:
        raise GtzanKerasError(f"fold_scores: published model {unknown[0]!r} is not among ours, {models}")
    series = [
        (model, kind, np.asarray(scores, dtype=float))
        for model in models
        for kind, scores in (
            ("ours", folds["accuracy"][folds["model"] == model]),
            ("published", published.get(model)),
        )
        if scores is not None
    ]
    for model, kind, scores in series:
        if not len(scores) or not ((scores >= 0) & (scores <= 1)).all():
            raise GtzanKerasError(f"fold_scores: {model!r}, {kind}: {scores.tolist()}, expected within 0..1")

    styles: dict[str, dict[str, Any]] = {
        "ours": {"color": TRAINING, "marker": "o"},
        "published": {"color": VALIDATION, "marker": "D", "markerfacecolor": "white"},
    }
    figure = new_figure(WIDTH, 1.3 + 0.7 * len(models))
    ax = figure.subplots()
    for model, kind, scores in series:
        style, mean = styles[kind], float(scores.mean())
        offset = {"ours": -0.2, "published": 0.2}[kind] if model in published else 0.0
        row = models.index(model) + offset
        # Folds with the same score do not hide each other.
        y = row + np.linspace(-0.09, 0.09, len(scores)) if len(scores) > 1 else [row]
        ax.plot(scores, y, linewidth=0, markersize=5.5, alpha=0.85, label=f"{model}, {kind}", **style)
        ax.plot([mean, mean], [row - 0.17, row + 0.17], color=style["color"], linewidth=2.4)
        spread = f" ± {100 * scores.std(ddof=1):.1f}" if len(scores) > 1 else ""
        ax.annotate(
            f"{100 * mean:.1f}{spread} %", (1.01, row), xycoords=ax.get_yaxis_transform(), va="center",
            fontsize=9, color=style["color"],
        )  # fmt: skip
    genre_axis(ax, models)
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.margins(x=0.06)
    ax.set_xlabel("accuracy of a fold")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    kinds = [kind for kind in styles if kind == "ours" or published]
    legend: list[Line2D] = [Line2D([], [], linewidth=0, label=kind, **styles[kind]) for kind in kinds]
    legend.append(Line2D([], [], color=INK, marker="|", linewidth=0, markersize=11, markeredgewidth=2.4))
    legend[-1].set_label("mean")
    figure.legend(handles=legend, loc="outside upper center", ncols=len(legend), frameon=False)
    return figure


def _numbers(table: pd.DataFrame, columns: Sequence[str], what: str) -> Array:
    """The columns as an array (row, column), if they hold nothing but finite numbers."""
    need_columns(table, columns, what)
    if not columns or len(set(columns)) < len(columns):
        raise GtzanKerasError(f"{what}: columns are {list(columns)}, expected one or more, each once")
    values = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    if len(bad := np.argwhere(~np.isfinite(values))):
        row, column = bad[0]
        found = table[columns[column]].tolist()[row]
        raise GtzanKerasError(
            f"{what}: column {columns[column]!r}, row {row}: {found!r}, expected a finite number"
        )
    return values


def _standardised(values: Array) -> Array:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().fit_transform(values)


def _view(values: Array, groups: Sequence[Array]) -> tuple[float, float]:
    """Ends of an axis that a few far values do not squeeze; each group's middle half is always inside."""
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 3 * (third - first) or math.inf
    low = max(values.min(), min(first - reach, *(np.quantile(group, 0.25) for group in groups)))
    high = min(values.max(), max(third + reach, *(np.quantile(group, 0.75) for group in groups)))
    margin = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return float(low - margin), float(high + margin)


def _two_digits(value: float) -> str:
    """With a typographic minus, and none before zero; a dash for NaN."""
    text = "\N{EN DASH}" if math.isnan(value) else f"{value:.2f}"
    return text.replace("-0.00", "0.00").replace("-", MINUS)


def _heat_map(ax: Axes, values: Array, names: Sequence[str], size: float) -> AxesImage:
    """Squares from blue (-1) over white (0) to red (1); nothing where a value is NaN."""
    image = ax.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    slope: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(
        range(len(names)), names, fontsize=size, **(slope if len(names) <= 12 else {"rotation": 90})
    )
    ax.set_yticks(range(len(names)), names, fontsize=size)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def _densest(group: Array) -> Array:
    """The point with a third of its group nearest by."""
    distances = np.linalg.norm(group[:, np.newaxis] - group, axis=2)
    return group[np.sort(distances, axis=1)[:, len(group) // 3].argmin()]


def _genre_scatter(
    points: Array, genres: Sequence[str], anchor: Callable[[Array], Array]
) -> tuple[Figure, Axes]:
    """Points in their genre's colour and shape; a large mark with the name at each genre's anchor."""
    names = genre_names(genres)
    colours = genre_colours(names)
    known = [*GENRE_COLOURS, *(name for name in names if name not in GENRE_COLOURS)]
    groups = [points[np.array(genres) == name] for name in names]
    anchors = np.array([anchor(group) for group in groups])

    figure = new_figure(WIDTH, 6)
    ax = figure.subplots()
    for name, group, (x, y) in zip(names, groups, anchors, strict=True):
        style: dict[str, Any] = {"color": colours[name], "marker": MARKERS[known.index(name) % len(MARKERS)]}
        ax.scatter(
            group[:, 0], group[:, 1], 20, alpha=0.75, linewidth=0.3, edgecolor=INK, label=name, **style
        )
        ax.scatter(x, y, 95, edgecolor="black", linewidth=1.3, zorder=4, **style)
    ax.margins(0.04)
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    paper = 72 * (figure.get_size_inches() - (0.8, 0.7))  # about the size of the axes, in points
    offsets = _label_offsets((anchors - low) / (high - low) * paper, [len(name) for name in names], paper)
    for name, (x, y), offset in zip(names, anchors, offsets, strict=True):
        ax.annotate(
            name, (x, y), offset, textcoords="offset points", ha="center", va="center", fontsize=9.5,
            zorder=6, bbox={"facecolor": tint(colours[name], 0.25), "edgecolor": colours[name], "pad": 1.8},
            arrowprops={"arrowstyle": "-", "color": "black", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4},
        )  # fmt: skip
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


def _label_offsets(spots: Array, lengths: Sequence[int], paper: Array) -> list[tuple[float, float]]:
    """How far from its spot each label stands [points], so that it covers no other, no spot, no line.

    The nearest free place around the spot, found for one label after the other.
    """
    turns = np.arange(16) * np.pi / 8
    parts = np.linspace(0.3, 0.8, 6)[:, np.newaxis]  # of the line from spot to label
    taken = [(spot, np.array([6.0, 6.0])) for spot in spots]  # centre and half of the size
    labels: list[tuple[Array, Array]] = []
    offsets = []
    for spot, length in zip(spots, lengths, strict=True):
        half = np.array([3.1 * length + 5, 9.0])

        def free(place: Array, spot: Array = spot, half: Array = half) -> bool:
            middle, line = spot + place, spot + place * parts
            return bool(
                ((middle > half) & (middle < paper - half)).all()
                and all((abs(middle - centre) > half + other).any() for centre, other in taken + labels)
                and all((abs(line - centre) > other).any(axis=1).all() for centre, other in labels)
            )

        places = (
            (radius + half * 0.9) * (math.cos(turn), math.sin(turn))
            for radius in range(6, 400, 6)
            for turn in turns
        )
        place = next(filter(free, places), np.array([0.0, 14.0]))
        labels.append((spot + place, half))
        taken.extend((point, np.array([1.0, 1.0])) for point in spot + place * parts)
        offsets.append((float(place[0]), float(place[1])))
    return offsets


def _check_ladder(scores: pd.DataFrame, references: Mapping[str, float]) -> None:
    need_columns(scores, ("model", "split", "accuracy", "low", "high"), "leakage_ladder")
    if (twice := scores.duplicated(["model", "split"])).any():
        model, split = scores.loc[twice, ["model", "split"]].iloc[0]
        raise GtzanKerasError(f"leakage_ladder: model {model!r} has more than one row for split {split!r}")
    accuracy, low, high = (scores[name] for name in ("accuracy", "low", "high"))
    good = accuracy.between(0, 1) & (low >= 0) & (low <= high) & (high <= 1)
    if not good.all():
        bad = scores.loc[~good, ["model", "split", "accuracy", "low", "high"]].iloc[0].to_dict()
        raise GtzanKerasError(f"leakage_ladder: {bad}, expected 0 <= low <= high <= 1 and so the accuracy")
    for name, level in references.items():
        if not 0 <= level <= 1:
            raise GtzanKerasError(f"leakage_ladder: reference {name!r} is {level}, expected within 0..1")
