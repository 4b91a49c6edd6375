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
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gtzan_keras.errors import GtzanKerasError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Jobs = Annotated[int, typer.Option(help="Worker processes; -1 uses every core.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from gtzan_keras import __version__

        print(f"gtzan-keras {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Music genre classification on GTZAN with Keras."""


def main() -> None:
    """Run the command line; bad input is one line on standard error and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names the terminal has no letters for
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's greetings help nobody here
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("gtzan_keras").setLevel(logging.INFO)
    try:
        app()
    except GtzanKerasError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


@app.command()
def tracks(
    folder: Annotated[Path, typer.Argument(help="Folder with genre folders in it.")],
    verify: Annotated[bool, typer.Option("--verify", help="Open every file and look for faults.")] = False,
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates", help="Look for one recording in two files that differ.")
    ] = False,
    jobs: Jobs = -1,
) -> None:
    """List the tracks in a folder by genre, and with --verify their faults."""
    from rich.table import Table

    from gtzan_keras.tracks import catalogue
    from gtzan_keras.tracks.verify import verify as verify_tracks

    found = catalogue.load_tracks(folder)
    if verify:
        found = verify_tracks(found, jobs=jobs)
    table = Table(title=f"{folder}: {catalogue.data_name(found)}")
    for column in ("genre", "tracks", "artists", "train", "valid", "test", "faults"):
        table.add_column(column, justify="left" if column == "genre" else "right")
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
    for group in catalogue.duplicate_groups(found):
        console.print(f"exact copies: {' = '.join(group)}", soft_wrap=True)
    if near_duplicates:
        from gtzan_keras.tracks.near_duplicates import find_near_duplicates

        exact = [set(group) for group in catalogue.duplicate_groups(found)]
        for pair in find_near_duplicates(found, jobs=jobs).itertuples():
            if not any({pair.first, pair.second} <= group for group in exact):
                console.print(
                    f"near-duplicates: {pair.first} ~ {pair.second}, "
                    f"correlation {pair.correlation:.2f}, shift {pair.shift:+.2f} s",
                    soft_wrap=True,
                )


@app.command()
def download(
    folder: Annotated[Path, typer.Argument(help="Where to put GTZAN.")],
    mini: Annotated[bool, typer.Option("--mini", help="100 tracks instead of 1000.")] = False,
    mirror: Annotated[str | None, typer.Option(help="Another archive to use: a URL or a file.")] = None,
) -> None:
    """Download GTZAN from its public mirrors and check it."""
    from gtzan_keras.tracks.download import download as fetch

    print(fetch(folder, mini=mini, mirror=mirror))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the demo set.")],
    tracks_per_genre: Annotated[int, typer.Option(help="Tracks of each of ten genres.")] = 20,
    seconds: Annotated[float, typer.Option(help="Length of a track.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Another seed gives other music.")] = 0,
    jobs: Jobs = -1,
) -> None:
    """Synthesise the demo set: ten genre-like kinds of sound with planted faults. It is not GTZAN."""
    from gtzan_keras.tracks.demo import make

    made = make(folder, tracks_per_genre=tracks_per_genre, seconds=seconds, seed=seed, jobs=jobs)
    print(f"{made}: the demo set, synthesised, not GTZAN; its README.txt lists the planted faults")


@app.command()
def preprocess(
    folder: Annotated[Path, typer.Argument(help="Folder with genre folders in it.")],
    store: Annotated[Path, typer.Argument(help="HDF5 file to write.")],
    spec: Annotated[str, typer.Option(help="Name of the analysis; see the README.")] = "malvezzi-rgb224",
    jobs: Jobs = -1,
) -> None:
    """Turn the tracks of a folder into a store of spectrograms."""
    from gtzan_keras.store.preprocess import preprocess as run
    from gtzan_keras.tracks.catalogue import load_tracks

    report = run(load_tracks(folder), store, spec, jobs=jobs)
    print(
        f"{report.path}: {report.samples} spectrograms of {report.written} tracks"
        f" ({report.resumed} already done), {len(report.refused)} left out, {report.seconds:.1f} s"
    )


@app.command()
def embed(
    folder: Annotated[Path, typer.Argument(help="Folder with genre folders in it.")],
    store: Annotated[Path, typer.Argument(help="HDF5 file to write.")],
    source: Annotated[
        str,
        typer.Option(
            help="hub (VGGish), musicnn-msd, musicnn-mtt, a TensorFlow Hub handle or SavedModel folder, or "
            "a file with VGGish's weights."
        ),
    ] = "hub",
    trim: Annotated[bool, typer.Option("--trim", help="Remove silence first, as the source does.")] = False,
    precision: Annotated[
        str,
        typer.Option(help="float32, or bfloat16 (weights from a file): faster where the processor has it."),
    ] = "float32",
    jobs: Jobs = -1,
) -> None:
    """Turn the tracks of a folder into a store of embeddings, of VGGish or musicnn."""
    _import_tensorflow()
    from gtzan_keras.inference.embed import embed as run
    from gtzan_keras.models.vggish_network import vggish
    from gtzan_keras.tracks.catalogue import load_tracks

    network = vggish(source) if Path(source).is_file() else source
    report = run(load_tracks(folder), store, network, trim=trim, precision=precision, jobs=jobs)
    print(
        f"{report.path}: embeddings of {report.written} tracks, {len(report.refused)} left out, "
        f"{report.seconds:.1f} s"
    )


@app.command()
def import_images(
    folder: Annotated[Path, typer.Argument(help="Folder with <genre>/<image>.png in it.")],
    store: Annotated[Path, typer.Argument(help="HDF5 file to write.")],
    height: Annotated[int, typer.Option(help="Pixels.")] = 224,
    width: Annotated[int, typer.Option(help="Pixels.")] = 224,
    channels: Annotated[int, typer.Option(help="1 (grey) or 3 (colour).")] = 3,
) -> None:
    """Turn a folder of spectrogram images into a store."""
    from gtzan_keras.store.import_images import import_images as run

    made = run(folder, store, height, width, channels)
    print(f"{made.path}: {len(made)} images")


@app.command()
def resize(
    store: Annotated[Path, typer.Argument(help="Store of spectrograms.")],
    out: Annotated[Path, typer.Argument(help="HDF5 file to write.")],
    height: Annotated[int, typer.Option(help="Pixels.")],
    width: Annotated[int, typer.Option(help="Pixels.")],
    colour_map: Annotated[str | None, typer.Option(help="Turn grey into colour, e.g. viridis.")] = None,
) -> None:
    """Make a store of another store's spectrograms in another size."""
    from gtzan_keras.store.import_images import resize as run
    from gtzan_keras.store.open import open_store

    made = run(open_store(store), out, height, width, colour_map)
    print(f"{made.path}: {len(made)} spectrograms, spec {made.spec.name!r}")


@app.command()
def features(
    folder: Annotated[Path, typer.Argument(help="Folder with genre folders in it.")],
    out: Annotated[Path, typer.Argument(help="CSV file to write.")],
    segment: Annotated[
        float | None, typer.Option(help="Cut tracks into segments of this many seconds.")
    ] = None,
    jobs: Jobs = -1,
) -> None:
    """Compute hand-crafted features of every track, in the columns of Kaggle's table."""
    from gtzan_keras.store.feature_table import feature_table
    from gtzan_keras.tracks.catalogue import load_tracks

    table = feature_table(load_tracks(folder), segment=segment, jobs=jobs, path=out)
    print(f"{out}: {len(table)} rows, {len(table.attrs['refused'])} tracks left out")


@app.command()
def cross_validate(
    table: Annotated[Path, typer.Argument(help="CSV of features: Kaggle's, or from `features`.")],
    model: Annotated[str, typer.Option(help="feature-cnn, svm, random_forest, knn, ...")] = "feature-cnn",
    inputs: Annotated[str, typer.Option(help="all, mfcc or filtered.")] = "all",
    split: Annotated[
        str, typer.Option(help="rows (leaky), stratified, artist or fault-filtered.")
    ] = "stratified",
    seed: Annotated[int, typer.Option(help="Of the folds and of the model.")] = 0,
    without: Annotated[str, typer.Option(help="Genres to leave out, separated by commas.")] = "",
) -> None:
    """Cross-validate a model of hand-crafted features and print its scores; `run` keeps results."""
    if model == "feature-cnn":
        _import_tensorflow()
    from gtzan_keras.models.feature_networks import feature_cnn
    from gtzan_keras.store.feature_table import load_feature_table
    from gtzan_keras.tracks import splits
    from gtzan_keras.training.classical import classical
    from gtzan_keras.training.cross_validate import INPUTS, REPORT_SETTINGS, row_folds, tracks_of
    from gtzan_keras.training.cross_validate import cross_validate as validate

    features = load_feature_table(table)
    tracks, left_out = tracks_of(features), [genre for genre in without.split(",") if genre]
    folds = {
        "rows": lambda: row_folds(features, seed=seed),
        "stratified": lambda: splits.folds(tracks, seed=seed),
        "artist": lambda: splits.folds(tracks, group="artist", seed=seed),
        "fault-filtered": lambda: [splits.fault_filtered(tracks)],
    }
    for option, value, known in (("inputs", inputs, INPUTS), ("split", split, folds)):
        if value not in known:
            raise GtzanKerasError(f"--{option} {value}: expected one of {', '.join(known)}")
    columns, threshold = INPUTS[inputs]
    is_keras, genres = model == "feature-cnn", features["label"].nunique() - len(left_out)
    found = validate(
        (lambda count: feature_cnn((count,), genres))
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
    store: Annotated[Path, typer.Argument(help="Store to train on.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    model: Annotated[
        str, typer.Option(help="cnn, cnn-arrigo, dense, vgg16, yolov8, vggish-classifier, ...")
    ] = "cnn",
    arguments: Annotated[str, typer.Option(help="Further arguments of the builder, as JSON.")] = "{}",
    split: Annotated[
        str, typer.Option(help="70/15/15, 80/20, 700-100-200, 800-100-100 or fault-filtered.")
    ] = "70/15/15",
    without: Annotated[str, typer.Option(help="Genres to leave out, separated by commas.")] = "",
    epochs: Annotated[int, typer.Option(help="Upper limit.")] = 50,
    batch_size: Annotated[int, typer.Option(help="Samples per step.")] = 32,
    optimizer: Annotated[str, typer.Option(help="adam or adamw.")] = "adam",
    learning_rate: Annotated[float, typer.Option(help="Initial rate.")] = 1e-4,
    weight_decay: Annotated[float, typer.Option(help="Of adamw.")] = 1e-4,
    schedule: Annotated[str, typer.Option(help="plateau, cosine or step.")] = "plateau",
    ema: Annotated[float | None, typer.Option(help="Average the weights with this momentum.")] = None,
    monitor: Annotated[str, typer.Option(help="What selects the best epoch.")] = "val_loss",
    patience: Annotated[int, typer.Option(help="Epochs without improvement before training stops.")] = 10,
    class_weights: Annotated[bool, typer.Option("--class-weights", help="Balance the genres.")] = False,
    augment: Annotated[
        bool,
        typer.Option("--augment", help="Augment training spectrograms: shifts, stretch, masks, mixup."),
    ] = False,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of weights, batches and split.")] = 0,
    data_name: Annotated[str | None, typer.Option(help="Name of the data in the report.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard logs.")] = False,
) -> None:
    """Train a model, score it, and write the report page of the run."""
    from gtzan_keras.store.augmentation import STRONG_AUGMENTATION
    from gtzan_keras.training.settings import TrainingSettings

    settings = TrainingSettings(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,  # type: ignore[arg-type]  # TrainingSettings itself refuses other words
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=schedule,  # type: ignore[arg-type]
        ema=ema,
        monitor=monitor,
        patience=patience,
        class_weights=class_weights,
        augmentation=STRONG_AUGMENTATION if augment else None,
        seed=seed,
        precision=precision,  # type: ignore[arg-type]
    )
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise GtzanKerasError("--tensorboard needs TensorBoard; pip install 'gtzan-keras[tensorboard]'")
    _import_tensorflow()
    import keras

    from gtzan_keras.report.page import report_run
    from gtzan_keras.store.open import open_store
    from gtzan_keras.tracks import splits
    from gtzan_keras.tracks.catalogue import data_name as name_of
    from gtzan_keras.training.evaluate import evaluate
    from gtzan_keras.training.fit import train as fit

    opened = open_store(store)
    parts = (
        splits.fault_filtered(opened.tracks)
        if split == "fault-filtered"
        else splits.stratified(opened.tracks, split, seed)
    )
    if without:
        left_out = [genre for genre in without.split(",") if genre]
        parts, opened = parts.without(opened.tracks, left_out), opened.without(left_out)
    if augment and opened.shape[-1] == 3:  # `tone` changes levels, which colours do not have
        settings = dataclasses.replace(
            settings, augmentation=dataclasses.replace(STRONG_AUGMENTATION, tone=0.0)
        )
    built, keywords = _build(model, opened.spec.shape, len(opened.genres), arguments, seed)
    run = fit(
        built,
        opened,
        parts,
        settings,
        out=out,
        callbacks=[keras.callbacks.TensorBoard(out / "tensorboard")] if tensorboard else [],
        facts={
            "data": data_name or name_of(opened.tracks),
            "builder": built.name,
            "arguments": keywords,
            "command": shlex.join(["gtzan-keras", *sys.argv[1:]]),
        },
    )
    evaluate(run)
    print(report_run(run))


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Show all of this one.")] = None,
) -> None:
    """List the published experiments that can be run, or show one."""
    from rich.console import Console
    from rich.table import Table

    from gtzan_keras.experiments import RECIPES, find

    console = Console(highlight=False)
    if name is not None:
        recipe = find(name)
        console.print(f"[bold]{recipe.name}[/bold]: {recipe.title}")
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for key, value in _recipe_facts(recipe):
            table.add_row(key, value)
        console.print(table)
        return
    metrics = {"accuracy": "", "macro_precision": " mP", "loss": " loss"}
    width, terminal = max(map(len, RECIPES)), console.is_terminal
    for recipe in RECIPES.values():
        figures = [f"{100 * figure.value:.1f} %{metrics[figure.metric]}" for figure in recipe.published[:1]]
        line = f"{recipe.name:<{width}}  {''.join(figures):<9}  {recipe.title}"
        console.print(line, no_wrap=True, crop=terminal, overflow="ellipsis" if terminal else "ignore")
    print("Published: accuracy, or macro precision (mP). `gtzan-keras recipes NAME` shows all of a recipe.")


def _recipe_facts(recipe: Any) -> list[tuple[str, str]]:
    """Return what `recipes NAME` shows, without empty lines."""
    from dataclasses import asdict

    from gtzan_keras.experiments import changes
    from gtzan_keras.experiments.catalogue import in_words

    settings = {} if recipe.settings is None else asdict(recipe.settings)
    facts = [
        ("source", recipe.source),
        ("data", recipe.data),
        ("features", recipe.inputs),
        ("model", recipe.builder),
        *((f"  {key}", in_words(value)) for key, value in recipe.arguments.items()),
        ("split", f"{recipe.split} (leaky)" if recipe.leaky else recipe.split),
        ("without", ", ".join(recipe.without)),
        ("training", " " if settings else ""),
        *((f"  {key}", in_words(value)) for key, value in settings.items() if key != "seed"),
        ("then", in_words(asdict(recipe.fine_tune)) if recipe.fine_tune else ""),
        ("grid", ", ".join(f"{key} {values}" for key, values in recipe.grid.items())),
        ("folds that choose the epochs", str(recipe.kfold or "")),
        ("averages", ", ".join(recipe.members)),
        ("starts from", recipe.pretrained),
        *(("published", str(figure)) for figure in recipe.published),
        *((f"from {recipe.base}", change) for change in changes(recipe)),
        *(("ours", choice) for choice in recipe.ours),
        ("note", recipe.note),
    ]
    return [(key, value) for key, value in facts if value]


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="Of the recipe; `gtzan-keras recipes` lists them.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Folder of tracks, store (.h5) or table (.csv); give it twice for a model of both; the "
            "packaged data if omitted.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="published (the default), random, artist or fault-filtered.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds: 0, 1, ...")] = 1,
    max_epochs: Annotated[int | None, typer.Option(help="Upper limit of epochs.")] = None,
    arguments: Annotated[
        str, typer.Option(help='Of the builder, in place of the recipe\'s, as JSON: \'{"size": "xs"}\'.')
    ] = "{}",
    weights: Annotated[
        str | None, typer.Option(help="Pretrained weights by path, or 'none' for random ones.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("reports"),
    stores: Annotated[Path, typer.Option(help="Folder for what is made from audio.")] = Path("data/stores"),
    precision: Annotated[
        str | None, typer.Option(help="auto, float32 or bfloat16, in place of the recipe's.")
    ] = None,
    jobs: Jobs = -1,
) -> None:
    """Run a published experiment, and show its figures with the published ones."""
    _import_tensorflow()
    from rich.console import Console

    from gtzan_keras.experiments import find
    from gtzan_keras.experiments import run as run_recipe
    from gtzan_keras.report.leaderboard import check_folder, report_all

    check_folder(out)  # before hours of training
    folders = run_recipe(
        name,
        data or (),
        protocol=split,
        seeds=seeds,
        max_epochs=max_epochs,
        arguments=_keywords(arguments),
        out=out,
        stores=stores,
        weights=weights,
        precision=precision,  # type: ignore[arg-type]  # TrainingSettings itself refuses other words
        jobs=jobs,
        command=shlex.join(["gtzan-keras", *sys.argv[1:]]),
    )
    console, recipe = Console(highlight=False), find(name)
    table, remarks = _figures(recipe, folders)
    console.print(table)
    for remark in [*remarks, *([recipe.note] if recipe.note else [])]:
        console.print(remark, markup=False)
    print(report_all(out, only=recipe.name).resolve())


def _figures(recipe: Any, folders: list[Path]) -> tuple[Any, list[str]]:
    """Return the published figures and ours as a table, and what is to be said about ours."""
    from rich.table import Table

    from gtzan_keras.experiments import PROTOCOLS
    from gtzan_keras.training.compare import across_seeds
    from gtzan_keras.training.results import read_result

    def shown(score: Any) -> str:
        return f"{score['value']:.1%} ({score['low']:.1%} to {score['high']:.1%})"

    table, remarks = Table(title=f"{recipe.name}: {recipe.title}"), []
    for column in ("", "accuracy", "macro precision"):
        table.add_column(column)
    for figure in recipe.published:
        if figure.metric != "loss":
            text = f"{figure.kind} {figure.value:.1%}".strip()
            cells = {"accuracy": (text, ""), "macro_precision": ("", text)}[figure.metric]
            table.add_row(f"published, {figure.part}", *cells)
    for folder in folders:
        seeds = [read_result(path.parent) for path in sorted(folder.glob("seed*/result.json"))]
        found, first = across_seeds(seeds), seeds[0][0]
        label = PROTOCOLS[first["protocol"]] + (" (leaky)" if first["split"]["leaky"] else "")
        by_artist = found["by_artist"]
        scores = [(by_artist or found)[name] for name in ("accuracy", "macro_precision")]
        table.add_row(f"ours, {label}" + (" *" if first["departures"] else ""), *map(shown, scores))
        table.add_row(f"  {first['split']['name']}, {len(seeds)} seed{'s' * (len(seeds) > 1)}", "", "")
        units = f"{by_artist['count']} artists" if by_artist else f"{found['tracks']} tracks"
        remarks.append(f"{label}: 95 % intervals over {units}")
        remarks += [f"* {label}: {words}" for words in first["departures"]]
        if part := found["segments"]:
            remarks.append(f"{label}, by segment: {shown(part)}")
    return table, remarks


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("reports/local"),
    seeds: Annotated[int, typer.Option(help="Seeds 0, 1, ... of each model and split.")] = 2,
    max_epochs: Annotated[int | None, typer.Option(help="Train no longer than this.")] = None,
) -> None:
    """Train on the packaged data under two splits and write a page about the difference."""
    _import_tensorflow()
    from gtzan_keras.experiments import run as run_recipe
    from gtzan_keras.report.leaderboard import report_all
    from gtzan_keras.report.two_splits import two_splits

    names = ["baseline/thumbnail-cnn", "baseline/logistic-regression"]
    for name in names:
        for split in ("random", "fault-filtered"):
            print(f"{name}, {split}, {seeds} seed(s) ...", flush=True)
            run_recipe(name, protocol=split, seeds=seeds, max_epochs=max_epochs, out=out, verbose=0)
    report_all(out)
    print(two_splits(out, names).resolve())


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="The folder of one run, or one with results below it.", metavar="FOLDER")
    ] = Path("reports"),
) -> None:
    """Write the leaderboard of a folder of results, and a page for each recipe and run."""
    from gtzan_keras.report.leaderboard import report_all

    print(report_all(folder).resolve())


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A run's folder.")],
    second: Annotated[Path, typer.Argument(help="Another run's, tested on the same tracks.")],
) -> None:
    """Compare two runs on their test tracks: differences with intervals, and McNemar's test."""
    from rich.console import Console
    from rich.table import Table

    from gtzan_keras.training.compare import compare as compared
    from gtzan_keras.training.compare import in_words

    found = compared(first, second)
    artists = found["by_artist"]
    table = Table(title=f"{found['count']} test tracks, 95 % intervals of the difference")
    table.add_column("score")
    for column in ("first", "second", "difference", *(["over artists"] if artists else []), "over tracks"):
        table.add_column(column, justify="right")
    for name, score in found["scores"].items():
        spans = [*([artists[name]] if artists else []), score["difference"]]
        table.add_row(
            name.replace("_", " "),
            f"{score['first']:.1%}",
            f"{score['second']:.1%}",
            f"{100 * score['difference']['value']:+.1f}",
            *(f"{100 * span['low']:+.1f} to {100 * span['high']:+.1f}" for span in spans),
        )
    console = Console(highlight=False)
    for key in ("first", "second"):
        console.print(f"{key}: {found[key]['name']}{' (leaky)' if found[key]['leaky'] else ''}", markup=False)
    console.print(table)
    right = found["right"]
    console.print(
        f"right: both {right['both']}, only the first {right['only_first']}, only the second "
        f"{right['only_second']}, neither {right['neither']}; exact McNemar p = {found['p_value']:.2g}"
    )
    console.print(in_words(found), markup=False)


