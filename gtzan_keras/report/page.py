"""Pages of results: one for each recipe, with all its protocols and seeds, and one for every other run.

A page is one HTML file that embeds its figures and its style, loads nothing from elsewhere and runs no
script, so it can be mailed, archived and opened years later. Everything on it is read from the folders of
results; see `gtzan_keras.training.results`.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import PROTOCOLS, RECIPES, Recipe, changes
from gtzan_keras.inference.nearest import nearest_of
from gtzan_keras.report._style import GREY, GRID, INK, PAPER
from gtzan_keras.report.published import SOURCES
from gtzan_keras.store.files import replacing
from gtzan_keras.tracks.catalogue import track_of
from gtzan_keras.training.results import HISTORY, NEAREST, RESULT, read_result, read_summary
from gtzan_keras.training.settings import TrainingSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gtzan_keras.training.run import Run

__all__ = ["Group", "find_groups", "report_run", "write_page", "write_pages"]

MARKER = "Written by gtzan-keras report, which overwrites changes."
"""Part of every page that we write; a file without it is never replaced."""

PAGE_COLOURS = {
    "#000000": "currentColor", INK: "currentColor", GREY: "var(--soft)", GRID: "var(--line)",
    PAPER: "var(--paper)",
}  # fmt: skip
"""Colours of our figures that the style of a page defines."""

DEMO_SET = "demo set"
DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class Group:
    """The seeds of one recipe under one protocol, or a single run of another kind.

    Parameters
    ----------
    recipe : str
        Its name, or "" if no recipe was run.
    protocol : str
        A key of `gtzan_keras.experiments.PROTOCOLS`, or "".
    folders : tuple of Path
        Folders of the results, one per seed.
    results, tables : tuple
        What `gtzan_keras.training.results.read_result` returns for each folder.
    """

    recipe: str
    protocol: str
    folders: tuple[Path, ...]
    results: tuple[Mapping[str, Any], ...]
    tables: tuple[pd.DataFrame, ...]

    @property
    def first(self) -> Mapping[str, Any]:
        """The result of the first seed."""
        return self.results[0]

    @property
    def command(self) -> str:
        """The command that gives all seeds again: that of the last, which used or trained those before."""
        return str(self.results[-1].get("command", ""))

    @property
    def leaky(self) -> bool:
        """Whether the split leaks."""
        return any(result["split"]["leaky"] for result in self.results)

    @property
    def departures(self) -> list[str]:
        """How any of the runs differs from the recipe."""
        return list(dict.fromkeys(text for result in self.results for text in result.get("departures", ())))

    @property
    def random_weights(self) -> bool:
        """Whether a recipe with pretrained weights was run without them."""
        return any(text.startswith("random weights") for text in self.departures)

    @property
    def runs(self) -> str:
        """The number of runs behind a figure, in words."""
        if "members" in self.first:
            return f"ensemble of {len(self.first['members'])}"
        return "1 seed" if len(self.results) == 1 else f"{len(self.results)} seeds"

    @property
    def data(self) -> str:
        """The name of the data, with its number of tracks if the name does not say it."""
        data = self.first["data"]
        known = "tracks" in data["name"] or "tracks" not in data
        return data["name"] if known else f"{data['name']}, {data['tracks']} tracks"

    @cached_property
    def part(self) -> str:
        """The part that was scored: "test", or "validation" without one, or ""."""
        return next((part for part in ("test", "validation") if self.first["scores"].get(part)), "")

    @cached_property
    def scores(self) -> Mapping[str, Any]:
        """The scores of that part: as recorded for one run, or averaged over seeds."""
        if len(self.results) == 1:
            found = self.first["scores"][self.part] if self.part else {}
            tested = self.tables[0]["track_id"].nunique()  # folds of rows test a track more than once
            return {**found, "count": tested} if found and tested else found
        from gtzan_keras.training.compare import across_seeds

        found = across_seeds(list(zip(self.results, self.tables, strict=True)))
        return {**found, "count": found["tracks"], **{k: found[k]["value"] for k in ("loss", "ece")}}

    def score(self, metric: str) -> dict[str, Any]:
        """Return ``value``, ``artists`` and ``tracks`` (95 % intervals over them, None if not known)."""
        tracks, by_artist = self.scores[metric], self.scores.get("by_artist")
        artists = by_artist[metric] if by_artist and metric in by_artist else None
        return {"value": tracks["value"], "artists": artists, "tracks": tracks}


def find_groups(folder: str | os.PathLike[str], names: Container[str] | None = None) -> list[Group]:
    """Read all results below a folder.

    Parameters
    ----------
    folder : str or os.PathLike
        Every folder with a ``result.json``, at any depth, is a result, except below ``local``, where
        ``make report`` keeps its own.
    names : container of str, optional
        Read only the results of these recipes.

    Returns
    -------
    list of Group
        Recipes first, in their order and that of the protocols, then other runs by folder.

    Raises
    ------
    GtzanKerasError
        A result cannot be read, or two have the same recipe, protocol and seed.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.page import find_groups
    >>> find_groups(tempfile.mkdtemp())
    []
    """
    found: dict[tuple[str, str], dict[Any, tuple[Path, Any, Any]]] = {}
    for path in sorted(Path(folder).rglob(RESULT)):
        if "local" in path.relative_to(folder).parts:
            continue
        if names is not None and read_summary(path.parent).get("recipe") not in names:
            continue
        result, tracks = read_result(path.parent)
        name, protocol = result.get("recipe", ""), result.get("protocol", "")
        if name in RECIPES and protocol not in PROTOCOLS:
            raise GtzanKerasError(f"{path}: protocol {protocol!r}: expected one of {', '.join(PROTOCOLS)}")
        seeds = found.setdefault((name, protocol) if name in RECIPES else ("", str(path.parent)), {})
        seed = result.get("seed", 0)
        if seed in seeds:
            raise GtzanKerasError(
                f"{seeds[seed][0]} and {path.parent}: two results of {name}, {protocol}, seed {seed}; "
                "expected one; move one of them to another folder"
            )
        seeds[seed] = (path.parent, result, tracks)
    of_recipes = [(name, protocol) for name in RECIPES for protocol in PROTOCOLS]
    others = [("", folder) for name, folder in found if not name]
    return [
        Group(name, protocol if name else "", *map(tuple, zip(*found[name, protocol].values(), strict=True)))
        for name, protocol in of_recipes + others
        if (name, protocol) in found
    ]


def write_pages(
    folder: str | os.PathLike[str], groups: Sequence[Group], only: str | None = None
) -> dict[str, Path]:
    """Write ``folder/pages``: a page for each recipe, and one for each other run.

    Parameters
    ----------
    folder : str or os.PathLike
        The folder of `find_groups`.
    groups : sequence of Group
        From `find_groups`.
    only : str, optional
        Write only the page of this recipe.

    Returns
    -------
    dict of str to Path
        The pages written, by recipe, or by the run's folder.

    Raises
    ------
    GtzanKerasError
        A page would replace a file that we did not write.
    """
    from tqdm import tqdm

    by_page: dict[str, list[Group]] = {}
    for group in groups:
        by_page.setdefault(group.recipe or str(group.folders[0]), []).append(group)
    chosen = {name: own for name, own in by_page.items() if only is None or name == only}
    paths = {name: Path(folder) / "pages" / page_name(folder, own[0]) for name, own in by_page.items()}
    known = {name for name, path in paths.items() if name in chosen or path.is_file()}
    return {
        name: write_page(paths[name], _page(own, known))
        for name, own in tqdm(chosen.items(), desc="pages", disable=None)
    }


def page_name(folder: str | os.PathLike[str], group: Group) -> str:
    """Return the name of a group's page in the folder of pages; the runs a/b and a-b have one each."""
    run = group.folders[0].relative_to(folder).as_posix().replace("/", "--")
    return slug(group.recipe or f"run {run}") + ".html"


