"""Every figure of a report: data in, a matplotlib figure out; nothing is shown, nothing is written.

A genre has the same colour in every figure, from `GENRE_COLOURS`. The figures are made
without pyplot, so that they leave no state behind and may be drawn from several threads. Those of features
and of splits are written in `gtzan_keras.report.exploration`, and are to be had here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report._style import (
    FAINT,
    GENRE_COLOURS,
    INK,
    OTHER_COLOURS,
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
from gtzan_keras.report.exploration import (
    correlation_heatmap,
    feature_kde,
    fold_scores,
    genre_similarity,
    leakage_ladder,
    pca_scatter,
    tsne_scatter,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GENRE_COLOURS",
    "OTHER_COLOURS",
    "class_distribution",
    "confusion_matrix",
    "correlation_heatmap",
    "feature_kde",
    "fold_scores",
    "genre_colours",
    "genre_similarity",
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


def history(history: pd.DataFrame, best_epoch: int | None = None) -> Figure:
    """Loss, accuracy and, where recorded, macro precision and learning rate after each epoch.

    Parameters
    ----------
    history : pd.DataFrame
        One row an epoch, with columns `epoch`, `loss`, `accuracy`; drawn when there: `val_loss`,
        `val_accuracy`, `macro_precision`, `val_macro_precision`, `learning_rate`.
    best_epoch : int, optional
        The epoch whose weights were kept, as it stands in `epoch`; marked by a line.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GtzanKerasError
        A column is missing, there is no row, or `best_epoch` is not among the epochs.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> table = pd.DataFrame({"epoch": [1, 2], "loss": [2.3, 1.9], "accuracy": [0.1, 0.3]})
    >>> [axes.get_ylabel() for axes in plots.history(table, best_epoch=2).axes]
    ['loss', 'accuracy']
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    need_columns(history, ("epoch", "loss", "accuracy"), "history")
    epochs = history["epoch"].to_numpy()
    if best_epoch is not None and best_epoch not in epochs:
        raise GtzanKerasError(
            f"history: best_epoch is {best_epoch}, expected one of the epochs "
            f"{epochs.min()} to {epochs.max()}"
        )
    names = ["loss", "accuracy"]
    names += [name for name in ("macro_precision", "learning_rate") if name in history]
    rows = math.ceil(len(names) / 2)
    figure = new_figure(WIDTH, 0.5 + 2.5 * rows)
    axes = [figure.add_subplot(rows, 2, place + 1) for place in range(len(names))]
    marker = "o" if len(epochs) < 30 else None
    for ax, name in zip(axes, names, strict=True):
        for column, label, colour in (
            (name, "training", TRAINING),
            (f"val_{name}", "validation", VALIDATION),
        ):
            if column in history:
                line: dict[str, Any] = {
                    "color": colour,
                    "marker": marker,
                    "markersize": 3.5,
                    "linewidth": 1.6,
                }
                drawstyle = "steps-mid" if name == "learning_rate" else "default"
                ax.plot(epochs, history[column], label=label, drawstyle=drawstyle, **line)
        if best_epoch is not None:
            label = f"best epoch ({best_epoch})"
            ax.axvline(best_epoch, color=INK, linestyle="--", linewidth=1, zorder=1, label=label)
        if "stage" in history:  # of a fine-tuning: where the second stage begins
            second = history.loc[history["stage"] > history["stage"].min(), "epoch"]
            if len(second):
                ax.axvline(second.iloc[0] - 0.5, color=INK, linestyle=":", label="fine-tuning begins")
        ax.set(xlabel="epoch", ylabel=name.replace("_", " "))
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        ax.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
        if name in ("accuracy", "macro_precision"):
            ax.set_ylim(0, 1.02)
            ax.yaxis.set_major_formatter(PercentFormatter(1))
        elif name == "learning_rate":
            _rate_axis(ax, history[name])
        quiet(ax, grid="y")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def confusion_matrix(matrix: npt.ArrayLike, genres: Sequence[str], title: str | None = None) -> Figure:
    """How often each genre was taken for each other: counts as text, share of the row as colour.

    Parameters
    ----------
    matrix : array_like of int [shape=(genres, genres)]
        Number of tracks; a row is a true genre, a column is what the model said, as in
        `sklearn.metrics.confusion_matrix`.
    genres : sequence of str
        Names of rows and columns.
    title : str, optional
        Stands above the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The colour is the share of the row's tracks, so that the diagonal shows recall.

    Raises
    ------
    GtzanKerasError
        The matrix is not square, not of the genres' number, or holds something else than counts.

    Examples
    --------
    >>> from gtzan_keras.report import plots
    >>> figure = plots.confusion_matrix([[9, 1], [4, 6]], ["jazz", "rock"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['9', '1', '4', '6']
    """
    from matplotlib.ticker import PercentFormatter

    counts = np.asarray(matrix)
    if counts.shape != (len(genres), len(genres)) or not len(genres):
        raise GtzanKerasError(
            f"confusion_matrix: the matrix has shape {counts.shape}, expected "
            f"{(len(genres), len(genres))}: a row and a column for each of the {len(genres)} genres"
        )
    if not np.issubdtype(counts.dtype, np.integer) or counts.min() < 0:
        raise GtzanKerasError("confusion_matrix: expected counts, whole numbers from 0")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = max(2.4, 0.54 * min(len(genres), 10) + 0.3 * max(len(genres) - 10, 0))
    figure = new_figure(side + WIDTH - 5.4, side + 0.7)
    ax = figure.subplots()
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = 10 if len(genres) <= 12 else 7
    for (row, column), count in np.ndenumerate(counts):
        colour = FAINT if count == 0 else ink_on(tuple(image.to_rgba(share[row, column])))
        ax.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)
    slope: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(genres)), genres, **(slope if len(genres) <= 12 else {"rotation": 90}))
    ax.set_yticks(range(len(genres)), genres)
    ax.set(xlabel="predicted genre", ylabel="true genre", title=title or "")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, shrink=0.75, label="share of the true genre")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    bar.outline.set_visible(False)
    return figure


