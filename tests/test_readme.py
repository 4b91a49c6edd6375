"""Figures in README.md and in the notebooks' prose are the committed results' or the sources'."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gtzan_keras.experiments import RECIPES
from gtzan_keras.report.ladder import USUAL_DATA, ladder_table, measured
from gtzan_keras.report.page import Group
from gtzan_keras.report.published import ON_FAULT_FILTERED

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PERCENT = re.compile(r"((?:\d+(?:\.\d+)?(?:, | and | or | to |\N{EN DASH}))*\d+(?:\.\d+)?)[ \u00a0]?%")

MEASURED = {
    "84.7": "baseline/cnn random", "85": "baseline/cnn random", "80.1": "baseline/cnn random",
    "88.9": "baseline/cnn random", "63.0": "baseline/cnn fault-filtered",
    "63": "baseline/cnn fault-filtered", "52.3": "baseline/cnn fault-filtered",
    "73.6": "baseline/cnn fault-filtered", "73.1": "baseline/cnn artist", "73": "baseline/cnn artist",
    "67.3": "baseline/cnn artist", "78.3": "baseline/cnn artist",
    "65.7": "baseline/mobilenet-v2-head fault-filtered", "64.1": "baseline/mobilenet-v2-head artist",
    "67.8": "baseline/mobilenet-v2-fine-tuned fault-filtered",
    "68": "baseline/mobilenet-v2-fine-tuned fault-filtered",
    "66.2": "baseline/mobilenet-v2-fine-tuned artist", "75": "baseline/mobilenet-v2-fine-tuned random",
    "70.2": "baseline/mobilenet-v2-frozen artist", "73.4": "baseline/ensemble-of-all fault-filtered",
    "91.9": "baseline/cnn-four-genres fault-filtered", "97": "baseline/musicnn-four-genres random",
}  # fmt: skip
"""Percentages that a text may give as ours: recipe and protocol whose accuracy, or end of interval, it is."""

LADDER = {"70": "random tracks", "50": "fault-filtered"}
"""About the mean of the models of reports/ladder.svg on a split."""

PUBLISHED = {
    "10.36": "malvezzi/feed-forward", "92.5": "malvezzi/basic-cnn", "92.50": "malvezzi/basic-cnn",
    "93.57": "malvezzi/tuned-cnn", "94.87": "malvezzi/vgg16-frozen", "94": "malvezzi/vgg16-fine-tuned",
    "62.5": "zhang/cnn", "70": "zhang/cnn-augmented", "80": "zhang/without-country-rock",
    "85": "zhang/classical-jazz-metal", "71.70": "feature-cnn/all", "60": "feature-cnn/mfcc-only",
    "91": "uncu/scratch-cnn", "82": "uncu/vggish-cnn", "53.5": "arrigo/01", "77.6": "VGGish, frozen",
    "77.2": "musicnn",
}  # fmt: skip
"""Percentages that are a source's: the recipe that has them, or the system on the fault-filtered split."""

OTHER = {
    "67.5": "feature report, one of five folds", "69.0": "feature report, one of five folds",
    "69.5": "feature report, one of five folds", "75.5": "feature report, one of five folds",
    "77.0": "feature report, one of five folds", "95": "the level of intervals",
    "75.3": "sklearn-audio-transfer-learning, a linear model on frozen VGGish",
    "98": "share of Malvezzi's parameters that are in the first dense layer: 12.8 of 13.1 million",
    "70": "share of VGGish's parameters that are in its first dense layer: 50.3 of 72.1 million",
    "1": "what moving averages move by a batch: 1 - 0.99", "35": "1 / sqrt 8",
    "10": "chance among ten genres", "30": "share of a feature map that the example drops",
}  # fmt: skip
"""Percentages that are no result of a recipe, and what they are."""


def prose(path: Path) -> str:
    """The Markdown of a file, without what code printed."""
    text = path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def rounded(share: float, like: str) -> str:
    return f"{100 * share:.{len(like.partition('.')[2])}f}"


