"""The function that runs a recipe, from audio, a store or a table to results on disk. It draws nothing."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments.catalogue import DESCRIPTIONS, find, in_words, plain
from gtzan_keras.experiments.inputs import Inputs, departures, digest_of_weights, find_inputs
from gtzan_keras.experiments.recipe import EMBEDDINGS, Recipe
from gtzan_keras.parallel import in_parallel
from gtzan_keras.tracks import splits
from gtzan_keras.tracks.splits import PRESETS, Split
from gtzan_keras.training.classical import classical
from gtzan_keras.training.compare import ensemble
from gtzan_keras.training.cross_validate import (
    INPUTS,
    CrossValidation,
    cross_validate,
    random_segments,
    row_folds,
)
from gtzan_keras.training.epochs_by_folds import train_kfold_then_full
from gtzan_keras.training.evaluate import run_result, score_tracks
from gtzan_keras.training.fine_tune import fine_tune
from gtzan_keras.training.fit import train
from gtzan_keras.training.results import RESULT, read_result, read_summary, write_result
from gtzan_keras.training.run import environment
from gtzan_keras.training.search import divided, grid_search
from gtzan_keras.training.settings import TrainingSettings

__all__ = ["PROTOCOLS", "protocol_of", "run"]

PROTOCOLS: Mapping[str, str] = {
    "published": "same split",
    "random": "random tracks",
    "artist": "artist-grouped folds",
    "fault-filtered": "fault-filtered",
}
"""The splits of a recipe: as published, or the same for all recipes, the strictest last."""

SEGMENT_SPLITS: Mapping[str, tuple[tuple[float, float, float], int | None]] = {
    "segments 80/20": (PRESETS["72/8/20"], None),
    "segments 918-273-280": ((918 / 1471, 273 / 1471, 280 / 1471), 1471),
}
"""Leaky splits of segments: shares of training, validation and test, and the total number of segments."""

FOLDS = 5

Result = tuple[dict[str, Any], pd.DataFrame, "pd.DataFrame | None"]
"""The arguments of `write_result`: the result, its tracks, and its history."""


@dataclass(frozen=True)
class Experiment:
    """A recipe under one protocol: all that a result depends on, except the seed."""

    recipe: Recipe
    inputs: Inputs
    protocol: str
    weights: str | None
    departures: tuple[str, ...]
    command: str

    @property
    def key(self) -> dict[str, str]:
        """Digests of what decides the result; equal keys mean the same experiment."""
        recipe = asdict(self.recipe)
        settings = recipe.pop("settings")
        for field in (*DESCRIPTIONS, "leaky"):
            del recipe[field]
        if recipe["fine_tune"] and not recipe["fine_tune"]["augmentation"]:
            del recipe["fine_tune"]["augmentation"]  # as before this field existed
        return {
            "recipe": _digest(recipe),
            "settings": _digest(settings),
            "data": self.inputs.digest,
            "weights": digest_of_weights(self.weights),
            "split": _digest([asdict(split) for split in _splits(self, 0)]),  # stands for all seeds
        }

    def settings(self, seed: int) -> TrainingSettings:
        return replace(self.recipe.settings or TrainingSettings(), seed=seed)

    def name(self, seed: int) -> str:
        return f"{self.recipe.name}, {self.protocol}, seed {seed}"

    def facts(self, seed: int) -> dict[str, Any]:
        """Return the facts of a result besides its scores; a training has its own date and environment."""
        return {
            "name": self.name(seed),
            "recipe": self.recipe.name,
            "protocol": self.protocol,
            "seed": seed,
            "departures": list(self.departures),
            "environment": environment(),
            "date": date.today().isoformat(),
            "command": self.command,
        }


def run(
    name: str,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    *,
    protocol: str | None = None,
    seeds: int = 1,
    max_epochs: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] = "runs",
    stores: str | os.PathLike[str] = "data/stores",
    weights: str | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = None,
    jobs: int = -1,
    command: str = "",
    verbose: int = 2,
) -> list[Path]:
    """Run a recipe: make missing stores, train, score, and write a result for each seed.

    Existing stores and results are used again; an interrupted training continues at its last epoch. On a
    cluster seeds and folds are trained in parallel; see `gtzan_keras.parallel.on_cluster`.

    Parameters
    ----------
    name : str
        Name of the recipe; see `gtzan_keras.experiments.RECIPES`.
    data : path, or several
        A folder of genre folders, a store of spectrograms or embeddings (``.h5``), a table of features
        (``.csv``); a model of spectrograms and features needs a store and a table. A store with a spec other
        than the recipe's is used as it is, and the result says so. By default the packaged thumbnails and
        feature table of GTZAN.
    protocol : str, optional
        One of `PROTOCOLS`. By default as published; a recipe whose published protocol leaks is also run on
        random tracks, so that both figures are available.
    seeds : int >= 1
        Seeds 0, 1, ... of weights, batches, and the split if it is random.
    max_epochs : int, optional
        Upper limit, for a recipe that is trained in epochs; the result says so.
    arguments : mapping, optional
        Builder arguments in place of the recipe's, such as ``{"size": "xs"}``; the result says so.
    out : path
        ``out/<recipe>/<protocol>/seed<n>`` gets the results; see `gtzan_keras.training.results`.
    stores : path
        Folder for stores, tables and embeddings made from audio.
    weights : str, optional
        Weights in place of the recipe's pretrained ones: a file or folder, or "none" to start from
        random ones; the result says so.
    precision : "auto", "float32" or "bfloat16", optional
        Precision of training, in place of the recipe's; see `gtzan_keras.TrainingSettings`.
    jobs : int
        Worker processes of preprocessing; -1 uses every core.
    command : str
        Command line, for the record.
    verbose : int
        As in Keras' ``fit``.

    Returns
    -------
    list of Path
        The folders ``out/<recipe>/<protocol>``, one per protocol.

    Raises
    ------
    GtzanKerasError
        The recipe or protocol is not known, the data is not of the kind that the recipe needs, weights are
        missing, an option has no effect on the recipe, a folder holds results of another experiment, or as
        `train`.

    Examples
    --------
    >>> from gtzan_keras import experiments
    >>> experiments.run("arrigo/01", "data/gtzan", protocol="fault-filtered", seeds=3)  # doctest: +SKIP
    [PosixPath('runs/arrigo/01/fault-filtered')]
    """
    recipe = find(name)
    if protocol is not None and protocol not in PROTOCOLS:
        raise GtzanKerasError(f"protocol={protocol!r} (--split): expected one of {', '.join(PROTOCOLS)}")
    if seeds < 1:
        raise GtzanKerasError(f"seeds={seeds}: expected a whole number >= 1")
    _check_options(recipe, max_epochs, precision, weights)
    wanted = [protocol] if protocol else ["published", *(["random"] if recipe.leaky else [])]
    wanted = [protocol_of(recipe, one) for one in wanted]
    if recipe.members:
        return [_ensemble(recipe, Path(out), one, seeds, command) for one in wanted]
    given = [Path(path) for path in ([data] if isinstance(data, (str, os.PathLike)) else data)]
    inputs = find_inputs(recipe, given, Path(stores), jobs, weights)
    changed, differences = _changed(recipe, arguments or {}, max_epochs, precision)
    differences += departures(recipe, inputs, weights)
    folders = []
    for one in wanted:
        experiment = Experiment(changed, inputs, one, weights, tuple(differences), command)
        folder, key = Path(out) / recipe.name / one, experiment.key
        _check_folder(folder, key)
        missing = [seed for seed in range(seeds) if not (folder / f"seed{seed}" / RESULT).is_file()]
        results: Iterable[Result] = (
            _trained(experiment, missing, folder, verbose)
            if inputs.table is None
            else map(partial(_cross_validate, experiment), missing)
        )
        for seed, (result, tracks, history) in zip(missing, results, strict=True):
            # A training that was resumed recorded the command that began it.
            own = {"command": command, "key": key}
            facts = {**experiment.facts(seed), **result, **own}
            write_result(folder / f"seed{seed}", facts, tracks, history)
        folders.append(folder)
    return folders


def protocol_of(recipe: Recipe, protocol: str) -> str:
    """Return the protocol under which a run is kept, if two are the same split for a recipe.

    A published split of random tracks is also the "random" one; our own recipes are published on the
    fault-filtered split only.

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