def class_distribution(tracks: pd.DataFrame, parts: Mapping[str, Sequence[str]]) -> Figure:
    """How many tracks each genre has, and in which part of the split they stand.

    Parameters
    ----------
    tracks : pd.DataFrame
        Columns `track_id` and `genre`, one row a track.
    parts : mapping of str to sequence of str
        Track ids by part, such as `{"train": [...], "validation": [...], "test": [...]}`, in the
        order of drawing. Tracks in no part are drawn as "left out", tracks in several as "in more
        than one part". Ids that `tracks` does not hold are not drawn.

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
    >>> [bars.datavalues.tolist() for bars in figure.axes[0].containers]
    [[1, 1], [1, 0]]
    """
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    need_columns(tracks, ("track_id", "genre"), "tracks")
    membership = {name: tracks["track_id"].isin(list(ids)) for name, ids in parts.items()}
    times = sum(membership.values(), start=pd.Series(0, index=tracks.index))
    layers = {name: there & (times == 1) for name, there in membership.items()}
    for name, there in (("in more than one part", times > 1), ("left out", times == 0)):
        if there.any():
            layers[name] = there
    colours = genre_colours(sorted(tracks["genre"].unique()))
    genres = list(colours)

    figure = new_figure(WIDTH, 1.2 + 0.32 * len(genres))
    ax = figure.subplots()
    left = np.zeros(len(genres), dtype=int)
    longest = tracks["genre"].value_counts().max()
    legend = []
    for name, there in layers.items():
        counts = tracks["genre"][there].value_counts().reindex(genres, fill_value=0).tolist()
        hatch = {"left out": "....", "in more than one part": "xxxx"}.get(name)
        strength = 0.0 if hatch else 1 - 0.75 * list(parts).index(name) / max(1, len(parts) - 1)
        bars = ax.barh(range(len(genres)), counts, left=left, height=0.78, hatch=hatch)
        for bar, genre, count, start in zip(bars, genres, counts, left, strict=True):
            fill = tint(colours[genre], strength)
            bar.set(facecolor=fill, edgecolor=colours[genre], linewidth=0.8)
            if count / longest > 0.04:
                paper = {"facecolor": "white", "edgecolor": "none", "pad": 1} if hatch else None
                ink: dict[str, Any] = {"color": ink_on(fill), "fontsize": 9, "bbox": paper}
                middle = (start + count / 2, bar.get_y() + bar.get_height() / 2)
                ax.text(*middle, str(count), ha="center", va="center", **ink)
        grey = tint("#666666", strength)
        legend.append(Patch(facecolor=grey, edgecolor="#666666", hatch=hatch, label=name))
        left += np.array(counts)
    genre_axis(ax, [f"{genre} ({total})" for genre, total in zip(genres, left, strict=True)])
    ax.set_xlabel("tracks")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(handles=legend, loc="outside upper center", ncols=len(legend), frameon=False)
    return figure


