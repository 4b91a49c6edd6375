"""Figures over the time of a recording: its genres, its tags, and what speaks for one of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gtzan_keras.report import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gtzan_keras.inference.explain import Explanation
    from gtzan_keras.inference.predict import Prediction

__all__ = ["clock", "explanation_figure", "figure_paths", "taggram", "timeline"]

_WIDTH, _HEIGHT, _TAG = 9.0, 4.6, 0.14  # inches: of a figure, and of a row of tags
_TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
# A blue and an orange that differ in every form of colour vision.
_FOR, _AGAINST = style.TRAINING, style.VALIDATION
_TICK_HERTZ = (100, 500, 1000, 2000, 5000, 10000, 20000)


def timeline(prediction: Prediction) -> Figure:
    """Draw genre probabilities over time, stacked, below the spectrogram of the recording.

    At each moment the probabilities are the mean over the windows that contain it. Silence, which no
    window covers, stays grey.

    Parameters
    ----------
    prediction : Prediction
        From `predict`.

    Returns
    -------
    matplotlib.figure.Figure
        The legend gives each genre's probability for the recording as a whole.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.inference.predict import Prediction
    >>> from gtzan_keras.report.timeline import timeline
    >>> prediction = Prediction(
    ...     "song.mp3", 45.0, ["jazz", "rock"], np.array([[0, 30], [15, 45]]),
    ...     np.array([[0.9, 0.1], [0.5, 0.5]]), False, np.zeros((64, 90)), 22050,
    ... )
    >>> figure = timeline(prediction)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['rock  30 %', 'jazz  70 %']
    """
    from matplotlib.patches import Patch
    from matplotlib.ticker import PercentFormatter

    colours = style.genre_colours(prediction.genres)
    figure, ax = _below_spectrogram(prediction, _HEIGHT, (2, 3))
    edges, shares = _at_each_moment(prediction)
    silent = np.isnan(shares[:, 0])
    ends = np.repeat(edges, 2)[1:-1]
    ax.set_facecolor(style.FAINT)
    ax.stackplot(
        ends, np.repeat(shares, 2, axis=0).T, colors=list(colours.values()), edgecolor="white", linewidth=0.3
    )
    ax.set(ylim=(0, 1), ylabel="probability")
    ax.yaxis.set_major_formatter(PercentFormatter(1))

    labels = style.genre_labels(prediction.genres)
    whole = zip(colours.values(), labels, prediction.probabilities, strict=True)
    legend = [Patch(color=colour, label=f"{label}  {100 * value:.0f} %") for colour, label, value in whole]
    legend.reverse()  # as they are stacked
    if silent.any():
        legend.append(Patch(color=style.FAINT, label="silence"))
    drawn = figure.legend(handles=legend, loc="outside right lower", frameon=False, fontsize=9)
    drawn.get_texts()[-1 - silent.any() - int(prediction.probabilities.argmax())].set_fontweight("bold")
    return figure


def taggram(prediction: Prediction) -> Figure:
    """Draw the probability of each tag over time, below the spectrogram of the recording.

    Parameters
    ----------
    prediction : Prediction
        From `predict`, of a tagger such as ``"musicnn-msd"``.

    Returns
    -------
    matplotlib.figure.Figure
        One row per tag, the most probable first, with its mean over the recording. Silence, which no window
        covers, stays grey.

    References
    ----------
    Pons, Serra: "musicnn", 2019 (arXiv:1909.06654), whose taggrams have the tags in a fixed order.

    Examples
    --------
    >>> import numpy as np
    >>> from gtzan_keras.inference.predict import Prediction
    >>> from gtzan_keras.report.timeline import taggram
    >>> prediction = Prediction(
    ...     "song.mp3", 6.0, ["guitar", "drums"], np.array([[0, 3], [3, 6]]),
    ...     np.array([[0.9, 0.2], [0.5, 0.8]]), False, np.zeros((64, 90)), 16000, tags=True,
    ... )
    >>> [label.get_text() for label in taggram(prediction).axes[1].get_yticklabels()]
    ['guitar  70 %', 'drums  50 %']
    """
    from matplotlib.ticker import PercentFormatter

    order = np.argsort(-prediction.probabilities, kind="stable")
    rows = _TAG * len(order)
    figure, ax = _below_spectrogram(prediction, 2.4 + rows, (1.5, max(rows, 0.5)))
    edges, values = _at_each_moment(prediction)
    ax.set_facecolor(style.FAINT)
    rows_at = np.arange(len(order) + 1) - 0.5
    mesh = ax.pcolormesh(edges, rows_at, values.T[order], cmap="magma", vmin=0)
    figure.colorbar(mesh, ax=ax, label="probability", format=PercentFormatter(1), shrink=0.4, aspect=12)
    names, means = style.genre_labels(prediction.genres), prediction.probabilities
    ax.set_yticks(range(len(order)), [f"{names[tag]}  {100 * means[tag]:.0f} %" for tag in order], fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    return figure


def explanation_figure(explanation: Explanation) -> Figure:
    """Draw what speaks for and against a genre as contours over the spectrogram.

    Lines are at 30 and 60 % of the map's largest value, after smoothing: solid lines enclose what speaks for
    the genre, dashed lines what speaks against it. Below is the sum over the bands, with the parts to
    listen to.

    Parameters
    ----------
    explanation : Explanation
        From `explain`.

    Returns
    -------
    matplotlib.figure.Figure
        Also readable in greyscale.

    Examples
    --------
    >>> from gtzan_keras import explain
    >>> from gtzan_keras.report.timeline import explanation_figure
    >>> explanation_figure(explain("song.mp3")).savefig("why.png")  # doctest: +SKIP
    """
    from matplotlib.patheffects import withStroke
    from scipy.ndimage import gaussian_filter

    genre = style.printable(explanation.genre, "this genre")
    share = explanation.probabilities[explanation.genre]
    about = f": what speaks for {genre}, {100 * share:.0f} %"
    figure, top, ax = _over_time(explanation, "", about, _HEIGHT, (3, 1))
    bands, columns = explanation.map.shape
    end = explanation.times[-1]
    top.set_facecolor(style.FAINT)  # not covered by any window
    top.imshow(
        explanation.spectrogram, origin="lower", aspect="auto", extent=(0, end, 0, bands), cmap="Greys",
        vmin=0, vmax=1.3, interpolation="nearest",
    )  # fmt: skip
    smooth = gaussian_filter(np.nan_to_num(explanation.map), (bands / 40, columns / 120), mode="nearest")
    strongest = np.abs(smooth).max() or 1.0
    centres = (explanation.times[:-1] + explanation.times[1:]) / 2
    for sign, colour, dashes in ((1, _FOR, "solid"), (-1, _AGAINST, (0, (3, 1.5)))):
        lines = top.contour(
            centres, np.arange(bands) + 0.5, sign * smooth, levels=[0.3 * strongest, 0.6 * strongest],
            colors=colour, linestyles=[dashes], linewidths=(1.2, 2.2),
        )  # fmt: skip
        lines.set_path_effects([withStroke(linewidth=4, foreground="white")])
    _hertz_axis(top, explanation.hertz[-1], bands)

    curve = smooth.sum(axis=0) / np.abs(smooth.sum(axis=0)).max(initial=1e-30)
    ax.axhline(0, color=style.INK, linewidth=0.7)
    ax.fill_between(centres, curve, 0, where=curve > 0, color=_FOR, linewidth=0, interpolate=True)
    ax.fill_between(
        centres, curve, 0, where=curve < 0, facecolor="white", edgecolor=_AGAINST, hatch="////",
        linewidth=0.6, interpolate=True,
    )  # fmt: skip
    for start, stop, _, _, score in explanation.parts().to_numpy():
        colour, height = (_FOR, 1.35) if score > 0 else (_AGAINST, -1.35)
        ax.plot([start, stop], [height, height], color=colour, linewidth=3, solid_capstyle="butt")
    ax.set_ylim(-1.6, 1.6)
    ax.set_yticks([-1, 1], [f"against {genre}", f"for {genre}"], fontsize=8, parse_math=False)
    return figure


def figure_paths(songs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> list[Path]:
    """Return the path of each song's timeline.

    Parameters
    ----------
    songs : sequence of str or os.PathLike
        Their paths.
    out : str or os.PathLike
        A file for one song; a folder for several, or if it has no suffix.

    Returns
    -------
    list of Path
        All different: songs with the same name are numbered.

    Examples
    --------
    >>> from gtzan_keras.report.timeline import figure_paths
    >>> [path.as_posix() for path in figure_paths(["a.mp3"], "a.png")]
    ['a.png']
    >>> [path.as_posix() for path in figure_paths(["a.mp3", "live/a.mp3"], "figures")]
    ['figures/a.png', 'figures/a-2.png']
    """
    out = Path(out)
    if len(songs) == 1 and out.suffix and not out.is_dir():
        return [out]
    taken: dict[Path, None] = {}
    for song in songs:
        stem, number = Path(song).stem, 1
        path = out / f"{stem}.png"
        while path in taken:
            number += 1
            path = out / f"{stem}-{number}.png"
        taken[path] = None
    return list(taken)


def _below_spectrogram(
    prediction: Prediction, height: float, ratios: tuple[float, float]
) -> tuple[Figure, Axes]:
    """Return a figure with the recording's spectrogram, and the axes below it, with the same time axis."""
    note = ", padded with silence" if prediction.padded else ""
    figure, top, ax = _over_time(prediction, note, "", height, ratios)
    extent = (0, prediction.duration, 0, len(prediction.overview))
    top.imshow(
        prediction.overview, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-80, vmax=0
    )
    _hertz_axis(top, prediction.sample_rate / 2, len(prediction.overview))
    return figure, ax


