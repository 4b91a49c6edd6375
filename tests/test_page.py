"""The pages say what the files say, and need nothing but themselves."""

# ruff: noqa: RUF001 - intervals are written with an en dash
from __future__ import annotations

import base64
import copy
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report.leaderboard import report_all
from gtzan_keras.report.page import figures, index_page, report_scores, run_page, write_figures
from gtzan_keras.training.evaluate import calibration, score_tracks

GENRES = ["jazz", "rock"]
FIGURES = {"history", "confusion_matrix", "class_distribution", "per_class", "examples", "intervals"}


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def a_part(count: int = 10) -> dict[str, Any]:
    tracks = [
        ("jazz.00001", "jazz", "rock", "Björk", "<script>alert('x')</script>", [0.2, 0.8]),
        ("rock.00002", "rock", "jazz", "Mötley Crüe", "Für Elise & Co", [0.913, 0.087]),
        ("rock.00003", "rock", "rock", None, None, [0.01, 0.99]),
    ]
    keys = ("track_id", "genre", "predicted", "artist", "title", "probabilities")
    return {
        "accuracy": interval(0.38, 0.241, 0.544),
        "macro_precision": interval(0.412, 0.25, 0.57),
        "macro_recall": interval(0.39, 0.22, 0.53),
        "macro_f1": interval(0.37, 0.21, 0.52),
        "loss": 1.8768,
        "count": count,
        "per_class": [
            {"genre": "jazz", "precision": 0.123, "recall": 0.456, "f1": 0.194, "support": 6},
            {"genre": "rock", "precision": 0.7, "recall": 0.25, "f1": 0.368, "support": 4},
        ],
        "confusion_matrix": [[3, 3], [3, 1]],
        "segments": {"count": 100, "accuracy": 0.345},
        "tracks": [dict(zip(keys, track, strict=True)) for track in tracks],
    }


def a_result(**changes: Any) -> dict[str, Any]:
    """A full result; `data__name="x"` changes the field `data.name`."""
    result = {
        "format": 1,
        "name": "Zhang CNN",
        "data": {
            "name": "gtzan",
            "tracks": 98,
            "genres": GENRES,
            "refused": [{"track_id": "jazz.00054", "reason": "not a <sound> file"}],
            "duplicates": [["pop.00015", "pop.00022"]],
        },
        "spec": {"sample_rate": 22050, "n_mels": 128, "f_max": None},
        "split": {
            "name": "stratified 70/15/15",
            "leaky": False,
            "train": 68,
            "validation": 20,
            "test": 10,
            "missing": ["disco.00050"],
        },
        "model": {"builder": "cnn", "arguments": {"dropout": 0.4}, "parameters": 1234567},
        "training": {
            "optimizer": "adam",
            "learning_rate": 1e-4,
            "epochs": 3,
            "best_epoch": 2,
            "seed": 42,
            "seconds": 12.5,
            "augmentation": None,
        },
        "environment": {"python": "3.11.2", "keras": "3.15.0"},
        "date": "2026-11-21",
        "command": "gtzan-keras run zhang --note '<b>'",
        "scores": {"validation": a_part(20), "test": a_part()},
    }
    for field, value in changes.items():
        *outer, last = field.split("__")
        inner: dict[str, Any] = result
        for key in outer:
            inner = inner[key]
        inner[last] = value
    return result


HISTORY = pd.DataFrame(
    {"epoch": [1, 2, 3], "loss": [2.3, 1.9, 1.5], "val_loss": [2.31, 2.01, 2.2], "accuracy": [0.1, 0.3, 0.5]}
)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return a_run(tmp_path / "run")


def a_run(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(a_result(**changes)))
    HISTORY.to_csv(folder / "history.csv", index=False)
    return folder


