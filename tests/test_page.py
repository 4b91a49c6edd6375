"""Pages state what the files state, and need nothing but themselves."""

# ruff: noqa: RUF001 - intervals are written with an en dash
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.report import plots
from gtzan_keras.report.leaderboard import report_all
from gtzan_keras.report.page import MARKER, _store_figures, find_groups, report_run, write_pages
from gtzan_keras.store.augmentation import FeatureAugmentation
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.splits import Split
from gtzan_keras.training.evaluate import score_tracks
from gtzan_keras.training.settings import TrainingSettings
from tests.html_reader import Reader
from tests.made_results import HISTORY, answers, put, put_recipe

COMMITTED = Path(__file__).resolve().parent.parent / "reports" / "index.html"


def figures(page: Reader) -> set[str]:
    return {attributes["id"] for tag, attributes in page.tags if tag == "figure"}


@pytest.fixture(scope="module")
def a_page(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(report_run(put(tmp_path_factory.mktemp("run"))))


def test_the_headline_gives_the_interval_over_artists_first(a_page: Reader) -> None:
    words = r"70\.0 % of 10 test tracks predicted correctly [\d.–]+ % over artists, [\d.–]+ % over tracks"
    assert re.search(words, a_page.text)


def test_the_scores_are_those_of_the_result(a_page: Reader) -> None:
    test = score_tracks(answers(), ["jazz", "rock"])
    for name, label in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        both = test["by_artist"][name], test[name]
        spans = [f"{100 * score['low']:.1f}–{100 * score['high']:.1f} %" for score in both]
        assert [label, f"{100 * test[name]['value']:.1f} %", *spans] in a_page.rows
    assert "10 test tracks of 5 artists" in a_page.text


def test_the_page_lists_genres_faults_settings_and_epochs(a_page: Reader) -> None:
    for row in (
        ["jazz", "66.7 %", "80.0 %", "72.7 %", "5"],
        ["builder", "cnn"],
        ["parameters", "1,234,567"],
        ["arguments", "dropout 0.4"],
        ["learning rate", "0.0001"],
        ["keep best", "yes"],
        ["augmentation", "none"],
        ["sample rate", "22050"],
        ["train", "68"],
        ["python", "3.11.2"],
        ["2", "1.9", "2.01", "0.3"],
    ):
        assert row in a_page.rows
    assert "jazz.00054 was left out: not a <sound> file" in a_page.text
    assert "exact copies, kept on one side of the split: pop.00015 = pop.00022" in a_page.text
    assert "gtzan-keras run zhang --note '<b>'" in a_page.text


def test_a_page_of_several_seeds_counts_tracks_and_has_the_mean_calibration_error(tmp_path: Path) -> None:
    for seed, right in enumerate((7, 5, 6)):
        put_recipe(tmp_path, "arrigo/15", "published", right=right, seed=seed)
    (path,) = write_pages(tmp_path, find_groups(tmp_path)).values()
    page = Reader(path)
    by_genre = {row[0]: row[4] for row in page.rows if row[0] in ("jazz", "rock") and len(row) == 5}
    assert by_genre == {"jazz": "5", "rock": "5"}
    (row,) = [row for row in page.rows if row[0] == "calibration error"]
    assert f"<!-- expected calibration error {row[1]} " in path.read_text("utf-8")  # the figure's title


def test_mistakes_have_artist_and_title_and_right_answers_are_not_listed(a_page: Reader) -> None:
    assert ["rock.90007", "Artist 2", "Song 7 <b>", "rock", "jazz", "90.0 %"] in a_page.rows
    assert "rock.90001" not in a_page.text


def test_nothing_in_the_data_becomes_markup_and_nothing_is_loaded(a_page: Reader) -> None:
    tags = [tag for tag, _ in a_page.tags]
    assert not {"script", "b", "sound", "link", "iframe", "object", "img"} & set(tags)
    assert a_page.loaded == []
    assert all(link.startswith("#") for link in a_page.links)
    assert tags.count("svg") == 5
    assert figures(a_page) == {"intervals", "confusion_matrix", "per_class", "reliability", "history"}


FEATURES = TrainingSettings(augmentation=FeatureAugmentation(mixup=0.4)).to_dict()["augmentation"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("settings__keep_best", False, "The weights of the last epoch were kept."),
        ("data__name", "demo set", "Demo set: synthesised sounds"),
        ("split__leaky", True, "Leaky split."),
        ("settings__augmentation", {"time_shift": True, "noise": 0.02}, "time shift, noise of 0.02"),
        ("settings__augmentation", FEATURES, str(FeatureAugmentation(mixup=0.4))),
    ],
)
def test_the_page_names_what_a_reader_must_know(
    field: str, value: Any, words: str, tmp_path: Path, a_page: Reader
) -> None:
    page = report_run(put(tmp_path, answers(count=0), **{field: value}))
    assert words in Reader(page).text
    assert words not in a_page.text


