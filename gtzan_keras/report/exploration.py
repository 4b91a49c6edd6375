"""Figures of features and of splits, for a look at the data before, and next to, a model's scores.

They are available from `gtzan_keras.report.plots`, with all other figures, and follow its rules.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.features import FEATURE_COLUMNS, NON_MFCC_COLUMNS, correlation_filter
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report import _style as style
from gtzan_keras.tracks.catalogue import genre_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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

DROPPED, CROSS = "#b00020", "\N{MULTIPLICATION SIGN}"
UNITS = {"spectral_centroid": "Hz", "spectral_bandwidth": "Hz", "rolloff": "Hz", "tempo": "beats per minute"}

Array = npt.NDArray[np.floating]


def feature_kde(table: pd.DataFrame, feature: str) -> Figure:
    """Draw the distribution of a feature in each genre: one density per genre, one below the other.

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`: `feature` and ``label``.
    feature : str
        Name of a numeric column.

    Returns
    -------
    matplotlib.figure.Figure
        Violins: Gaussian kernels, width by Scott's rule, each density scaled to its own peak; the dashed
        line is the genre's median, the dotted ones its quartiles. A genre with one value is a line. Values
        more than three interquartile ranges from the middle half are cut off and counted in the axis label.

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
    import seaborn

    style.need_columns(table, (feature, "label"), "feature_kde")
    values = _numbers(table, [feature], "feature_kde")[:, 0]
    genres = genre_names(table["label"])
    low, high = _view(pd.Series(values).groupby(table["label"].tolist()), values)

    figure, ax = style.new_axes(style.WIDTH, 1.2 + 0.46 * len(genres))
    seaborn.violinplot(
        x=values, y=table["label"].to_numpy(), order=genres, hue=table["label"].to_numpy(),
        hue_order=genres, palette=style.genre_colours(genres), saturation=1, legend=False,
        density_norm="width", width=0.85, cut=3, inner="quart", inner_kws={"color": style.INK},
        linewidth=1, ax=ax,
    )  # fmt: skip
    ax.axvline(
        float(np.median(values)), color=style.GREY, linestyle=":", linewidth=1.2, label="median of all genres"
    )
    figure.legend(loc="outside upper right", frameon=False)
    ax.set_yticks(range(len(genres)), style.genre_labels(genres))
    ax.set_xlim(low, high)
    outside = int(((values < low) | (values > high)).sum())
    unit = next((unit for name, unit in UNITS.items() if feature.startswith(name)), "")
    power = "²" if feature.endswith("_var") else ""
    note = f"\n{outside} of {len(values)} values are outside" if outside else ""
    ax.set_xlabel(feature + (f" ({unit}{power})" if unit else "") + note)
    style.quiet(ax, grid="x")
    return figure


def correlation_heatmap(
    table: pd.DataFrame, columns: Sequence[str] | None = None, threshold: float = 0.8
) -> Figure:
    """Draw Pearson's r of every pair of features, and which features the correlation filter drops.

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`, at least two rows.
    columns : sequence of str, optional
        At least two features; by default all except the MFCCs, as in the feature CNN report.
    threshold : float in (0, 1]
        Pairs with at least this |r| are framed, and the filter drops the later one.

    Returns
    -------
    matplotlib.figure.Figure
        The lower triangle, r as colour and, for up to 20 features, as text. A constant feature has no r.

    Raises
    ------
    GtzanKerasError
        A column is missing or contains anything but finite numbers; `threshold` is out of range.

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
    dropped = correlation_filter(numbers, threshold)[1]
    labels = [f"{CROSS} {name}" if name in dropped else name for name in names]
    r = numbers.corr().set_axis(labels).set_axis(labels, axis=1)

    figure, ax = style.new_axes(style.WIDTH + 0.6, style.WIDTH - 0.1)
    small = len(names) > 20
    upper = ~np.tri(len(names), k=-1, dtype=bool)
    texts = None if small else r.map(lambda value: f"{value:.2f}".replace("0.", "."))
    style.heat_map(ax, r, "correlation r", texts, cmap="RdBu_r", vmin=-1, vmax=1, mask=upper)
    for row, column in np.argwhere((r.abs() >= threshold).to_numpy() & ~upper).tolist():
        frame: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 0.9 if small else 1.6}
        ax.add_patch(Rectangle((column, row), 1, 1, **frame))
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        if label.get_text() not in names:
            label.set(color=DROPPED, fontweight="bold")
    legend = [
        Patch(fill=False, edgecolor="black", linewidth=1.6, label=f"|r| of {threshold:g} or more"),
        Line2D([], [], color=DROPPED, marker="x", linewidth=0, label="dropped by the correlation filter"),
    ]
    ax.legend(handles=legend, loc="upper right", frameon=False, fontsize=9)
    return figure