def slug(name: str) -> str:
    """Return the name of a recipe or run as a file or an anchor has it."""
    return name.replace("/", "-").replace(" ", "-")


def report_run(run: str | os.PathLike[str] | Run) -> Path:
    """Write the page of one run into its folder.

    Parameters
    ----------
    run : Run, or its folder
        A run that `gtzan_keras.evaluate` has scored. For a `Run`, which has a store, the page also shows the
        parts of the split, a spectrogram of each genre, and the training tracks that the model finds nearest
        to its mistakes, which are kept in ``nearest.csv``.

    Returns
    -------
    Path
        ``index.html`` in the run's folder.

    Raises
    ------
    GtzanKerasError
        The run has no result yet, or there is an ``index.html`` that we did not write.

    Examples
    --------
    >>> from gtzan_keras.report.page import report_run
    >>> report_run("runs/my-run")  # doctest: +SKIP
    PosixPath('runs/my-run/index.html')
    """
    folder = Path(run) if isinstance(run, (str, os.PathLike)) else run.folder
    result, tracks = read_result(folder)
    extra = {}
    if not isinstance(run, (str, os.PathLike)):
        extra = _store_figures(run)
        wrong = tracks.loc[tracks["predicted"] != tracks["genre"], "track_id"].tolist()
        if wrong:
            with replacing(folder / NEAREST) as temporary:
                nearest_of(run, wrong).to_csv(temporary, index=False)
    group = Group("", "", (folder,), (result,), (tracks,))
    return write_page(folder / "index.html", _page([group], None, extra))


