"""The report on hand-crafted features: each model under each split, many seeds, one page.

A cell of the table is one JSON file, made by one command; the page is made from all of them.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.files import write_json
from gtzan_keras.tracks import splits
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.cross_validate import (
    INPUTS,
    REPORT_SETTINGS,
    CrossValidation,
    cross_validate,
    row_folds,
    tracks_of,
)
from gtzan_keras.training.evaluate import RESAMPLES, interval

__all__ = ["INPUTS", "MODELS", "PUBLISHED", "SPLITS", "features_page", "score_cell", "score_table"]

MODELS = {
    "feature-cnn": "1-D CNN",
    "svm": "SVM (RBF)",
    "random_forest": "random forest",
    "knn": "k-NN",
    "logistic_regression": "logistic regression",
    "gradient_boosting": "gradient boosting",
}
SPLITS = {
    "rows": "random rows (leaky)",
    "stratified": "stratified folds",
    "artist": "artist-grouped folds",
    "fault-filtered": "fault-filtered",
}
"""In order of honesty."""

PUBLISHED: Mapping[tuple[str, str], tuple[float, Sequence[float]]] = {
    ("feature-cnn", "filtered"): (0.7170, (0.690, 0.695, 0.770, 0.675, 0.755)),
    ("feature-cnn", "mfcc"): (0.60, ()),
}
"""Mean accuracy and the five folds' of the feature 1-D CNN report (stratified folds)."""


def score_cell(
    table: pd.DataFrame,
    model: str,
    inputs: str,
    split: str,
    seeds: int,
    folder: str | os.PathLike[str],
    *,
    data: str,
    k: int = 5,
    without: Iterable[str] = (),
    command: str = "",
) -> Path:
    """Cross-validate one model on one table under one split, once a seed, and keep the scores.

    The interval is a 95 % percentile bootstrap interval over tracks of the accuracy averaged over
    seeds: a track counts by the share of seeds in which it was right. A seed drives both the folds
    and the model (the fault-filtered split is fixed: there it drives the model).

    Parameters
    ----------
    table : pd.DataFrame
        From `load_feature_table` or `feature_table`.
    model, inputs, split : str
        Keys of `MODELS`, `INPUTS` and `SPLITS`.
    seeds : int > 0
        Seeds 0, 1, ...
    folder : str or os.PathLike
        Gets one JSON file.
    data : str
        What the report calls the data.
    k : int >= 2
        Folds; not used with the fault-filtered split.
    without : iterable of str
        Genres left out.
    command : str
        That repeats it.

    Returns
    -------
    Path
        The JSON file.

    Raises
    ------
    GtzanKerasError
        A key is not known, or as `cross_validate`.

    Examples
    --------
    >>> import tempfile, json
    >>> import numpy as np, pandas as pd
    >>> from gtzan_keras.audio.features import FEATURE_COLUMNS
    >>> from gtzan_keras.report.features import score_cell
    >>> names = [f"{genre}.0000{n}.wav" for genre in ("jazz", "rock") for n in range(4)]
    >>> table = pd.DataFrame({"filename": names, "label": [name[:4] for name in names]})
    >>> for column in FEATURE_COLUMNS:
    ...     table[column] = np.repeat([0.0, 1.0], 4)
    >>> cell = ("logistic_regression", "all", "stratified", 2)
    >>> path = score_cell(table, *cell, tempfile.mkdtemp(), data="toy", k=2)
    >>> json.loads(path.read_text())["accuracy"]["value"]
    1.0
    """
    for field, value, known in (
        ("model", model, MODELS),
        ("inputs", inputs, INPUTS),
        ("split", split, SPLITS),
    ):
        if value not in known:
            raise GtzanKerasError(f"{field} is {value!r}; expected one of {', '.join(known)}")
    if seeds < 1:
        raise GtzanKerasError(f"seeds is {seeds}; expected at least 1")
    columns, threshold = INPUTS[inputs]
    left_out = sorted(without)
    begin = time.perf_counter()
    results = [
        cross_validate(
            _builder(model, table["label"].nunique() - len(left_out), threshold),
            table,
            _folds(table, split, k, seed),
            replace(REPORT_SETTINGS, seed=seed),
            columns=columns,
            threshold=threshold if model == "feature-cnn" else None,
            exclude_genres=left_out,
        )
        for seed in range(seeds)
    ]
    cell = {
        "format": 1,
        "data": data,
        "rows": len(results[0].rows),
        "tracks": len(results[0].tracks),
        "model": model,
        "inputs": inputs,
        "columns": int(results[0].folds["inputs"].max()),
        "split": split,
        "leaky": results[0].leaky,
        "without": left_out,
        "seeds": seeds,
        "folds": len(results[0].folds),
        "accuracy": _interval(results),
        "accuracy_by_seed": [float(result.scores()["accuracy"].mean()) for result in results],
        "accuracy_by_fold": [result.scores()["accuracy"].tolist() for result in results],
        "confusion_matrix": np.sum([result.confusion_matrix() for result in results], axis=0).tolist(),
        "genres": results[0].genres,
        "seconds": round(time.perf_counter() - begin, 1),
        "date": date.today().isoformat(),
        "command": command,
    }
    name = "-".join([data, model, inputs, split, *_exclusion(left_out, results[0].genres).split()])
    path = Path(folder) / f"{_file_name(name)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, cell)
    return path