def _check_options(recipe: Recipe, max_epochs: int | None, precision: Any, weights: str | None) -> None:
    """Refuse what has no effect on the recipe."""
    given = {"max_epochs": max_epochs, "precision": precision} if recipe.settings is None else {}
    if not recipe.pretrained and EMBEDDINGS.keys().isdisjoint(recipe.kinds):
        given["weights"] = weights
    for name, value in given.items():
        if value is not None:
            what = "starts from no pretrained weights" if name == "weights" else "is not trained in epochs"
            option = name.replace("_", "-")
            raise GtzanKerasError(f"{name}={value!r}: recipe {recipe.name} {what}; omit --{option}")
    if max_epochs is not None and max_epochs < 1:
        raise GtzanKerasError(f"max_epochs={max_epochs}: expected a whole number >= 1")


def _changed(
    recipe: Recipe, arguments: Mapping[str, Any], max_epochs: int | None, precision: Any
) -> tuple[Recipe, list[str]]:
    """Return the recipe with the caller's changes, and in words how that departs from it."""
    arguments = plain(dict(arguments))
    differences = [
        f"{name} {in_words(value)} in place of {in_words(recipe.arguments.get(name, 'the default'))}"
        for name, value in arguments.items()
        if recipe.arguments.get(name) != value
    ]
    recipe = replace(recipe, arguments={**recipe.arguments, **arguments})
    settings, second = recipe.settings, recipe.fine_tune
    if settings is not None and precision is not None:
        settings = replace(settings, precision=precision)
    if settings is not None and max_epochs is not None and max_epochs < settings.epochs:
        differences.append(f"at most {max_epochs} epochs in place of {settings.epochs}")
        settings = replace(settings, epochs=max_epochs)
    if second is not None and max_epochs is not None:
        second = replace(second, epochs=min(max_epochs, second.epochs))
    return replace(recipe, settings=settings, fine_tune=second), differences


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _check_folder(folder: Path, key: Mapping[str, str]) -> None:
    """Refuse a folder with results of another experiment: seeds of two must not be averaged."""
    for path in sorted(folder.glob(f"seed*/{RESULT}")):
        found = {"split": key.get("split"), **(read_summary(path.parent).get("key") or {})}  # older: none
        if differ := [name for name in key if found.get(name) != key[name]]:
            raise GtzanKerasError(
                f"{path.parent}: holds a run that differs in {', '.join(differ)}; move it, or choose "
                "another folder with --out"
            )