def _store_figures(run: Run) -> dict[str, Figure]:
    from gtzan_keras.audio.spectrogram import SpectrogramSpec
    from gtzan_keras.report import plots

    store = run.store
    parts = {part: [track_of(sample) for sample in ids] for part, ids in run.split.parts().items() if ids}
    found = {"class_distribution": plots.class_distribution(store.tracks, parts)}
    if isinstance(store.spec, SpectrogramSpec):
        rows = {g: int(np.flatnonzero(store.genre == g)[0]) for g in store.genres if g in store.genre}
        images = {genre: store.read([row])[0] for genre, row in rows.items()}
        found["examples"] = plots.spectrogram_examples(images, store.spec)
    return found


def _page(groups: Sequence[Group], pages: set[str] | None, extra: Mapping[str, Figure] | None = None) -> str:
    """Return the page of one recipe's groups, or of a single run."""
    from gtzan_keras.report.plots import METRICS, genre_colours

    recipe = RECIPES.get(groups[0].recipe)
    return render(
        "page.html.j2",
        recipe=recipe,
        source=SOURCES.get(groups[0].recipe.partition("/")[0]),
        title=f"{recipe.name}: {recipe.title}" if recipe else groups[0].first["name"],
        groups=groups,
        sections=[_section(group, extra or {}) for group in groups],
        protocols=PROTOCOLS,
        metrics=METRICS,
        neighbours=neighbours(recipe) if recipe else [],
        known={name: quote(slug(name)) + ".html" for name in pages or ()},
        link=lambda group: f"#{group.protocol}",
        home=None if pages is None else "index.html",
        colours=genre_colours(groups[0].first["data"]["genres"]),
    )


def neighbours(recipe: Recipe) -> list[tuple[str, str, list[str]]]:
    """Return the recipe that this one changes and those that change it: relation, name, changes."""
    own = [("changes", recipe.base, changes(recipe))] if recipe.base else []
    return own + [("changed by", r.name, changes(r)) for r in RECIPES.values() if r.base == recipe.name]


def _section(group: Group, extra: Mapping[str, Figure]) -> dict[str, Any]:
    """Return the content of a page about one group: figures, tables, mistakes."""
    from gtzan_keras.report import plots
    from gtzan_keras.training.evaluate import class_scores, confidences, confusion_matrix

    genres = group.first["data"]["genres"]
    tracks = pd.concat(group.tables, ignore_index=True)
    scores, drawn, by_genre, mistakes = group.scores, dict(extra), None, None
    if scores:
        best = {name: group.score(name) for name in plots.METRICS}
        spans = {name: {**(s["artists"] or s["tracks"]), "value": s["value"]} for name, s in best.items()}
        drawn["intervals"] = plots.metric_intervals(spans, 1 / len(genres))
    if len(tracks):
        by_genre = class_scores(tracks, genres)
        distinct = tracks.groupby("genre")["track_id"].nunique()  # a track has an answer of each seed
        by_genre["support"] = by_genre["genre"].map(distinct).fillna(0).astype(int)
        repeated = len(tracks) > scores["count"]
        what = f"{len(tracks)} answers of {group.runs}" if repeated else f"{len(tracks)} tracks"
        drawn["confusion_matrix"] = plots.confusion_matrix(confusion_matrix(tracks, genres), genres, what)
        drawn["per_class"] = plots.per_class(by_genre)
        probability, right = confidences(tracks, genres)
        drawn["reliability"] = plots.reliability(_calibration(group.tables, genres))
        mistakes = _mistakes(tracks.assign(probability=probability)[~right])
        if len(group.folders) == 1 and (near := group.folders[0] / NEAREST).is_file():
            nearest = pd.read_csv(near, keep_default_na=False).groupby("of")
            found = {track_id: rows.to_dict("records") for track_id, rows in nearest}
            mistakes = [{**track, "nearest": found.get(track["track_id"], [])} for track in mistakes]
    histories = [pd.read_csv(path) for f in group.folders if (path := f / HISTORY).is_file()]
    settings = group.first.get("settings", {})
    last_kept = not settings.get("keep_best", True)
    if histories:
        alone = len(histories) == 1 and "fold" not in histories[0]
        best_epoch = group.first.get("outcome", {}).get("best_epoch") if alone else None
        kept = "last epoch, kept" if last_kept else "best epoch"
        drawn["history"] = plots.history(pd.concat(histories), best_epoch, label=kept)
    recipe, search = RECIPES.get(group.recipe), group.folders[0] / "search" / "grid.csv"
    if recipe and len(recipe.grid) == 2 and search.is_file():
        drawn["grid"] = plots.grid_heat_map(pd.read_csv(search), *recipe.grid)
    for name, figure in drawn.items():
        if group.leaky and name != "examples":
            figure.supxlabel("leaky split", fontsize=10, color="#b00020", ha="center")
    augmentation = settings.get("augmentation")
    return {
        "group": group,
        "figures": {name: embedded(figure, group.protocol + name) for name, figure in drawn.items()},
        "augmentation": TrainingSettings.from_dict({"augmentation": augmentation}).augmentation,
        "by_genre": by_genre,
        "mistakes": mistakes,
        "history": histories[0] if len(histories) == 1 else None,
        "last_kept": last_kept,
    }