def per_class(report: pd.DataFrame) -> Figure:
    """Precision, recall and F1 of each genre.

    Parameters
    ----------
    report : pd.DataFrame
        Columns `genre`, `precision`, `recall`, `f1` [0..1, or NaN where not defined] and `support`
        [number of tracks], one row a genre.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GtzanKerasError
        A column is missing, there is no row, or a score lies outside 0..1.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report import plots
    >>> row = {"genre": "jazz", "precision": 0.5, "recall": 0.8, "f1": 0.62, "support": 10}
    >>> figure = plots.per_class(pd.DataFrame([row]))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['jazz (10)']
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import PercentFormatter

    metrics = {"precision": "s", "recall": "o", "f1": "D"}
    need_columns(report, ("genre", *metrics, "support"), "per-class report")
    scores = report[list(metrics)].to_numpy(dtype=float)
    if np.nanmin(scores, initial=0) < 0 or np.nanmax(scores, initial=0) > 1:
        raise GtzanKerasError("per-class report: scores must lie within 0..1")
    colours = genre_colours(report["genre"])

    figure = new_figure(WIDTH, 1.1 + 0.45 * len(report))
    ax = figure.subplots()
    for row, genre in enumerate(report["genre"]):
        for place, (metric, marker) in enumerate(metrics.items()):
            score, y = scores[row, place], row + 0.25 * (place - 1)
            ax.plot([0, score], [y, y], color=colours[genre], linewidth=2.2, zorder=2)
            ax.scatter(
                score, y, 38, color=colours[genre], marker=marker, edgecolor=INK, linewidth=0.8,
                zorder=3, clip_on=False, label=f"{genre} {metric}",
            )  # fmt: skip
    genre_axis(ax, [f"{g} ({n})" for g, n in zip(report["genre"], report["support"], strict=True)])
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    legend = [
        Line2D([], [], color="#aaaaaa", linewidth=0, marker=marker, markeredgecolor=INK, label=label)
        for label, marker in zip(("precision", "recall", "F1"), metrics.values(), strict=True)
    ]
    figure.legend(handles=legend, loc="outside upper center", ncols=3, frameon=False)
    return figure


def reliability(calibration: Mapping[str, Any]) -> Figure:
    """How often the model was right, by how sure it was of itself (a reliability diagram).

    Parameters
    ----------
    calibration : mapping
        From `gtzan_keras.training.evaluate.calibration`: ``ece``, ``calibrated`` and ``bins``.

    Returns
    -------
    matplotlib.figure.Figure
        Above, a bar for each bin of confidence: the share of its tracks that was right, with its 95 %
        Wilson interval, and the diagonal on which a calibrated model's bars end. Beneath, how many
        tracks each bin has.

    Raises
    ------
    GtzanKerasError
        No bin holds a track, or a number lies outside 0..1.

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

    bins = [bin_ for bin_ in calibration["bins"] if bin_["count"]]
    if not bins:
        raise GtzanKerasError("reliability: no bin holds a track, expected at least one")
    numbers = [bin_[key] for bin_ in bins for key in ("low", "high", "confidence", "accuracy")]
    if not all(0 <= number <= 1 + 1e-6 for number in [calibration["ece"], *numbers]):
        raise GtzanKerasError("reliability: error, bins, confidence and accuracy must lie within 0..1")
    low, high, accuracy = (np.array([bin_[key] for bin_ in bins]) for key in ("low", "high", "accuracy"))
    count = np.array([bin_["count"] for bin_ in bins])
    middle, width = (low + high) / 2, 0.86 * (high - low)
    ends = [
        binomtest(round(share * tracks), int(tracks)).proportion_ci(method="wilson")
        for share, tracks in zip(accuracy, count, strict=True)
    ]

    figure = new_figure(5.6, 5.8)
    ax, beneath = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    ax.bar(middle, accuracy, width, color=tint(TRAINING, 0.55), edgecolor=TRAINING, linewidth=0.8)
    ax.vlines(middle, [end.low for end in ends], [end.high for end in ends], color=INK, linewidth=1.2)
    ax.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1)
    ax.annotate(
        "calibrated", (0.02, 0.02), (4, 10), textcoords="offset points", rotation=45,
        rotation_mode="anchor", transform_rotates_text=True, fontsize=9, color=INK,
    )  # fmt: skip
    ax.set(ylim=(0, 1.02), ylabel="share of tracks that was right")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ece, ideal = calibration["ece"], calibration["calibrated"]
    title = f"expected calibration error {100 * ece:.1f} %"
    title += f"  ({100 * ideal['low']:.1f} to {100 * ideal['high']:.1f} if calibrated)"
    ax.set_title(title, loc="left", fontsize=10)
    beneath.bar(middle, count, width, color=FAINT)
    for x, tracks in zip(middle, count, strict=True):
        beneath.annotate(
            str(tracks), (x, tracks), (0, 2), textcoords="offset points", ha="center", fontsize=8
        )
    beneath.set(xlim=(0, 1), ylim=(0, 1.3 * count.max()), ylabel="tracks", yticks=[])
    beneath.set_xlabel("how sure the model was: probability of the predicted genre")
    beneath.xaxis.set_major_formatter(PercentFormatter(1))
    for axes in (ax, beneath):
        quiet(axes, grid="y")
    figure.align_ylabels()
    return figure