def _splits(one: Experiment, seed: int) -> list[Split]:
    """Return the splits of a seed: one, or one per fold."""
    recipe, inputs = one.recipe, one.inputs
    tracks, name = inputs.tracks, recipe.split if one.protocol == "published" else one.protocol
    stops_early = inputs.table is None  # models of features are trained for all epochs
    if name == "random":
        name = "5 folds" if recipe.split == "random rows" else "70/15/15" if stops_early else "80/20"
    if name in SEGMENT_SPLITS:
        assert inputs.store is not None
        shares, count = SEGMENT_SPLITS[name]
        return [random_segments(inputs.store, shares, seed, count, recipe.without)]
    if name == "random rows":
        assert inputs.table is not None
        return row_folds(inputs.table, FOLDS, seed)
    if name in PRESETS:
        found = [splits.stratified(tracks, name, seed)]
    elif name == "fault-filtered":
        found = [splits.fault_filtered(tracks)]
    else:
        share = 0.15 if stops_early else 0.0
        group: Literal["artist"] | None = "artist" if name == "artist" else None
        found = splits.folds(tracks, FOLDS, group=group, seed=seed, validation=share)
    if recipe.trains_on_validation:
        found = [replace(split, train=split.train + split.validation, validation=()) for split in found]
    return [split.without(tracks, recipe.without) for split in found] if recipe.without else found


