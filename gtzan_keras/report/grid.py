"""The figure of a grid search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report._style import INK, ink_on, need_columns, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["grid_heat_map"]

_CELL_WIDTH, _CELL_HEIGHT = 1.05, 0.62  # inches


def grid_heat_map(table: pd.DataFrame, x: str, y: str, value: str = "val_loss") -> Figure:
    """What a grid search reached, by two of the things that it varied.

    Parameters
    ----------
    table : pd.DataFrame
        From `gtzan_keras.training.search.grid_search`: one row a combination.
    x, y : str
        Columns that were varied. Where a third one was, a cell shows the best of its values.
    value : str
        Column with what was reached. The less the better where its name ends in "loss", the more the
        better elsewhere.

    Returns
    -------
    matplotlib.figure.Figure
        The best cell is framed; a combination that the table lacks stays empty.

    Raises
    ------
    GtzanKerasError
        A column is missing or there is no row, `x` and `y` are the same, or a value is no finite number.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report.grid import grid_heat_map
    >>> table = pd.DataFrame({"dropout": [0.2, 0.4], "learning_rate": 1e-3, "val_loss": [1.5, 1.25]})
    >>> [text.get_text() for text in grid_heat_map(table, "dropout", "learning_rate").axes[0].texts]
    ['1.500', '1.250']
    """
    from matplotlib.patches import Rectangle

    need_columns(table, (x, y, value), "grid_heat_map")
    if x == y:
        raise GtzanKerasError(f"grid_heat_map: x and y are both {x!r}, expected two columns")
    numbers = pd.to_numeric(table[value], errors="coerce")
    if not np.isfinite(numbers).all():
        raise GtzanKerasError(f"grid_heat_map: column {value!r} holds something else than finite numbers")
    loss = value.endswith("loss")
    cells = numbers.groupby([table[y], table[x]]).agg("min" if loss else "max").unstack()
    reached = cells.to_numpy()

    figure = new_figure(2.4 + _CELL_WIDTH * cells.shape[1], 1.3 + _CELL_HEIGHT * cells.shape[0])
    ax = figure.subplots()
    image = ax.imshow(reached, cmap="viridis_r" if loss else "viridis", aspect="auto")
    for (row, column), number in np.ndenumerate(reached):
        if np.isnan(number):
            continue
        ink = ink_on(tuple(image.to_rgba(number)))
        text = f"{number:.3f}" if loss else f"{100 * number:.1f} %"
        ax.text(column, row, text, ha="center", va="center", color=ink)
    row, column = divmod(int(np.nanargmin(reached) if loss else np.nanargmax(reached)), reached.shape[1])
    ax.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=3, clip_on=False, zorder=3
        )
    )
    ax.set_xticks(range(cells.shape[1]), [_plain(number) for number in cells.columns])
    ax.set_yticks(range(cells.shape[0]), [_plain(number) for number in cells.index])
    ax.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    ax.set_title(
        f"{value.replace('val_', 'validation ').replace('_', ' ')}, the best one framed",
        loc="left",
        fontsize=10,
    )
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure


def _plain(value: object) -> str:
    """0.0001 rather than 1e-04, and words as they are."""
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
