"""The command line: it parses, calls, prints."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Context, Exit, Option

import gtzan_keras as gk  # names resolve on first use
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.parallel import on_cluster

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Folder = Annotated[Path, Argument(help="Folder with genre folders in it.")]
NewStore = Annotated[Path, Argument(help="HDF5 file to write.")]
Jobs = Annotated[int, Option(help="Worker processes; -1 uses every core.")]
Model = Annotated[
    str | None,
    Option(help="A run's folder or model.keras, musicnn-msd or musicnn-mtt; the packaged model if omitted."),
]
Without = Annotated[str, Option(help="Genres to leave out, separated by commas.")]
Arguments = Annotated[str, Option(help="Builder arguments, as JSON: '{\"dropout\": 0.3}'.")]


def _connect(context: Context, address: str | None) -> str | None:
    """Send the command's parallel work to a cluster until it ends."""
    context.with_resource(on_cluster(address))
    return address


Cluster = Annotated[
    str | None,
    Option(help="Address of a Dask cluster's scheduler, tcp://HOST:8786.", callback=_connect),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gtzan-keras {gk.__version__}")
        raise Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Music genre classification on GTZAN with Keras."""


def main() -> None:
    """Run the command line; bad input is one line on standard error and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names with characters that the terminal lacks
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up messages are no help here
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # off on many laptops; see docs/speed.md
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("gtzan_keras").setLevel(logging.INFO)
    try:
        app()
    except GtzanKerasError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


@app.command()
def tracks(
    folder: Folder,
    verify: Annotated[bool, Option("--verify", help="Open every file and look for faults.")] = False,
    near_duplicates: Annotated[
        bool, Option("--near-duplicates", help="Find the same recording in different files.")
    ] = False,
    jobs: Jobs = -1,
) -> None:
    """List the tracks in a folder by genre, and with --verify their faults."""
    from gtzan_keras.tracks import catalogue

    found = gk.load_tracks(folder)
    if verify:
        found = gk.verify(found, jobs=jobs)
    columns = ("tracks", "artists", "train", "valid", "test", "faults")
    table = _table("genre", *columns, title=f"{folder}: {catalogue.data_name(found)}", numbers=columns)
    faulty = ~found["status"].isin(["", "ok"])
    for genre in [*catalogue.genre_names(found["genre"]), "all"]:
        rows = found if genre == "all" else found[found["genre"] == genre]
        parts = [str((rows["fault_filtered"] == part).sum()) for part in ("train", "valid", "test")]
        faults = str(faulty[rows.index].sum()) if verify else "not checked"
        artists = {catalogue.artist_key(name) for name in rows["artist"] if name}
        table.add_row(genre, str(len(rows)), str(len(artists)), *parts, faults)
    console = _console()
    console.print(table)
    console.print("train, valid, test: the fault-filtered parts.", style="dim")
    for row in found[faulty].itertuples():
        console.print(f"{row.track_id}: {row.status}", soft_wrap=True)
    copies = catalogue.duplicate_groups(found)
    for group in copies:
        console.print(f"exact copies: {' = '.join(group)}", soft_wrap=True)
    if near_duplicates:
        from gtzan_keras.tracks.near_duplicates import find_near_duplicates

        for pair in find_near_duplicates(found, jobs=jobs).itertuples():
            if not any({pair.first, pair.second} <= set(group) for group in copies):
                console.print(
                    f"near-duplicates: {pair.first} ~ {pair.second}, "
                    f"correlation {pair.correlation:.2f}, shift {pair.shift:+.2f} s",
                    soft_wrap=True,
                )


@app.command()
def download(
    folder: Annotated[Path, Argument(help="Where to put GTZAN.")],
    mini: Annotated[bool, Option("--mini", help="100 tracks instead of 1000.")] = False,
    mirror: Annotated[str | None, Option(help="Archive to use instead: a URL or a file.")] = None,
) -> None:
    """Download GTZAN from its public mirrors and check it."""
    print(gk.download(folder, mini=mini, mirror=mirror))


@app.command()
def demo(
    folder: Annotated[Path, Argument(help="Where to put the demo set.")],
    tracks_per_genre: Annotated[int, Option(help="Tracks per genre, of ten genres.")] = 20,
    seconds: Annotated[float, Option(help="Length of a track.")] = 30.0,
    seed: Annotated[int, Option(help="A different seed gives different music.")] = 0,
    jobs: Jobs = -1,
) -> None:
    """Synthesise the demo set: ten genre-like kinds of sound with planted faults. It is not GTZAN."""
    made = gk.demo.make(folder, tracks_per_genre=tracks_per_genre, seconds=seconds, seed=seed, jobs=jobs)
    print(f"{made}: the demo set, synthesised, not GTZAN; its README.txt lists the planted faults")


@app.command()
def preprocess(
    folder: Folder,
    store: NewStore,
    spec: Annotated[str, Option(help="Name of a spectrogram spec: see docs/guide.md.")] = "malvezzi-rgb224",
    jobs: Jobs = -1,
    cluster: Cluster = None,
) -> None:
    """Turn the tracks of a folder into a store of spectrograms."""
    report = gk.preprocess(gk.load_tracks(folder), store, spec, jobs=jobs)
    print(
        f"{report.path}: {report.samples} spectrograms of {report.written} tracks"
        f" ({report.resumed} already done), {len(report.refused)} left out, {report.seconds:.1f} s"
    )


@app.command()
def embed(
    folder: Folder,
    store: NewStore,
    source: Annotated[
        str,
        Option(
            help="hub (VGGish), musicnn-msd, musicnn-mtt (each with -penultimate too), a TensorFlow Hub "
            "handle or SavedModel folder, or a file with VGGish's weights."
        ),
    ] = "hub",
    trim: Annotated[bool, Option("--trim", help="Remove silence first, as the source does.")] = False,
    precision: Annotated[
        str,
        Option(help="float32, or bfloat16 (weights from a file): faster if the processor has it."),
    ] = "float32",
    jobs: Jobs = -1,
    cluster: Cluster = None,
) -> None:
    """Turn the tracks of a folder into a store of embeddings, of VGGish or musicnn."""
    _import_tensorflow()
    network = gk.models.vggish(source) if Path(source).is_file() else source
    report = gk.embed(gk.load_tracks(folder), store, network, trim=trim, precision=precision, jobs=jobs)
    print(
        f"{report.path}: embeddings of {report.written} tracks, {len(report.refused)} left out, "
        f"{report.seconds:.1f} s"
    )


@app.command()
def import_images(
    folder: Annotated[Path, Argument(help="Folder with <genre>/<image>.png in it.")],
    store: NewStore,
    height: Annotated[int, Option(help="Pixels.")] = 224,
    width: Annotated[int, Option(help="Pixels.")] = 224,
    channels: Annotated[int, Option(help="1 (grey) or 3 (colour).")] = 3,
) -> None:
    """Turn a folder of spectrogram images into a store."""
    from gtzan_keras.store.import_images import import_images as run

    made = run(folder, store, height, width, channels)
    print(f"{made.path}: {len(made)} images")


@app.command()
def resize(
    store: Annotated[Path, Argument(help="Store of spectrograms.")],
    out: NewStore,
    height: Annotated[int, Option(help="Pixels.")],
    width: Annotated[int, Option(help="Pixels.")],
    colour_map: Annotated[str | None, Option(help="Turn grey into colour, e.g. viridis.")] = None,
) -> None:
    """Make a store of another store's spectrograms in another size."""
    from gtzan_keras.store.import_images import resize as run

    made = run(gk.open_store(store), out, height, width, colour_map)
    print(f"{made.path}: {len(made)} spectrograms, spec {made.spec.name!r}")


@app.command()
def features(
    folder: Folder,
    out: Annotated[Path, Argument(help="CSV file to write.")],
    segment: Annotated[float | None, Option(help="Cut tracks into segments of this many seconds.")] = None,
    jobs: Jobs = -1,
    cluster: Cluster = None,
) -> None:
    """Compute hand-crafted features of every track, in the columns of Kaggle's table."""
    from gtzan_keras.store.feature_table import feature_table

    table = feature_table(gk.load_tracks(folder), segment=segment, jobs=jobs, path=out)
    print(f"{out}: {len(table)} rows, {len(table.attrs['refused'])} tracks left out")


@app.command()
def cross_validate(
    table: Annotated[Path, Argument(help="CSV of features: Kaggle's, or from `features`.")],
    folder: Annotated[
        Path | None,
        Option("--tracks", help="Folder of the tracks, for what its tracks.csv says."),
    ] = None,
    model: Annotated[str, Option(help="feature-cnn, svm, random_forest, knn, ...")] = "feature-cnn",
    inputs: Annotated[str, Option(help="all, mfcc or filtered.")] = "all",
    split: Annotated[str, Option(help="rows (leaky), stratified, artist or fault-filtered.")] = "stratified",
    seed: Annotated[int, Option(help="Seed of the folds and the model.")] = 0,
    without: Without = "",
    cluster: Cluster = None,
) -> None:
    """Cross-validate a model of hand-crafted features and print its scores; `run` keeps results."""
    if model == "feature-cnn":
        _import_tensorflow()
    from gtzan_keras.store.feature_table import load_feature_table
    from gtzan_keras.training.classical import classical
    from gtzan_keras.training.cross_validate import (
        INPUTS,
        REPORT_SETTINGS,
        row_folds,
        tracks_of,
        warn_of_unknown_tracks,
    )

    features, left_out = load_feature_table(table), _genres(without)
    if folder is None:
        warn_of_unknown_tracks(table, features, "name the folder of its tracks with --tracks")
    tracks = tracks_of(features, None if folder is None else gk.load_tracks(folder))
    folds = {
        "rows": lambda: row_folds(features, seed=seed),
        "stratified": lambda: gk.splits.folds(tracks, seed=seed),
        "artist": lambda: gk.splits.folds(tracks, group="artist", seed=seed),
        "fault-filtered": lambda: [gk.splits.fault_filtered(tracks)],
    }
    for option, value, known in (("inputs", inputs, INPUTS), ("split", split, folds)):
        if value not in known:
            raise GtzanKerasError(f"--{option} {value}: expected one of {', '.join(known)}")
    columns, threshold = INPUTS[inputs]
    is_keras, genres = model == "feature-cnn", features["label"].nunique() - len(left_out)
    found = gk.cross_validate(
        (lambda count: gk.models.feature_cnn((count,), genres))
        if is_keras
        else (lambda: classical(model, threshold=threshold)),
        features,
        folds[split](),
        dataclasses.replace(REPORT_SETTINGS, seed=seed),
        columns=columns,
        threshold=threshold if is_keras else None,
        exclude_genres=left_out,
    )
    print(found.folds.join(found.scores().drop(columns=["fold", "leaky"]).round(3)).to_string(index=False))
    print(f"{found.rows['track_id'].nunique()} test tracks, scores by track with 95 % intervals:")
    for name, score in found.intervals().items():
        span = f"{score['low']:.1%} to {score['high']:.1%}"
        print(f"{name.replace('_', ' ')} {score['value']:.1%} ({span}){' (leaky)' if found.leaky else ''}")


@app.command()
def train(
    store: Annotated[Path, Argument(help="Store to train on.")],
    out: Annotated[Path, Option(help="Folder of the run.")],
    model: Annotated[
        str, Option(help="cnn, cnn-arrigo, dense, vgg16, yolov8, vggish-classifier, ...")
    ] = "cnn",
    arguments: Arguments = "{}",
    split: Annotated[
        str, Option(help="70/15/15, 72/8/20, 80/20, 700-100-200, 800-100-100, artist, fault-filtered.")
    ] = "70/15/15",
    without: Without = "",
    epochs: Annotated[int, Option(help="Upper limit.")] = 50,
    batch_size: Annotated[int, Option(help="Samples per step.")] = 32,
    learning_rate: Annotated[float, Option(help="Initial rate.")] = 1e-4,
    settings: Annotated[
        str, Option(help='Further TrainingSettings, as JSON: \'{"optimizer": "adamw", "ema": 0.99}\'.')
    ] = "{}",
    augment: Annotated[
        bool,
        Option("--augment", help="Augment training spectrograms: shifts, stretch, masks, mixup."),
    ] = False,
    seed: Annotated[int, Option(help="Seed of weights, batches and split.")] = 0,
    tensorboard: Annotated[bool, Option("--tensorboard", help="Write TensorBoard logs.")] = False,
    resume: Annotated[
        bool, Option("--resume", help="Keep a checkpoint after each epoch, and continue from one.")
    ] = False,
) -> None:
    """Train a model, score it, and write the report page of the run."""
    from gtzan_keras.store.augmentation import STRONG_AUGMENTATION

    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    chosen = gk.TrainingSettings.from_dict({**given, **_json("--settings", settings)})
    if augment and chosen.augmentation is not None:
        raise GtzanKerasError("--augment and the augmentation of --settings: expected one of them")
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise GtzanKerasError("--tensorboard needs TensorBoard; pip install 'gtzan-keras[tensorboard]'")
    _import_tensorflow()
    import keras

    from gtzan_keras.report.page import report_run
    from gtzan_keras.tracks.catalogue import data_name
    from gtzan_keras.tracks.splits import PRESETS

    opened = gk.open_store(store)
    if split == "fault-filtered":
        parts = gk.splits.fault_filtered(opened.tracks)
    elif split == "artist":  # the first fold: a fifth of the tracks is tested
        parts = gk.splits.folds(opened.tracks, group="artist", seed=chosen.seed, validation=0.15)[0]
    elif split in PRESETS:
        parts = gk.splits.stratified(opened.tracks, split, chosen.seed)
    else:
        known = ", ".join([*PRESETS, "artist", "fault-filtered"])
        raise GtzanKerasError(f"--split {split}: expected one of {known}")
    if left_out := _genres(without):
        parts, opened = parts.without(opened.tracks, left_out), opened.without(left_out)
    if augment:  # `tone` changes levels, which colours do not have
        tone = 0.0 if opened.shape[-1] == 3 else STRONG_AUGMENTATION.tone
        augmentation = dataclasses.replace(STRONG_AUGMENTATION, tone=tone)
        chosen = dataclasses.replace(chosen, augmentation=augmentation)
    built, keywords = _build(model, opened.spec.shape, len(opened.genres), arguments, chosen.seed)
    facts = {"data": data_name(opened.tracks), "builder": built.name, "arguments": keywords}
    facts["command"] = _command()
    callbacks = [keras.callbacks.TensorBoard(out / "tensorboard")] if tensorboard else []
    run = gk.train(built, opened, parts, chosen, out=out, resume=resume, callbacks=callbacks, facts=facts)
    gk.evaluate(run)
    print(report_run(run))


@app.command()
def recipes(name: Annotated[str | None, Argument(help="Show this recipe in full.")] = None) -> None:
    """List the published experiments that can be run, or show one."""
    console = _console()
    if name is not None:
        recipe = gk.experiments.find(name)
        console.print(f"{recipe.name}: {recipe.title}", style="bold")
        table = _table("", "", show_header=False, box=None, padding=(0, 2, 0, 0))
        for key, value in _recipe_facts(recipe):
            table.add_row(key, value)
        console.print(table)
        return
    metrics = {"accuracy": "", "macro_precision": " mP", "loss": " loss"}
    width, terminal = max(map(len, gk.experiments.RECIPES)), console.is_terminal
    for recipe in gk.experiments.RECIPES.values():
        figures = [f"{100 * figure.value:.1f} %{metrics[figure.metric]}" for figure in recipe.published[:1]]
        line = f"{recipe.name:<{width}}  {''.join(figures):<9}  {recipe.title}"
        console.print(line, no_wrap=True, crop=terminal, overflow="ellipsis" if terminal else "ignore")
    print("Published accuracy, or macro precision (mP). More: gtzan-keras recipes NAME")


def _recipe_facts(recipe: gk.experiments.Recipe) -> list[tuple[str, str]]:
    """Return what `recipes NAME` shows of each field that is not empty."""
    from gtzan_keras.experiments.catalogue import in_words

    rows: list[tuple[str, str]] = []
    for field in dataclasses.fields(recipe):
        value, key = getattr(recipe, field.name), field.name.replace("_", " ")
        if not value or key in ("name", "title"):
            continue
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = vars(value)
        if isinstance(value, Mapping):
            rows += [(key, ""), *((f"  {name}", in_words(inner)) for name, inner in value.items())]
        elif key == "base":
            rows += [(f"from {value}", change) for change in gk.experiments.changes(recipe)]
        else:
            each = value if key in ("published", "ours", "members") else [value]
            rows += [(key, in_words(one)) for one in each]
    return rows


@app.command()
def run(
    name: Annotated[str, Argument(help="Name of the recipe; `gtzan-keras recipes` lists them.")],
    data: Annotated[
        list[Path] | None,
        Option(
            metavar="PATH",
            help="Folder of tracks, store (.h5) or table (.csv); give it twice for a model of both; the "
            "packaged data if omitted.",
        ),
    ] = None,
    split: Annotated[
        str | None, Option(help="published (the default), random, artist or fault-filtered.")
    ] = None,
    seeds: Annotated[int, Option(help="Number of seeds (0, 1, ...).")] = 1,
    max_epochs: Annotated[int | None, Option(help="Upper limit of epochs.")] = None,
    arguments: Arguments = "{}",
    weights: Annotated[
        str | None, Option(help="Pretrained weights by path, or 'none' for random ones.")
    ] = None,
    out: Annotated[Path, Option(help="Folder of the results.")] = Path("runs"),
    stores: Annotated[Path, Option(help="Folder for data made from audio.")] = Path("data/stores"),
    precision: Annotated[
        str | None, Option(help="auto, float32 or bfloat16, in place of the recipe's.")
    ] = None,
    jobs: Jobs = -1,
    cluster: Cluster = None,
) -> None:
    """Run a published experiment, and show its figures with the published ones."""
    _import_tensorflow()
    from gtzan_keras.report.leaderboard import check_folder, report_all, results_table

    recipe = gk.experiments.find(name)
    check_folder(out)  # before hours of training
    gk.experiments.run(
        name,
        data or (),
        protocol=split,
        seeds=seeds,
        max_epochs=max_epochs,
        arguments=_json("--arguments", arguments),
        out=out,
        stores=stores,
        weights=weights,
        precision=precision,  # type: ignore[arg-type]  # TrainingSettings itself refuses other words
        jobs=jobs,
        command=_command(),
    )
    table = _table("", "figure (95 % intervals)", title=f"{recipe.name}: {recipe.title}", show_lines=True)
    figures = results_table(out / recipe.name, [recipe.name]).loc[recipe.name]
    for column, figure in figures.items():
        table.add_row(column if column == "published" else f"{column}, ours", figure)
    console = _console()
    console.print(table)
    if recipe.note:
        console.print(recipe.note)
    print(report_all(out, only=recipe.name).resolve())


@app.command()
def quickstart(
    out: Annotated[Path, Option(help="Folder of the results.")] = Path("reports/local"),
    seeds: Annotated[int, Option(help="Number of seeds (0, 1, ...) of each model and split.")] = 2,
    max_epochs: Annotated[int, Option(help="Train no longer than this; the recipe says 60.")] = 40,
) -> None:
    """Train on the packaged data under two splits and write a page about the difference."""
    _import_tensorflow()
    import joblib

    from gtzan_keras.models.device import count_gpus
    from gtzan_keras.report.leaderboard import report_all
    from gtzan_keras.report.two_splits import two_splits

    names = ["baseline/thumbnail-cnn", "baseline/logistic-regression"]
    logging.getLogger("gtzan_keras").setLevel(logging.WARNING)  # as worker processes do
    # A network this small leaves cores idle; seeds side by side use them. A GPU has memory for only one.
    workers = 1 if count_gpus() else min(seeds, joblib.cpu_count())
    with joblib.parallel_config("loky", n_jobs=workers, initializer=_import_tensorflow):
        for name in names:
            for split in ("random", "fault-filtered"):
                print(f"{name}, {split}, {seeds} seed(s) ...", flush=True)
                gk.experiments.run(
                    name,
                    protocol=split,
                    seeds=seeds,
                    max_epochs=max_epochs if gk.experiments.find(name).settings else None,
                    out=out,
                    command=_command(),
                    verbose=0,
                )
    report_all(out)
    print(two_splits(out, names).resolve())


@app.command()
def report(
    folder: Annotated[
        Path, Argument(help="The folder of one run, or one with results below it.", metavar="FOLDER")
    ] = Path("runs"),
) -> None:
    """Write the leaderboard of a folder of results, and a page for each recipe and run."""
    from gtzan_keras.report.leaderboard import report_all

    print(report_all(folder).resolve())


@app.command()
def compare(
    first: Annotated[Path, Argument(help="A run's folder.")],
    second: Annotated[Path, Argument(help="Another run's folder, tested on the same tracks.")],
) -> None:
    """Compare two runs on their test tracks: differences with intervals, and McNemar's test."""
    from gtzan_keras.training.compare import compare as compared
    from gtzan_keras.training.compare import in_words

    found = compared(first, second)
    artists = found["by_artist"]
    columns = ("first", "second", "difference", *(["over artists"] if artists else []), "over tracks")
    title = f"{found['count']} test tracks, 95 % intervals of the difference"
    table = _table("score", *columns, title=title, numbers=columns)
    for name, score in found["scores"].items():
        spans = [*([artists[name]] if artists else []), score["difference"]]
        table.add_row(
            name.replace("_", " "),
            f"{score['first']:.1%}",
            f"{score['second']:.1%}",
            f"{100 * score['difference']['value']:+.1f}",
            *(f"{100 * span['low']:+.1f} to {100 * span['high']:+.1f}" for span in spans),
        )
    console = _console()
    for key in ("first", "second"):
        console.print(f"{key}: {found[key]['name']}{' (leaky)' if found[key]['leaky'] else ''}")
    console.print(table)
    if artists:
        span = artists["accuracy"]
        chance = span["low"] <= 0 <= span["high"]
        words = "this could be chance" if chance else "this is unlikely to be chance"
        value, low, high = (f"{100 * span[key]:+.1f}" for key in ("value", "low", "high"))
        console.print(
            f"Over {artists['count']} artists the accuracy differs by {value} points ({low} to {high}): "
            f"{words}. By track, as if tracks of one artist were independent:"
        )
    console.print(in_words(found))


@app.command()
def predict(
    songs: Annotated[
        list[str],
        Argument(metavar="SONG", hidden=True),  # typer would show its type as <list[str]>
    ],
    model: Model = None,
    hop: Annotated[
        float | None, Option(help="Seconds from one window to the next; half a window if omitted.")
    ] = None,
    window: Annotated[
        float | None, Option(help="Seconds that the model sees at once, if it accepts any length.")
    ] = None,
    plot: Annotated[
        Path | None, Option(help="Timeline or tags: a PNG for one song, a folder for several.")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print one JSON list instead of lines.")] = False,
) -> None:
    """Predict the genre, or the tags, of recordings of any length, as a whole and over time.

    SONG is a sound file, a folder, or a pattern such as 'music/**/*.mp3'.
    """
    paths = _songs(songs)
    _import_tensorflow(sys.stderr.isatty())
    from tqdm import tqdm

    from gtzan_keras.inference.predict import gtzan_track, predict_all
    from gtzan_keras.report.timeline import figure_paths, taggram, timeline
    from gtzan_keras.tracks.catalogue import facts

    figures: list[Path] | list[None] = figure_paths(paths, plot) if plot else [None] * len(paths)
    content, bad = [], 0
    results = predict_all(paths, model, hop, window=window)
    for path, figure, result in zip(paths, figures, results, strict=True):
        if isinstance(result, gk.AudioError):
            bad += 1
            tqdm.write(f"error: {result}", file=sys.stderr)
            continue
        if figure is not None:
            _draw((taggram if result.tags else timeline)(result), figure)
        track = gtzan_track(path)
        if as_json:
            content.append({**result.to_dict(), "gtzan_track": track})
            continue
        notes = ["padded with silence"] if result.padded else []
        if track:
            part = facts().loc[track, "fault_filtered"]
            trained = model is None and part == "train"
            notes.append(f"GTZAN's {track}" + (", which the model was trained on" if trained else ""))
        shares = [(genre, f"{share:.0%}") for genre, share in result.top(5 if result.tags else 3)]
        tops = ", ".join(f"{genre} {share}" for genre, share in shares if share != "0%")
        note = f" ({'; '.join(notes)})" if notes else ""
        tqdm.write(f"{path}: {tops}; {result.duration:.1f} s{note}", file=sys.stdout)
    if as_json:
        print(json.dumps(content, indent=1, ensure_ascii=False))
    if bad:
        raise Exit(1)


@app.command()
def explain(
    song: Annotated[Path, Argument(help="A sound file.")],
    model: Model = None,
    method: Annotated[str, Option(help="grad-cam (quick), occlusion or integrated-gradients.")] = "grad-cam",
    genre: Annotated[str | None, Option(help="What to explain; the predicted genre if omitted.")] = None,
    plot: Annotated[Path | None, Option(help="Figure to write: contours over the spectrogram.")] = None,
) -> None:
    """Show which parts of a song speak for and against a genre, and the nearest training tracks."""
    _songs([song])
    _import_tensorflow(sys.stderr.isatty())
    from gtzan_keras.report.timeline import clock, explanation_figure

    found = gk.explain(song, _with_run(model), method, genre)
    print(f"{song}: {found.genre} {found.probabilities[found.genre]:.0%}, by {method}")
    parts = found.parts()
    for start, end, lowest, highest, score in parts.to_numpy():
        direction = "for    " if score > 0 else "against"
        times = f"{clock(start)} to {clock(end)}"
        strength = abs(score) / parts["score"].abs().max()
        print(f"{direction} {times}, {lowest:.0f} to {highest:.0f} Hz, strength {strength:.0%}")
    if len(found.nearest):
        print("nearest training tracks:")
    columns = ["similarity", "track_id", "artist", "title"]
    for similarity, track_id, *names in found.nearest[columns].to_numpy():
        print(f"{similarity:.2f}  {track_id}  {', '.join(filter(None, names))}")
    if plot:
        _draw(explanation_figure(found), plot)


@app.command()
def export(
    path: Annotated[Path, Argument(help="File to write, for example genres.tflite.", metavar="FILE")],
    model: Annotated[Path | None, Option(help="A run's model.keras; the packaged model if omitted.")] = None,
    format: Annotated[str, Option(help="litert, onnx or tf_saved_model (a folder).")] = "litert",
    window: Annotated[
        float | None, Option(help="Seconds of sound the graph takes, if the model accepts any length.")
    ] = None,
) -> None:
    """Write a model with its spectrogram as one graph for another runtime: sound in, genres out."""
    _import_tensorflow()
    gk.export(model, path, format, window=window)  # type: ignore[arg-type]  # checked there
    print(f"{path}, described in {path}.json")


@app.command()
def serve(
    model: Model = None,
    port: Annotated[int, Option(min=1, max=65535, help="Port of the page.")] = 7860,
    host: Annotated[str, Option(help="Address; 0.0.0.0 shows the page to the whole network.")] = "127.0.0.1",
) -> None:
    """Serve a local page: drop or record a song, see what the model hears, and why."""
    _import_tensorflow(says_so=True)
    from gtzan_keras.serve import serve as run

    run(_with_run(model), host, port)


def _songs(songs: Sequence[str | Path]) -> list[Path]:
    """List the sound files that are meant; where there is none, say so before seconds of importing."""
    from gtzan_keras.audio.songs import find_songs

    paths = find_songs(songs)
    if not any(path.exists() for path in paths):
        raise GtzanKerasError("; ".join(f"{path}: no such file" for path in paths))
    return paths


def _draw(figure: Any, path: Path) -> None:
    """Write a figure in the format that its file's name says."""
    from gtzan_keras.store.files import replacing

    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
    except ValueError as error:
        raise GtzanKerasError(f"--plot {path}: {error}") from error


def _with_run(model: str | None) -> Any:
    """Return the run of a model file, which knows the training tracks, or the model as given."""
    folder = Path(model or "")
    folder = folder.parent if folder.name == "model.keras" else folder
    if model and (folder / "run.json").is_file():
        try:
            return gk.load_run(folder)
        except GtzanKerasError as error:
            print(f"the nearest training tracks are not known: {error}", file=sys.stderr)
    return model


def _command() -> str:
    """Return this process's command line, for the results that it writes."""
    return shlex.join(["gtzan-keras", *sys.argv[1:]])


def _console() -> Any:
    """A console that prints the names of files and genres as they are: no markup, no emoji."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def _table(*columns: str, numbers: Sequence[str] = (), **options: Any) -> Any:
    """Return an empty table with these columns, with numbers aligned to the right."""
    from rich.table import Table

    table = Table(**options)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    return table


def _genres(without: str) -> list[str]:
    return list(dict.fromkeys(filter(None, map(str.strip, without.split(",")))))


@app.command()
def weights() -> None:
    """List the pretrained weights that can be downloaded, and which of them are here."""
    from gtzan_keras.models.weights import PRETRAINED, weights_folder

    table = _table("name", "source", "licence", "MB", "here", numbers=["MB"])
    for entry in PRETRAINED:
        size = "varies" if entry.megabytes is None else f"{entry.megabytes:g}"
        here = ("yes" if entry.is_here else "no") if entry.path else "elsewhere"
        table.add_row(entry.name, entry.source, entry.licence, size, here)
    console = _console()
    console.print(table)
    console.print(f"Converted weights are kept in {weights_folder()}.")


def _import_tensorflow(says_so: bool = False) -> None:
    """Import TensorFlow without the lines its C++ side writes before any setting can silence them."""
    if says_so:
        print("Loading the model ...", file=sys.stderr)
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _json(option: str, text: str) -> dict[str, Any]:
    """Return the JSON object that was given as an option."""
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("not an object")
    except ValueError as error:  # JSON's own errors are of this kind
        raise GtzanKerasError(
            f"{option} is {text!r} ({error}); expected a JSON object, such as '{{\"name\": 1}}'"
        ) from error
    return values


def _build(
    name: str, input_shape: tuple[int, ...], num_classes: int, arguments: str, seed: int
) -> tuple[Any, dict[str, Any]]:
    """A model by its name on the command line, and the builder's keyword arguments."""
    import keras

    keywords = _json("--arguments", arguments)
    cnn = gk.models.cnn
    builders: dict[str, Any] = {
        "cnn": cnn,
        **{f"cnn-{source}": partial(cnn, **given) for source, given in gk.models.CNN_ARGUMENTS.items()},
        "dense": gk.models.dense,
        **{base: partial(gk.models.image_base, base) for base in gk.models.IMAGE_BASES},
        "yolov4": gk.models.yolov4,
        "yolov8": gk.models.yolov8,
        "vggish-classifier": gk.models.vggish_classifier,
    }
    if name not in builders:
        raise GtzanKerasError(f"--model is {name!r}; expected one of {', '.join(builders)}")
    builder = builders[name]
    keywords = {**getattr(builder, "keywords", {}), **keywords}
    keras.utils.set_random_seed(seed)  # before building: the initial weights are drawn there
    try:
        return builder(input_shape, num_classes, name=name, **keywords), keywords
    except TypeError as error:
        raise GtzanKerasError(f"--arguments {arguments}: {error}") from error