def test_without_a_test_part_the_validation_scores_lead_and_are_named(tmp_path: Path) -> None:
    scores = score_tracks(answers(), ["jazz", "rock"])
    page = Reader(report_run(put(tmp_path, answers(count=0), scores__validation=scores)))
    assert "70.0 % of 10 validation tracks predicted correctly" in page.text
    assert "No test part." in page.text
    assert figures(page) == {"intervals", "history"}


@pytest.mark.parametrize("name", ["index.html", "README.md"])
def test_a_file_that_we_did_not_write_is_never_replaced(name: str, tmp_path: Path) -> None:
    put(tmp_path / "run")
    (tmp_path / name).write_text("my own page")
    with pytest.raises(GtzanKerasError, match=rf"{name}: not written by"):
        report_all(tmp_path)
    assert (tmp_path / name).read_text() == "my own page"
    assert not (tmp_path / "pages").exists()


def test_a_page_of_ours_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    first = report_run(put(tmp_path, answers(count=0))).read_text("utf-8")  # with a single figure
    assert MARKER in first
    assert report_run(tmp_path).read_text("utf-8") == first
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"result.json", "tracks.csv", "history.csv", "index.html"}


@pytest.fixture(scope="module")
def recipe_page(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    root = tmp_path_factory.mktemp("reports")
    words = {"departures": ["at most 2 epochs in place of 50"]}
    put_recipe(root, "arrigo/15", "published", 6)
    put_recipe(root, "arrigo/15", "fault-filtered", 7, split__name="fault-filtered", **words)
    put_recipe(root, "arrigo/15", "fault-filtered", 9, seed=1, split__name="fault-filtered", **words)
    put_recipe(root, "arrigo/14", "published", tracks=answers(count=0), history=None)
    pages = write_pages(root, find_groups(root))
    assert {path.name for path in pages.values()} == {"arrigo-15.html", "arrigo-14.html"}
    return Reader(pages["arrigo/15"])


def test_a_recipes_page_has_published_and_all_protocols(recipe_page: Reader) -> None:
    start = next(i for i, row in enumerate(recipe_page.rows) if row and row[0] == "published")
    rows = {row[0]: row for row in recipe_page.rows[start : start + 6] if row}
    assert "macro precision" in rows["published"][2]
    assert rows["ours, same split"][2].startswith("60.0 %")
    assert rows["ours, fault-filtered"][2].startswith("80.0 %")  # the mean of 70 and 90
    assert rows["ours, fault-filtered"][-1] == "2 seeds at most 2 epochs in place of 50"
    assert "Not as in the recipe: at most 2 epochs in place of 50." in recipe_page.text
    assert {"publishedconfusion_matrix", "fault-filteredhistory"} <= figures(recipe_page)


def test_a_recipes_page_links_to_the_table_and_to_neighbours_that_have_pages(recipe_page: Reader) -> None:
    assert recipe_page.links[0] == "index.html"
    assert "arrigo-14.html" in recipe_page.links
    assert "changes arrigo/14 : norm: batch -> layer" in recipe_page.text


def test_mistakes_of_several_seeds_are_counted(recipe_page: Reader) -> None:
    assert ["rock.90009", "Artist 4", "Song 9 <b>", "rock", "jazz", "90.0 %", "2"] in recipe_page.rows


def test_results_are_grouped_by_recipe_and_protocol_in_their_order(tmp_path: Path) -> None:
    put(tmp_path / "z" / "own")
    for recipe, protocol, seed in (("arrigo/01", "fault-filtered", 1), ("arrigo/01", "fault-filtered", 0)):
        put_recipe(tmp_path, recipe, protocol, seed=seed)
    put_recipe(tmp_path, "arrigo/01", "published")
    put_recipe(tmp_path, "malvezzi/basic-cnn", "fault-filtered")
    found = [(g.recipe, g.protocol, g.runs) for g in find_groups(tmp_path)]
    assert found == [
        ("malvezzi/basic-cnn", "fault-filtered", "1 seed"),
        ("arrigo/01", "published", "1 seed"),
        ("arrigo/01", "fault-filtered", "2 seeds"),
        ("", "", "1 seed"),
    ]


def test_two_results_of_one_seed_are_refused(tmp_path: Path) -> None:
    put_recipe(tmp_path, "arrigo/01", "published")
    put_recipe(tmp_path / "copy", "arrigo/01", "published")
    with pytest.raises(GtzanKerasError, match=r"two results of arrigo/01, published, seed 0"):
        find_groups(tmp_path)


def test_a_protocol_that_does_not_exist_is_refused_with_its_file(tmp_path: Path) -> None:
    put_recipe(tmp_path, "arrigo/01", "by ear")
    with pytest.raises(GtzanKerasError, match=r"result.json: protocol 'by ear': expected one of published"):
        find_groups(tmp_path)


def test_what_make_report_ran_is_not_among_the_results(tmp_path: Path) -> None:
    put_recipe(tmp_path, "arrigo/01", "published")
    put_recipe(tmp_path / "local", "arrigo/01", "published")
    assert len(find_groups(tmp_path)) == len(find_groups(tmp_path / "local")) == 1


def test_all_pages_below_a_folder_are_written(tmp_path: Path) -> None:
    put(tmp_path / "my run" / "first")
    put(tmp_path / "my run-first")
    put_recipe(
        tmp_path, "arrigo/01", "published", history=pd.concat([HISTORY.assign(fold=n) for n in (1, 2)])
    )
    assert report_all(tmp_path) == tmp_path / "pages" / "index.html"
    pages = list((tmp_path / "pages").iterdir())
    runs = {"run-my-run--first.html", "run-my-run-first.html"}
    assert {path.name for path in pages} == {"index.html", "arrigo-01.html"} | runs
    links = Reader(tmp_path / "pages" / "index.html").links
    assert {"arrigo-01.html#published"} | runs <= set(links)
    assert "#arrigo-01" in Reader(tmp_path / "index.html").links
    for path in [*pages, tmp_path / "index.html", COMMITTED]:
        assert_links_lead_somewhere(path)


def test_one_recipes_page_has_links_only_to_pages_that_exist(tmp_path: Path) -> None:
    put_recipe(tmp_path, "arrigo/14", "published")
    put_recipe(tmp_path, "arrigo/15", "published")
    for page in (report_all(tmp_path, only="arrigo/15"), report_all(tmp_path, only="arrigo/14")):
        assert_links_lead_somewhere(page)
    assert "arrigo-15.html" in Reader(tmp_path / "pages" / "arrigo-14.html").links
    with pytest.raises(GtzanKerasError, match=r"no result of arrigo/01; run it with `gtzan-keras run arr"):
        report_all(tmp_path, only="arrigo/01")


def test_tracks_with_a_number_sign_are_counted_in_their_part(
    make_store: Callable[..., SpectrogramStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(["jazz/C# minor", "rock/A# major"], genres=["jazz", "rock"])
    split = Split("of segments", ("jazz/C# minor",), (), ("rock/A# major#1",), leaky=True)
    seen: list[dict[str, list[str]]] = []
    monkeypatch.setattr(plots, "class_distribution", lambda tracks, parts: seen.append(parts))
    run: Any = SimpleNamespace(store=store, split=split)
    _store_figures(run)
    assert seen == [{"train": ["jazz/C# minor"], "test": ["rock/A# major"]}]


def assert_links_lead_somewhere(path: Path) -> None:
    page = Reader(path)
    assert page.loaded == []
    for link in page.links:
        name, _, part = link.partition("#")
        if not link.startswith("https:"):
            there = page if not name else Reader(path.parent / name)
            assert not part or part in there.ids, f"{path}: {link}"
