"""All figures of a report: data in, a matplotlib figure out; nothing is shown or written.

A genre has the same colour in every figure, from `GENRE_COLOURS`. The figures are not registered with pyplot,
so they leave no state behind.
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
from gtzan_keras.report._style import GENRE_COLOURS, OTHER_COLOURS, genre_colours
from gtzan_keras.tracks.catalogue import genre_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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

MARKERS = "osD^v<>PX*"
MODEL_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito, "Color Universal Design" (2008), without their yellow."""

DROPPED, CROSS = "#b00020", "\N{MULTIPLICATION SIGN}"
UNITS = {"spectral_centroid": "Hz", "spectral_bandwidth": "Hz", "rolloff": "Hz", "tempo": "beats per minute"}

Array = npt.NDArray[np.floating]


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
        binomtest(round(share * tracks), int(tracks)).proportion_ci(method="wilson")
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
    below.bar_label(below.bar(middle, bins["count"], width, color=style.FAINT), padding=2, fontsize=8)
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
    cells = table.groupby([y, x])[value].agg("min" if loss else "max").unstack()
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
    numbers = (100 * scores).itertuples(name=None)
    labels = [f"{model}\n{mean:.1f} ± {deviation:.1f} %" for model, mean, deviation in numbers]

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
