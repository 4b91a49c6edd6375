"""The page of a run, or of several put together, and the list of all runs: one HTML file each.

A page is complete in itself: it embeds its figures and its style, loads nothing from elsewhere and
runs no script, so that it can be mailed, archived and opened years later.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gtzan_keras.training.run import Run

__all__ = ["figures", "index_page", "report_run", "report_scores", "run_page", "write_figures"]

DPI = 120
DEMO_SET = "demo set"
DASH = "\N{EN DASH}"
MISTAKES = 10
"""So many mistakes are listed before the others are folded away."""

CAPTIONS: Mapping[str, tuple[str, str]] = {
    "intervals": (
        "Scores with their 95 % intervals",
        "How good is it, and how sure is that? A point is the score, the bar its 95 % interval; the "
        "dashed line is what guessing gives.",
    ),
    "confusion_matrix": (
        "Confusion matrix",
        "What is taken for what? A row is the true genre, a column what the model said. The diagonal "
        "is right; a dark cell off the diagonal is a pair that the model mixes up.",
    ),
    "per_class": (
        "Precision, recall and F1 by genre",
        "Which genres are easy? Precision: of the tracks given this name, how many deserve it. "
        "Recall: of the tracks of this genre, how many were found. F1 balances the two. In brackets: "
        "the number of tracks.",
    ),
    "reliability": (
        "Reliability diagram",
        "Can its confidence be believed? A bar is the share of tracks that was right, among those it was "
        "as sure of, with its 95 % interval; beneath is how many those are. Bars below the diagonal: it "
        "was surer than it was right. The expected calibration error is the mean distance from the "
        "diagonal, weighted by tracks.",
    ),
    "history": (
        "Training history",
        "How did it learn? Where training goes on improving and validation does not, the model is "
        "learning the tracks by heart. The weights kept are those of the best epoch.",
    ),
    "grid": (
        "Grid search",
        "What was tried? One cell a combination, by its validation loss; the model was then trained with "
        "the best one. The test part was not looked at.",
    ),
    "class_distribution": (
        "Tracks by genre and part",
        "What was it shown? The number of tracks of each genre, and how many of them went to each "
        "part of the split.",
    ),
    "examples": (
        "One spectrogram of each genre",
        "What does the model see? Time runs to the right, pitch upwards; the brighter, the louder.",
    ),
}
"""Figures of a page in their order: file stem -> alternative text, caption."""

NUMBER = (int, float)
LAYOUT: Mapping[str, Any] = {
    "format": int,
    "name": str,
    "data": {
        "name": str,
        "tracks": int,
        "genres": [str],
        "refused": [{"track_id": str, "reason": str}],
        "duplicates": [[str]],
    },
    "spec": {},
    "split": {
        "name": str,
        "leaky": bool,
        "train": int,
        "validation": int,
        "test": int,
        "missing": [str],
    },
    "model": {"builder": str, "arguments": {}, "parameters": int},
    "training": {"epochs": int, "best_epoch": int, "seed": int, "seconds": NUMBER},
    "environment": {},
    "date": str,
    "command": str,
    "scores": {},
}
"""What a `result.json` must hold: a type, `{field: ...}`, `[of each item]`, or a tuple of types."""

SCORES_LAYOUT: Mapping[str, Any] = {
    **{field: LAYOUT[field] for field in ("format", "name", "environment", "date", "command", "scores")},
    "data": {"name": str, "tracks": int, "genres": [str]},
    "split": {"name": str, "leaky": bool},
    "model": {"builder": str, "arguments": {}},
    "training": {},
}
"""What a `scores.json` must hold. It may have more of `LAYOUT`, and what it is put together from:
`folds` or `members`, each item with `name`, `count`, `accuracy`, `macro_precision`, and perhaps `train`
(tracks) and `page` (its folder, seen from this one)."""

_INTERVAL = {"value": NUMBER, "low": NUMBER, "high": NUMBER}
_PIECE = {"name": str, "count": int, "accuracy": _INTERVAL, "macro_precision": _INTERVAL}
SCORES = "scores.json"

_SCORES = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
PART_LAYOUT: Mapping[str, Any] = {
    **dict.fromkeys(_SCORES, _INTERVAL),
    "loss": NUMBER,
    "count": int,
    "per_class": [{"genre": str, "precision": NUMBER, "recall": NUMBER, "f1": NUMBER, "support": int}],
    "confusion_matrix": [[int]],
    "segments": (dict, type(None)),
    "tracks": [
        {
            "track_id": str,
            "genre": str,
            "predicted": str,
            "artist": (str, type(None)),
            "title": (str, type(None)),
            "probabilities": [NUMBER],
        }
    ],
}
"""What each part of `scores` must hold, unless it is null or absent."""

NEWER_LAYOUT: Mapping[str, Any] = {
    "by_artist": {"count": int, **dict.fromkeys(_SCORES, _INTERVAL)},
    "calibration": {
        "ece": NUMBER,
        "calibrated": {"low": NUMBER, "high": NUMBER},
        "bins": [
            {
                "low": NUMBER,
                "high": NUMBER,
                "count": int,
                "confidence": (*NUMBER, type(None)),
                "accuracy": (*NUMBER, type(None)),
            }
        ],
    },
}
"""What a part also holds; null means not known, and results of version 0.1 lack it."""


def report_run(run: Run) -> Path:
    """Draw the figures of an evaluated run and write its page.

    Parameters
    ----------
    run : Run
        One that `gtzan_keras.evaluate` has scored.

    Returns
    -------
    Path
        ``index.html`` in the run's folder.

    Raises
    ------
    GtzanKerasError
        The run has no ``result.json`` yet.

    Examples
    --------
    >>> from gtzan_keras.report.page import report_run
    >>> report_run(run)  # doctest: +SKIP
    PosixPath('reports/my-run/index.html')
    """
    store = run.store
    part_of: dict[str, str] = {}
    for part, ids in run.split.parts().items():
        for track_id in {sample.partition("#")[0] for sample in ids}:
            part_of[track_id] = f"{part_of[track_id]} and {part}" if track_id in part_of else part
    part_of |= dict.fromkeys(store.refused, "left out")
    tracks = store.tracks[["track_id", "genre"]].assign(
        part=[part_of.get(track_id, "left out") for track_id in store.tracks["track_id"]]
    )
    examples = {
        genre: store.read([np.flatnonzero(store.genre == genre)[0]])[0]
        for genre in store.genres
        if genre in store.genre and isinstance(store.spec, SpectrogramSpec)
    }
    result = _read_result(run.folder / "result.json")
    write_figures(figures(result, run.history, tracks, examples, store.spec), run.folder)
    return run_page(run.folder)


def report_scores(folder: str | os.PathLike[str]) -> Path:
    """Draw the figures of what is no single training, and write its page.

    Parameters
    ----------
    folder : str or os.PathLike
        Holds the `scores.json` of folds put together, of an ensemble, or of a model of hand-crafted
        features.

    Returns
    -------
    Path
        ``index.html`` in it.

    Raises
    ------
    GtzanKerasError
        As `run_page`.

    Examples
    --------
    >>> from gtzan_keras.report.page import report_scores
    >>> report_scores("reports/zhang/svm/artist/seed0")  # doctest: +SKIP
    PosixPath('reports/zhang/svm/artist/seed0/index.html')
    """
    folder = Path(folder)
    write_figures(_score_figures(_read_result(folder / SCORES)), folder)
    return run_page(folder)


def run_page(folder: str | os.PathLike[str]) -> Path:
    """Write the page of one run, from what the run left in its folder.

    Parameters
    ----------
    folder : str or os.PathLike
        The run's folder: `result.json` and `history.csv`, or `scores.json`, and any of the figures
        `intervals.png`, `confusion_matrix.png`, `per_class.png`, `reliability.png`, `history.png`,
        `class_distribution.png`, `examples.png`.

    Returns
    -------
    Path
        `folder/index.html`, complete in itself; an older one is replaced in one step.

    Raises
    ------
    GtzanKerasError
        A file is missing or can not be read, or `result.json` lacks a field.

    See Also
    --------
    write_figures : puts the figures there.
    index_page : lists many runs.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.page import run_page
    >>> run_page(tempfile.mkdtemp())  # doctest: +ELLIPSIS, +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    gtzan_keras.errors.GtzanKerasError: .../result.json: no such file
    """
    from gtzan_keras.report.plots import METRICS, genre_colours

    folder = Path(folder)
    together = (folder / SCORES).is_file() and not (folder / "result.json").is_file()
    result = _read_result(folder / (SCORES if together else "result.json"))
    parts = {name: part for name in ("test", "validation") if (part := result["scores"].get(name))}
    name, shown = next(iter(parts.items()), ("", None))
    html = render(
        "run.html.j2",
        result=result,
        demo=result["data"]["name"] == DEMO_SET,
        chance=1 / len(result["data"]["genres"]),
        parts=parts,
        part=name,
        shown=shown,
        metrics=METRICS,
        mistakes=_mistakes(shown, result["data"]["genres"]) if shown else [],
        listed=MISTAKES,
        history=None if together else _read_history(folder / "history.csv"),
        pieces=_pieces(result, folder),
        all_seconds=result.get("seconds") not in (None, result["training"].get("seconds")),
        images=[
            _image(path, *caption)
            for stem, caption in CAPTIONS.items()
            if (path := folder / f"{stem}.png").is_file()
        ],
        colours=genre_colours(result["data"]["genres"]),
    )
    return replace_file(folder / "index.html", html.encode())


def index_page(folder: str | os.PathLike[str]) -> Path:
    """Write the list of all runs below a folder, best first within each data set.

    Parameters
    ----------
    folder : str or os.PathLike
        Every `result.json` below it, at any depth, is a run.

    Returns
    -------
    Path
        `folder/index.html`; an older one is replaced in one step.

    Raises
    ------
    GtzanKerasError
        There is no run below the folder, the folder is itself a run's, or a `result.json` can not
        be read or lacks a field.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.page import index_page
    >>> index_page(tempfile.mkdtemp())  # doctest: +ELLIPSIS, +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    gtzan_keras.errors.GtzanKerasError: ...: no result.json in any folder below
    """
    folder = Path(folder)
    if (folder / "result.json").exists():
        raise GtzanKerasError(
            f"{folder}: this is a run's own folder, whose index.html is the run's page; "
            "name the folder above it"
        )
    runs = list_runs(folder)
    if not runs:
        raise GtzanKerasError(f"{folder}: no result.json in any folder below, so no run to list")
    data_sets = {run["result"]["data"]["name"] for run in runs}
    html = render("index.html.j2", runs=runs, demo=DEMO_SET in data_sets)
    return replace_file(folder / "index.html", html.encode())


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """All runs below a folder, but for the folds of one: result, test scores, and link to the page."""
    runs = []
    for path in sorted(folder.glob("**/result.json")):
        result = _read_result(path)
        if "fold" in result.get("recipe", {}):
            continue
        if any((path.parents[1] / name).is_file() for name in ("result.json", SCORES)):
            continue
        page = path.with_name("index.html")
        link = quote(page.relative_to(folder).as_posix()) if page.exists() else None
        runs.append({"result": result, "test": result["scores"].get("test"), "link": link})
    return sorted(runs, key=_rank)


def figures(
    result: Mapping[str, Any],
    history: pd.DataFrame,
    tracks: pd.DataFrame,
    examples: Mapping[str, np.ndarray],
    spec: Any = None,
) -> dict[str, Figure]:
    """Draw all figures of a run.

    Parameters
    ----------
    result : mapping
        What `result.json` holds. The scores drawn are those of the test part, or of the validation
        part where there was no test.
    history : pd.DataFrame
        One row an epoch, see `gtzan_keras.report.plots.history`.
    tracks : pd.DataFrame
        Columns `track_id`, `genre` and `part` ("train", "validation", "test"; anything missing
        means left out), one row a track.
    examples : mapping of str to np.ndarray [shape=(h, w), (h, w, 1) or (h, w, 3), dtype=uint8]
        One image a genre; may be empty.
    spec : SpectrogramSpec, optional
        Labels the examples' axes.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        By file stem, as `run_page` looks for them. On a leaky split all that rest on it say so.

    Raises
    ------
    GtzanKerasError
        Some of the data has a wrong shape.

    Examples
    --------
    >>> import pandas as pd
    >>> from gtzan_keras.report.page import figures
    >>> result = {
    ...     "data": {"genres": ["jazz", "rock"]}, "split": {"leaky": False}, "scores": {},
    ...     "training": {"best_epoch": 1},
    ... }
    >>> history = pd.DataFrame({"epoch": [1], "loss": [0.7], "accuracy": [0.5]})
    >>> tracks = pd.DataFrame({"track_id": ["a"], "genre": ["jazz"], "part": ["train"]})
    >>> sorted(figures(result, history, tracks, {}))
    ['class_distribution', 'history']
    """
    from gtzan_keras.report import plots

    if "part" not in tracks:
        raise GtzanKerasError(f"tracks: no column 'part' among {list(tracks.columns)}")
    parts = {
        str(name): group["track_id"].tolist()
        for name, group in tracks[tracks["part"] != "left out"].groupby("part")
    }
    usual = [name for name in ("train", "validation", "test") if name in parts]
    in_order = {name: parts[name] for name in [*usual, *sorted(set(parts) - set(usual))]}
    drawn = {
        "history": plots.history(history, result["training"]["best_epoch"]),
        "class_distribution": plots.class_distribution(tracks, in_order),
    }
    if result["split"]["leaky"]:
        _say_leaky(drawn)
    if examples:
        drawn["examples"] = plots.spectrogram_examples(examples, spec)
    return drawn | _score_figures(result)


def _score_figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures that rest on scores alone."""
    from gtzan_keras.report import plots

    drawn: dict[str, Figure] = {}
    genres = result["data"]["genres"]
    for name in ("test", "validation"):
        if scores := result["scores"].get(name):
            title = f"{scores['count']} {name} tracks"
            intervals = {metric: scores[metric] for metric in plots.METRICS}
            drawn["confusion_matrix"] = plots.confusion_matrix(scores["confusion_matrix"], genres, title)
            drawn["per_class"] = plots.per_class(pd.DataFrame(scores["per_class"]))
            drawn["intervals"] = plots.metric_intervals(intervals, chance=1 / len(genres))
            if scores.get("calibration"):
                drawn["reliability"] = plots.reliability(scores["calibration"])
            break
    if result["split"]["leaky"]:
        _say_leaky(drawn)
    return drawn