def features_page(folder: str | os.PathLike[str]) -> Path:
    """Write ``README.md`` and the figures from all cells in a folder.

    Parameters
    ----------
    folder : str or os.PathLike
        Holds the JSON files of `score_cell`.

    Returns
    -------
    Path
        ``README.md`` in it, with a table a data set, every figure with interval, seeds and command.

    Raises
    ------
    GtzanKerasError
        There is no cell.
    """
    from gtzan_keras.report import plots
    from gtzan_keras.report.page import replace_file, write_figures

    folder = Path(folder)
    cells = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    if not cells:
        raise GtzanKerasError(f"{folder}: no scores here; make some with `gtzan-keras cross-validate`")
    lines = [
        "# Hand-crafted features",
        "",
        "Accuracy by track, mean over seeds, with its 95 % bootstrap interval over tracks. What is",
        "*published* comes from the feature 1-D CNN report; everything else was run with the commands",
        "below. Only the split differs between the columns of a row.",
        "",
    ]
    drawn = {}
    for data in sorted({cell["data"] for cell in cells}):
        own = [cell for cell in cells if cell["data"] == data]
        present = [split for split in SPLITS if any(cell["split"] == split for cell in own)]
        lines += [
            f"## {data}",
            "",
            f"| model | inputs | published | {' | '.join(SPLITS[s] for s in present)} |",
        ]
        lines += ["| --- | --- | --- |" + " --- |" * len(present)]
        for model, inputs, left_out in sorted({_row(cell) for cell in own}, key=_row_order):
            rows = {cell["split"]: cell for cell in own if _row(cell) == (model, inputs, left_out)}
            published = PUBLISHED.get((model, inputs)) if data.startswith("Kaggle") and not left_out else None
            any_cell = next(iter(rows.values()))
            label = f"{inputs} ({any_cell['columns']})"
            if left_out:
                label += f", {_exclusion(left_out, any_cell['genres'])}"
            shown = [_percent(rows[split]) if split in rows else "not run" for split in present]
            lines.append(
                f"| {MODELS[model]} | {label} | {f'{100 * published[0]:.1f} %' if published else ''} | "
                f"{' | '.join(shown)} |"
            )
        stem = f"ladder-{_file_name(data)}"
        steps = [
            cell
            for split in present
            for cell in own
            if cell["split"] == split
            and cell["inputs"] == ("filtered" if cell["model"] == "feature-cnn" else "all")
            and not cell["without"]
        ]
        if len(present) > 1 and steps:
            ladder = [
                {"model": MODELS[cell["model"]], "split": SPLITS[cell["split"]]}
                | {"accuracy": cell["accuracy"]["value"]}
                | {key: cell["accuracy"][key] for key in ("low", "high")}
                for cell in steps
            ]
            chance = {"chance": 1 / len(steps[0]["genres"])}  # one table's cells have the same genres
            drawn[stem] = plots.leakage_ladder(pd.DataFrame(ladder), chance)
            lines += ["", f"![The same models under different splits, {data}]({stem}.png)"]
        lines += [""]
    folds = _against_published(cells)
    if len(folds):
        names = {f"{MODELS[model]}, {inputs}": values for (model, inputs), (_, values) in PUBLISHED.items()}
        published_folds = {name: names[name] for name in sorted(set(folds["model"]))}
        drawn["folds"] = plots.fold_scores(folds, published=published_folds)
        lines += [
            "## The 1-D CNN's folds beside the published ones",
            "",
            "![Fold accuracies](folds.png)",
            "",
        ]
    lines += ["## Commands", "", "Each wrote one cell; seeds, seconds and date are those of that run.", ""]
    lines += ["| command | seeds | seconds | date |", "| --- | --- | --- | --- |"]
    lines += [f"| `{c['command']}` | {c['seeds']} | {c['seconds']:.0f} | {c['date']} |" for c in cells]
    write_figures(drawn, folder)
    return replace_file(folder / "README.md", ("\n".join(lines) + "\n").encode())


