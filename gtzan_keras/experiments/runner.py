"""The one function that runs a recipe, from audio, a store or a table to scores and pages."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments.catalogue import find
from gtzan_keras.experiments.inputs import Sources, deviations, find_sources
from gtzan_keras.experiments.recipe import Recipe
from gtzan_keras.tracks import splits
from gtzan_keras.tracks.splits import PRESETS, Split
from gtzan_keras.training.evaluate import SCORES, result_path
from gtzan_keras.training.settings import TrainingSettings

__all__ = ["PROTOCOLS", "protocol_of", "run"]

logger = logging.getLogger(__name__)

PROTOCOLS: Mapping[str, str] = {
    "published": "same protocol",
    "random": "random tracks",
    "artist": "artist-grouped folds",
    "fault-filtered": "fault-filtered",
}
"""How a recipe can be split, in order of honesty."""

SEGMENT_SPLITS: Mapping[str, tuple[tuple[float, float, float], int | None]] = {
    "segments 80/20": (PRESETS["72/8/20"], None),
    "segments 918-273-280": ((918 / 1471, 273 / 1471, 280 / 1471), 1471),
}
"""Leaky splits of pieces: shares of training, validation and test, and how many pieces in all."""

FOLDS = 5

_OWN = ("epochs", "best_epoch", "seconds", "first_stage")


@dataclass(frozen=True)
class _Seed:
    """One seed of a recipe under one protocol: all that a result depends on, and where it goes."""

    recipe: Recipe
    sources: Sources
    protocol: str
    seed: int
    max_epochs: int | None
    weights: str | None
    command: str
    target: Path

    @property
    def name(self) -> str:
        return f"{self.recipe.name}, {self.protocol}, seed {self.seed}"

    @property
    def settings(self) -> TrainingSettings:
        """The recipe's settings, for no more epochs than asked for, in the policy that is set."""
        import keras

        given = dict(self.recipe.training)
        if self.sources.table is not None:
            given = {"schedule": "step", "keep_best": False, **given}
            given.pop("halve_every", None)
        else:
            words = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
            given["precision"] = words.get(keras.config.dtype_policy().name, "auto")
        settings = TrainingSettings.from_dict({**given, "seed": self.seed})
        epochs = min(self.max_epochs or settings.epochs, settings.epochs)
        return replace(settings, epochs=epochs)