def _say_leaky(drawn: Mapping[str, Figure]) -> None:
    for figure in drawn.values():
        figure.supxlabel("leaky split", fontsize=10, color="#b00020", ha="center")


def write_figures(figures: Mapping[str, Figure], folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Save figures as PNG files, 120 dots an inch.

    Parameters
    ----------
    figures : mapping of str to matplotlib.figure.Figure
        By file stem.
    folder : str or os.PathLike
        Where to; made if need be.

    Returns
    -------
    dict of str to Path
        The files, by file stem; older ones are replaced.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report import plots
    >>> from gtzan_keras.report.page import write_figures
    >>> figure = plots.confusion_matrix([[9, 1], [4, 6]], ["jazz", "rock"])
    >>> write_figures({"confusion_matrix": figure}, tempfile.mkdtemp())["confusion_matrix"].name
    'confusion_matrix.png'
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for stem, figure in figures.items():
        buffer = io.BytesIO()
        # without the software's version in it, the same data gives the same file
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        paths[stem] = replace_file(folder / f"{stem}.png", _smaller(buffer))
    return paths


def _smaller(picture: io.BytesIO) -> bytes:
    """The same PNG in its 256 commonest colours: charts have few, and it takes a third of the space."""
    from PIL import Image

    small = io.BytesIO()
    with Image.open(picture) as opened:
        few = opened.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True)
    return small.getvalue()