# --- models of spectrograms and embeddings ---------------------------------------------------------


def _trained(one: Experiment, seeds: Sequence[int], folder: Path, verbose: int) -> Iterator[Result]:
    """Train once per seed, or once per fold, and pool the folds' test tracks."""
    parts = {seed: _splits(one, seed) for seed in seeds}
    tasks = [
        (seed, split, folder / f"seed{seed}" / (f"fold{number}" if len(found) > 1 else ""))
        for seed, found in parts.items()
        for number, split in enumerate(found, start=1)
    ]
    names = [str(target) for *_, target in tasks]
    trained = in_parallel(partial(_train, one=one, verbose=verbose), tasks, names, own_process=True)
    for found in parts.values():
        if len(found) == 1:
            yield next(trained)
            continue
        results, tables, histories = zip(*islice(trained, len(found)), strict=True)
        tracks, history = (
            pd.concat([table.assign(fold=fold) for fold, table in enumerate(each, 1)], ignore_index=True)
            for each in (tables, histories)
        )
        yield _pooled(results, tracks), tracks, history


def _train(seed: int, split: Split, folder: Path, *, one: Experiment, verbose: int) -> Result:
    """Search if the recipe says so, train, fine-tune, and score; the seconds include all of these."""
    import keras

    recipe, store, settings = one.recipe, one.inputs.store, one.settings(seed)
    assert store is not None
    store = store.without(recipe.without) if recipe.without else store
    arguments, seconds = dict(recipe.arguments), 0.0

    def build(**changed: Any) -> keras.Model:
        keras.utils.set_random_seed(seed)  # before building: the initial weights are drawn there
        return _built(one, store, {**arguments, **changed})

    if recipe.grid:
        search = folder / "search"
        table = grid_search(build, store, split, recipe.grid, settings, out=search, verbose=verbose)
        of_build, of_training = divided({name: table[name].iloc[0] for name in recipe.grid})
        arguments, settings = {**arguments, **of_build}, replace(settings, **of_training)
        seconds = float(table["seconds"].sum())
    facts = {"data": one.inputs.name, "builder": recipe.builder, "arguments": arguments}
    options: dict[str, Any] = {"name": one.name(seed), "resume": True, "verbose": verbose}
    first = {
        # a folder of its own, so that a complete run of both stages is found again
        "out": folder / "first_stage" if recipe.fine_tune else folder,
        "facts": {**facts, "command": one.command},
        **options,
    }
    if recipe.kfold:
        group: Literal["artist"] | None = None if one.protocol in ("published", "random") else "artist"
        run = train_kfold_then_full(build, store, split, settings, k=recipe.kfold, group=group, **first)
        seconds += run.facts["kfold"]["seconds"]
    else:
        run = train(build(), store, split, settings, **first)
    if second := recipe.fine_tune:
        settings = replace(settings, learning_rate=second.learning_rate, epochs=second.epochs)
        settings = replace(settings, augmentation=second.augmentation or settings.augmentation)
        run = fine_tune(run, second.trainable_from, settings, out=folder, **options)
    result, tracks = run_result(run)
    result["outcome"]["seconds"] = round(seconds + run.outcome.seconds, 1)
    return result, tracks, run.history


