"""The command line, called as the console script calls it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from typer.main import get_command

import gtzan_keras
from gtzan_keras import cli, load_tracks, open_store, preprocess
from gtzan_keras.audio.features import FEATURE_COLUMNS, TABLE_COLUMNS
from gtzan_keras.cli import main
from gtzan_keras.experiments import RECIPES
from gtzan_keras.tracks.catalogue import FACT_COLUMNS, facts
from gtzan_keras.training.results import read_result

RATE = 22050
REPORTS = Path(__file__).resolve().parent.parent / "reports"
SCRIPT = Path(sys.executable).with_name("gtzan-keras")


class Answer(NamedTuple):
    out: str
    err: str


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: object, code: int = 0) -> Answer:
        monkeypatch.setattr(sys, "argv", ["gtzan-keras", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        answer = Answer(*capfd.readouterr())
        assert (end.value.code or 0) == code, answer.err
        return answer

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two genres that anything can tell apart, one broken jazz.00054 and one pair of exact copies."""
    root = tmp_path_factory.mktemp("tracks")
    random = np.random.default_rng(0)
    for genre, pitch in (("jazz", 220), ("rock", 3520)):
        (root / "genres_original" / genre).mkdir(parents=True)
        for number in range(10):
            times = np.arange(3 * RATE) / RATE
            sound = 0.3 * np.sin(2 * np.pi * pitch * times) + 0.01 * random.normal(size=len(times))
            soundfile.write(root / "genres_original" / genre / f"{genre}.{number:05d}.wav", sound, RATE)
    (root / "genres_original" / "jazz" / "jazz.00054.wav").write_bytes(b"no sound at all")
    original = root / "genres_original" / "rock" / "rock.00000.wav"
    (root / "genres_original" / "rock" / "my copy.wav").write_bytes(original.read_bytes())
    return root


@pytest.fixture(scope="module")
def store(folder: Path) -> Path:
    return preprocess(load_tracks(folder), folder / "store.h5", "zhang-128", jobs=1).path


def test_from_audio_to_a_page_with_every_command_of_the_readme(
    run_command, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = run_command("tracks", folder, "--verify", "--jobs", 1)
    assert "jazz.00054: unreadable" in listed.out
    assert "exact copies: rock.00000 = rock/my copy" in listed.out

    store = tmp_path / "store.h5"
    made = run_command("preprocess", folder, store, "--spec", "zhang-128", "--jobs", 1)
    assert "left out jazz.00054: not readable as sound" in caplog.text
    assert "21 spectrograms of 21 tracks" in made.out
    assert "1 left out" in made.out

    again = run_command("preprocess", folder, store, "--spec", "zhang-128", "--jobs", 1)
    assert "(22 already done)" in again.out

    run = tmp_path / "runs" / "one"
    network = ["--model", "cnn", "--arguments", '{"filters": [8, 8], "dense_units": [16], "dropout": 0}']
    settings = ["--epochs", 4, "--learning-rate", 0.01]
    settings += ["--settings", '{"batch_size": 8, "precision": "float32", "seed": 3}']
    train = ["train", store, "--out", run, "--split", "80/20", *network, *settings, "--resume"]
    trained = run_command(*train)
    assert trained.out.strip().splitlines()[-1] == str(run / "index.html")
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert result["data"]["refused"][0]["track_id"] == "jazz.00054"
    assert (result["split"]["name"], result["settings"]["seed"]) == ("80/20 (seed 3)", 3)
    # The command on the page is the one to repeat the run with.
    expected = ["gtzan-keras", "train", str(store), "--out", str(run), "--split", "80/20"]
    assert shlex.split(result["command"])[:7] == expected
    # A low and a high tone: anything below all right would mean that labels and pictures got mixed up.
    assert result["scores"]["test"]["accuracy"]["value"] == 1.0
    assert {"model.keras", "history.csv", "tracks.csv"} <= {path.name for path in run.iterdir()}
    page = (run / "index.html").read_text("utf-8")
    for figure in ("class_distribution", "examples", "confusion_matrix", "history"):
        assert page.count(f'<figure id="{figure}">') == 1

    again = run_command(*train)
    assert again.out == trained.out.splitlines()[-1] + "\n"  # no epoch was trained

    reported = run_command("report", tmp_path / "runs")
    pages = tmp_path / "runs" / "pages"
    assert reported.out.strip() == str(pages / "index.html")
    assert (pages / "index.html").read_text("utf-8").count('href="run-one.html"') == 1

    jazz = folder / "genres_original" / "jazz"
    # One file of eleven is no sound.
    answer = run_command("predict", jazz, "--model", run, "--json", code=1)
    assert {song["top"] for song in json.loads(answer.out)} == {"jazz"}
    assert len(json.loads(answer.out)) == 10
    assert "jazz.00054.wav" in answer.err


def test_tracks_counts_artists_not_the_tracks_that_have_one(run_command, folder: Path) -> None:
    lines = run_command("tracks", folder).out.splitlines()
    row = next(line for line in lines if line.split("│")[1:2] == [" rock  "])
    artists = facts()["artist"].reindex([f"rock.{number:05d}" for number in range(10)])
    assert [int(cell) for cell in row.split("│")[2:4]] == [11, artists[artists != ""].nunique()]


@pytest.fixture
def strange_names(tmp_path: Path) -> Path:
    for name in ("ro[live]ck/Song [live].wav", "ro[live]ck/[bold]:smile:.wav", "pop/é.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no sound")
    (tmp_path / "pop" / "[").mkdir()
    (tmp_path / "pop" / "[" / "x].wav").write_bytes(b"no sound")
    return tmp_path


def test_markup_in_names_is_printed_as_it_is(run_command, strange_names: Path) -> None:
    answer = run_command("tracks", strange_names, "--verify", "--jobs", 1)
    for name in ("ro[live]ck/Song [live]", "ro[live]ck/[bold]:smile:", "pop/[/x]", "pop/é"):
        assert f"{name}: unreadable" in answer.out
    assert "│ ro[live]ck │" in answer.out


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="such names cannot be made there")
def test_a_terminal_without_letters_and_names_without_encoding_end_in_no_traceback(
    strange_names: Path,
) -> None:
    Path(os.fsdecode(os.fsencode(strange_names) + b"/pop/br\xe9sil.wav")).touch()
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    listed, missing = (
        subprocess.run([SCRIPT, "tracks", name], capture_output=True, env=environment, check=False)
        for name in (strange_names, "é\udce9")
    )
    assert listed.returncode == 0, listed.stderr
    assert rb"br\udce9sil.wav" in listed.stderr
    assert b"Traceback" not in listed.stderr
    assert missing.returncode == 1
    assert missing.stderr.startswith(rb"error: \xe9\udce9: no such folder")
    assert missing.stderr.count(b"\n") == 1