def run(
    name: str,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    *,
    protocol: str | None = None,
    seeds: int = 1,
    max_epochs: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] = "reports",
    stores: str | os.PathLike[str] = "data/stores",
    weights: str | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    jobs: int = -1,
    command: str = "",
    verbose: int = 2,
) -> list[Path]:
    """Run a recipe: preprocess what is missing, train, score, and write summary and pages.

    Stores and runs that are there already are used again; an interrupted training goes on at its last
    epoch.

    Parameters
    ----------
    name : str
        Of the recipe; see `gtzan_keras.experiments.RECIPES`.
    data : path, or several
        A folder of genre folders, a store of spectrograms or embeddings (``.h5``), a table of features
        (``.csv``); a model of spectrograms and features needs a store and a table. A store of another spec
        than the recipe's is used as it is, and the result says so. The packaged thumbnails and feature
        table of GTZAN when left out.
    protocol : str, optional
        One of `PROTOCOLS`. When left out, as published; a recipe whose published protocol leaks runs
        on random tracks too, so that both figures stand side by side.
    seeds : int > 0
        Seeds 0, 1, ...: of weights, batches, and of the split where it is drawn.
    max_epochs : int, optional
        Train for no more than these; the summary says so.
    arguments : mapping, optional
        Of the builder, in place of the recipe's, such as ``{"size": "xs"}``; the summary says so.
    out : path
        ``out/<recipe>/<protocol>`` gets ``summary.json`` and a folder a seed.
    stores : path
        Where stores, tables and embeddings made from audio are kept.
    weights : str, optional
        In place of the recipe's pretrained weights: a file or folder, or "none" to start from random
        ones, which the summary says.
    precision : "auto", "float32" or "bfloat16"
        Of every model, also those of features; see `gtzan_keras.training.precision.use_precision`. "auto"
        keeps to the policy that is set, when that is not float32.
    jobs : int
        Worker processes of preprocessing; -1 uses every core.
    command : str
        For the record.
    verbose : int
        As Keras' ``fit``.

    Returns
    -------
    list of Path
        The summaries written, one a protocol.

    Raises
    ------
    GtzanKerasError
        The recipe or protocol is not known, data of a kind that it can not use, weights that can not
        be had, or as `train`.

    Examples
    --------
    >>> from gtzan_keras import experiments
    >>> experiments.run("arrigo/01", "data/gtzan", protocol="fault-filtered", seeds=3)  # doctest: +SKIP
    [PosixPath('reports/arrigo/01/fault-filtered/summary.json')]
    """
    recipe = find(name)
    if protocol is not None and protocol not in PROTOCOLS:
        raise GtzanKerasError(f"split is {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    for field, value in (("seeds", seeds), ("max_epochs", 1 if max_epochs is None else max_epochs)):
        if value < 1:
            raise GtzanKerasError(f"{field} is {value}; expected a whole number above 0")
    wanted = [protocol] if protocol else ["published", *(["random"] if recipe.leaky else [])]
    wanted = [protocol_of(recipe, p) for p in wanted]
    given = [Path(path) for path in ([data] if isinstance(data, (str, os.PathLike)) else data)]
    folder = Path(out) / recipe.name
    if recipe.members:
        return [_ensemble(recipe, Path(out), p, seeds, command) for p in wanted]
    sources = find_sources(recipe, given, Path(stores), jobs, weights)
    differences = [
        f"{name} {value!r} in place of {recipe.arguments.get(name, 'the default')!r}"
        for name, value in (arguments or {}).items()
    ]
    recipe = replace(recipe, arguments={**recipe.arguments, **(arguments or {})})
    differences += deviations(recipe, sources, weights)
    import keras

    from gtzan_keras.training.precision import use_precision

    before = keras.config.dtype_policy()
    use_precision(precision)
    paths = []
    try:
        for chosen in wanted:
            results = [
                _one_seed(
                    _Seed(
                        *(recipe, sources, chosen, seed, max_epochs, weights, command),
                        target=folder / chosen / f"seed{seed}",
                    ),
                    verbose,
                )
                for seed in range(seeds)
            ]
            paths.append(_summary(recipe, chosen, results, folder / chosen, max_epochs, differences, command))
        return paths
    finally:
        keras.config.set_dtype_policy(before)


def protocol_of(recipe: Recipe, protocol: str) -> str:
    """The protocol under which a run is kept, when two are the same split for a recipe.

    A published split of random tracks is the "random" one too; our own recipes are published on none
    but the fault-filtered split.

    Examples
    --------
    >>> from gtzan_keras.experiments import find
    >>> from gtzan_keras.experiments.runner import protocol_of
    >>> protocol_of(find("malvezzi/basic-cnn"), "random")
    'published'
    """
    if protocol == "random" and (recipe.split in PRESETS or recipe.split.endswith("folds")):
        return "published"
    if protocol == "published" and recipe.split == "fault-filtered":
        return "fault-filtered"
    return protocol


# --- data ------------------------------------------------------------------------------------------


def _splits(one: _Seed) -> list[Split]:
    recipe, sources, protocol, seed = one.recipe, one.sources, one.protocol, one.seed
    tracks = sources.tracks
    trains_on_validation = sources.table is not None  # models of features stop early on nothing
    share = 0.0 if trains_on_validation else 0.15
    name = recipe.split if protocol == "published" else protocol
    if name in SEGMENT_SPLITS:
        from gtzan_keras.training.cross_validate import random_segments

        assert sources.store is not None
        shares, count = SEGMENT_SPLITS[name]
        return [random_segments(sources.store, shares, seed, count, recipe.without)]
    if name == "random":
        name = "80/20" if trains_on_validation else "70/15/15"
    if name in PRESETS:
        found = [splits.stratified(tracks, name, seed)]
    elif name == "fault-filtered":
        found = [splits.fault_filtered(tracks)]
    else:
        group: Any = "artist" if name == "artist" else None
        found = splits.folds(tracks, FOLDS, group=group, seed=seed, validation=share)
    if recipe.trains_on_validation:
        found = [replace(split, train=split.train + split.validation, validation=()) for split in found]
    return [split.without(tracks, recipe.without) for split in found] if recipe.without else found


# --- one seed --------------------------------------------------------------------------------------


def _one_seed(one: _Seed, verbose: int) -> dict[str, Any]:
    """The result of one seed: that of an earlier run, or of a new one."""
    key = _key(one)
    result = _finished(one.target, key)
    if result is None:
        result = _pictures(one, verbose) if one.sources.table is None else _features(one)
        _keep(one.target, result, key)
    return result


def _pictures(one: _Seed, verbose: int) -> dict[str, Any]:
    """Train on a store, once a fold, and pool the folds' test tracks."""
    import keras

    from gtzan_keras import models
    from gtzan_keras.report.page import report_run, write_figures
    from gtzan_keras.report.plots import grid_heat_map
    from gtzan_keras.training.epochs_by_folds import train_kfold_then_full
    from gtzan_keras.training.evaluate import evaluate
    from gtzan_keras.training.fine_tune import fine_tune
    from gtzan_keras.training.fit import train
    from gtzan_keras.training.search import divided, grid_search

    recipe, seed, max_epochs, store = one.recipe, one.seed, one.max_epochs, one.sources.store
    assert store is not None
    store = store.without(recipe.without) if recipe.without else store
    settings = one.settings
    shape: tuple[int | None, ...] = store.spec.shape
    if recipe.training.get("augmentation", {}).get("crop"):
        shape = (shape[0], None, shape[2])  # learns from segments, answers for whole clips
    arguments = dict(recipe.arguments)
    if recipe.pretrained and recipe.builder != "vggish_classifier":
        arguments["weights"] = {None: recipe.pretrained, "none": None}.get(one.weights, one.weights)

    def build(**changed: Any) -> keras.Model:
        keras.utils.set_random_seed(seed)  # before building: the initial weights are drawn there
        builder = getattr(models, recipe.builder)
        return builder(shape, len(store.genres), name=recipe.builder, **{**arguments, **changed})

    parts = _splits(one)
    results = []
    for number, split in enumerate(parts, start=1):
        folder = one.target if len(parts) == 1 else one.target / f"fold{number}"
        seconds = 0.0
        if recipe.grid:
            table = grid_search(
                build,
                store,
                split,
                recipe.grid,
                settings,
                out=folder / "search",
                verbose=verbose,
            )
            seconds = float(table["seconds"].sum())
            if len(recipe.grid) == 2:
                write_figures({"grid": grid_heat_map(table, *recipe.grid)}, folder)
            of_build, of_training = divided({name: table[name].iloc[0] for name in recipe.grid})
            arguments |= of_build
            settings = replace(settings, **of_training)
        record = {
            "data": one.sources.name,
            "builder": recipe.builder,
            "arguments": arguments,
            "command": one.command,
        }
        options: dict[str, Any] = {"out": folder, "resume": True, "facts": record, "verbose": verbose}
        if recipe.kfold:
            group: Any = None if one.protocol in ("published", "random") else "artist"
            made = train_kfold_then_full(
                build, store, split, settings, k=recipe.kfold, group=group, **options
            )
        else:
            label = one.name + (f", fold {number}" if len(parts) > 1 else "")
            made = train(build(), store, split, settings, name=label, **options)
        if recipe.fine_tune:
            second = dict(recipe.fine_tune)
            if max_epochs is not None:
                second["epochs"] = min(max_epochs, second["epochs"])
            layer = second.pop("trainable_from", "block3_conv1")
            second = {"learning_rate": 1e-5, "epochs": 30, **second}
            made = fine_tune(made, layer, replace(settings, **second), resume=True, verbose=verbose)
        seconds += made.outcome.seconds + made.facts.get("kfold", {}).get("seconds", 0.0)
        results.append({**evaluate(made), "seconds": seconds})
        # Says from now on whose it is: a fold, or a seed that is not complete, is no run by itself.
        fold = {"fold": number} if len(parts) > 1 else {}
        _keep(folder, results[-1], {"recipe": recipe.name, "protocol": one.protocol, "seed": seed, **fold})
        report_run(made)
        policy = keras.config.dtype_policy()
        keras.backend.clear_session()  # which would forget the precision too
        keras.config.set_dtype_policy(policy)
    return results[0] if len(results) == 1 else _pooled(results, one.name)


def _features(one: _Seed) -> dict[str, Any]:
    """Cross-validate a model of hand-crafted features on one seed's folds."""
    from gtzan_keras import models
    from gtzan_keras.report.features import INPUTS
    from gtzan_keras.training.classical import CLASSICAL, classical
    from gtzan_keras.training.cross_validate import cross_validate
    from gtzan_keras.training.evaluate import score_tracks
    from gtzan_keras.training.run import environment

    recipe, table, store = one.recipe, one.sources.table, one.sources.store
    assert table is not None
    columns, threshold = INPUTS[recipe.inputs]
    genres = table["label"].nunique() - len(recipe.without)
    is_classical = recipe.builder in CLASSICAL

    def build(features: int) -> Any:
        if is_classical:
            return classical(recipe.builder, threshold=threshold, **recipe.arguments)
        shapes = [(features,)] if store is None else [(features,), store.spec.shape]
        return getattr(models, recipe.builder)(*shapes, genres, **recipe.arguments)

    settings = one.settings
    begin = time.perf_counter()
    found = cross_validate(
        build,
        table,
        _splits(one),
        settings,
        columns=columns,
        threshold=None if is_classical else threshold,
        exclude_genres=recipe.without,
        spectrograms=store,
    )
    seconds = time.perf_counter() - begin
    facts = one.sources.tracks.set_index("track_id")
    by_fold = [
        [
            {
                "track_id": row["track_id"],
                "genre": row["genre"],
                "predicted": row["predicted"],
                "artist": facts.at[row["track_id"], "artist"],
                "title": facts.at[row["track_id"], "title"],
                "probabilities": [round(float(row[genre]), 5) for genre in found.genres],
            }
            for row in rows.to_dict("records")
        ]
        for _, rows in found.tracks.groupby("fold")
    ]
    tracks = [track for fold in by_fold for track in fold]
    names, trained = found.folds["fold"].tolist(), found.folds["train"].tolist()
    name, folds = recipe.split if one.protocol == "published" else one.protocol, []
    if len(by_fold) > 1:
        name = _folds_name(names)
        scored = [score_tracks(fold, found.genres) for fold in by_fold]
        folds = [_line(*what, train=train) for *what, train in zip(names, scored, trained, strict=True)]
    return {
        "format": 1,
        "name": one.name,
        "data": {
            "name": one.sources.name,
            "tracks": int(facts["genre"].isin(found.genres).sum()),
            "genres": found.genres,
        },
        "split": {
            "name": name,
            "leaky": found.leaky,
            **({} if folds else {"train": trained[0], "test": len(tracks)}),
            "missing": list(found.missing),
        },
        "folds": folds,
        "model": {"builder": recipe.builder, "arguments": {**recipe.arguments, "inputs": recipe.inputs}},
        "training": {**settings.to_dict(), "max_epochs": settings.epochs},
        "environment": environment(),
        "date": date.today().isoformat(),
        "command": one.command,
        "seconds": round(seconds, 1),
        "scores": {"validation": None, "test": score_tracks(tracks, found.genres)},
    }


def _line(name: str, scores: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """One of several that are put together, as the page shows it."""
    shown = {key: scores[key] for key in ("count", "accuracy", "macro_precision")}
    return {"name": name, **facts, **shown}


def _folds_name(names: Sequence[str]) -> str:
    return f"{names[0].split(' fold ')[0]} folds ({len(names)})"


def _pooled(results: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The folds' test tracks as one test part."""
    from gtzan_keras.training.evaluate import score_tracks

    first = results[0]
    genres = first["data"]["genres"]
    tracks = [track for result in results for track in result["scores"]["test"]["tracks"]]
    return {
        **{
            key: first[key]
            for key in ("format", "data", "model", "training", "environment", "date", "command")
        },
        "name": name,
        "spec": first["spec"],
        # How long and to which epoch is each fold's own.
        "training": {key: value for key, value in first["training"].items() if key not in _OWN},
        "seconds": sum(result["seconds"] for result in results),
        "split": {
            "name": _folds_name([result["split"]["name"] for result in results]),
            "leaky": first["split"]["leaky"],
            "missing": sorted({track_id for result in results for track_id in result["split"]["missing"]}),
        },
        "folds": [
            _line(
                result["split"]["name"],
                result["scores"]["test"],
                train=result["split"]["train"],
                page=f"fold{number}",
            )
            for number, result in enumerate(results, start=1)
        ],
        "scores": {"validation": None, "test": score_tracks(tracks, genres)},
    }


def _ensemble(recipe: Recipe, out: Path, protocol: str, seeds: int, command: str) -> Path:
    """Average the probabilities of runs that are there already."""
    from gtzan_keras.training.compare import ensemble

    target = out / recipe.name / protocol
    results, lines, absent = [], [], []
    for member in recipe.members:
        for seed in range(seeds):
            path = result_path(out / member / protocol / f"seed{seed}")
            if path.is_file():
                results.append(json.loads(path.read_text("utf-8")))
                page = Path(os.path.relpath(path.parent, target / "seed0")).as_posix()
                lines.append(_line(results[-1]["name"], results[-1]["scores"]["test"], page=page))
            else:
                absent.append(f"{member}, seed {seed}")
    if absent:
        raise GtzanKerasError(
            f"recipe {recipe.name} averages runs that are not in {out}: {'; '.join(absent)}; run "
            f"`gtzan-keras run {absent[0].split(',')[0]} --split {protocol} --seeds {seeds}` first"
        )
    result = {
        **{key: results[0][key] for key in ("format", "data", "split", "environment")},
        "name": f"{recipe.name}, {protocol}",
        "model": {"builder": "ensemble", "arguments": {"members": list(recipe.members), "seeds": seeds}},
        "members": lines,
        "training": {},
        "date": date.today().isoformat(),
        "command": command,
        "scores": {"validation": None, "test": ensemble(results)},
    }
    _keep(target / "seed0", result, {"recipe": recipe.name, "protocol": protocol, "seeds": seeds})
    differences: list[str] = []
    for member in recipe.members:
        summary = json.loads((out / member / protocol / "summary.json").read_text("utf-8"))
        differences += [text for text in summary["deviations"] if text not in differences]
    return _summary(recipe, protocol, [result], target, None, differences, command)


# --- what is kept ----------------------------------------------------------------------------------


def _key(one: _Seed) -> dict[str, Any]:
    """All that decides on a result, so that a run is used again exactly when it would be the same."""
    import keras

    recipe, sources, digest = one.recipe, one.sources, hashlib.sha256()
    if sources.table is not None:
        digest.update(pd.util.hash_pandas_object(sources.table).to_numpy().tobytes())
    if sources.store is not None:
        digest.update(sources.store.checksum.encode())
    what = repr((recipe.data, recipe.builder, recipe.arguments, recipe.split, recipe.training, recipe.inputs,
                 recipe.without, recipe.fine_tune, recipe.grid, recipe.kfold,
                 *([True] if recipe.trains_on_validation else [])))  # fmt: skip
    return {
        "recipe": recipe.name,
        "settings": hashlib.sha256(what.encode()).hexdigest()[:16],
        "protocol": one.protocol,
        "seed": one.seed,
        "max_epochs": one.max_epochs,
        "weights": one.weights,
        "data": digest.hexdigest()[:16],
        "precision": keras.config.dtype_policy().name,
    }


def _finished(target: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of an earlier run of the same recipe on the same data, if there is one."""
    path = result_path(target)
    if not path.is_file():
        return None
    result = json.loads(path.read_text("utf-8"))
    if result.get("recipe") != key:
        return None
    logger.info("%s: there already", target)
    return result


def _keep(target: Path, result: Mapping[str, Any], key: Mapping[str, Any]) -> None:
    """Write the result; what is no single training gets its page here, the others have theirs."""
    from gtzan_keras.report.page import report_scores
    from gtzan_keras.store.files import write_json

    target.mkdir(parents=True, exist_ok=True)
    path = result_path(target)
    write_json(path, {**result, "recipe": dict(key)})
    if path.name == SCORES:
        report_scores(target)


def _summary(
    recipe: Recipe,
    protocol: str,
    results: Sequence[Mapping[str, Any]],
    folder: Path,
    max_epochs: int | None,
    differences: Sequence[str],
    command: str,
) -> Path:
    """Average the seeds, with intervals, into ``summary.json``."""
    from gtzan_keras.store.files import write_json
    from gtzan_keras.training.compare import across_seeds

    first = results[0]
    epochs = recipe.training.get("epochs")
    cut = (
        [f"at most {max_epochs} epochs in place of {epochs}"]
        if max_epochs and epochs and max_epochs < epochs
        else []
    )
    segments = [result["scores"]["test"].get("segments") for result in results]
    path = folder / "summary.json"
    write_json(
        path,
        {
            "format": 1,
            "recipe": recipe.name,
            "protocol": protocol,
            "split": first["split"]["name"],
            "leaky": first["split"]["leaky"],
            "data": first["data"]["name"],
            "data_tracks": first["data"]["tracks"],
            "tracks": first["scores"]["test"]["count"],
            "seeds": len(results),
            **({"members": len(first["members"])} if "members" in first else {}),
            "deviations": [*differences, *cut],
            "scores": across_seeds(results),
            # Ends of intervals are averaged like the figures themselves.
            "segments": {
                "count": segments[0]["count"],
                **{
                    name: sum(part[key] for part in segments) / len(segments)
                    for name, key in (("value", "accuracy"), ("low", "low"), ("high", "high"))
                },
            }
            if all(segments)
            else None,
            "date": first["date"],
            "command": command or first["command"],
            # Of all trainings; results of version 0.1 know those of the last one alone.
            "seconds": sum(result.get("seconds", result["training"].get("seconds", 0)) for result in results),
        },
    )
    return path
