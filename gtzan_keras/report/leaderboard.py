"""The table of all recipes: published figures and ours side by side, under every split."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import PROTOCOLS, RECIPES, Recipe, find
from gtzan_keras.experiments.runner import protocol_of

__all__ = ["ON_FAULT_FILTERED", "leaderboard", "measured", "report_all", "results_table"]

ON_FAULT_FILTERED: Sequence[tuple[str, float, str]] = (
    ("M2D-AS", 0.876, "EVAR table"),
    ("MuQ", 0.856, "MuQ's table"),
    ("MusicFM", 0.838, "MuQ's table"),
    ("SampleCNN, multi-level features", 0.821, "Lee and Nam 2017"),
    ("Jukebox", 0.797, "JukeMIR"),
    ("PANNs CNN14, frozen", 0.787, "EVAR table"),
    ("VGGish, frozen", 0.7758, "sklearn-audio-transfer-learning"),
    ("musicnn", 0.7724, "sklearn-audio-transfer-learning"),
    ("OpenL3", 0.7465, "sklearn-audio-transfer-learning"),
    ("CLMR", 0.686, "MARBLE's table"),
    ("CNN from scratch", 0.541, "ISMIR 2021 tutorial"),
    ("MFCC and SVM", 0.534, "sklearn-audio-transfer-learning"),
)
"""Accuracies published on the fault-filtered test part: what, how much, where. All but the last two
learned from other data first."""

SOURCES: Mapping[str, str] = {
    "malvezzi": "Malvezzi",
    "zhang": "Zhang 2025",
    "feature-cnn": "Feature 1-D CNN report",
    "uncu": "Uncu",
    "arrigo": "Arrigo 2025",
    "baseline": "Ours",
}


USUAL_DATA = ("GTZAN", "features_30_sec.csv")
"""Data that a cell does not name; on all others the figure says which."""

NAMES: Mapping[str, str] = {"imagenet": "ImageNet", "coco": "COCO", "audioset": "AudioSet"}


@dataclass(frozen=True)
class Cell:
    """One figure, or why there is none."""

    reason: str = ""
    summary: Mapping[str, Any] | None = None
    score: Mapping[str, float] | None = None

    @property
    def value(self) -> float:
        """For sorting: nothing comes after everything."""
        return self.score["value"] if self.score else -1.0


@dataclass(frozen=True)
class Row:
    """One recipe."""

    recipe: Recipe
    metric: str
    cells: Mapping[str, Cell]

    @property
    def published(self) -> str:
        """The source's figure in words."""
        return str(self.recipe.published[0]) if self.recipe.published else "no figure"

    @property
    def unit(self) -> str:
        """What the figures are, where they are not accuracies by track."""
        metric = " (macro precision)" if self.metric == "macro_precision" else ""
        return metric + (" (by segment)" if _is_by_segment(self.recipe) else "")