def _read_result(path: Path) -> dict[str, Any]:
    """A run's `result.json` or `scores.json`, checked field by field."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GtzanKerasError(f"{path}: no such file; is this the folder of a run?") from error
    except ValueError as error:
        raise GtzanKerasError(f"{path}: not readable as JSON ({error})") from error
    _check(result, SCORES_LAYOUT if path.name == SCORES else LAYOUT, str(path), "")
    if result["format"] != 1:
        raise GtzanKerasError(
            f"{path}: field 'format' is {result['format']}, expected 1; "
            "it was written by another version, run the experiment again"
        )
    if not result["data"]["genres"]:
        raise GtzanKerasError(f"{path}: field 'data.genres' is empty, expected at least one genre")
    for name, part in result["scores"].items():
        if part is not None:
            _check(part, PART_LAYOUT, str(path), f"scores.{name}")
            for field, layout in NEWER_LAYOUT.items():
                if part.setdefault(field) is not None:
                    _check(part[field], layout, str(path), f"scores.{name}.{field}")
            if part["segments"] is not None:
                segments = {"count": int, "accuracy": NUMBER}
                _check(part["segments"], segments, str(path), f"scores.{name}.segments")
            _check_answers(part["tracks"], result["data"]["genres"], f"{path}: field 'scores.{name}")
    for kind in ("folds", "members"):
        for place, piece in enumerate(result.get(kind, [])):
            _check(piece, _PIECE, str(path), f"{kind}[{place}]")
    return result


def _check(value: Any, layout: Any, file: str, field: str) -> None:
    """Compare one value, and all it holds, with its layout."""
    kinds = layout if isinstance(layout, tuple) else (layout,)
    kinds = tuple(kind if isinstance(kind, type) else type(kind) for kind in kinds)
    if not isinstance(value, kinds) or (isinstance(value, bool) and layout is not bool):
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        names |= {dict: "an object", list: "a list", type(None): "null"}
        expected = " or ".join(names[kind] for kind in kinds)
        raise GtzanKerasError(f"{file}: field {field!r} is {value!r:.60}, expected {expected}")
    if isinstance(layout, dict):
        for key, inner in layout.items():
            inner_field = f"{field}.{key}" if field else key
            if key not in value:
                raise GtzanKerasError(f"{file}: field {inner_field!r} is missing")
            _check(value[key], inner, file, inner_field)
    elif isinstance(layout, list):
        for place, item in enumerate(value):
            _check(item, layout[0], file, f"{field}[{place}]")


def _check_answers(tracks: list[dict[str, Any]], genres: list[str], where: str) -> None:
    """Each answer is one of the genres, with a probability for each of them."""
    for place, track in enumerate(tracks):
        field = f"{where}.tracks[{place}]"
        if track["predicted"] not in genres:
            raise GtzanKerasError(f"{field}.predicted' is {track['predicted']!r}, expected one of {genres}")
        if len(track["probabilities"]) != len(genres):
            raise GtzanKerasError(
                f"{field}.probabilities' has {len(track['probabilities'])} numbers, "
                f"expected {len(genres)}: one a genre"
            )


def _pieces(result: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The folds or runs that were put together, each with the link to its page where it has one."""
    found = []
    for piece in result.get("folds") or result.get("members") or []:
        page = Path(piece["page"], "index.html") if "page" in piece else None
        link = quote(page.as_posix()) if page is not None and (folder / page).is_file() else None
        found.append({"train": None, **piece, "link": link})
    return found