def pca_scatter(table: pd.DataFrame, columns: Sequence[str] | None = None) -> Figure:
    """Draw the first two principal components of the standardised features, one point per track.

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`, at least two rows, with ``label``.
    columns : sequence of str, optional
        At least two features; all 57 by default.

    Returns
    -------
    matplotlib.figure.Figure
        The large marker is a genre's median.

    Raises
    ------
    GtzanKerasError
        A column is missing or contains anything but finite numbers.

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
    style.need_columns(table, ("label",), "pca_scatter")
    values = _standardised(_numbers(table, names, "pca_scatter"))
    pca = PCA(2, svd_solver="full")
    points = pca.fit_transform(values)

    figure, ax = _genre_scatter(points, list(table["label"]))
    first, second = 100 * pca.explained_variance_ratio_
    ax.set_xlabel(f"first component: {first:.1f} % of the variance")
    ax.set_ylabel(f"second component: {second:.1f} % of the variance")
    return figure


def tsne_scatter(
    values: npt.ArrayLike, genres: Sequence[str], title: str, seed: int = 0, perplexity: float = 30
) -> Figure:
    """Draw which tracks are neighbours: t-SNE of their features, one point per track.

    Parameters
    ----------
    values : array_like of float [shape=(n, d)]
        Features of any kind. They are standardised; more than 50 are first reduced to their first 50
        principal components.
    genres : sequence of str [length n]
        One per track.
    title : str
        Title of the figure.
    seed : int
        A different seed gives a different layout.
    perplexity : float > 0, below n
        Roughly how many neighbours each point has.

    Returns
    -------
    matplotlib.figure.Figure
        The large marker is a genre's median. Distances between far points mean nothing, so the axes have
        no scale.

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

    array = _standardised(np.asarray(values, dtype=float))
    if array.shape[1] > 50:
        array = PCA(min(50, len(array)), random_state=seed).fit_transform(array)
    points = TSNE(perplexity=perplexity, random_state=seed).fit_transform(array)

    figure, ax = _genre_scatter(points, list(genres))
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=style.GRID)
    ax.set_xlabel(f"t-SNE: perplexity {perplexity:g}, seed {seed}", fontsize=9, color=style.GREY)
    return figure


def genre_similarity(table: pd.DataFrame, columns: Sequence[str], title: str) -> Figure:
    """Draw how similar the genres are: the cosine between the means of their standardised features.

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`, at least two genres in ``label``.
    columns : sequence of str
        Features to compare, such as `MFCC_COLUMNS` or `NON_MFCC_COLUMNS`.
    title : str
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        1 is the same direction away from the mean of all tracks, -1 the opposite one.

    Raises
    ------
    GtzanKerasError
        A column is missing or contains anything but finite numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> table = pd.DataFrame({"tempo": [1, 2, 4], "rms_mean": [3, 2, 2], "label": ["jazz", "pop", "rock"]})
    >>> figure = plots.genre_similarity(table, ["tempo", "rms_mean"], "two features")
    >>> [text.get_text() for text in figure.axes[0].texts][:3]
    ['1.00', '-0.53', '-0.91']
    """
    from sklearn.metrics.pairwise import cosine_similarity

    style.need_columns(table, ("label",), "genre_similarity")
    values = _standardised(_numbers(table, list(columns), "genre_similarity"))
    genres = genre_names(table["label"])
    means = pd.DataFrame(values).groupby(table["label"].to_numpy()).mean().loc[genres]
    similarity = cosine_similarity(means)
    texts = pd.DataFrame(similarity).map("{:.2f}".format).replace("-0.00", "0.00")
    options = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}
    figure = style.genre_matrix(similarity, genres, "cosine similarity", texts, **options)
    figure.axes[0].set_title(title)
    return figure


