"""All figures of a report: data in, a matplotlib figure out; nothing is shown or written.

A genre has the same colour in every figure, from `GENRE_COLOURS`. The figures are not registered with pyplot,
so they leave no state behind. Figures of features and of splits are defined in
`gtzan_keras.report.exploration` and available here too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report import _style as style
from gtzan_keras.report._style import GENRE_COLOURS, OTHER_COLOURS, genre_colours
from gtzan_keras.report.exploration import (
    correlation_heatmap,
    feature_kde,
    fold_scores,
    genre_similarity,
    leakage_ladder,
    pca_scatter,
    tsne_scatter,
)
from gtzan_keras.tracks.catalogue import genre_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "GENRE_COLOURS",
    "METRICS",
    "OTHER_COLOURS",
    "class_distribution",
    "confusion_matrix",
    "correlation_heatmap",
    "feature_kde",
    "fold_scores",
    "genre_colours",
    "genre_similarity",
    "grid_heat_map",
    "history",
    "leakage_ladder",
    "metric_intervals",
    "pca_scatter",
    "per_class",
    "reliability",
    "spectrogram_examples",
    "tsne_scatter",
]

METRICS = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
}

PART_COLOURS = {
    "train": style.TRAINING, "validation": style.VALIDATION, "test": style.TEST,
    "in more than one part": "#cc79a7", "left out": style.FAINT,
}  # fmt: skip


def history(history: pd.DataFrame, best_epoch: int | None = None, *, label: str = "best epoch") -> Figure:
    """Draw loss, accuracy and, where recorded, macro precision and learning rate after each epoch.

    Parameters
    ----------
    history : pd.DataFrame
        One row per epoch, with columns `epoch`, `loss`, `accuracy`; drawn if present: `val_loss`,
        `val_accuracy`, `macro_precision`, `val_macro_precision`, `learning_rate`. Several rows per epoch,
        such as those of folds or seeds, are drawn as their mean and range.
    best_epoch : int, optional
        The epoch whose weights were kept, one of column `epoch`; marked by a line.
    label : str
        Label of that line.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GtzanKerasError
        A column is missing or there is no row.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> table = pd.DataFrame({"epoch": [1, 2], "loss": [2.3, 1.9], "accuracy": [0.1, 0.3]})
    >>> [axes.get_ylabel() for axes in plots.history(table, best_epoch=2).axes]
    ['loss', 'accuracy']
    """
    import seaborn
    from matplotlib.ticker import MaxNLocator

    style.need_columns(history, ("epoch", "loss", "accuracy"), "history")
    epochs = history["epoch"]
    names = [name for name in ("loss", "accuracy", "macro_precision", "learning_rate") if name in history]
    rows = math.ceil(len(names) / 2)
    figure = style.new_figure(style.WIDTH, 0.5 + 2.5 * rows)
    band = ("pi", 100) if epochs.duplicated().any() else None
    for place, name in enumerate(names, start=1):
        ax = figure.add_subplot(rows, 2, place)
        lines = {name: ("training", style.TRAINING), f"val_{name}": ("validation", style.VALIDATION)}
        for column, (part, colour) in lines.items():
            if column in history:
                seaborn.lineplot(
                    x=epochs, y=history[column], ax=ax, label=part, color=colour, errorbar=band, legend=False,
                    marker="o" if epochs.nunique() < 30 else None, markersize=4, markeredgewidth=0,
                )  # fmt: skip
        if best_epoch is not None:
            ax.axvline(
                best_epoch, color=style.INK, linestyle="--", linewidth=1, label=f"{label} ({best_epoch})"
            )
        if "stage" in history:  # the second stage of fine-tuning
            second = history.loc[history["stage"] > history["stage"].min(), "epoch"]
            if len(second):
                ax.axvline(second.min() - 0.5, color=style.INK, linestyle=":", label="fine-tuning begins")
        ax.set(xlabel="epoch", ylabel=name.replace("_", " "))
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        ax.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        if name == "learning_rate" and (history[name] > 0).any():
            ax.set_yscale("log")
        elif name != "loss":
            ax.set_ylim(0, 1.02)
        style.quiet(ax, grid="y", percent=name not in ("loss", "learning_rate"))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def confusion_matrix(matrix: npt.ArrayLike, genres: Sequence[str], title: str | None = None) -> Figure:
    """Draw how often each genre was predicted as each: counts as text, share of the row as colour.

    Parameters
    ----------
    matrix : array_like of int [shape=(genres, genres)]
        Number of tracks; a row is a true genre, a column a predicted one, as in
        `sklearn.metrics.confusion_matrix`.
    genres : sequence of str
        Names of rows and columns.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The colour is the share of the row's tracks, so the diagonal shows recall.

    Raises
    ------
    GtzanKerasError
        The matrix does not have a row and a column for each genre.

    Examples
    --------
    >>> from gtzan_keras.report import plots
    >>> figure = plots.confusion_matrix([[9, 1], [4, 6]], ["jazz", "rock"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['9', '1', '4', '6']
    """
    from matplotlib.ticker import PercentFormatter

    counts = np.asarray(matrix)
    if counts.shape != (len(genres), len(genres)):
        raise GtzanKerasError(
            f"confusion_matrix: the matrix has shape {counts.shape}, expected "
            f"{(len(genres), len(genres))}: a row and a column for each of the {len(genres)} genres"
        )
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    options = {"cmap": "Blues", "vmin": 0, "vmax": 1, "linecolor": "#f2f2f2"}
    figure = style.genre_matrix(share, genres, "share of the true genre", counts.astype(str), **options)
    ax, bar = figure.axes
    for text in ax.texts:
        if text.get_text() == "0":
            text.set_color(style.FAINT)
    ax.set(xlabel="predicted genre", ylabel="true genre", title=title or "")
    bar.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def class_distribution(tracks: pd.DataFrame, parts: Mapping[str, Sequence[str]]) -> Figure:
    """Draw the number of tracks of each genre in each part of a split.

    Parameters
    ----------
    tracks : pd.DataFrame
        Columns `track_id` and `genre`, one row per track.
    parts : mapping of str to sequence of str
        Track ids by part, such as `{"train": [...], "validation": [...], "test": [...]}`, in drawing
        order. Tracks in no part are drawn as "left out", tracks in several as "in more than one part". Ids
        that `tracks` does not contain are not drawn.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GtzanKerasError
        A column is missing or there is no track.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> tracks = pd.DataFrame({"track_id": ["a", "b", "c"], "genre": ["jazz", "jazz", "rock"]})
    >>> figure = plots.class_distribution(tracks, {"train": ["a", "c"], "test": ["b"]})
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['train', 'test']
    """
    import seaborn
    from matplotlib.container import BarContainer
    from matplotlib.ticker import MaxNLocator

    style.need_columns(tracks, ("track_id", "genre"), "tracks")
    part = pd.Series("left out", index=tracks.index)
    for name, ids in parts.items():
        there = tracks["track_id"].isin(list(ids))
        part[there] = np.where(part[there] == "left out", name, "in more than one part")
    names = list(parts) + [name for name in list(PART_COLOURS)[3:] if (part == name).any()]
    counts = tracks["genre"].value_counts()
    genres = genre_names(tracks["genre"])
    labels = zip(style.genre_labels(genres), counts[genres], strict=True)
    data = pd.DataFrame({"genre": pd.Categorical(tracks["genre"], genres), "part": part})

    figure, ax = style.new_axes(style.WIDTH, 1.2 + 0.32 * len(genres))
    seaborn.histplot(
        data, y="genre", hue="part", hue_order=names[::-1], multiple="stack", shrink=0.8, alpha=1, ax=ax,
        palette={name: PART_COLOURS.get(name, style.GREY) for name in names}, edgecolor=style.PAPER,
    )  # fmt: skip
    for bars in ax.containers:
        assert isinstance(bars, BarContainer)
        texts = [f"{bar.get_width():.0f}" if bar.get_width() > 0.04 * counts.max() else "" for bar in bars]
        ax.bar_label(bars, texts, label_type="center", fontsize=9, color="white")
    style.move_legend(ax, "outside upper center", names, ncols=len(names))
    ax.set_yticks(range(len(genres)), [f"{label} ({count})" for label, count in labels])
    ax.set(xlabel="tracks", ylabel="")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.quiet(ax, grid="x")
    return figure


def per_class(report: pd.DataFrame) -> Figure:
    """Draw precision, recall and F1 of each genre.

    Parameters
    ----------
    report : pd.DataFrame
        Columns `genre`, `precision`, `recall`, `f1` [0..1, or NaN where not defined] and `support`
        [number of tracks], one row per genre.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GtzanKerasError
        A column is missing, there is no row, or a score is outside 0..1.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> row = {"genre": "jazz", "precision": 0.5, "recall": 0.8, "f1": 0.62, "support": 10}
    >>> figure = plots.per_class(pd.DataFrame([row]))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['jazz (10)']
    """
    import seaborn

    metrics = {"precision": style.TRAINING, "recall": style.VALIDATION, "F1": style.INK}
    style.need_columns(report, ("genre", "precision", "recall", "f1", "support"), "per-class report")
    report = report.rename(columns={"f1": "F1"})
    style.need_shares(report[list(metrics)], "per-class report")
    names = style.genre_labels(report["genre"])
    labels = [f"{name} ({support})" for name, support in zip(names, report["support"], strict=True)]
    long = report.assign(genre=labels).melt("genre", list(metrics), "metric", "score")

    figure, ax = style.new_axes(style.WIDTH, 1.1 + 0.45 * len(report))
    seaborn.barplot(
        long, x="score", y="genre", hue="metric", palette=metrics, ax=ax, width=0.75, saturation=1, alpha=0.85
    )
    style.move_legend(ax, "outside upper center", list(metrics), ncols=3)
    ax.set(xlim=(0, 1), xlabel="", ylabel="")
    style.quiet(ax, grid="x", percent=True)
    return figure


def reliability(calibration: Mapping[str, Any]) -> Figure:
    """Draw how often the model was right, by its confidence (a reliability diagram).

    Parameters
    ----------
    calibration : mapping
        From `gtzan_keras.training.evaluate.calibration`: ``ece``, ``calibrated`` and ``bins``.

    Returns
    -------
    matplotlib.figure.Figure
        Above, a bar for each bin of confidence: the share of its tracks that was right, with its 95 %
        Wilson interval, and the diagonal, at which the bars of a calibrated model end. Below, the number of
        tracks in each bin.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: "On calibration of modern neural networks", ICML 2017, figure 1.
    Wilson: "Probable inference", Journal of the American Statistical Association 22, 1927.

    Examples
    --------
    >>> from gtzan_keras.report import plots
    >>> from gtzan_keras.training.evaluate import calibration
    >>> found = calibration([0.75, 0.75, 0.5, 0.5], [True, True, True, False])
    >>> plots.reliability(found).axes[0].get_title(loc="left")
    'expected calibration error 12.5 %  (12.5 to 62.5 if calibrated)'
    """
    from matplotlib.ticker import PercentFormatter
    from scipy.stats import binomtest

    bins = pd.DataFrame(calibration["bins"])
    bins = bins[bins["count"] > 0]
    middle, width = (bins["low"] + bins["high"]) / 2, 0.86 * (bins["high"] - bins["low"])
    ends = [
        binomtest(round(share * math.ceil(tracks)), math.ceil(tracks)).proportion_ci(method="wilson")
        for share, tracks in zip(bins["accuracy"].astype(float), bins["count"], strict=True)
    ]

    figure = style.new_figure(5.6, 5.8)
    ax, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    ax.bar(middle, bins["accuracy"].astype(float), width, color=style.TRAINING, alpha=0.55)
    ax.vlines(middle, [end.low for end in ends], [end.high for end in ends], color=style.INK, linewidth=1.2)
    ax.plot([0, 1], [0, 1], color=style.INK, linestyle="--", linewidth=1, label="calibrated")
    ax.legend(loc="upper left", frameon=False)
    ax.set(ylim=(0, 1.02), ylabel="share of tracks predicted correctly")
    ece, ideal = calibration["ece"], calibration["calibrated"]
    title = f"expected calibration error {100 * ece:.1f} %"
    title += f"  ({100 * ideal['low']:.1f} to {100 * ideal['high']:.1f} if calibrated)"
    ax.set_title(title, loc="left", fontsize=10)
    bars = below.bar(middle, bins["count"], width, color=style.FAINT)
    below.bar_label(
        bars, fmt=lambda tracks: f"{tracks:.0f}" if tracks >= 0.5 else "<1", padding=2, fontsize=8
    )
    below.set(xlim=(0, 1), ylim=(0, 1.35 * bins["count"].max()), ylabel="tracks", yticks=[])
    below.set_xlabel("confidence: probability of the predicted genre")
    below.xaxis.set_major_formatter(PercentFormatter(1))
    style.quiet(ax, grid="y", percent=True)
    style.quiet(below, grid="y")
    figure.align_ylabels()
    return figure


def spectrogram_examples(images: Mapping[str, np.ndarray], spec: Any = None) -> Figure:
    """Draw one spectrogram per genre, side by side.

    Parameters
    ----------
    images : mapping of str to np.ndarray [shape=(h, w), (h, w, 1) or (h, w, 3), dtype=uint8]
        A spectrogram for each genre, highest band in row 0.
    spec : SpectrogramSpec, optional
        What the spectrograms were made with; its `n_mels`, `segment_seconds` and `clip_seconds` label the
        axes. Without it the axes have no scale.

    Returns
    -------
    matplotlib.figure.Figure
        Grey spectrograms are drawn in matplotlib's "magma" colours, the others as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.report import plots
    >>> figure = plots.spectrogram_examples({"jazz": np.zeros((128, 200, 1), np.uint8)})
    >>> figure.axes[0].get_title()
    'jazz'
    """
    seconds = getattr(spec, "segment_seconds", None) or getattr(spec, "clip_seconds", None)
    if seconds and getattr(spec, "fit", "") == "pad":  # frames are cut off, not squeezed
        seconds = min(seconds, spec.width * spec.hop_length / spec.sample_rate)
    bands = getattr(spec, "n_mels", None)

    columns = min(5, len(images))
    rows = math.ceil(len(images) / columns)
    figure = style.new_figure(max(4.0, style.WIDTH / 5 * columns), 0.5 + 1.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    colours, labels = genre_colours(images), style.genre_labels(images)
    for ax, label, (genre, image) in zip(grid.flat, labels, images.items(), strict=False):
        shown = image if image.shape[2:] == (3,) else image.reshape(image.shape[:2])
        extent = (0, seconds or image.shape[1], 0, bands or image.shape[0])
        scale = {"cmap": "magma", "vmin": 0, "vmax": 255, "aspect": "auto"}
        ax.imshow(shown, origin="upper", extent=extent, interpolation="nearest", **scale)
        ax.set_title(label, fontsize=9)
        ax.spines[:].set(color=colours[genre], linewidth=2)
        ax.tick_params(labelsize=7, labelbottom=bool(seconds))
        if not seconds:
            ax.set_xticks([])
        if not bands:
            ax.set_yticks([])
    for ax in grid.flat[len(images) :]:
        ax.remove()
    figure.supxlabel("time (s)" if seconds else "time", fontsize=10)
    figure.supylabel("mel band" if bands else "pitch", fontsize=10)
    return figure


def metric_intervals(scores: Mapping[str, Mapping[str, float]], chance: float | None = None) -> Figure:
    """Draw accuracy and macro precision, recall and F1 as points with their 95 % intervals.

    Parameters
    ----------
    scores : mapping of str to mapping
        `value`, `low` and `high` [0..1] for any of `accuracy`, `macro_precision`, `macro_recall`,
        `macro_f1`, as in a part of `result.json`'s scores.
    chance : float [0..1], optional
        The accuracy of guessing, one over the number of genres; marked by a line.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GtzanKerasError
        A score is outside 0..1.

    Examples
    --------
    >>> from gtzan_keras.report import plots
    >>> accuracy = {"value": 0.38, "low": 0.24, "high": 0.54}
    >>> figure = plots.metric_intervals({"accuracy": accuracy}, chance=0.1)
    >>> figure.axes[0].get_yticklabels()[0].get_text().splitlines()
    ['accuracy', '38.0 % (24.0 to 54.0)']
    """
    names = [name for name in METRICS if name in scores]
    table = pd.DataFrame([scores[name] for name in names])
    style.need_shares(table[["value", "low", "high"]], "metric_intervals")
    labels = [
        f"{METRICS[name]}\n{100 * at:.1f} % ({100 * start:.1f} to {100 * end:.1f})"
        for name, at, start, end in zip(names, table["value"], table["low"], table["high"], strict=True)
    ]

    figure, ax = style.new_axes(style.WIDTH, 0.9 + 0.55 * len(names))
    ax.hlines(labels, table["low"], table["high"], color=style.TRAINING, linewidth=3, alpha=0.6)
    ax.plot(
        table["value"], labels, color=style.TRAINING, marker="o", markersize=8, linewidth=0, clip_on=False
    )
    if chance is not None:
        ax.axvline(
            chance,
            color=style.INK,
            linestyle="--",
            linewidth=1,
            zorder=1,
            label=f"chance {100 * chance:.3g} %",
        )
        figure.legend(loc="outside upper right", frameon=False)
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    style.quiet(ax, grid="x", percent=True)
    return figure


def grid_heat_map(table: pd.DataFrame, x: str, y: str, value: str = "val_loss") -> Figure:
    """Draw the results of a grid search, by two of the values that it varied.

    Parameters
    ----------
    table : pd.DataFrame
        From `gtzan_keras.training.search.grid_search`: one row per combination.
    x, y : str
        Columns that were varied. If a third one was varied too, a cell shows its best result.
    value : str
        Column with the results. Less is better if its name ends in "loss", more otherwise.

    Returns
    -------
    matplotlib.figure.Figure
        The best cell is framed; a combination that is missing from the table stays empty.

    Raises
    ------
    GtzanKerasError
        A column is missing or there is no row.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> table = pd.DataFrame({"dropout": [0.2, 0.4], "learning_rate": 1e-3, "val_loss": [1.5, 1.25]})
    >>> [text.get_text() for text in plots.grid_heat_map(table, "dropout", "learning_rate").axes[0].texts]
    ['1.500', '1.250']
    """
    from matplotlib.patches import Rectangle

    style.need_columns(table, (x, y, value), "grid_heat_map")
    loss = value.endswith("loss")
    cells = table.groupby([y, x], dropna=False)[value].agg("min" if loss else "max").unstack()
    reached = cells.to_numpy()
    texts = [[f"{number:.3f}" if loss else f"{100 * number:.1f} %" for number in row] for row in reached]

    figure, ax = style.new_axes(2.6 + 1.05 * cells.shape[1], 1.5 + 0.62 * cells.shape[0])
    label = value.replace("val_", "validation ").replace("_", " ")
    style.heat_map(ax, cells, label, texts, cmap="viridis_r" if loss else "viridis")
    ax.set_aspect("auto")
    row, column = divmod(int(np.nanargmin(reached) if loss else np.nanargmax(reached)), cells.shape[1])
    ax.add_patch(
        Rectangle((column, row), 1, 1, fill=False, edgecolor=style.INK, linewidth=3, clip_on=False, zorder=3)
    )
    ax.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    ax.set_title(f"{label}, the best one framed", loc="left", fontsize=10)
    return figure
