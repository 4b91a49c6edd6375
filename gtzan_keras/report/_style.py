"""What the figures share: colours, and the few steps that each of them takes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError

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
"""One colour a genre. The ten-colour sequence of Petroff, "Accessible Color Sequences for Data
Visualization" (2021, https://arxiv.org/abs/2107.02270), made to be told apart with any common form
of colour vision."""

OTHER_COLOURS: Sequence[str] = (
    "#6600ff", "#663333", "#9966ff", "#336699", "#6600cc", "#ff00cc", "#ff66ff",
    "#99cc99", "#9933ff", "#990000", "#cc6633", "#ff99ff", "#663366", "#cc99cc",
    "#666633", "#cc0066", "#cccc66", "#660099", "#cc0099", "#cc9933",
)  # fmt: skip
"""For genres outside GTZAN's ten. Of the 216 web-safe colours, picked one after another, each as far
as can be from all before it in CIELAB as seen with full colour vision, protanopia, deuteranopia and
tritanopia (simulated after Machado et al. 2009, https://doi.org/10.1109/TVCG.2009.113)."""

TRAINING, VALIDATION = "#0072b2", "#d55e00"  # Okabe and Ito, "Color Universal Design" (2008)
WIDTH = 7.0
"""Of a figure [inches]: as wide as a page's text, and still legible on a phone."""
INK, FAINT, GRID = "#333333", "#b4bac2", "#d9d9d9"


def genre_colours(genres: Iterable[str]) -> dict[str, str]:
    """The colour of each genre, the same in every figure.

    Parameters
    ----------
    genres : iterable of str
        Genre names. GTZAN's ten have fixed colours; any other name picks one of `OTHER_COLOURS` by
        its checksum, and the next free one if that is taken.

    Returns
    -------
    dict of str to str
        Hex colours, in the order of `genres`; no two alike up to 20 genres outside the ten.

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


def new_figure(width: float, height: float) -> Figure:
    """An empty figure [inches] that makes room for its labels by itself."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def need_columns(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Refuse a table that lacks one of the columns or has no rows."""
    missing = [column for column in columns if column not in table]
    if missing:
        raise GtzanKerasError(f"{what}: no column {missing[0]!r} among {list(table.columns)}")
    if table.empty:
        raise GtzanKerasError(f"{what}: the table has no rows, expected at least one")


def quiet(ax: Axes, grid: Literal["x", "y"]) -> None:
    """Take away what isn't data: a frame on two sides, a faint grid along one axis behind all."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)


def genre_axis(ax: Axes, labels: Sequence[str]) -> None:
    """Genres from top to bottom, the first one on top."""
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, pad=8)
    quiet(ax, grid="x")


def tint(colour: str, strength: float) -> tuple[float, float, float]:
    """The colour mixed with white: 1 leaves it as it is, 0 is white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - strength * (1 - channel) for channel in to_rgb(colour))
    return red, green, blue


def ink_on(colour: Sequence[float]) -> str:
    """Black or white, whichever reads better on `colour` (relative luminance, WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return "black" if luminance > 0.179 else "white"
