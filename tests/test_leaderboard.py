"""The table of all recipes."""

import json
import re

import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments import PROTOCOLS, RECIPES
from gtzan_keras.report.leaderboard import leaderboard, results_table


def summary(recipe, protocol, value, **changed):
    score = {"value": value, "low": value - 0.05, "high": value + 0.05}
    scores = dict.fromkeys(("accuracy", "macro_precision", "macro_recall", "macro_f1"), score)
    return {
        "format": 1,
        "recipe": recipe,
        "protocol": protocol,
        "split": "70/15/15",
        "leaky": False,
        "data": "GTZAN",
        "data_tracks": 999,
        "tracks": 150,
        "seeds": 3,
        "deviations": [],
        "scores": scores,
        "segments": None,
        "date": "2026-01-01",
        "command": f"gtzan-keras run {recipe}",
        "seconds": 1.0,
        **changed,
    }


def put(folder, content):
    path = folder / content["recipe"] / content["protocol"] / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    deviation = {"deviations": ["at most 2 epochs in place of 50"]}
    for content in (
        summary("malvezzi/basic-cnn", "published", 0.8),
        summary("malvezzi/basic-cnn", "fault-filtered", 0.5, split="fault-filtered", **deviation),
        summary("uncu/scratch-cnn", "published", 0.9, leaky=True),
    ):
        put(tmp_path, content)
    return tmp_path


def rows_of(text):
    return {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}


def test_every_recipe_has_a_row_with_its_published_figure(folder):
    text = leaderboard(folder)[0].read_text()
    rows = rows_of(text)
    assert set(RECIPES) <= set(rows)
    assert "accuracy 92.5 % (test)" in rows["malvezzi/basic-cnn"]


def test_a_figure_stands_in_its_column_with_interval_and_seeds(folder):
    cells = [
        cell.strip() for cell in rows_of(leaderboard(folder)[0].read_text())["malvezzi/basic-cnn"].split("|")
    ]
    columns = dict(zip(PROTOCOLS, cells[4:], strict=False))
    assert columns["published"] == "80.0 % (75.0 to 85.0), 3 seeds"
    assert columns["artist"] == "not run: no computer time yet"
    assert columns["fault-filtered"] == "50.0 % (45.0 to 55.0), 3 seeds [1]"


def test_a_random_split_of_tracks_is_the_random_column_too(folder):
    table = results_table(folder, ["malvezzi/basic-cnn", "uncu/scratch-cnn"])
    assert table.loc["malvezzi/basic-cnn", "random tracks"].startswith("80.0 %")
    assert table.loc["uncu/scratch-cnn", "random tracks"] == "not run: no computer time yet"


def test_a_leak_carries_the_word(folder):
    assert results_table(folder, ["uncu/scratch-cnn"]).iloc[0]["same protocol"].startswith("leaky: ")


def test_a_figure_published_by_segment_is_shown_by_segment(folder):
    path = folder / "uncu/scratch-cnn/published/summary.json"
    content = json.loads(path.read_text())
    content["segments"] = {"count": 99, "value": 0.7, "low": 0.6, "high": 0.8}
    path.write_text(json.dumps(content))
    cell = results_table(folder, ["uncu/scratch-cnn"]).iloc[0]["same protocol"]
    assert cell == "leaky: 70.0 % (60.0 to 80.0), 3 seeds"


def test_other_data_than_gtzan_is_named_in_the_cell(folder):
    path = folder / "malvezzi/basic-cnn/published/summary.json"
    path.write_text(path.read_text().replace('"GTZAN"', '"demo set"'))
    assert results_table(folder, ["malvezzi/basic-cnn"]).iloc[0]["same protocol"].endswith("demo set")


def test_the_commands_say_how_many_tracks_the_data_had(folder):
    text, page = (path.read_text() for path in leaderboard(folder))
    assert text.count("| GTZAN, 999 tracks | 70/15/15") == 2
    assert page.count("<td>GTZAN, 999 tracks</td>") == 3


def test_what_needs_weights_says_so(folder):
    assert "not run: COCO weights not available" in rows_of(leaderboard(folder)[0].read_text())["arrigo/18"]


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES.values() if recipe.pretrained])
def test_every_recipe_that_starts_from_weights_says_that_they_are_not_there(tmp_path, name):
    cells = results_table(tmp_path, [name]).iloc[0].drop("published")
    assert all(
        re.fullmatch("not run: (ImageNet|COCO|AudioSet) weights not available", cell) for cell in cells
    )


def test_a_run_with_random_weights_stands_in_its_column_with_what_it_did_otherwise(tmp_path):
    put(tmp_path, summary("arrigo/18", "fault-filtered", 0.3, deviations=["random weights in place of coco"]))
    row = rows_of(leaderboard(tmp_path)[0].read_text())["arrigo/18"]
    assert "30.0 % (25.0 to 35.0), 3 seeds [1]" in row
    assert row.count("not run: COCO weights not available") == 3


def test_an_ensemble_is_counted_by_its_members_and_never_called_a_seed(tmp_path):
    put(tmp_path, summary("baseline/ensemble", "fault-filtered", 0.6, seeds=1, members=5))
    text, page = (path.read_text() for path in leaderboard(tmp_path))
    assert "60.0 % (55.0 to 65.0), ensemble of 5" in rows_of(text)["baseline/ensemble"]
    assert "ensemble of 5" in page
    assert "1 seed" not in text + page


def test_the_page_of_every_seed_is_linked(folder):
    seeds = [folder / "malvezzi/basic-cnn/published" / f"seed{seed}" for seed in (0, 2)]
    for seed in seeds:
        seed.mkdir()
        (seed / "index.html").write_text("a page")
    page = leaderboard(folder)[1].read_text()
    for seed in seeds:
        assert f'href="{(seed / "index.html").relative_to(folder)}"' in page


def test_arrigos_rows_show_macro_precision(folder):
    assert results_table(folder, ["arrigo/18"]).iloc[0]["published"] == "macro precision 80.3 % (test)"


def test_the_page_is_complete_in_itself(folder):
    page = leaderboard(folder)[1].read_text()
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert page.count("<tr>") >= len(RECIPES)


def test_what_is_no_summary_is_named(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(GtzanKerasError, match=re.escape(str(tmp_path / "summary.json"))):
        leaderboard(tmp_path)