@pytest.fixture(scope="module")
def accuracies(committed: list[Group]) -> dict[str, list[float]]:
    """Accuracy and the ends of its interval over artists, by recipe and protocol."""
    scores = {f"{group.recipe} {group.protocol}": group for group in committed if group.recipe}
    found = {}
    for key in set(MEASURED.values()):
        score = scores[key].score("accuracy")
        found[key] = [score["value"], score["artists"]["low"], score["artists"]["high"]]
    return found


@pytest.mark.parametrize("path", [ROOT / "README.md", *NOTEBOOKS], ids=lambda path: path.name)
def test_every_percentage_in_prose_has_its_origin_in_the_lists_above(path: Path) -> None:
    numbers = [number for match in PERCENT.findall(prose(path)) for number in re.findall(r"[\d.]*\d", match)]
    known = {*MEASURED, *LADDER, *PUBLISHED, *OTHER}
    assert [number for number in numbers if number not in known] == []


def test_percentages_given_as_ours_are_those_of_the_committed_results(
    accuracies: dict[str, list[float]], committed: list[Group]
) -> None:
    for text, key in MEASURED.items():
        assert text in [rounded(value, text) for value in accuracies[key]], key
    means = ladder_table("reports", committed).groupby("split")["accuracy"].mean()
    for text, split in LADDER.items():
        assert 100 * means[split] == pytest.approx(float(text), abs=1.5)


def test_the_points_that_artists_cost_are_those_of_the_committed_results(committed: list[Group]) -> None:
    table = measured("reports", None, committed)
    table = table[table["data"].isin(USUAL_DATA) & ~table["leaky"]]
    guesses = "malvezzi/feed-forward"
    table = table[[not RECIPES[name].without and name != guesses for name in table["model"]]]
    shares = table.pivot(index="model", columns="split", values="accuracy")
    points = 100 * (shares["random tracks"].fillna(shares["same split"]) - shares["artist-grouped folds"])
    of_features = ["features" in RECIPES[name].kinds for name in points.index]  # alone, or with spectrograms
    cost = {of: points.dropna() for of, points in points.groupby(of_features)}
    images, features = (f"{min(cost[of]):.0f} to {max(cost[of]):.0f}" for of in (False, True))
    assert (len(cost[True]), len(cost[False])) == (11, 8)
    for page in ("README.md", "docs/results.md", "docs/guide.md"):
        text = " ".join((ROOT / page).read_text("utf-8").split())
        assert re.search(rf"networks on spectrograms {images}\b", text), page
        assert re.search(rf"models of hand-crafted features (lose )?{features}\b", text), page


def test_percentages_given_as_published_are_those_of_the_recipes() -> None:
    systems = {what: [value] for what, value, _ in ON_FAULT_FILTERED}
    for text, name in PUBLISHED.items():
        values = systems.get(name) or [figure.value for figure in RECIPES[name].published]
        assert text in [rounded(value, text) for value in values], name


def test_the_table_of_the_readme_is_of_the_runs_that_it_names(committed: list[Group]) -> None:
    runs = {group.protocol: group.runs for group in committed if group.recipe == "baseline/cnn"}
    readme = prose(ROOT / "README.md")
    assert f"| random tracks, {runs['random']} | 84.7 % | 80.1 to 88.9 % |" in readme
    assert f"| fault-filtered split, {runs['fault-filtered']} | 63.0 % | 52.3 to 73.6 % |" in readme


def test_the_guide_repeats_no_result_of_the_leaderboard() -> None:
    assert not re.search(r"\d % \(\d", (ROOT / "docs/guide.md").read_text("utf-8"))


def test_figures_of_the_results_page_are_those_that_its_links_name(committed: list[Group]) -> None:
    text = (ROOT / "docs/results.md").read_text("utf-8")
    groups = {f"{group.recipe} {group.protocol}": group for group in committed if group.recipe}
    links = re.findall(r'\[([\d.]+) %\]\(\S+ "(\S+) (\S+)"\)', text)
    assert len(links) > 40
    for figure, recipe, protocol in links:
        published = RECIPES[recipe].published
        if protocol == "published-figure":
            value = published[0].value
        else:
            group, metric = groups[f"{recipe} {protocol}"], published[0].metric if published else "accuracy"
            by_segment = published and "segments" in published[0].part
            value = (group.scores["segments"] if by_segment else group.score(metric))["value"]
        assert figure == rounded(value, figure), (recipe, protocol)