@app.command()
def predict(
    songs: Annotated[
        list[str],
        typer.Argument(metavar="SONG", hidden=True),  # typer would show its type as <list[str]>
    ],
    model: Annotated[
        Path | None, typer.Option(help="A run's model.keras; the packaged model if omitted.")
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Seconds from window to window; half a window if omitted.")
    ] = None,
    window: Annotated[
        float | None, typer.Option(help="Seconds the model sees at once, if it accepts any length.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Timeline: a PNG for one song, a folder for several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list instead of lines.")] = False,
) -> None:
    """Predict the genre of recordings of any length, as a whole and over time.

    SONG is a sound file, a folder, or a pattern such as 'music/**/*.mp3'.
    """
    from tqdm import tqdm

    from gtzan_keras.audio.decode import AudioError
    from gtzan_keras.inference.predict import find_songs, gtzan_track, predict_all
    from gtzan_keras.report.timeline import figure_paths, timeline
    from gtzan_keras.tracks.catalogue import facts

    paths = find_songs(songs)
    if sys.stderr.isatty():
        print("Loading the model ...", file=sys.stderr)
    _import_tensorflow()
    figures: list[Path] | list[None] = figure_paths(paths, plot) if plot else [None] * len(paths)
    content, bad = [], 0
    results = predict_all(paths, model, hop, window=window)
    for path, figure, result in zip(paths, figures, results, strict=True):
        if isinstance(result, AudioError):
            bad += 1
            tqdm.write(f"error: {result}", file=sys.stderr)
            continue
        if figure is not None:
            figure.parent.mkdir(parents=True, exist_ok=True)
            timeline(result).savefig(figure, dpi=150)
        track = gtzan_track(path)
        if as_json:
            content.append({**result.to_dict(), "gtzan_track": track})
            continue
        notes = ["padded with silence"] if result.padded else []
        if track:
            part = facts().loc[track, "fault_filtered"]
            trained = model is None and part == "train"
            notes.append(f"GTZAN's {track}" + (", which the model was trained on" if trained else ""))
        shares = [(genre, f"{share:.0%}") for genre, share in result.top()]
        tops = ", ".join(f"{genre} {share}" for genre, share in shares if share != "0%")
        note = f" ({'; '.join(notes)})" if notes else ""
        tqdm.write(f"{_short(path)}: {tops}; {result.duration:.1f} s{note}", file=sys.stdout)
    if as_json:
        print(json.dumps(content, indent=1, ensure_ascii=False))
    if bad:
        raise typer.Exit(1)