def _built(one: Experiment, store: Any, arguments: Mapping[str, Any]) -> Any:
    """Build the recipe's model for a store, with the requested weights."""
    from gtzan_keras import models

    recipe, shape = one.recipe, store.spec.shape
    if recipe.settings and recipe.settings.augmentation and recipe.settings.augmentation.crop:
        shape = (shape[0], None, shape[2])  # trained on segments, predicts whole clips
    if recipe.pretrained and recipe.builder != "vggish_classifier":
        weights = {None: recipe.pretrained, "none": None}.get(one.weights, one.weights)
        arguments = {"weights": weights, **arguments}
    build: Any = getattr(models, recipe.builder, partial(models.image_base, recipe.builder))
    with _named_arguments(arguments):
        return build(shape, len(store.genres), name=recipe.builder, **arguments)


@contextmanager
def _named_arguments(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Name the arguments in the error of a builder that does not take them."""
    try:
        yield
    except TypeError as error:
        raise GtzanKerasError(f"arguments={dict(arguments)}: {error}") from error


def _pooled(results: Sequence[Mapping[str, Any]], tracks: pd.DataFrame) -> dict[str, Any]:
    """Return the folds' results as one: their test tracks are one test part."""
    first = results[0]
    sizes = ("name", "train", "validation", "test")
    own = ("outcome", "kfold", "first_stage")
    folds = [
        {field: result["split"][field] for field in sizes}
        | {field: result[field] for field in own if field in result}
        for result in results
    ]
    parts = [result["scores"]["test"] for result in results]
    highest = _ceiling([part.get("ceiling", 1.0) for part in parts], [part["count"] for part in parts])
    return {
        **{field: value for field, value in first.items() if field not in own},
        "model": {**first["model"], "arguments": _by_fold([one["model"]["arguments"] for one in results])},
        "settings": _by_fold([result["settings"] for result in results]),
        "outcome": {"seconds": round(sum(result["outcome"]["seconds"] for result in results), 1)},
        "split": {
            "name": _folds_name([fold["name"] for fold in folds]),
            "leaky": first["split"]["leaky"],
            "missing": sorted({track_id for result in results for track_id in result["split"]["missing"]}),
        },
        "folds": folds,
        "scores": {"validation": None, "test": score_tracks(tracks, first["data"]["genres"]) | highest},
    }


def _by_fold(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one mapping: a value that a search chose differently in each fold is a list."""
    names = values[0]
    lists = {name: [one[name] for one in values] for name in names}
    return {name: each[0] if each.count(each[0]) == len(each) else each for name, each in lists.items()}


def _ceiling(highest: Sequence[float], counts: Sequence[int]) -> dict[str, float]:
    """Return the mean of several test parts' ceilings, if one is below 1."""
    mean = float(np.average(highest, weights=counts))
    return {"ceiling": mean} if mean < 1 else {}


def _folds_name(names: Sequence[str]) -> str:
    return f"{names[0].split(' fold ')[0]} folds ({len(names)})" if len(names) > 1 else names[0]


# --- models of features ----------------------------------------------------------------------------


def _cross_validate(one: Experiment, seed: int) -> Result:
    """Train a model of hand-crafted features on each of a seed's folds."""
    from gtzan_keras import models

    recipe, facts, parts = one.recipe, one.inputs.tracks, _splits(one, seed)
    table, store = one.inputs.table, one.inputs.store
    assert table is not None
    columns, threshold = INPUTS.get(recipe.inputs, ((), None))
    columns = columns or tuple(str(name) for name in table.columns.difference(["filename", "label"]))
    genres = table["label"].nunique() - len(recipe.without)
    is_classical = recipe.settings is None

    def build(features: int) -> Any:
        with _named_arguments(recipe.arguments):
            if is_classical:
                return classical(recipe.builder, threshold=threshold, **recipe.arguments)
            shapes = [(features,)] if store is None else [(features,), store.spec.shape]
            return getattr(models, recipe.builder)(*shapes, genres, **recipe.arguments)

    begin = time.perf_counter()
    found = cross_validate(
        build,
        table,
        parts,
        one.settings(seed),
        columns=columns,
        threshold=None if is_classical else threshold,
        exclude_genres=recipe.without,
        spectrograms=store,
    )
    seconds = round(time.perf_counter() - begin, 1)
    tracks = _track_table(found, facts)
    counts = tracks["fold"].value_counts().sort_index().tolist()
    highest = _ceiling([splits.ceiling(split, facts) for split in parts], counts)
    names = [split.name for split in parts]
    folds = found.folds.rename(columns={"fold": "name"}).drop(columns="leaky").to_dict("records")
    arguments = {**recipe.arguments, "inputs": recipe.inputs}
    count = int(facts["genre"].isin(found.genres).sum())
    result = {
        "data": {"name": one.inputs.name, "tracks": count, "genres": found.genres},
        "spec": None if store is None else store.spec.to_dict(),
        "split": {"name": _folds_name(names), "leaky": found.leaky, "missing": list(found.missing)},
        "folds": folds,
        "model": {"builder": recipe.builder, "arguments": arguments, "parameters": None},
        "settings": one.settings(seed).to_dict() if recipe.settings else {},
        "outcome": {"seconds": seconds},
        "scores": {"validation": None, "test": score_tracks(tracks, found.genres) | highest},
    }
    return result, tracks, None


def _track_table(found: CrossValidation, facts: pd.DataFrame) -> pd.DataFrame:
    """Return one row per fold and test track: facts, probabilities, and segments if tracks are cut."""
    known = facts.set_index("track_id")[["artist", "title"]]
    tracks = found.tracks.assign(fold=found.tracks["fold"] + 1).join(known, on="track_id")
    if len(found.rows) > len(tracks):
        right = found.rows.assign(right=found.rows["genre"] == found.rows["predicted"])
        counted = right.groupby(["fold", "track_id"])["right"].agg(["size", "sum"])  # in found.tracks' order
        tracks[["segments", "segments_right"]] = counted.to_numpy(int)
    return tracks


# --- ensembles -------------------------------------------------------------------------------------


def _ensemble(recipe: Recipe, out: Path, protocol: str, seeds: int, command: str) -> Path:
    """Average the probabilities of finished runs."""
    pairs: dict[Path, tuple[dict[str, Any], pd.DataFrame]] = {}
    for member in recipe.members:
        inner = find(member)
        kept = out / member / protocol_of(inner, protocol)
        folders = [kept / f"seed{seed}" for seed in range(1 if inner.members else seeds)]
        if absent := [str(folder) for folder in folders if not (folder / RESULT).is_file()]:
            raise GtzanKerasError(
                f"recipe {recipe.name}: {', '.join(absent)} missing; run "
                f"`gtzan-keras run {member} --split {protocol} --seeds {seeds}` first"
            )
        pairs |= {folder: read_result(folder) for folder in folders}
        _check_folder(kept, pairs[folders[0]][0].get("key") or {})
    results = [result for result, _ in pairs.values()]
    words = [word for result in results for word in result.get("departures", [])]
    one = Experiment(recipe, Inputs(), protocol, None, tuple(dict.fromkeys(words)), command)
    scores, tracks = ensemble(list(pairs.values()))
    target = out / recipe.name / protocol / "seed0"
    arguments = {"members": list(recipe.members), "seeds": seeds}
    result = {
        **one.facts(seed=0),
        "name": f"{recipe.name}, {protocol}",
        **{field: results[0][field] for field in ("data", "split")},
        "spec": None,
        "model": {"builder": "ensemble", "arguments": arguments, "parameters": None},
        "members": [Path(os.path.relpath(folder, target)).as_posix() for folder in pairs],
        "settings": {},
        "outcome": {"seconds": 0.0},
        "scores": {"validation": None, "test": scores},
    }
    write_result(target, result, tracks)
    return target.parent