def leakage_ladder(scores: pd.DataFrame, references: Mapping[str, float] | None = None) -> Figure:
    """Draw the accuracy of the same models under one split after another.

    Parameters
    ----------
    scores : pd.DataFrame
        Columns ``model``, ``split``, ``accuracy``, ``low`` and ``high`` (the interval) [0..1], one row per
        model and split. Splits are drawn in the order in which they first appear, which should lead from
        the leakiest to the strictest; if a model lacks some, its line is broken there.
    references : mapping of str to float [0..1], optional
        Accuracies to compare with, by name, such as ``{"chance": 0.1}``; one dashed line each.

    Returns
    -------
    matplotlib.figure.Figure
        Each line is named next to its last point, with that accuracy.

    Raises
    ------
    GtzanKerasError
        A column is missing, there is no row, or a score is outside 0..1.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> rows = [["SVM", "random rows", 0.90, 0.88, 0.92], ["SVM", "by artist", 0.48, 0.42, 0.54]]
    >>> scores = pd.DataFrame(rows, columns=["model", "split", "accuracy", "low", "high"])
    >>> figure = plots.leakage_ladder(scores, {"chance": 0.1})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['chance  10.0 %', 'SVM  48.0 %']
    """
    references = references or {}
    style.need_columns(scores, ("model", "split", "accuracy", "low", "high"), "leakage_ladder")
    style.need_shares(scores[["accuracy", "low", "high"]], "leakage_ladder")
    splits, models = list(scores["split"].unique()), list(scores["model"].unique())
    dodge = min(0.08, 0.5 / len(models))  # keeps intervals from hiding each other
    ends: dict[int, list[tuple[float, float, str, str]]] = {}  # by the last split: x, y, colour, label

    figure, ax = style.new_axes(style.WIDTH + 1.6, max(4.4, 1.2 + 0.23 * (len(models) + len(references))))
    for name, level in references.items():
        ax.axhline(level, color=style.GREY, linestyle="--", linewidth=1)
        ends.setdefault(len(splits) - 1, []).append((len(splits) - 0.7, level, style.GREY, name))
    for place, model in enumerate(models):
        rows = scores[scores["model"] == model].set_index("split").reindex(splits)
        x = np.arange(len(splits)) + dodge * (place - (len(models) - 1) / 2)
        colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
        ax.errorbar(
            x, rows["accuracy"], [rows["accuracy"] - rows["low"], rows["high"] - rows["accuracy"]],
            color=colour, marker=MARKERS[place % len(MARKERS)], markeredgecolor=style.PAPER,
            markeredgewidth=0.7, elinewidth=1.2, linewidth=1.6, label=model,
        )  # fmt: skip
        last = int(np.flatnonzero(rows["accuracy"].notna())[-1])
        ends.setdefault(last, []).append((x[last], rows["accuracy"].iloc[last], colour, str(model)))
    ceiling = min(1.0, 0.05 + max(scores["high"].max(), *references.values(), 0.0))
    ax.set(xlim=(-0.3, len(splits) - 0.7), ylim=(0, ceiling), xlabel="split", ylabel="accuracy")
    ax.set_xticks(range(len(splits)), [textwrap.fill(str(split), 16) for split in splits])
    style.quiet(ax, grid="y", percent=True)
    line_height = ceiling * 0.18 / (figure.get_size_inches()[1] - 1.0)
    for last, labels in ends.items():
        heights = _apart([y for _, y, *_ in labels], line_height)
        for (end, level, colour, label), height in zip(labels, heights, strict=True):
            ax.annotate(
                f"{label}  {100 * level:.1f} %", (end, level), (last + 0.36, height), fontsize=9.5,
                va="center", annotation_clip=False,
                bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.5},
                arrowprops={
                    "arrowstyle": "-", "color": colour, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 4,
                    "relpos": (0, 0.5),
                },
            )  # fmt: skip
    return figure


