"""The table of all recipes."""

# ruff: noqa: RUF001 - intervals are written with an en dash
import re
from pathlib import Path

import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import RECIPES
from gtzan_keras.report.leaderboard import COLUMNS, ON_FAULT_FILTERED, leaderboard, measured, results_table
from tests.made_results import answers, put, put_recipe

REPORTS = Path(__file__).resolve().parent.parent / "reports"
FEWER = ["at most 2 epochs in place of 50"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("reports")
    for seed in range(3):
        put_recipe(root, "malvezzi/basic-cnn", "published", 8, seed)
    put_recipe(root, "malvezzi/basic-cnn", "fault-filtered", 5, departures=["of another spec", *FEWER])
    put_recipe(root, "uncu/scratch-cnn", "published", 9, tracks=cut(9), split__leaky=True)
    put_recipe(root, "uncu/scratch-cnn", "random", 6, data__name="demo set")
    put_recipe(root, "arrigo/18", "fault-filtered", 3, departures=["random weights in place of coco", *FEWER])
    put_recipe(root, "arrigo/01", "published", 7, departures=FEWER)
    put(root / "own", name="a run of my own")
    return root


def cut(right):
    """Tracks of ten segments each, of which seven were predicted correctly."""
    return answers(right).assign(segments=10, segments_right=7)


@pytest.fixture(scope="module")
def pages(folder):
    return [path.read_text("utf-8").replace("<wbr>", "") for path in leaderboard(folder)]


def rows_of(text):
    """Cells by recipe, from the last line to the first, which may be of the same recipe."""
    lines = [line for line in text.splitlines() if line.startswith("| `") and "/" in line.split("`")[1]]
    return {
        line.split("`")[1]: [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[::-1]
    }


def test_every_recipe_has_a_row_with_its_published_figure_our_own_first(pages):
    rows = rows_of(pages[0])
    assert set(RECIPES) <= set(rows)
    assert rows["malvezzi/basic-cnn"][2] == "accuracy 92.5 % (test)"
    assert list(rows)[-1] == "baseline/cnn"


def test_a_figure_has_the_interval_over_artists_first_then_over_tracks_and_its_seeds(pages):
    cell = rows_of(pages[0])["malvezzi/basic-cnn"][3]
    assert re.fullmatch(r"80\.0 % \([\d.–]+ % over artists; [\d.–]+ % over tracks\), 3 seeds", cell)
    assert rows_of(pages[0])["malvezzi/basic-cnn"][4] == "not run"


def test_departures_are_footnotes_numbered_in_reading_order(pages):
    text, page = pages
    assert rows_of(text)["malvezzi/basic-cnn"][5].endswith("1 seed [1] [2]")
    assert rows_of(text)["arrigo/01"][3].endswith("[2]")
    notes = ["1. of another spec", "2. at most 2 epochs", "3. random weights"]
    assert re.findall("|".join(notes), text) == notes
    assert 'id="note1">of another spec' in page


def test_random_tracks_are_shown_below_a_leaky_figure(folder):
    cell = results_table(folder, ["uncu/scratch-cnn"]).iloc[0]["same split"]
    leaky, random = cell.split("; random tracks: ")
    assert leaky.startswith("leaky: 70.0 %")  # by segment, as published
    assert random.startswith("60.0 %")
    assert random.endswith("1 seed, demo set, 999 tracks")


def test_another_metric_than_the_published_one_is_by_track(folder, pages):
    cell = results_table(folder, ["uncu/scratch-cnn"], "accuracy").iloc[0]["same split"]
    assert cell.startswith("leaky: 90.0 %")
    with pytest.raises(GtzanKerasError, match="metric='f1': expected one of accuracy, macro_precision"):
        results_table(folder, metric="f1")
    assert "macro precision" in rows_of(pages[0])["arrigo/01"][1]


def test_rows_from_random_weights_are_a_group_of_their_own(pages):
    text = pages[0]
    main, own = text.split("## From random weights")
    assert rows_of(main)["arrigo/18"][5] == "not run: needs COCO weights"
    assert list(rows_of(own)) == ["arrigo/18"]
    assert rows_of(own)["arrigo/18"][5].endswith("[2] [3]")


def test_the_chart_ranks_ours_and_published_systems_on_one_axis(pages):
    chart = pages[1].split("On the fault-filtered split</strong>")[1].split("</figure>")[0]
    names = re.findall(r'class="label">(?:<a[^>]*>)?([^<]+)', chart)
    assert names[0] == "M2D-AS"
    assert names[-1] == "malvezzi/basic-cnn"  # 50 %; arrigo/18 is from random weights
    assert len(names) == len(ON_FAULT_FILTERED) + 1
    assert 'style="left: 50.0%" title="ours 50.0\u00a0%, 95 % interval' in chart
    assert 'href="#note1" title="of another spec">1</a>' in chart


def test_the_chart_has_the_published_figure_beside_ours(pages):
    chart = pages[1].split("what we measured</strong>")[1].split("</figure>")[0]
    line = chart.split("malvezzi/basic-cnn<")[1].split("</li>")[0]
    assert "92.5 / 80.0 / 50.0\u00a0%" in line
    assert "arrigo" not in chart


def test_only_accuracies_on_ten_genres_are_ranked(pages):
    def values(name):
        row = pages[1].split(f"<code>{name}</code>")[1].split("</tr>")[0]
        return re.findall(r'<td data-value="([\d.]+)"', row)

    assert values("malvezzi/basic-cnn") == ["0.925", "0.8", "0.5"]
    assert values("arrigo/01") == values("uncu/scratch-cnn") == []


def test_results_table_gives_departures_in_words(folder):
    table = results_table(folder, ["malvezzi/basic-cnn"])
    assert list(table.columns) == ["published", *COLUMNS]
    assert table.iloc[0]["fault-filtered"].endswith(f"[of another spec; {FEWER[0]}]")


def test_results_table_of_named_recipes_reads_no_others(tmp_path):
    put_recipe(tmp_path, "zhang/cnn", "published", 7)
    put_recipe(tmp_path, "arrigo/01", "published", 7)
    (tmp_path / "arrigo/01/published/seed0/tracks.csv").unlink()
    assert results_table(tmp_path, ["zhang/cnn"]).loc["zhang/cnn", "same split"].startswith("70.0 %")
    with pytest.raises(GtzanKerasError, match=r"tracks\.csv: not readable"):
        results_table(tmp_path, ["zhang/cnn", "arrigo/01"])


def test_every_recipe_that_needs_weights_says_so(tmp_path):
    table = results_table(tmp_path, [recipe.name for recipe in RECIPES.values() if recipe.pretrained])
    words = "not run: needs ([A-Z].* weights|the sound of all ten genres)"
    assert table["fault-filtered"].str.fullmatch(words).all()
    assert table["same split"].str.fullmatch(f"{words}|not published").all()


def test_measured_has_the_intervals_over_artists(folder):
    table = measured(folder, ["malvezzi/basic-cnn"])
    assert table["split"].tolist() == ["same split", "fault-filtered"]
    assert table["accuracy"].tolist() == pytest.approx([0.8, 0.5])
    assert table["seeds"].tolist() == [3, 1]
    assert (table["low"] <= table["accuracy"]).all()


def test_commands_and_other_runs_are_listed(pages):
    text, page = pages
    assert "| GTZAN, 999 tracks | 70/15/15 | 3 seeds |" in text
    assert "| a run of my own | GTZAN, 999 tracks | 70/15/15 | 70.0\u00a0% (test) |" in text
    assert "a run of my own" in page


def test_the_committed_leaderboard_is_what_report_writes_from_the_committed_results(tmp_path, committed):
    for written in leaderboard(tmp_path, committed):
        kept = (REPORTS / written.name).read_text("utf-8")
        assert kept == written.read_text("utf-8"), "run: gtzan-keras report reports"