def _calibration(tables: Sequence[pd.DataFrame], genres: Sequence[str]) -> dict[str, Any]:
    """Return `calibration` with the means over seeds of the error, its range, and each bin's count."""
    from gtzan_keras.training.evaluate import calibration, confidences

    found = [calibration(*confidences(table, genres)) for table in tables]
    pooled = calibration(*confidences(pd.concat(tables, ignore_index=True), genres), resamples=1)
    ranges = pd.DataFrame([one["calibrated"] for one in found])
    bins = [{**one, "count": one["count"] / len(tables)} for one in pooled["bins"]]
    ece = float(np.mean([one["ece"] for one in found]))
    return {"ece": ece, "calibrated": ranges.mean().to_dict(), "bins": bins}


def _mistakes(wrong: pd.DataFrame) -> list[Any]:
    """Return the wrong predictions, first those that most runs made, with the highest probability."""
    keys = ["track_id", "artist", "title", "genre", "predicted"]
    table = wrong.groupby(keys, as_index=False).agg(
        times=("fold", "size"), probability=("probability", "mean")
    )
    return table.sort_values(["times", "probability"], ascending=False).to_dict("records")


def embedded(figure: Figure, name: str) -> str:
    """Return a figure as SVG that takes the colours of its page, light or dark."""
    import matplotlib as mpl

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):  # the same data gives the same file
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, of_the_page in PAGE_COLOURS.items():
        svg = svg.replace(colour, of_the_page)
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)  # ids must be unique in a page


def check_ours(path: Path) -> None:
    """Refuse to replace a file that we did not write."""
    if path.is_file() and MARKER not in path.read_text("utf-8", errors="replace")[:400]:
        raise GtzanKerasError(
            f"{path}: not written by `gtzan-keras report`, so it is not replaced; move it, or name "
            "another folder"
        )


def write_page(path: Path, content: str) -> Path:
    """Write a page as a whole; refuse to replace a file that we did not write."""
    check_ours(path)
    with replacing(path) as temporary:
        temporary.write_text(content, "utf-8")
    return path


def render(template: str, **context: Any) -> str:
    """Fill one of the templates in this folder."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: name is None or name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": interval, "plain": plain, "slug": slug}
    return environment.get_template(template).render(marker=MARKER, demo=DEMO_SET, **context)


def percent(share: float | None, digits: int = 1) -> str:
    """Return 0.38 as "38.0 %", with a space that does not break; a dash if it is not known."""
    if share is None or not math.isfinite(share):
        return DASH
    return f"{100 * share:.{digits}f}\u00a0%"


def interval(score: Mapping[str, float] | None) -> str:
    """Return the ends of an interval as "24.1–54.9 %"."""
    if score is None or not (math.isfinite(score["low"]) and math.isfinite(score["high"])):
        return DASH
    return f"{100 * score['low']:.1f}{DASH}{100 * score['high']:.1f}\u00a0%"


def plain(value: Any) -> str:
    """Return a setting as a reader would write it."""
    if value is None or value in ({}, [], (), ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else DASH
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(plain, value))
    return str(value)