def score_table(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """The cells of a folder as a table, in the columns that `plots.leakage_ladder` draws.

    Parameters
    ----------
    folder : str or os.PathLike
        Holds the JSON files of `score_cell`.

    Returns
    -------
    pd.DataFrame [shape=(cells, 9)]
        ``data``, ``model``, ``inputs``, ``split`` (as the page calls them), ``without`` (genres left
        out), ``seeds``, ``accuracy``, ``low`` and ``high`` [0..1]. The splits come in order of honesty.
        Without a cell in the folder there is no row.

    Examples
    --------
    >>> import tempfile
    >>> from gtzan_keras.report.features import score_table
    >>> score_table(tempfile.mkdtemp()).empty
    True
    """
    cells = [json.loads(path.read_text("utf-8")) for path in sorted(Path(folder).glob("*.json"))]
    order = [*SPLITS]
    columns = ["data", "model", "inputs", "split", "without", "seeds", "accuracy", "low", "high"]
    rows = [
        [
            cell["data"],
            MODELS[cell["model"]],
            cell["inputs"],
            SPLITS[cell["split"]],
            ", ".join(cell["without"]),
            cell["seeds"],
            *(cell["accuracy"][key] for key in ("value", "low", "high")),
        ]
        for cell in sorted(cells, key=lambda cell: order.index(cell["split"]))
    ]
    return pd.DataFrame(rows, columns=columns)


def _builder(model: str, num_classes: int, threshold: float | None) -> Any:
    if model == "feature-cnn":
        from gtzan_keras.models.feature_networks import feature_cnn

        return lambda features: feature_cnn((features,), num_classes)
    from gtzan_keras.training.classical import classical

    return lambda: classical(model, threshold=threshold)


def _folds(table: pd.DataFrame, split: str, k: int, seed: int) -> list[Split]:
    if split == "rows":
        return row_folds(table, k, seed)
    tracks = tracks_of(table)
    if split == "fault-filtered":
        return [splits.fault_filtered(tracks)]
    return splits.folds(tracks, k, group="artist" if split == "artist" else None, seed=seed)


def _interval(results: Sequence[CrossValidation]) -> dict[str, float]:
    """Mean over seeds of the accuracy by track, with its bootstrap interval over tracks.

    Not `interval_scores`: a track of which leaky folds test several rows counts once here, whatever
    their number.
    """
    right = pd.concat(
        (result.tracks["genre"] == result.tracks["predicted"]).groupby(result.tracks["track_id"]).mean()
        for result in results
    )
    by_track = right.groupby(level=0).mean().to_numpy()
    draws = np.random.default_rng(0).integers(len(by_track), size=(RESAMPLES, len(by_track)))
    return interval(by_track.mean(), by_track[draws].mean(axis=1))


def _against_published(cells: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Fold accuracies of the cells whose folds have published ones."""
    rows = [
        (f"{MODELS[cell['model']]}, {cell['inputs']}", fold, value)
        for cell in cells
        if PUBLISHED.get((cell["model"], cell["inputs"]), (0, ()))[1]
        and cell["split"] == "stratified"
        and not cell["without"]
        for folds in cell["accuracy_by_fold"]
        for fold, value in enumerate(folds, start=1)
    ]
    return pd.DataFrame(rows, columns=["model", "fold", "accuracy"])


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text)


def _exclusion(left_out: Sequence[str], kept: Sequence[str]) -> str:
    """The shorter way to say it."""
    if not left_out:
        return ""
    return f"without {', '.join(left_out)}" if len(left_out) <= len(kept) else f"{', '.join(kept)} only"


def _row(cell: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    return cell["model"], cell["inputs"], tuple(cell["without"])


def _row_order(row: tuple[str, str, tuple[str, ...]]) -> tuple[int, int, tuple[str, ...]]:
    return list(MODELS).index(row[0]), list(INPUTS).index(row[1]), row[2]


def _percent(cell: Mapping[str, Any]) -> str:
    score = cell["accuracy"]
    spread = "" if cell["seeds"] == 1 else f", {cell['seeds']} seeds"
    return f"{100 * score['value']:.1f} % ({100 * score['low']:.1f} to {100 * score['high']:.1f}{spread})"