def _over_time(
    shown: Prediction | Explanation, note: str, about: str, height: float, ratios: tuple[float, float]
) -> tuple[Figure, Axes, Axes]:
    """Return a figure with two axes over the time of a recording, and its name and duration above."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    figure = style.new_figure(_WIDTH, height)
    top, ax = figure.subplots(2, 1, sharex=True, height_ratios=ratios)
    title = f"{style.printable(Path(shown.song).name, 'recording')}  ({clock(shown.duration)}{note}){about}"
    top.set_title(title, loc="left", fontsize=10, parse_math=False)  # a name may contain dollar signs
    top.tick_params(axis="x", length=0)
    ax.set(xlim=(0, shown.duration), xlabel="time")
    step = next((s for s in _TICK_SECONDS if shown.duration / s <= 11), _TICK_SECONDS[-1])
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    for each in (top, ax):
        each.spines[["top", "right"]].set_visible(False)
    return figure, top, ax


def _at_each_moment(prediction: Prediction) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the moments at which the set of windows changes, and the mean of the windows between them.

    NaN between moments without any window.
    """
    starts, ends = prediction.times.T
    edges = np.unique([0.0, *starts, *ends, prediction.duration])
    middles = (edges[:-1] + edges[1:]) / 2
    heard = (starts <= middles[:, None]) & (middles[:, None] < ends)
    totals = heard @ prediction.window_probabilities.astype(np.float64)
    counts = heard.sum(axis=1, keepdims=True)
    return edges, np.where(counts, totals / np.maximum(counts, 1), np.nan)


def clock(seconds: float) -> str:
    """Return 75 as 1:15, 3675 as 1:01:15."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours}:{minutes_left:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _hertz_axis(ax: Axes, highest: float, bands: int) -> None:
    """Label an axis of mel bands with frequencies."""
    from librosa import hz_to_mel

    hertz = [value for value in _TICK_HERTZ if value < 0.95 * highest]
    places = hz_to_mel(np.array(hertz, dtype=float)) / hz_to_mel(highest) * bands
    ax.set_yticks(places, [f"{value // 1000} kHz" if value >= 1000 else f"{value} Hz" for value in hertz])
    ax.tick_params(axis="y", labelsize=8, colors=style.INK)