def _read_history(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise GtzanKerasError(f"{path}: no such file; is this the folder of a run?") from error
    except ValueError as error:  # pandas' parser errors are of this kind
        raise GtzanKerasError(f"{path}: not readable as a CSV table ({error})") from error


def _mistakes(part: Mapping[str, Any], genres: list[str]) -> list[dict[str, Any]]:
    """The wrong answers, those first that the model was surest of."""
    wrong = [dict(track) for track in part["tracks"] if track["predicted"] != track["genre"]]
    for track in wrong:
        track["probability"] = track["probabilities"][genres.index(track["predicted"])]
    return sorted(wrong, key=lambda track: -track["probability"])


def _rank(run: Mapping[str, Any]) -> tuple[str, float, str]:
    """By data, then best test accuracy first, runs without a test last, then by name."""
    accuracy = run["test"]["accuracy"]["value"] if run["test"] else -1.0
    return run["result"]["data"]["name"], -accuracy, run["result"]["name"]


def _image(path: Path, alternative: str, caption: str) -> dict[str, Any]:
    """A PNG file as an embedded image; its size in CSS pixels (96 an inch) keeps the page still."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 24:
        raise GtzanKerasError(f"{path}: not a PNG image; write it again or remove it")
    width, height = (round(side * 96 / DPI) for side in struct.unpack(">II", data[16:24]))
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    return {
        "source": source, "width": width, "height": height,
        "alternative": alternative, "caption": caption, "stem": path.stem,
    }  # fmt: skip


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file in one step, so that nobody meets half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def render(template: str, **context: Any) -> str:
    """Fill one of the templates beside this file."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "interval": _interval, "decimal": _decimal, "plain": _plain}
    environment.filters["some"] = lambda facts, *names: [(n, facts[n]) for n in names if n in facts]
    return environment.get_template(template).render(**context)


def _percent(share: float | None, digits: int = 1) -> str:
    """0.38 as "38.0 %", with a space that doesn't break; a dash for what isn't known."""
    if share is None or not math.isfinite(share):
        return DASH
    return f"{100 * share:.{digits}f}\u00a0%"


def _decimal(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else DASH


def _interval(score: Mapping[str, float], digits: int = 1) -> str:
    """The ends of an interval as "24.1–54.9 %"."""
    if not (math.isfinite(score["low"]) and math.isfinite(score["high"])):
        return DASH
    return f"{100 * score['low']:.{digits}f}{DASH}{100 * score['high']:.{digits}f}\u00a0%"


def _plain(value: Any) -> str:
    """A setting as a reader would write it."""
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else DASH
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(_plain, value))
    return str(value)