def test_demo_makes_a_folder_that_tracks_can_list(run_command, tmp_path: Path) -> None:
    run_command("demo", tmp_path / "demo", "--tracks-per-genre", 4, "--seconds", 2, "--jobs", 1)
    listed = run_command("tracks", tmp_path / "demo")
    assert "demo set" in listed.out
    assert "GTZAN" not in listed.out


def test_import_images_makes_a_store(run_command, tmp_path: Path) -> None:
    for genre in ("blues", "rock"):
        (tmp_path / "pictures" / genre).mkdir(parents=True)
        Image.new("RGB", (432, 288)).save(tmp_path / "pictures" / genre / f"{genre}00000.png")
    made = run_command("import-images", tmp_path / "pictures", tmp_path / "pictures.h5")
    assert "2 images" in made.out


@pytest.mark.parametrize("command", get_command(cli.app).commands)
def test_help_says_what_a_value_is_without_python_types(run_command, command: str) -> None:
    assert not re.search(r"list\[|Path\]", run_command(command, "--help").out)


def test_the_version_is_printed(run_command) -> None:
    assert run_command("--version").out == f"gtzan-keras {gtzan_keras.__version__}\n"


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_onednn_is_on_unless_the_user_has_it_off(given, expected):
    code = "import atexit, os; from gtzan_keras.cli import main\n"
    code += "atexit.register(lambda: print(os.environ['TF_ENABLE_ONEDNN_OPTS'])); main()"
    others = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    command = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(command, env=others | given, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected


def test_recipes_are_listed_and_shown_whole(run_command) -> None:
    (line,) = re.findall("^arrigo/18.*", run_command("recipes").out, re.MULTILINE)
    assert "80.3 % mP" in line
    shown = run_command("recipes", "arrigo/15").out
    assert "norm: batch -> layer" in shown
    assert "macro precision 74.0 % (test)" in shown
    assert "did you mean arrigo/18" in run_command("recipes", "arigo/18", code=1).err


@pytest.mark.usefixtures("eager")
def test_a_recipe_runs_from_audio_to_the_leaderboard(
    run_command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(RECIPES["zhang/cnn"], arguments={"filters": (4,), "dense_units": (4,)})
    monkeypatch.setitem(RECIPES, "zhang/cnn", small)
    reports = tmp_path / "reports"
    options = ("--data", folder, "--max-epochs", 1, "--out", reports, "--stores", tmp_path / "stores")
    answer = run_command("run", "zhang/cnn", *options, "--seeds", 2)
    assert "accuracy 62.5 % (test)" in answer.out
    assert "2 seeds" in answer.out
    assert "at most 1 epochs in place of 50" in " ".join(answer.out.replace("│", " ").split())
    assert str(reports / "pages" / "zhang-cnn.html") in answer.out
    assert (reports / "index.html").is_file()
    result, _ = read_result(reports / "zhang/cnn/published/seed1")
    assert result["departures"] == ["at most 1 epochs in place of 50"]


def test_a_recipe_runs_in_a_clone_beside_our_own_results(run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REPORTS / "zhang/svm", "reports/zhang/svm")
    assert "no figure" in run_command("run", "zhang/svm").out
    assert read_result("runs/zhang/svm/published/seed0")[0]["data"]["tracks"] == 1000
    assert "zhang-svm.html" in Path(run_command("report").out.strip()).read_text("utf-8")


def test_compare_says_first_what_the_artists_say(run_command) -> None:
    runs = [REPORTS / f"baseline/{name}/fault-filtered/seed0" for name in ("cnn", "thumbnail-cnn")]
    words = " ".join(run_command("compare", *runs).out.split())
    first, second = (json.loads((run / "result.json").read_text())["scores"]["test"] for run in runs)
    difference = 100 * (first["accuracy"]["value"] - second["accuracy"]["value"])
    by_artist = words.index(f"Over 124 artists the accuracy differs by {difference:+.1f} points")
    assert words.index("over artists") < words.index("over tracks") < by_artist < words.index("Of 290 tracks")


def test_run_refuses_a_folder_with_a_foreign_readme_before_it_trains(run_command, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my project")
    answer = run_command("run", "baseline/thumbnail-cnn", "--out", tmp_path, code=1)
    assert "README.md: not written by" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_explain_prints_parts_and_nearest_tracks_and_draws(run_command, folder: Path, tmp_path: Path) -> None:
    song = folder / "genres_original" / "rock" / "rock.00000.wav"
    answer = run_command("explain", song, "--genre", "rock", "--plot", tmp_path / "why.png")
    lines = answer.out.splitlines()
    assert re.search(r"rock\.00000\.wav: rock \d+%, by grad-cam$", lines[0])
    assert re.match(r"(for    |against) 0:0\d to 0:0\d, \d+ to \d+ Hz, strength 100%$", lines[1])
    near = lines[lines.index("nearest training tracks:") + 1 :]
    assert len(near) == 3
    assert re.match(r"0\.\d\d  [a-z]+\.\d{5}  ", near[0])
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"
    answer = run_command("explain", song, "--plot", tmp_path / "new" / "why.txt", code=1)
    assert "why.txt: Format 'txt' is not supported (supported formats: " in answer.err
    assert not list((tmp_path / "new").iterdir())
    answer = run_command("explain", song, "--genre", "polka", code=1)
    assert answer.out == ""
    assert answer.err.endswith("reggae, rock\n")


def test_features_writes_a_row_a_track(run_command, folder: Path, tmp_path: Path) -> None:
    for name in ("jazz/jazz.00000.wav", "jazz/jazz.00054.wav", "rock/rock.00000.wav"):
        (tmp_path / "few" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "few" / name).symlink_to(folder / "genres_original" / name)
    made = run_command("features", tmp_path / "few", tmp_path / "features.csv", "--jobs", 1)
    assert "2 rows, 1 tracks left out" in made.out
    assert len((tmp_path / "features.csv").read_text("utf-8").splitlines()) == 3


def test_a_table_of_an_own_collection_gets_its_artists_and_copies_from_its_folder(
    run_command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{genre}/{number}" for genre in ("fado", "polka") for number in range(12)]
    for name in names:
        (tmp_path / f"{name}.wav").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.wav").touch()
    rows = [f"{name},,by {number % 6},,,," for number, name in enumerate(names)]
    (tmp_path / "tracks.csv").write_text("\n".join([",".join(FACT_COLUMNS), *rows]))
    features = np.random.default_rng(0).normal(size=(len(names), len(FEATURE_COLUMNS)))
    table = pd.DataFrame(features, columns=[*FEATURE_COLUMNS])
    table = table.assign(filename=[f"{name}.wav" for name in names], length=1)
    table["label"] = [name.partition("/")[0] for name in names]
    table[[*TABLE_COLUMNS]].to_csv(tmp_path / "table.csv", index=False)
    command = ("cross-validate", tmp_path / "table.csv", "--model", "knn", "--split", "artist")
    assert "the artists of these tracks are unknown" in run_command(*command, code=1).err
    (warning,) = caplog.messages
    assert warning.endswith("which are copies; name the folder of its tracks with --tracks")
    answer = run_command(*command, "--tracks", tmp_path)
    assert answer.out.count("artist-grouped fold") == 5
    assert len(caplog.messages) == 1
    (tmp_path / "polka" / "3.wav").unlink()
    assert "1 track(s) of the table are not" in run_command(*command, "--tracks", tmp_path, code=1).err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tracks", "nowhere"], "nowhere: no such folder; name the one that holds the genre folders"),
        (["preprocess", ".", "out.h5"], "no sound files in genre folders"),
        (["train", "nowhere.h5", "--out", "run"], "nowhere.h5: no such store"),
        (["run", "baseline/knn", "--arguments", '{"k": 3}'], "arguments={'k': 3}: KNeighborsClassifier"),
        (["report", "."], "no result.json"),
        (["demo", ".", "--tracks-per-genre", "0"], "tracks_per_genre"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_1(
    run_command, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run_command(*arguments, code=1)
    assert answer.err.startswith("error: ")
    assert len(answer.err.strip().splitlines()) == 1
    assert message in answer.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "vgg"], "--model is 'vgg'; expected one of cnn, "),
        (["--arguments", "{"], "expected a JSON object, such as"),
        (["--without", "rock, jazz,jazz"], "without jazz, rock: the genres are jazz, rock; at least two"),
        (["--arguments", '{"filter": 3}'], "filter"),
        (["--split", "90/10"], "--split 90/10: expected one of 70/15/15, 80/20, 72/8/20, "),
        (["--split", "artist"], "expected 2 up to the number of artist groups, here 4"),
        (["--settings", '{"precision": "float8"}'], "precision='float8'"),
        (["--augment", "--settings", '{"augmentation": {"mixup": 0.2}}'], "expected one of them"),
        (["--settings", '{"optimiser": "adam"}'], "settings: no field optimiser; expected some of epochs"),
        (["--settings", '{"augmentation": {"foo": 1}}'], "augmentation: no field foo; expected some of"),
    ],
)
def test_a_wrong_option_of_train_is_named(
    run_command, options: list[str], message: str, store: Path, tmp_path: Path
) -> None:
    answer = run_command("train", store, "--out", tmp_path / "run", *options, code=1)
    assert message in answer.err.splitlines()[-1]
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_song_that_is_missing_is_said_before_tensorflow_is_imported(run_command, monkeypatch, command):
    monkeypatch.setattr(cli, "_import_tensorflow", lambda *_: pytest.fail("TensorFlow would be imported"))
    assert run_command(command, "gone.mp3", code=1).err == "error: gone.mp3: no such file\n"


@pytest.mark.nightly
def test_the_same_command_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    command = [SCRIPT, "run", "baseline/thumbnail-cnn", "--split", "fault-filtered", "--max-epochs", "1"]
    for out in ("first", "second"):
        subprocess.run([*command, "--out", tmp_path / out], capture_output=True, check=True)
    first, second = (next((tmp_path / out).rglob("tracks.csv")) for out in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_resize_makes_a_store_of_another_size(run_command, store: Path, tmp_path: Path) -> None:
    size = ["--height", 40, "--width", 50, "--colour-map", "viridis"]
    made = run_command("resize", store, tmp_path / "small.h5", *size)
    assert "21 spectrograms, spec 'zhang-128 as 40x50 viridis'" in made.out
    assert open_store(tmp_path / "small.h5").shape == (21, 40, 50, 3)


@pytest.mark.parametrize(
    ("name", "arguments"), [("mobilenetv3small", '{"weights": null}'), ("cnn-zhang", '{"dense_units": [7]}')]
)
def test_train_builds_every_kind_of_network_by_name(name: str, arguments: str) -> None:
    model, keywords = cli._build(name, (64, 64, 1), 3, arguments, seed=0)
    assert (model.input_shape, model.output_shape) == ((None, 64, 64, 1), (None, 3))
    if name == "cnn-zhang":  # what is not given comes from the source's arguments
        assert (keywords["dense_units"], tuple(keywords["filters"])) == ([7], (32, 64))