def leaderboard(folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write ``README.md`` and ``index.html`` from all summaries and runs below a folder.

    Parameters
    ----------
    folder : str or os.PathLike
        Holds ``<recipe>/<protocol>/summary.json`` as `gtzan_keras.experiments.runner` leaves them, and
        runs of `gtzan-keras train`, which are listed below the table.

    Returns
    -------
    (Path, Path)
        ``README.md`` and ``index.html``: one file, complete in itself, whose columns can be sorted.

    Raises
    ------
    GtzanKerasError
        A summary can not be read.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.leaderboard import leaderboard
    >>> [path.name for path in leaderboard(tempfile.mkdtemp())]
    ['README.md', 'index.html']
    """
    from gtzan_keras.report.page import list_runs, render, replace_file

    folder = Path(folder)
    summaries = _summaries(folder)
    rows = [_row(recipe, summaries) for recipe in RECIPES.values()]
    found = [cell.summary for row in rows for cell in row.cells.values() if cell.summary]
    # One summary may stand in two columns.
    shown = list({(summary["recipe"], summary["protocol"]): summary for summary in found}.values())
    html = render(
        "leaderboard.html.j2",
        rows=rows,
        protocols=PROTOCOLS,
        reference=ON_FAULT_FILTERED,
        usual=USUAL_DATA,
        summaries=shown,
        runs=[run for run in list_runs(folder) if "recipe" not in run["result"]],
        notes=_notes(shown),
    )
    text = _markdown(rows, shown)
    return (
        replace_file(folder / "README.md", text.encode()),
        replace_file(folder / "index.html", html.encode()),
    )


def report_all(folder: str | os.PathLike[str]) -> Path:
    """Write the pages of all runs below a folder anew, and the page that lists them.

    Parameters
    ----------
    folder : str or os.PathLike
        One run's folder, or one with runs below it.

    Returns
    -------
    Path
        The run's page, the leaderboard where a recipe was run, else the list of runs.

    Raises
    ------
    GtzanKerasError
        There is no run, or what one left can not be read.

    Examples
    --------
    >>> from gtzan_keras.report.leaderboard import report_all
    >>> report_all("reports")  # doctest: +SKIP
    PosixPath('reports/index.html')
    """
    from gtzan_keras.report.page import SCORES, index_page, report_scores, run_page

    folder = Path(folder)
    for name, write in (("result.json", run_page), (SCORES, report_scores)):
        if (folder / name).is_file():
            return write(folder)
        for path in sorted(folder.rglob(name)):
            write(path.parent)
    return leaderboard(folder)[1] if any(folder.rglob("summary.json")) else index_page(folder)


def results_table(
    folder: str | os.PathLike[str], names: Iterable[str] | None = None, metric: str | None = None
) -> pd.DataFrame:
    """Published figures and ours from the summaries below a folder, as a table.

    Parameters
    ----------
    folder : str or os.PathLike
        As for `leaderboard`.
    names : iterable of str, optional
        Recipes; all when left out.
    metric : str, optional
        ``accuracy``, ``macro_precision``, ...; when left out, each recipe's published one.

    Returns
    -------
    pd.DataFrame
        Indexed by recipe: ``published``, then a column for each of `PROTOCOLS`, as text with
        interval and seeds; ``not run`` and why where there is nothing.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.leaderboard import results_table
    >>> results_table(tempfile.mkdtemp(), ["zhang/cnn"]).loc["zhang/cnn", "published"]
    'accuracy 62.5 % (test)'
    """
    summaries = _summaries(Path(folder))
    rows = {}
    for name in RECIPES if names is None else names:
        row = _row(find(name), summaries, metric)
        cells = {label: _cell(row.cells[protocol], {}) for protocol, label in PROTOCOLS.items()}
        rows[name] = {"published": row.published, **cells}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("recipe")


def measured(folder: str | os.PathLike[str], names: Iterable[str] | None = None) -> pd.DataFrame:
    """Our accuracies from the summaries below a folder, in the columns that `plots.leakage_ladder` draws.

    Parameters
    ----------
    folder : str or os.PathLike
        As for `leaderboard`.
    names : iterable of str, optional
        Recipes; all when left out.

    Returns
    -------
    pd.DataFrame
        ``model`` (the recipe), ``split`` (in the words of `PROTOCOLS`), ``accuracy``, ``low``, ``high``
        [0..1], ``seeds``, ``data``, ``leaky``; in order of honesty, no row where nothing was run.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.leaderboard import measured
    >>> measured(tempfile.mkdtemp()).empty
    True
    """
    found = _summaries(Path(folder))
    rows = []
    for protocol, label in PROTOCOLS.items():
        for name in RECIPES if names is None else names:
            if (summary := found.get((find(name).name, protocol))) is not None:
                score = summary["scores"]["accuracy"]
                facts = [summary["seeds"], summary["data"], summary["leaky"]]
                rows.append([name, label, score["value"], score["low"], score["high"], *facts])
    columns = ["model", "split", "accuracy", "low", "high", "seeds", "data", "leaky"]
    return pd.DataFrame(rows, columns=columns)


def _summaries(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Every summary below a folder, by recipe and protocol."""
    found = {}
    for path in sorted(folder.glob("**/summary.json")):
        try:
            summary = json.loads(path.read_text("utf-8"))
            pages = [path.parent / f"seed{seed}" / "index.html" for seed in range(summary["seeds"])]
            links = [quote(page.relative_to(folder).as_posix()) for page in pages if page.is_file()]
            found[summary["recipe"], summary["protocol"]] = {
                **summary,
                "runs": seeds_in_words(summary),
                "of": data_in_words(summary),
                "pages": links,
                "link": (links or [quote(path.relative_to(folder).as_posix())])[0],
            }
        except (ValueError, KeyError) as error:
            raise GtzanKerasError(f"{path}: no summary of `gtzan-keras run` ({error!r})") from error
    return found


def _row(
    recipe: Recipe, summaries: Mapping[tuple[str, str], Mapping[str, Any]], metric: str | None = None
) -> Row:
    metric = metric or next((p.metric for p in recipe.published if p.metric != "loss"), "accuracy")
    cells = {}
    for protocol in PROTOCOLS:
        summary = summaries.get((recipe.name, protocol_of(recipe, protocol)))
        if summary is not None:
            by_segment = summary["segments"] if _is_by_segment(recipe) else None
            cells[protocol] = Cell(summary=summary, score=by_segment or summary["scores"][metric])
        elif recipe.pretrained:
            cells[protocol] = Cell(f"not run: {NAMES[recipe.pretrained]} weights not available")
        else:
            cells[protocol] = Cell("not run: no computer time yet")
    return Row(recipe, metric, cells)


def seeds_in_words(summary: Mapping[str, Any]) -> str:
    """How many runs a figure rests on."""
    if "members" in summary:
        return f"ensemble of {summary['members']}"
    return "1 seed" if summary["seeds"] == 1 else f"{summary['seeds']} seeds"


def data_in_words(summary: Mapping[str, Any]) -> str:
    """The data, and how many tracks of it were there where its name does not say so."""
    name = summary["data"]
    return name if "tracks" in name else f"{name}, {summary['data_tracks']} tracks"


def _is_by_segment(recipe: Recipe) -> bool:
    """Whether the published figure counts segments, not tracks."""
    return any("segments" in figure.part for figure in recipe.published[:1])


def _notes(summaries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Numbers of the footnotes: every way in which a run is not what its recipe says."""
    found: dict[str, int] = {}
    for summary in summaries:
        for deviation in summary["deviations"]:
            found.setdefault(deviation, len(found) + 1)
    return found


def _markdown(rows: Sequence[Row], summaries: Sequence[Mapping[str, Any]]) -> str:
    notes = _notes(summaries)
    lines = [
        "# Published and measured",
        "",
        "Accuracy on test tracks (macro precision where the row says so), mean over seeds, with its 95 %",
        "bootstrap interval over tracks. *Published* figures are the sources'; all others were run with the",
        "commands below. The further right a column, the less the test set shares with the training set.",
        "",
    ]
    for prefix, source in SOURCES.items():
        own = [row for row in rows if row.recipe.name.split("/")[0] == prefix]
        if not own:
            continue
        lines += [
            f"## {source}",
            "",
            f"| recipe | what | published | {' | '.join(f'{p}, ours' for p in PROTOCOLS.values())} |",
            "| --- | --- | --- |" + " --- |" * len(PROTOCOLS),
        ]
        for row in own:
            what = f"{row.recipe.title}{row.unit}"
            cells = [_cell(row.cells[protocol], notes) for protocol in PROTOCOLS]
            lines.append(f"| {' | '.join([f'`{row.recipe.name}`', what, row.published, *cells])} |")
        lines.append("")
    if notes:
        lines += ["Differences from the recipe:", ""]
        lines += [f"{number}. {text}" for text, number in notes.items()] + [""]
    lines += [
        "## Published on the fault-filtered split",
        "",
        "| what | accuracy | published in |",
        "| --- | --- | --- |",
        *(f"| {what} | {100 * value:.1f} % | {where} |" for what, value, where in ON_FAULT_FILTERED),
        "",
    ]
    if summaries:
        lines += [
            "## Commands",
            "",
            "| command | data | split | runs | date |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| `{s['command']}` | {s['of']} | {s['split']}{' (leaky)' if s['leaky'] else ''} "
            f"| {s['runs']} | {s['date']} |"
            for s in summaries
        ]
    return "\n".join(lines) + "\n"


def _cell(cell: Cell, notes: Mapping[str, int]) -> str:
    if cell.summary is None or cell.score is None:
        return cell.reason
    summary, score = cell.summary, cell.score
    marks = ", ".join(f"[{notes[text]}]" for text in summary["deviations"] if text in notes)
    leaky = "leaky: " if summary["leaky"] else ""
    data = "" if summary["data"] in USUAL_DATA else f", {summary['data']}"
    return f"{leaky}{in_percent(score)}, {summary['runs']}{data} {marks}".rstrip()


def in_percent(score: Mapping[str, float]) -> str:
    """A score with its interval as text.

    Examples
    --------
    >>> from gtzan_keras.report.leaderboard import in_percent
    >>> in_percent({"value": 0.63, "low": 0.578, "high": 0.679})
    '63.0 % (57.8 to 67.9)'
    """
    return f"{100 * score['value']:.1f} % ({100 * score['low']:.1f} to {100 * score['high']:.1f})"
