"""Results side by side: against scikit-learn, SciPy and the formulas."""

import functools
import json
import math
import statistics

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import accuracy_score, log_loss, precision_score

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.training.compare import across_seeds, compare, ensemble, in_words
from gtzan_keras.training.evaluate import score_tracks
from gtzan_keras.training.results import write_result

GENRES = ["blues", "jazz", "rock"]


def a_result(name, seed, share, tracks=range(60), **split):
    """Every third track of one genre, about this share of them right, an artist for every four."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(200):
        truth, other = number % 3, int(random.integers(3))
        probabilities = random.dirichlet([1, 1, 1])
        place = truth if random.random() < share else other
        top = int(probabilities.argmax())
        probabilities[[place, top]] = probabilities[[top, place]]
        rows.append(
            {"track_id": f"t{number:03d}", "fold": 1, "genre": GENRES[truth], "predicted": GENRES[place]}
            | {"artist": f"Artist {number // 4}", "title": f"Title {number}"}
            | dict(zip(GENRES, probabilities.round(4), strict=True))
        )
    table = pd.DataFrame(rows).iloc[list(tracks)].reset_index(drop=True)
    result = {
        "name": name,
        "data": {"genres": GENRES},
        "split": {"leaky": False, **split},
        "model": {},
        "scores": {"test": score_tracks(table, GENRES)},
    }
    return result, table


@pytest.fixture(scope="module")
def pair():
    return a_result("first", 1, 0.8), a_result("second", 2, 0.4)


def answers_of(result):
    return tuple(np.array([GENRES.index(name) for name in result[1][f]]) for f in ("genre", "predicted"))


def changed(result, row, **values):
    table = result[1].copy()
    table.loc[row, list(values)] = list(values.values())
    return result[0], table


def mcnemar(only_first, only_second):
    """The exact test by its formula: twice the smaller tail of fair coin tosses, at most 1."""
    tosses = only_first + only_second
    tail = sum(math.comb(tosses, k) for k in range(min(only_first, only_second) + 1)) / 2**tosses
    return min(1.0, 2 * tail)


# ---- two runs


def test_the_p_value_is_that_of_mcnemars_formula(pair):
    found = compare(*pair)
    (truth, first), (_, second) = map(answers_of, pair)
    one, other = first == truth, second == truth
    counts = [sum(one & other), sum(one & ~other), sum(~one & other), sum(~one & ~other)]
    assert list(found["right"].values()) == counts
    expected = mcnemar(found["right"]["only_first"], found["right"]["only_second"])
    assert found["p_value"] == pytest.approx(expected)
    assert compare(*pair[::-1])["p_value"] == pytest.approx(expected)


def test_a_run_does_not_differ_from_itself(pair):
    found = compare(pair[0], pair[0])
    assert found["p_value"] == 1
    assert found["scores"]["accuracy"]["difference"] == {"value": 0, "low": 0, "high": 0}
    assert found["disagreements"] == []


def test_differences_are_scikit_learns_with_scipys_paired_bootstrap(pair):
    truth, first = answers_of(pair[0])
    _, second = answers_of(pair[1])
    score = functools.partial(precision_score, average="macro", zero_division=0)
    found = compare(*pair)["scores"]["macro_precision"]
    assert found["first"] == pytest.approx(score(truth, first))
    assert found["second"] == pytest.approx(score(truth, second))
    assert found["difference"]["value"] == pytest.approx(found["first"] - found["second"])
    theirs = scipy.stats.bootstrap(
        (truth, first, second),
        lambda t, a, b: score(t, a) - score(t, b),
        n_resamples=300,
        paired=True,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    ours = found["difference"]
    assert (ours["low"], ours["high"]) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_differences_over_artists_draw_whole_artists():
    # 15 artists of four tracks; the first run has all of ten artists right, the second none at all.
    first, second = a_result("first", 1, 1.0), a_result("second", 1, 1.0)
    for number in range(40):
        second = changed(second, number, predicted=GENRES[(number + 1) % 3])
    found = compare(first, second)["by_artist"]
    assert found["count"] == 15
    low, high = scipy.stats.binom(15, 2 / 3).ppf([0.025, 0.975]) / 15
    assert found["accuracy"]["value"] == pytest.approx(2 / 3)
    assert found["accuracy"]["low"] == pytest.approx(low, abs=0.07)  # one artist in 15
    assert found["accuracy"]["high"] == pytest.approx(high, abs=0.07)


def test_disagreements_name_artist_title_and_both_answers(pair):
    (_, first), (_, second) = map(answers_of, pair)
    differ = np.flatnonzero(first != second)
    listed = compare(*pair)["disagreements"]
    assert [row["track_id"] for row in listed] == [f"t{n:03d}" for n in differ]
    number = differ[0]
    facts = (f"Artist {number // 4}", f"Title {number}")
    answers = (GENRES[number % 3], GENRES[first[number]], GENRES[second[number]])
    assert tuple(listed[0].values()) == (f"t{number:03d}", *facts, *answers)


def test_runs_are_read_from_their_folders_and_a_comparison_can_be_written_as_json(pair, tmp_path):
    write_result(tmp_path, *pair[0])
    for function in (compare, lambda *both: across_seeds(both)):
        found = function(*pair)
        assert function(tmp_path, pair[1]) == found
        assert json.loads(json.dumps(found)) == found


def test_results_that_are_not_about_the_same_tracks_are_refused(pair):
    first, (result, table) = pair
    for other, message in (
        (a_result("other", 1, 0.5, range(2, 61)), "not tested on the same tracks: 3 are .* t000, t001, t060"),
        (changed(pair[1], 7, genre="rock"), "not tested on the same tracks: 1 are .* genre, .* t007"),
        (a_result("twice", 1, 0.5, [*range(60), 0]), "twice: 1 tracks were tested more than once, .* t000"),
        ((result, table[:0]), "second: the run has no test part"),
        (({**result, "data": {"genres": ["rock"]}}, table), "genres blues, jazz, rock, second has rock"),
    ):
        for function in (lambda pair: compare(*pair), ensemble):
            with pytest.raises(GtzanKerasError, match=message):
                function([first, other])


# ---- in words


def test_a_clear_difference_is_called_so():
    good, bad = a_result("good", 1, 0.9), a_result("bad", 2, 0.2, leaky=True)
    found = compare(good, bad)
    assert found["p_value"] < 0.05
    for either in (found, compare(bad, good)):
        assert "so good is the better of these two" in in_words(either)
    assert "bad (leaky) alone on" in in_words(found)
    assert "neither is shown to be better" in in_words({**found, "p_value": 0.2})


# ---- seeds


@pytest.fixture(scope="module")
def seeds():
    return [a_result(f"seed{seed}", seed, 0.6) for seed in range(3)]


def test_seeds_have_mean_and_spread(seeds):
    found = across_seeds(seeds)
    each = [accuracy_score(*answers_of(result)) for result in seeds]
    accuracy = found["accuracy"]
    assert accuracy["by_seed"] == pytest.approx(each)
    assert accuracy["value"] == pytest.approx(statistics.mean(each))
    assert accuracy["sd"] == pytest.approx(statistics.stdev(each))
    assert (accuracy["min"], accuracy["max"]) == pytest.approx((min(each), max(each)))
    assert (found["seeds"], found["tracks"], found["by_artist"]["count"]) == (3, 60, 15)
    losses = []
    for result in seeds:
        rows = result[1][GENRES].to_numpy()
        losses.append(log_loss(answers_of(result)[0], rows / rows.sum(axis=1, keepdims=True)))
    assert found["loss"]["by_seed"] == pytest.approx(losses, rel=1e-3)


def test_the_interval_is_of_the_mean_over_seeds(seeds):
    found = across_seeds(seeds)
    # A track counts by the share of seeds that had it right.
    share = np.mean([np.equal(*answers_of(result)) for result in seeds], axis=0)
    theirs = scipy.stats.bootstrap(
        (share,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found["accuracy"]["low"] == pytest.approx(theirs.low, abs=0.012)
    assert found["accuracy"]["high"] == pytest.approx(theirs.high, abs=0.012)


def test_seeds_may_each_have_a_test_part_of_their_own():
    results = [a_result("a", 0, 0.6, range(0, 40)), a_result("b", 1, 0.6, range(20, 90))]
    found = across_seeds(results)
    assert found["accuracy"]["by_seed"] == pytest.approx([accuracy_score(*answers_of(r)) for r in results])
    assert found["accuracy"]["sd"] == pytest.approx(statistics.stdev(found["accuracy"]["by_seed"]))
    assert found["tracks"] == 90
    assert found["accuracy"]["low"] < found["accuracy"]["value"] < found["accuracy"]["high"]


def test_a_single_seed_has_no_spread(seeds):
    accuracy = across_seeds(seeds[:1])["accuracy"]
    assert accuracy["sd"] is None
    assert accuracy["value"] == accuracy["min"] == accuracy["max"]


def test_segments_are_averaged_or_of_a_single_seed_without_counts_its_own_figure(seeds):
    cut = [
        (result, table.assign(segments=2, segments_right=2 * (table["genre"] == table["predicted"])))
        for result, table in seeds
    ]
    found = across_seeds(cut)
    assert found["segments"]["count"] == 120
    assert found["segments"]["value"] == pytest.approx(found["accuracy"]["value"])
    known = {"count": 9, "value": 0.5}
    result, table = a_result("a", 1, 0.7)
    result["scores"]["test"]["segments"] = known
    assert across_seeds([(result, table)])["segments"] == known
    assert across_seeds([(result, table)] * 2)["segments"] is None


def test_no_seeds_are_refused():
    with pytest.raises(GtzanKerasError, match="at least one"):
        across_seeds([])
    with pytest.raises(GtzanKerasError, match="at least one"):
        ensemble([])


# ---- ensembles


def test_an_ensemble_averages_probabilities(seeds):
    mean = np.mean([result[1][GENRES] for result in seeds], axis=0)
    truth, _ = answers_of(seeds[0])
    found, tracks = ensemble(seeds)
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(truth, mean.argmax(axis=1)))
    np.testing.assert_allclose(tracks[GENRES], mean)
    assert tracks["artist"][3] == "Artist 0"
