"""Shared by the figures: colours, checks, and common steps."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import check_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GENRE_COLOURS: Mapping[str, str] = {
    "blues": "#3f90da",
    "classical": "#94a4a2",
    "country": "#a96b59",
    "disco": "#e76300",
    "hiphop": "#832db6",
    "jazz": "#ffa90e",
    "metal": "#717581",
    "pop": "#92dadd",
    "reggae": "#b9ac70",
    "rock": "#bd1f01",
}
"""One colour per genre: the ten-colour sequence of Petroff, "Accessible Color Sequences for Data
Visualization" (2021, https://arxiv.org/abs/2107.02270), designed for all common forms of colour vision."""

OTHER_COLOURS: Sequence[str] = (
    "#6600ff", "#663333", "#9966ff", "#336699", "#6600cc", "#ff00cc", "#ff66ff",
    "#99cc99", "#9933ff", "#990000", "#cc6633", "#ff99ff", "#663366", "#cc99cc",
    "#666633", "#cc0066", "#cccc66", "#660099", "#cc0099", "#cc9933",
)  # fmt: skip
"""For genres outside GTZAN's ten: web-safe colours, each chosen to be as far as possible from all colours
before it in CIELAB, as seen with full colour vision, protanopia, deuteranopia and tritanopia (simulated as
in Machado et al. 2009, https://doi.org/10.1109/TVCG.2009.113)."""

TRAINING, VALIDATION, TEST = "#0072b2", "#d55e00", "#009e73"  # Okabe and Ito, "Color Universal Design" (2008)
WIDTH = 7.0
"""Width of a figure [inches]: the width of the text on a page, and still legible on a phone."""
INK, GREY, FAINT, GRID, PAPER = "#333333", "#777777", "#b4bac2", "#d9d9d9", "#fdfdfb"


def genre_colours(genres: Iterable[str]) -> dict[str, str]:
    """Return the colour of each genre, the same in every figure.

    Parameters
    ----------
    genres : iterable of str
        Genre names. GTZAN's ten have fixed colours; any other name gets one of `OTHER_COLOURS`, chosen by
        its checksum, or the next free one.

    Returns
    -------
    dict of str to str
        Hex colours, in the order of `genres`; all different for up to 20 genres outside the ten.

    Examples
    --------
    >>> from gtzan_keras.report.plots import genre_colours
    >>> genre_colours(["rock", "jazz"])
    {'rock': '#bd1f01', 'jazz': '#ffa90e'}
    """
    genres = list(genres)
    other: dict[str, str] = {}
    for name in sorted(set(genres) - set(GENRE_COLOURS)):
        first = zlib.crc32(name.encode()) % len(OTHER_COLOURS)
        in_turn = [*OTHER_COLOURS[first:], *OTHER_COLOURS[:first]]
        other[name] = next((c for c in in_turn if c not in other.values()), in_turn[0])
    return {genre: GENRE_COLOURS.get(genre) or other[genre] for genre in genres}


def printable(text: str, instead: str) -> str:
    """Return `text` if matplotlib's fonts have all its characters, else `instead`.

    The default font has no Chinese, Japanese or Korean; ``matplotlib.rcParams["font.family"]`` may name
    one that has.
    """
    import matplotlib as mpl
    from matplotlib import font_manager

    families = [font_manager.FontProperties(family=[name]) for name in mpl.rcParams["font.family"]]
    fonts = [font_manager.get_font(font_manager.findfont(family)) for family in families]
    return text if all(any(font.get_char_index(ord(c)) for font in fonts) for c in text) else instead


def genre_labels(genres: Iterable[str]) -> list[str]:
    """Return the genres' names as a figure can show them: "genre 3" where the font lacks a character."""
    names = [printable(genre, f"genre {number}") for number, genre in enumerate(genres, start=1)]
    return [name.replace("$", r"\$") for name in names]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure [inches] that makes room for its labels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return such a figure and its only axes."""
    figure = new_figure(width, height)
    return figure, figure.subplots()


def need_columns(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Refuse a table that lacks a column or has no rows."""
    check_columns(table, columns, f"{what}: the table", f"it has {', '.join(map(str, table))}")
    if table.empty:
        raise GtzanKerasError(f"{what}: the table has no rows, expected at least one")


def need_shares(values: Any, what: str) -> None:
    """Refuse scores outside 0..1, such as percent; NaN is a score that is not defined."""
    numbers = np.asarray(values, dtype=float)
    if ((numbers < 0) | (numbers > 1)).any():
        raise GtzanKerasError(f"{what}: a score is outside 0..1, expected shares, not percent")


def quiet(ax: Axes, grid: Literal["x", "y"], percent: bool = False) -> None:
    """Remove two sides of the frame, and draw a faint grid along one axis behind everything.

    The axis with the grid has the numbers, shares as percent; along x, the other axis has names.
    """
    from matplotlib.ticker import PercentFormatter

    if percent:
        {"x": ax.xaxis, "y": ax.yaxis}[grid].set_major_formatter(PercentFormatter(1))
    if grid == "x":
        ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)


def heat_map(ax: Axes, values: pd.DataFrame, bar: str, texts: Any, **options: Any) -> None:
    """Draw a table as coloured cells: its index and columns as labels, `texts` in the cells."""
    import seaborn

    cells = max(values.shape)
    seaborn.heatmap(
        values, ax=ax, annot=texts, fmt="", annot_kws={"fontsize": min(9.5, 130 / cells)}, square=True,
        linewidths=0.5 if cells <= 20 else 0, xticklabels=True, yticklabels=True,
        cbar_kws={"label": bar, "shrink": 0.75}, **options,
    )  # fmt: skip
    ax.tick_params(length=0, labelsize=max(4.5, min(10, 140 / cells)))
    ax.tick_params(axis="y", labelrotation=0)
    if cells > 12:
        ax.tick_params(axis="x", labelrotation=90)
    elif max(len(str(name)) for name in values.columns) > 6:
        for label in ax.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")


def genre_matrix(values: Any, genres: Sequence[str], bar: str, texts: Any, **options: Any) -> Figure:
    """Draw a square table as `heat_map` does, with a row and a column for each genre."""
    side = max(2.6, 0.56 * min(len(genres), 10) + 0.3 * max(len(genres) - 10, 0))
    figure, ax = new_axes(side + 1.8, side + 0.7)
    labels = genre_labels(genres)
    heat_map(ax, pd.DataFrame(values, index=labels, columns=labels), bar, texts, **options)
    return figure


def move_legend(ax: Axes, loc: str, names: Sequence[str], **options: Any) -> None:
    """Move the legend that seaborn drew to the edge of the figure: `loc` as for ``Figure.legend``."""
    legend = ax.get_legend()
    assert legend is not None
    handles = dict(zip([text.get_text() for text in legend.texts], legend.legend_handles, strict=True))
    figure: Any = ax.get_figure()
    legend.remove()
    figure.legend([handles[name] for name in names], names, loc=loc, frameon=False, **options)