class Reader(HTMLParser):
    """What a browser makes of a page: its text, its tags, the rows of its tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.pieces: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.pieces.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


# --- a run's page ----------------------------------------------------------------------------


def test_the_headline_says_how_many_were_right_with_interval_and_chance(run_folder: Path) -> None:
    text = Reader(run_page(run_folder)).text
    assert "38.0 % of 10 test tracks right (95 % interval 24–54 %; chance 50 %)" in text


def test_the_scores_table_shows_both_parts_with_intervals(run_folder: Path) -> None:
    rows = Reader(run_page(run_folder)).rows
    assert ["", "test", "validation"] in rows
    assert ["accuracy", "38.0 %", "24.1–54.4 %", "38.0 %", "24.1–54.4 %"] in rows
    assert ["macro precision", "41.2 %", "25.0–57.0 %", "41.2 %", "25.0–57.0 %"] in rows
    assert ["macro recall", "39.0 %", "22.0–53.0 %", "39.0 %", "22.0–53.0 %"] in rows
    assert ["macro F1", "37.0 %", "21.0–52.0 %", "37.0 %", "21.0–52.0 %"] in rows
    assert ["loss", "1.877", "", "1.877", ""] in rows
    assert ["tracks", "10", "", "20", ""] in rows
    assert ["accuracy by segment", *["34.5 %", "of 100 segments"] * 2] in rows


def newer() -> dict[str, Any]:
    """What results of version 0.1 lacked."""
    four = dict.fromkeys(("accuracy", "macro_precision", "macro_recall", "macro_f1"))
    return {
        "by_artist": {"count": 7, **dict.fromkeys(four, interval(0.38, 0.123, 0.678))},
        "calibration": calibration([0.8, 0.913, 0.99], [False, False, True])
        | {"ece": 0.456, "calibrated": {"low": 0.031, "high": 0.299}},
    }


def test_intervals_over_artists_and_the_calibration_error_stand_beside_the_scores(tmp_path: Path) -> None:
    test = a_part() | newer()
    page = Reader(run_page(a_run(tmp_path / "run", scores__test=test)))
    assert ["", "", "over tracks", "over artists", "", "over tracks", "over artists"] in page.rows
    accuracy = ["accuracy", "38.0 %", "24.1–54.4 %", "12.3–67.8 %", "38.0 %", "24.1–54.4 %", "–"]
    assert accuracy in page.rows
    assert ["calibration error", "45.6 %", "3.1–29.9 % if calibrated", "–", ""] in page.rows
    assert ["tracks", "10", "of 7 artists", "20", ""] in page.rows
    assert "the one to go by" in page.text


def test_a_result_of_version_0_1_has_neither_artists_nor_calibration(run_folder: Path) -> None:
    text = Reader(run_page(run_folder)).text
    assert "over artists" not in text
    assert "calibration" not in text


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("by_artist", {"count": 3}, "field 'scores.test.by_artist.accuracy' is missing"),
        (
            "calibration",
            {"ece": "small"},
            "field 'scores.test.calibration.ece' is 'small', expected a whole number or",
        ),
    ],
)
def test_wrong_newer_fields_are_named_too(field: str, value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(GtzanKerasError, match=message):
        run_page(a_run(tmp_path / "run", scores__test=a_part() | {field: value}))


def test_the_page_lists_genres_faults_and_settings(run_folder: Path) -> None:
    page = Reader(run_page(run_folder))
    for row in (
        ["jazz", "12.3 %", "45.6 %", "19.4 %", "6"],
        ["jazz.00054", "not a <sound> file"],
        ["builder", "cnn"],
        ["parameters", "1,234,567"],
        ["arguments", "dropout 0.4"],
        ["learning_rate", "0.0001"],
        ["augmentation", "none"],
        ["sample_rate", "22050"],
        ["f_max", "none"],
        ["train", "68"],
        ["python", "3.11.2"],
        ["2", "1.9", "2.01", "0.3"],
    ):
        assert row in page.rows
    assert "1 recording is there more than once" in page.text
    assert "kept on one side of the split: pop.00015 = pop.00022" in page.text
    assert "1 track named by the split but not in the data: disco.00050" in page.text
    assert "gtzan-keras run zhang --note '<b>'" in page.text


def test_mistakes_are_listed_most_confident_first_and_right_answers_are_not(run_folder: Path) -> None:
    rows = Reader(run_page(run_folder)).rows
    start = rows.index(["track", "artist", "title", "true", "predicted", "probability"])
    assert rows[start + 1 : start + 3] == [
        ["rock.00002", "Mötley Crüe", "Für Elise & Co", "rock", "jazz", "91.3 %"],
        ["jazz.00001", "Björk", "<script>alert('x')</script>", "jazz", "rock", "80.0 %"],
    ]
    assert "rock.00003" not in Reader(run_folder / "index.html").text


def test_ten_mistakes_are_listed_and_the_others_folded_away(tmp_path: Path) -> None:
    track = a_part()["tracks"][0]
    many = [{**track, "track_id": f"jazz.{n:05d}", "probabilities": [1 - n / 99, n / 99]} for n in range(30)]
    page = Reader(run_page(a_run(tmp_path / "run", scores__test__tracks=many)))
    listed = [row[0] for row in page.rows if row[0].startswith("jazz.") and len(row) == 6]
    assert listed == [f"jazz.{n:05d}" for n in range(29, -1, -1)]
    html = (tmp_path / "run" / "index.html").read_text()
    summary = html.index("<summary>Show all: the other 20 of 30 mistakes</summary>")
    assert html.index("jazz.00020") < summary < html.index("jazz.00019")
    assert "Show all" not in Reader(run_page(a_run(tmp_path / "few"))).text


def test_a_run_without_mistakes_or_faults_says_so(tmp_path: Path) -> None:
    right = [track for track in a_part()["tracks"] if track["genre"] == track["predicted"]]
    text = Reader(
        run_page(
            a_run(
                tmp_path / "run", scores__test__tracks=right, data__refused=[], data__duplicates=[],
                split__missing=[],
            )
        )
    ).text  # fmt: skip
    assert "None: every test track was right." in text
    assert "None found: every track could be read" in text


def test_nothing_in_the_data_becomes_markup(run_folder: Path) -> None:
    page = Reader(run_page(run_folder))
    assert not {"script", "b", "sound"} & {tag for tag, _ in page.tags}


def test_the_page_refers_to_nothing_outside_itself(run_folder: Path) -> None:
    write_figures(some_figures(), run_folder)
    page = Reader(run_page(run_folder))
    references = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster", "background")
    ]
    assert len(references) == len(FIGURES)
    assert all(str(reference).startswith("data:image/png;base64,") for reference in references)
    assert not {"link", "script", "iframe", "object"} & {tag for tag, _ in page.tags}
    html = (run_folder / "index.html").read_text()
    assert not re.search(r"@import|url\(|https?://|file:", html)


def test_figures_are_embedded_byte_for_byte_with_their_size_and_a_caption(run_folder: Path) -> None:
    write_figures(some_figures(), run_folder)
    page = Reader(run_page(run_folder))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    embedded = [base64.b64decode(str(image["src"]).partition(",")[2]) for image in images]
    assert set(embedded) == {(run_folder / f"{stem}.png").read_bytes() for stem in FIGURES}
    for image, data in zip(images, embedded, strict=True):
        width, height = Image.open(io.BytesIO(data)).size
        assert (image["width"], image["height"]) == (str(round(width * 0.8)), str(round(height * 0.8)))
        assert image["alt"]
    assert sum(tag == "figcaption" for tag, _ in page.tags) == len(FIGURES)


def test_figures_that_are_not_there_are_left_out(run_folder: Path) -> None:
    write_figures({"history": some_figures()["history"]}, run_folder)
    page = Reader(run_page(run_folder))
    assert sum(tag == "img" for tag, _ in page.tags) == 1


def test_the_demo_set_is_called_what_it_is(tmp_path: Path) -> None:
    sentence = (
        "Demo set: synthesised sounds, not GTZAN. The figures say that the machinery works, "
        "not how well genres can be told apart."
    )
    assert sentence in Reader(run_page(a_run(tmp_path / "a", data__name="demo set"))).text
    assert sentence not in Reader(run_page(a_run(tmp_path / "b"))).text


def test_a_leaky_split_is_called_leaky_and_its_duplicates_are_not_called_kept(tmp_path: Path) -> None:
    leaky = Reader(run_page(a_run(tmp_path / "a", split__leaky=True))).text
    assert "Leaky split." in leaky
    assert "copies may stand on both sides" in leaky
    assert "kept on one side" not in leaky
    assert "leaky" not in Reader(run_page(a_run(tmp_path / "b"))).text.lower()


def test_without_a_test_part_the_validation_scores_lead_and_are_named_so(tmp_path: Path) -> None:
    page = Reader(run_page(a_run(tmp_path / "run", scores__test=None)))
    assert "38.0 % of 20 validation tracks right" in page.text
    assert "No test part." in page.text
    assert ["accuracy", "38.0 %", "24.1–54.4 %"] in page.rows


def test_without_any_scores_the_page_says_so(tmp_path: Path) -> None:
    assert "This run has no scores" in Reader(run_page(a_run(tmp_path / "run", scores={}))).text


def test_without_segments_there_is_no_segment_row(tmp_path: Path) -> None:
    changes = {"scores__test__segments": None, "scores__validation__segments": None}
    assert "segment" not in Reader(run_page(a_run(tmp_path / "run", **changes))).text


def test_long_lists_are_folded(tmp_path: Path) -> None:
    missing = [f"rock.{number:05d}" for number in range(90)]
    run_page(a_run(tmp_path / "run", split__missing=missing))
    html = (tmp_path / "run" / "index.html").read_text()
    assert "<summary>90 tracks named by the split but not in the data:</summary>" in html


def test_scores_that_are_not_numbers_are_dashes(tmp_path: Path) -> None:
    row = {"genre": "jazz", "precision": float("nan"), "recall": 0.0, "f1": 0.0, "support": 6}
    changes = {"scores__test__per_class": [row], "scores__test__loss": float("nan")}
    page = Reader(run_page(a_run(tmp_path / "run", **changes)))
    assert ["jazz", "–", "0.0 %", "0.0 %", "6"] in page.rows
    assert ["loss", "–", "", "1.877", ""] in page.rows


def test_writing_the_page_replaces_the_old_one_and_leaves_nothing_else(run_folder: Path) -> None:
    (run_folder / "index.html").write_text("old")
    assert run_page(run_folder) == run_folder / "index.html"
    assert {path.name for path in run_folder.iterdir()} == {"result.json", "history.csv", "index.html"}


def test_a_failed_page_leaves_the_old_one(run_folder: Path) -> None:
    (run_folder / "index.html").write_text("old")
    (run_folder / "history.png").write_bytes(b"no picture")
    with pytest.raises(GtzanKerasError, match=r"history\.png: not a PNG"):
        run_page(run_folder)
    assert (run_folder / "index.html").read_text() == "old"


def every_field(result: Any, path: tuple = ()) -> list[tuple]:
    """The path of each key the layout names."""
    free = {("spec",), ("environment",), ("model", "arguments"), ("scores",)}
    fields = []
    for key, value in result.items():
        fields.append((*path, key))
        if isinstance(value, dict) and fields[-1] not in free:
            fields += every_field(value, fields[-1])
    optional = {"optimizer", "learning_rate", "augmentation"}
    return [field for field in fields if field[-1] not in optional]


@pytest.mark.parametrize("field", every_field(a_result()), ids=".".join)
def test_a_missing_field_is_named_with_its_file(field: tuple[str, ...], run_folder: Path) -> None:
    result = a_result()
    inner: Any = result
    for key in field[:-1]:
        inner = inner[key]
    del inner[field[-1]]
    (run_folder / "result.json").write_text(json.dumps(result))
    with pytest.raises(GtzanKerasError, match=rf"result\.json: field '{'.'.join(field)}' is missing"):
        run_page(run_folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data__tracks", "many", "field 'data.tracks' is 'many', expected a whole number"),
        ("split__leaky", 1, "field 'split.leaky' is 1, expected true or false"),
        ("split__train", True, "field 'split.train' is True, expected a whole number"),
        ("data__refused", [{"track_id": "a"}], r"field 'data.refused\[0\].reason' is missing"),
        ("data__genres", [], "field 'data.genres' is empty"),
        ("scores__test__accuracy", 0.5, "field 'scores.test.accuracy' is 0.5, expected an object"),
        ("scores__test__segments", {"count": 3}, "field 'scores.test.segments.accuracy' is missing"),
        ("format", 2, "field 'format' is 2, expected 1"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(
    field: str, value: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(GtzanKerasError, match=message):
        run_page(a_run(tmp_path / "run", **{field: value}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": "polka"}, r"tracks\[0\].predicted' is 'polka', expected one of"),
        ({"probabilities": [1.0]}, r"tracks\[0\].probabilities' has 1 numbers, expected 2"),
    ],
)
def test_an_answer_outside_the_genres_is_refused(change: dict, message: str, tmp_path: Path) -> None:
    tracks = [{**a_part()["tracks"][0], **change}]
    with pytest.raises(GtzanKerasError, match=message):
        run_page(a_run(tmp_path / "run", scores__test__tracks=tracks))


@pytest.mark.parametrize("name", ["result.json", "history.csv"])
def test_a_missing_file_is_named(name: str, run_folder: Path) -> None:
    (run_folder / name).unlink()
    with pytest.raises(GtzanKerasError, match=rf"{re.escape(name)}: no such file"):
        run_page(run_folder)


@pytest.mark.parametrize(("name", "content"), [("result.json", "{"), ("history.csv", "")])
def test_a_broken_file_is_named(name: str, content: str, run_folder: Path) -> None:
    (run_folder / name).write_text(content)
    with pytest.raises(GtzanKerasError, match=rf"{re.escape(name)}: not readable as"):
        run_page(run_folder)


# --- pages of what is no single training


def put_together(folder: Path, **facts: Any) -> Path:
    """Scores of ten tracks, seven of them right, as `run` keeps those of folds, features and ensembles."""
    tracks = [
        {"track_id": f"{genre}.{number:05}", "genre": genre, "predicted": GENRES[wrong != (genre == "rock")]}
        | {"artist": "Björk", "title": f"Song {number}", "probabilities": [0.4, 0.6]}
        for genre in GENRES
        for number, wrong in enumerate([False, False, False, True, genre == "rock"])
    ]
    whole = a_result()
    kept = ("format", "name", "environment", "date", "command")
    result = {
        **{field: whole[field] for field in kept},
        "data": {"name": "gtzan", "tracks": 10, "genres": GENRES},
        "split": {"name": "artist-grouped folds (2)", "leaky": False},
        "model": {"builder": "svm", "arguments": {"inputs": "all"}},
        "training": {"seed": 0},
        "scores": {"validation": None, "test": score_tracks(tracks, GENRES)},
        **facts,
    }
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(result))
    return folder


def a_piece(name: str, accuracy: float, **facts: Any) -> dict[str, Any]:
    score = interval(accuracy, accuracy - 0.1, accuracy + 0.1)
    return {"name": name, "count": 5, "accuracy": score, "macro_precision": score, **facts}


def test_scores_without_a_training_have_a_page_of_all_that_applies(tmp_path: Path) -> None:
    page = Reader(report_scores(put_together(tmp_path / "svm")))
    assert "70.0 % of 10 test tracks right" in page.text
    assert "chance 50 %" in page.text
    shown = {dict(attributes)["id"] for tag, attributes in page.tags if tag == "figure"}
    assert shown == {"intervals", "confusion_matrix", "per_class", "reliability"}
    assert ["rock.00004", "Björk", "Song 4", "rock", "jazz", "40.0 %"] in page.rows
    assert ["python", "3.11.2"] in page.rows
    assert "gtzan-keras run zhang --note '<b>'" in page.text
    for absent in ("epochs", "Faults in the data", "parameters", "Input", "Fold by fold"):
        assert absent not in page.text


def test_folds_have_a_line_each_with_their_page_and_a_mean(tmp_path: Path) -> None:
    pieces = [
        a_piece("fold 1 of 2", 0.6, train=40, page="fold1"),
        a_piece("fold 2 of 2", 0.9, train=41, page="fold2"),
    ]
    folder = put_together(tmp_path / "seed0", folds=pieces, seconds=12.5)
    (folder / "fold1").mkdir()
    (folder / "fold1" / "index.html").write_text("a page")
    page = Reader(report_scores(folder))
    assert ["fold 1 of 2", "40", "5", "60.0 %", "50.0–70.0 %", "60.0 %", "50.0–70.0 %"] in page.rows
    assert ["mean of the folds", "", "", "75.0 %", "", "75.0 %", ""] in page.rows
    assert [dict(attributes)["href"] for tag, attributes in page.tags if tag == "a"] == ["fold1/index.html"]
    assert ["seconds, of all trainings", "12.5"] in page.rows


def test_an_ensemble_lists_what_was_averaged(tmp_path: Path) -> None:
    members = [a_piece("cnn, seed 0", 0.6, page="../cnn/seed0"), a_piece("svm, seed 0", 0.5)]
    page = Reader(report_scores(put_together(tmp_path / "both", members=members, training={})))
    assert ["cnn, seed 0", "5", "60.0 %", "50.0–70.0 %", "60.0 %", "50.0–70.0 %"] in page.rows
    assert "What was averaged" in page.text
    assert "mean of" not in page.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": None}, "field 'training' is None, expected an object"),
        ({"folds": [{"name": "fold 1"}]}, r"field 'folds\[0\].count' is missing"),
    ],
)
def test_wrong_scores_are_named_with_their_file(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(GtzanKerasError, match=rf"scores\.json: {message}"):
        report_scores(put_together(tmp_path / "svm", **change))


def test_all_pages_below_a_folder_are_renewed(tmp_path: Path) -> None:
    run, scores = a_run(tmp_path / "run"), put_together(tmp_path / "svm" / "seed0")
    assert report_all(tmp_path) == tmp_path / "index.html"
    for page in (run / "index.html", scores / "index.html"):
        page.write_text("old")
    report_all(tmp_path)
    assert "old" not in {page.read_text() for page in (run / "index.html", scores / "index.html")}
    assert report_all(scores) == scores / "index.html"


def test_a_fold_whose_others_were_never_trained_is_no_run(tmp_path: Path) -> None:
    a_run(tmp_path / "whole", name="whole")
    a_run(tmp_path / "seed0" / "fold1", name="interrupted", recipe={"recipe": "zhang/cnn-kfold", "fold": 1})
    text = Reader(index_page(tmp_path)).text
    assert "whole" in text
    assert "interrupted" not in text


# --- figures ---------------------------------------------------------------------------------


def some_figures(**changes: Any) -> dict[str, Any]:
    tracks = pd.DataFrame(
        {
            "track_id": ["a", "b", "c", "d", "e"],
            "genre": ["jazz", "jazz", "rock", "rock", "rock"],
            "part": ["test", "train", "validation", None, "left out"],
        }
    )
    examples = {genre: np.zeros((8, 12, 1), np.uint8) for genre in GENRES}
    return figures(a_result(**changes), HISTORY, tracks, examples)


def test_the_reliability_diagram_is_drawn_where_the_calibration_is_known() -> None:
    drawn = some_figures(scores__test=a_part() | newer(), split__leaky=True)
    assert set(drawn) == {*FIGURES, "reliability"}
    assert "45.6 %" in drawn["reliability"].axes[0].get_title(loc="left")
    assert drawn["reliability"].get_supxlabel() == "leaky split"


def test_figures_draws_all_of_a_runs_figures_from_its_result() -> None:
    all_figures = some_figures()
    assert set(all_figures) == FIGURES
    counts = [text.get_text() for text in all_figures["confusion_matrix"].axes[0].texts]
    assert counts == ["3", "3", "3", "1"]
    assert "chance 50 %" in [text.get_text() for text in all_figures["intervals"].axes[0].texts]
    assert all_figures["history"].legends[0].get_texts()[-1].get_text() == "best epoch (2)"


def test_figures_draws_the_parts_in_the_order_of_work_and_the_rest_as_left_out() -> None:
    legend = some_figures()["class_distribution"].legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["train", "validation", "test", "left out"]


def test_figures_of_a_run_without_test_are_those_of_the_validation() -> None:
    title = some_figures(scores__test=None)["confusion_matrix"].axes[0].get_title()
    assert title == "20 validation tracks"


def test_figures_of_a_run_without_scores_are_those_of_its_training() -> None:
    assert set(some_figures(scores={})) == {"history", "class_distribution", "examples"}


def test_figures_of_a_leaky_split_carry_the_word() -> None:
    scored = FIGURES - {"examples"}
    leaky = some_figures(split__leaky=True)
    assert {leaky[name].get_supxlabel() for name in scored} == {"leaky split"}
    honest = some_figures()
    assert {honest[name].get_supxlabel() for name in scored} == {""}


def test_figures_needs_to_know_each_tracks_part() -> None:
    tracks = pd.DataFrame({"track_id": ["a"], "genre": ["jazz"]})
    with pytest.raises(GtzanKerasError, match="no column 'part'"):
        figures(a_result(), HISTORY, tracks, {})


def test_written_figures_are_png_files_of_120_dots_an_inch(tmp_path: Path) -> None:
    drawn = some_figures()
    paths = write_figures(drawn, tmp_path / "new" / "folder")
    assert set(paths) == FIGURES
    for stem, path in paths.items():
        with Image.open(path) as image:
            expected = [round(inches * 120) for inches in drawn[stem].get_size_inches()]
            assert image.format == "PNG"
            assert np.allclose(image.size, expected, atol=1)
    assert {path.suffix for path in (tmp_path / "new" / "folder").iterdir()} == {".png"}


def test_the_same_data_gives_the_same_files(tmp_path: Path) -> None:
    first = write_figures(some_figures(), tmp_path / "a")
    second = write_figures(some_figures(), tmp_path / "b")
    for stem in FIGURES:
        assert first[stem].read_bytes() == second[stem].read_bytes()


# --- the list of runs ------------------------------------------------------------------------


def test_the_index_sorts_by_data_then_by_test_accuracy(tmp_path: Path) -> None:
    half, most = interval(0.5, 0.4, 0.6), interval(0.9, 0.8, 1.0)
    a_run(tmp_path / "a", name="untested", scores__test=None)
    a_run(tmp_path / "b", name="half", scores__test__accuracy=half)
    a_run(tmp_path / "c" / "deep", name="most", scores__test__accuracy=most)
    a_run(tmp_path / "d", name="demo run", data__name="demo set", scores__test__accuracy=half)
    page = Reader(index_page(tmp_path))
    names = [row[0] for row in page.rows if row[0] != "run"]
    assert names == ["demo run", "most", "half", "untested"]


def test_the_index_shows_each_run_with_its_intervals(tmp_path: Path) -> None:
    a_run(tmp_path / "a", split__leaky=True)
    rows = Reader(index_page(tmp_path)).rows
    assert rows[1] == [
        "Zhang CNN", "stratified 70/15/15 leaky", "42", "38.0 %", "24.1–54.4 %", "41.2 %",
        "25.0–57.0 %", "2026-11-21",
    ]  # fmt: skip


def test_only_leaky_runs_are_marked_in_the_index(tmp_path: Path) -> None:
    a_run(tmp_path / "a")
    assert "leaky" not in Reader(index_page(tmp_path)).text
    a_run(tmp_path / "b", split__leaky=True)
    assert "Runs marked leaky were tested on pieces or copies" in Reader(index_page(tmp_path)).text


def test_the_index_links_to_the_pages_that_are_there(tmp_path: Path) -> None:
    run_page(a_run(tmp_path / "50 % & more"))
    a_run(tmp_path / "no page")
    links = [attributes["href"] for tag, attributes in Reader(index_page(tmp_path)).tags if tag == "a"]
    assert links == ["50%20%25%20%26%20more/index.html"]


def test_the_index_escapes_names(tmp_path: Path) -> None:
    a_run(tmp_path / "a", name="<img src=x>", data__name="<b>gtzan</b>")
    page = Reader(index_page(tmp_path))
    assert not {"img", "b"} & {tag for tag, _ in page.tags}
    assert "<img src=x>" in page.text


def test_the_index_refuses_a_runs_own_folder(run_folder: Path) -> None:
    with pytest.raises(GtzanKerasError, match="a run's own folder"):
        index_page(run_folder)
    assert not (run_folder / "index.html").exists()


def test_the_index_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(GtzanKerasError, match=r"no result\.json"):
        index_page(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_broken_run_is_named_by_the_index(tmp_path: Path) -> None:
    broken = copy.deepcopy(a_result())
    del broken["split"]["name"]
    a_run(tmp_path / "good")
    (a_run(tmp_path / "bad") / "result.json").write_text(json.dumps(broken))
    with pytest.raises(GtzanKerasError, match=r"bad.result\.json: field 'split\.name' is missing"):
        index_page(tmp_path)