def fold_scores(folds: pd.DataFrame) -> Figure:
    """Draw the accuracy of each fold of each model, with their mean.

    Parameters
    ----------
    folds : pd.DataFrame
        Columns ``model``, ``fold`` and ``accuracy`` [0..1]; several rows per fold if it was run with
        several seeds.

    Returns
    -------
    matplotlib.figure.Figure
        The labels give mean and standard deviation (n - 1).

    Raises
    ------
    GtzanKerasError
        A column is missing, there is no row, or an accuracy is outside 0..1.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> folds = pd.DataFrame({"model": "SVM", "fold": [1, 2], "accuracy": [0.70, 0.74]})
    >>> figure = plots.fold_scores(folds)
    >>> figure.axes[0].get_yticklabels()[0].get_text().splitlines()
    ['SVM', '72.0 ± 2.8 %']
    """
    import seaborn

    style.need_columns(folds, ("model", "fold", "accuracy"), "fold_scores")
    style.need_shares(folds["accuracy"], "fold_scores")
    scores = folds.groupby("model", sort=False)["accuracy"].agg(["mean", "std"])
    spreads = ["" if np.isnan(spread) else f" ± {100 * spread:.1f}" for spread in scores["std"]]
    labels = [
        f"{model}\n{100 * mean:.1f}{spread} %"
        for model, mean, spread in zip(scores.index, scores["mean"], spreads, strict=True)
    ]

    figure, ax = style.new_axes(style.WIDTH, 0.9 + 0.55 * len(labels))
    common: dict[str, Any] = {"x": "accuracy", "y": "model", "ax": ax, "legend": False}
    # a swarm, so that folds with the same score do not hide each other
    seaborn.swarmplot(folds, color=style.TRAINING, size=6, warn_thresh=1, **common)
    bar: dict[str, Any] = {"marker": "|", "markersize": 18, "markeredgewidth": 2.4, "linestyle": "none"}
    seaborn.pointplot(folds, color=style.INK, errorbar=None, **bar, **common)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlabel="accuracy of a fold (bar: mean)", ylabel="", ylim=(len(labels) - 0.5, -0.5))
    ax.margins(x=0.06)
    style.quiet(ax, grid="x", percent=True)
    return figure


def _numbers(table: pd.DataFrame, columns: Sequence[str], what: str) -> Array:
    """Return the columns as an array (row, column) if they contain nothing but finite numbers."""
    style.need_columns(table, columns, what)
    values = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    if bad := [name for name, good in zip(columns, np.isfinite(values).all(axis=0), strict=True) if not good]:
        raise GtzanKerasError(f"{what}: column {bad[0]!r} holds something other than finite numbers")
    return values


def _standardised(values: Array) -> Array:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().fit_transform(values)


def _view(groups: Any, values: Array) -> tuple[float, float]:
    """Return axis limits that a few far values do not stretch; the middle half of each group is inside."""
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 3 * (third - first) or math.inf
    low = max(values.min(), min(first - reach, groups.quantile(0.25).min()))
    high = min(values.max(), max(third + reach, groups.quantile(0.75).max()))
    margin = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return float(low - margin), float(high + margin)


def _genre_scatter(points: Array, genres: Sequence[str]) -> tuple[Figure, Axes]:
    """Draw points in their genre's colour and shape, and a large marker at each genre's median."""
    import seaborn

    names = genre_names(genres)
    labels = dict(zip(names, style.genre_labels(names), strict=True))
    known = [*style.GENRE_COLOURS, *(name for name in names if name not in style.GENRE_COLOURS)]
    table = pd.DataFrame(points, columns=["x", "y"]).assign(genre=[labels[genre] for genre in genres])
    common: dict[str, Any] = {
        "x": "x", "y": "y", "hue": "genre", "style": "genre", "hue_order": list(labels.values()),
        "style_order": list(labels.values()),
        "palette": {labels[name]: colour for name, colour in style.genre_colours(names).items()},
        "markers": {labels[name]: MARKERS[known.index(name) % len(MARKERS)] for name in names},
    }  # fmt: skip
    figure, ax = style.new_axes(style.WIDTH + 0.8, 6)
    seaborn.scatterplot(
        table, s=22, alpha=0.7, linewidth=0.3, edgecolor=style.INK, legend=False, ax=ax, **common
    )
    medians = table.groupby("genre", sort=False).median().reset_index()
    seaborn.scatterplot(medians, s=110, linewidth=1.3, edgecolor="black", zorder=4, ax=ax, **common)
    style.move_legend(ax, "outside right center", list(labels.values()), title="genre (large: median)")
    ax.set(xlabel="", ylabel="")
    ax.margins(0.04)
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


def _apart(places: Sequence[float], gap: float) -> np.ndarray:
    """Return places moved as little as needed to be `gap` apart, in the order given."""
    order = np.argsort(places, kind="stable")
    moved = np.asarray(places, float)[order]
    for _ in range(50 * len(places)):
        overlap = np.maximum(gap - np.diff(moved), 0)
        if (overlap < gap / 100).all():
            break
        moved[:-1] -= overlap / 2
        moved[1:] += overlap / 2
    return moved[np.argsort(order)]