def _short(path: Path, length: int = 60) -> str:
    """Return a path for a line of output: relative where that is possible, its middle left out if long."""
    text = os.fspath(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return text if len(text) <= length else f"{text[:12]}...{text[len(text) - length + 15 :]}"


def _console() -> Any:
    """A console that prints the names of files and genres as they are: no markup, no emoji."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


@app.command()
def weights() -> None:
    """List the pretrained weights that can be downloaded, and those that are here."""
    from rich.console import Console
    from rich.table import Table

    from gtzan_keras.models.weights import PRETRAINED, weights_folder

    table = Table()
    for column in ("name", "source", "licence", "MB", "here"):
        table.add_column(column, justify="right" if column == "MB" else "left")
    for entry in PRETRAINED:
        size = "varies" if entry.megabytes is None else f"{entry.megabytes:g}"
        here = ("yes" if entry.is_here else "no") if entry.path else "kept there"
        table.add_row(entry.name, entry.source, entry.licence, size, here)
    console = Console()
    console.print(table)
    console.print(f"Converted weights are kept in {weights_folder()}.", highlight=False, markup=False)


def _import_tensorflow() -> None:
    """Import TensorFlow without the lines its C++ side writes before any setting can silence them."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _keywords(arguments: str) -> dict[str, Any]:
    """``--arguments``: the keyword arguments of a builder."""
    try:
        keywords = json.loads(arguments)
        if not isinstance(keywords, dict):
            raise ValueError("it is no object")
    except ValueError as error:  # JSON's own errors are of this kind
        raise GtzanKerasError(
            f"--arguments is {arguments!r}, not JSON names and values ({error}); for example "
            "'{\"dropout\": 0.3}'"
        ) from error
    return keywords


def _build(
    name: str, input_shape: tuple[int, ...], num_classes: int, arguments: str, seed: int
) -> tuple[Any, dict[str, Any]]:
    """A model by its name on the command line, and the builder's keyword arguments."""
    import keras

    from gtzan_keras import models

    keywords = _keywords(arguments)
    builders: dict[str, Any] = {
        "cnn": models.cnn,
        **{f"cnn-{source}": partial(models.cnn, **given) for source, given in models.CNN_ARGUMENTS.items()},
        "dense": models.dense,
        **{base: partial(models.image_base, base) for base in models.IMAGE_BASES},
        "yolov4": models.yolov4,
        "yolov8": models.yolov8,
        "vggish-classifier": models.vggish_classifier,
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