def spectrogram_examples(images: Mapping[str, np.ndarray], spec: Any = None) -> Figure:
    """One spectrogram a genre, side by side.

    Parameters
    ----------
    images : mapping of str to np.ndarray [shape=(h, w), (h, w, 1) or (h, w, 3), dtype=uint8]
        An image for each genre, highest band in row 0.
    spec : SpectrogramSpec, optional
        Where the images come from; its `n_mels`, `segment_seconds` and `clip_seconds` label the
        axes. Without it the axes carry no scale.

    Returns
    -------
    matplotlib.figure.Figure
        Grey images are drawn with matplotlib's "magma" colours, the others as they are.

    Raises
    ------
    GtzanKerasError
        There is no image, or one is not uint8 or of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.report import plots
    >>> figure = plots.spectrogram_examples({"jazz": np.zeros((128, 200, 1), np.uint8)})
    >>> figure.axes[0].get_title()
    'jazz'
    """
    if not images:
        raise GtzanKerasError("spectrogram_examples: no image given, expected one a genre")
    for genre, image in images.items():
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
            raise GtzanKerasError(
                f"spectrogram_examples: the image of {genre!r} is {image.dtype} of shape "
                f"{image.shape}, expected uint8 of shape (h, w), (h, w, 1) or (h, w, 3)"
            )
    seconds = getattr(spec, "segment_seconds", None) or getattr(spec, "clip_seconds", None)
    if seconds and getattr(spec, "fit", "") == "pad":  # frames are cut off, not squeezed
        seconds = min(seconds, spec.width * spec.hop_length / spec.sample_rate)
    bands = getattr(spec, "n_mels", None)

    columns = min(5, len(images))
    rows = math.ceil(len(images) / columns)
    figure = new_figure(max(4.0, WIDTH / 5 * columns), 0.5 + 1.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    colours = genre_colours(images)
    for ax, (genre, image) in zip(grid.flat, images.items(), strict=False):
        picture = image if image.shape[2:] == (3,) else image.reshape(image.shape[:2])
        extent = (0, seconds or image.shape[1], 0, bands or image.shape[0])
        scale = {"cmap": "magma", "vmin": 0, "vmax": 255, "aspect": "auto"}
        ax.imshow(picture, origin="upper", extent=extent, interpolation="nearest", **scale)
        ax.set_title(genre, fontsize=9)
        ax.spines[:].set(color=colours[genre], linewidth=2)
        ax.tick_params(labelsize=7)
        if not seconds:
            ax.set_xticks([])
        if not bands:
            ax.set_yticks([])
    for ax in grid.flat[len(images) :]:
        ax.remove()
    for column in range(columns):
        last = [ax for ax in grid[:, column] if ax.figure is not None][-1]
        last.tick_params(labelbottom=bool(seconds))
    figure.supxlabel("time (s)" if seconds else "time", fontsize=10)
    figure.supylabel("mel band" if bands else "pitch", fontsize=10)
    return figure


def metric_intervals(scores: Mapping[str, Mapping[str, float]], chance: float | None = None) -> Figure:
    """Accuracy and macro precision, recall and F1 as points with their 95 % intervals.

    Parameters
    ----------
    scores : mapping of str to mapping
        `value`, `low` and `high` [0..1] for any of `accuracy`, `macro_precision`, `macro_recall`,
        `macro_f1`, as in a part of `result.json`'s scores.
    chance : float [0..1], optional
        What guessing gives, one over the number of genres; marked by a line.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    GtzanKerasError
        There is no score, one has another name, or lies outside 0..1 or has its ends swapped.

    Examples
    --------
    >>> from gtzan_keras.report import plots
    >>> accuracy = {"value": 0.38, "low": 0.24, "high": 0.54}
    >>> figure = plots.metric_intervals({"accuracy": accuracy}, chance=0.1)
    >>> figure.axes[0].texts[0].get_text()
    '38.0 %  (24.0 to 54.0)'
    """
    from matplotlib.ticker import PercentFormatter

    if not scores or not set(scores) <= set(METRICS):
        raise GtzanKerasError(
            f"metric_intervals: scores are {sorted(scores)}, expected some of {list(METRICS)}"
        )
    for name, score in scores.items():
        if missing := {"value", "low", "high"} - set(score):
            raise GtzanKerasError(f"metric_intervals: {name} lacks {sorted(missing)}")
        inside = all(0 <= score[key] <= 1 for key in ("value", "low", "high"))
        if not inside or score["low"] > score["high"]:
            raise GtzanKerasError(
                f"metric_intervals: {name} is {dict(score)}, expected 0 <= low <= high <= 1"
            )
    names = [name for name in METRICS if name in scores]

    figure = new_figure(WIDTH, 1.0 + 0.5 * len(names))
    ax = figure.subplots()
    for row, name in enumerate(names):
        value, low, high = (scores[name][key] for key in ("value", "low", "high"))
        ax.plot([low, high], [row, row], color=TRAINING, linewidth=2.5, solid_capstyle="butt")
        ax.plot([low, high], [row, row], color=TRAINING, marker="|", markersize=9, linewidth=0)
        ax.plot(value, row, color=TRAINING, marker="o", markersize=8, clip_on=False, zorder=3)
        text = f"{value:.1%}  ({100 * low:.1f} to {100 * high:.1f})".replace("%", " %")
        middle = min(max((low + high) / 2, 0.15), 0.85)
        ax.annotate(text, (middle, row), (0, 8), textcoords="offset points", ha="center", fontsize=9)
    if chance is not None:
        ax.axvline(chance, color=INK, linestyle="--", linewidth=1, zorder=1)
        label = f"chance {100 * chance:.3g} %"
        ax.annotate(
            label, (chance, 1), (4, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", fontsize=9, color=INK,
        )  # fmt: skip
    ax.set_yticks(range(len(names)), [METRICS[name] for name in names])
    ax.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.75))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.tick_params(axis="y", length=0)
    quiet(ax, grid="x")
    return figure


def _rate_axis(ax: Axes, rates: pd.Series) -> None:
    """A logarithmic axis that names the rates themselves where a schedule has but a few."""
    from matplotlib.ticker import NullLocator

    ax.set_yscale("log")
    steps = sorted(rates[rates > 0].unique())
    if 0 < len(steps) <= 6:
        labels = [np.format_float_scientific(r, 3, trim="-", exp_digits=1).replace(".e", "e") for r in steps]
        ax.set_yticks(steps, labels)
        ax.set_ylim(steps[0] / 2, steps[-1] * 2)
        ax.yaxis.set_minor_locator(NullLocator())
