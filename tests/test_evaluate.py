"""Scores of a run: by track, with intervals, against scikit-learn and SciPy."""

import dataclasses
import functools

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_keras import models
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.base import Sample, pack, write_store
from gtzan_keras.store.open import open_store
from gtzan_keras.tracks.catalogue import describe, facts
from gtzan_keras.tracks.splits import Split, folds
from gtzan_keras.training.evaluate import (
    artist_groups,
    calibration,
    class_scores,
    confidences,
    confusion_matrix,
    evaluate,
    interval_scores,
    run_result,
    score_tracks,
    segment_scores,
)
from gtzan_keras.training.fit import train
from gtzan_keras.training.results import read_result
from gtzan_keras.training.settings import TrainingSettings
from tests.conftest import TINY

pytestmark = pytest.mark.usefixtures("eagerly")

SCORES = {
    "accuracy": sklearn.metrics.accuracy_score,
    **{
        f"macro_{name}": functools.partial(score, average="macro", zero_division=0)
        for name, score in {
            "precision": sklearn.metrics.precision_score,
            "recall": sklearn.metrics.recall_score,
            "f1": sklearn.metrics.f1_score,
        }.items()
    },
}


def scikit_learn(truth, predicted):
    return {name: score(truth, predicted) for name, score in SCORES.items()}


# ---- intervals

code = st.integers(0, 7)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(code, code), min_size=1, max_size=40))
def test_values_are_scikit_learns(pairs):
    truth, predicted = np.array(pairs).T
    values = {name: score["value"] for name, score in interval_scores(truth, predicted, 8).items()}
    assert values == pytest.approx(scikit_learn(truth, predicted))


@pytest.fixture(scope="module")
def guesses():
    """60 tracks of 4 genres, two thirds right."""
    random = np.random.default_rng(5)
    truth = np.repeat(np.arange(4), 15)
    return truth, np.where(random.random(60) < 0.67, truth, random.integers(4, size=60))


@pytest.mark.parametrize(("units", "size"), [(400, 1), (40, 5)], ids=["tracks", "artists"])
def test_the_interval_of_the_accuracy_is_that_of_the_binomial(units, size):
    # So many units are drawn, all of whose tracks are right or wrong: a binomial number of right ones.
    right = round(0.675 * units)
    predicted = np.repeat([0, 1], [right * size, (units - right) * size])
    groups = None if size == 1 else np.repeat(np.arange(units), size)
    ours = interval_scores(np.zeros(units * size, int), predicted, 2, groups)["accuracy"]
    low, high = scipy.stats.binom(units, 0.675).ppf([0.025, 0.975]) / units
    assert ours["value"] == 0.675
    assert (ours["low"], ours["high"]) == pytest.approx((low, high), abs=1.04 / units + 0.0015)


def test_intervals_are_scipys_percentile_bootstrap(guesses):
    ours = interval_scores(*guesses, 4)["macro_precision"]
    theirs = scipy.stats.bootstrap(
        guesses,
        SCORES["macro_precision"],
        n_resamples=400,
        paired=True,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (ours["low"], ours["high"]) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_groups_of_unlike_size_are_drawn_as_scipy_draws_them(guesses):
    truth, predicted = guesses
    groups = np.random.default_rng(2).integers(12, size=60)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]

    def macro_f1(drawn):
        rows = np.concatenate([members[index] for index in drawn])
        return SCORES["macro_f1"](truth[rows], predicted[rows])

    ours = interval_scores(truth, predicted, 4, groups)["macro_f1"]
    theirs = scipy.stats.bootstrap(
        (np.arange(len(members)),),
        macro_f1,
        n_resamples=400,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    # After 400 draws from a distribution 0.06 wide, the ends have a standard error of 0.007.
    assert (ours["low"], ours["high"]) == pytest.approx((theirs.low, theirs.high), abs=0.025)


# ---- artists


def test_artists_are_told_apart_as_the_folds_do():
    tracks = describe(facts()["genre"].to_dict())
    groups = pd.Series(artist_groups(tracks), tracks["track_id"])
    assert groups.groupby(tracks.set_index("track_id")["artist"]).nunique().drop("").max() == 1
    tested = [groups[list(fold.test)] for fold in folds(tracks, 5, group="artist")]
    assert sum(part.nunique() for part in tested) == groups.nunique()


def test_names_that_differ_in_case_and_punctuation_are_one_artist_and_unknown_ones_are_none():
    names = ["Earth, Wind & Fire", "Earth Wind and Fire", "", "", "Abba"]
    tracks = pd.DataFrame({"track_id": list("01234"), "genre": "disco", "artist": names})
    groups = artist_groups(tracks)
    assert groups is not None
    assert groups[0] == groups[1]
    assert len(set(groups)) == 4
    assert artist_groups(tracks[2:4]) is None
    accents = tracks.head(3).assign(artist=["Jos\u00e9", "Jose\u0301", "Jose"])  # one character, and two
    assert [int(group) for group in artist_groups(accents)] == [0, 0, 1]


# ---- calibration


def test_the_calibration_error_is_that_of_the_formula():
    # Bins of 1/15: 0.95 and 0.99 share the last; 0.5 and 0.52 the eighth; 0.3 is alone in the fifth.
    found = calibration([0.95, 0.99, 0.5, 0.52, 0.3], [True, False, True, True, False])
    assert found["ece"] == pytest.approx((abs(1 - 1.94) + abs(2 - 1.02) + abs(0 - 0.3)) / 5)
    bins = found["bins"]
    assert {n: bin_["count"] for n, bin_ in enumerate(bins) if bin_["count"]} == {4: 1, 7: 2, 14: 2}
    assert (bins[14]["low"], bins[14]["confidence"]) == pytest.approx((14 / 15, 0.97))
    assert (bins[14]["accuracy"], bins[0]["accuracy"]) == (0.5, None)


def test_a_bin_holds_its_upper_end_and_not_its_lower():
    counts = [bin_["count"] for bin_ in calibration([0.2, 0.4, 1.0], [True] * 3)["bins"]]
    assert np.flatnonzero(counts).tolist() == [2, 5, 14]


def test_a_calibrated_model_lies_within_its_range_19_times_in_20():
    random = np.random.default_rng(3)
    sure = random.uniform(0.2, 1, size=150)
    ranges = calibration(sure, sure > 0.5)["calibrated"]
    errors = [calibration(sure, random.random(150) < sure, resamples=1)["ece"] for _ in range(400)]
    inside = np.mean([ranges["low"] <= error <= ranges["high"] for error in errors])
    assert inside == pytest.approx(0.95, abs=0.04)  # 0.011 is one standard error


# ---- tracks


def some_tracks(copies=1):
    """40 rock tracks, 27 of them right, each in so many rows."""
    number = np.repeat(np.arange(40), copies)
    right = number < 27
    return pd.DataFrame(
        {"track_id": [f"rock.{n:05d}" for n in number], "genre": "rock", "artist": ""}
        | {"predicted": np.where(right, "rock", "pop")}
        | {"pop": np.where(right, 0.2, 0.8), "rock": np.where(right, 0.8, 0.2)}
    )


def test_rows_of_one_track_are_drawn_together():
    once, thrice = (score_tracks(some_tracks(n), ["pop", "rock"]) for n in (1, 3))
    assert thrice["count"] == 120
    assert thrice["accuracy"] == pytest.approx(once["accuracy"])


def test_segments_of_several_seeds_are_averaged_in_each_draw():
    # Two seeds that are right on opposite halves of the tracks: their mean is the same in every draw.
    right = np.repeat([4, 0], 20)
    seeds = [some_tracks().assign(segments=4, segments_right=hits) for hits in (right, right[::-1])]
    assert segment_scores(seeds) == pytest.approx({"count": 160, "value": 0.5, "low": 0.5, "high": 0.5})
    alone = segment_scores(seeds[:1])
    low, high = scipy.stats.binom(40, 0.5).ppf([0.025, 0.975]) / 40
    assert (alone["value"], alone["low"], alone["high"]) == pytest.approx((0.5, low, high), abs=0.026)


@pytest.mark.parametrize(
    ("truth", "predicted", "groups", "message"),
    [
        ([], [], None, "at least one"),
        ([0, 1], [0, 1], [0], r"\(2,\) predictions and \(1,\) groups"),
        ([0, 3], [0, 1], None, "class numbers, from 0 to 2"),
        ([0, 1], [0, -1], None, "class numbers, from 0 to 2"),
    ],
)
def test_answers_that_do_not_fit_are_refused(truth, predicted, groups, message):
    with pytest.raises(GtzanKerasError, match=message):
        interval_scores(truth, predicted, 3, groups)


# ---- runs

GENRE_OF = {
    **{f"disco.{number:05d}": "disco" for number in range(8)},
    "jazz.00054": "jazz",
    **{f"metal.{number:05d}": "metal" for number in (0, 1, 2, 3, 4, 5, 6, 58)},
    **{f"rock.{number:05d}": "rock" for number in (0, 1, 2, 3, 4, 5, 6, 16)},
}
TEST = ("disco.00001", "disco.00002", "jazz.00054", "metal.00003", "metal.00058", "rock.00006", "rock.00016")
VALIDATION = ("disco.00000", "metal.00000", "rock.00000")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model that hardly trained, on tracks of up to three segments; jazz.00054 was left out."""
    folder, random = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    with write_store(folder / "x.h5", TINY, describe(GENRE_OF)) as writer:
        for number, track_id in enumerate(describe(GENRE_OF)["track_id"]):
            images = random.integers(256, size=(1 + number % 3, *TINY.shape), dtype=np.uint8)
            broken = track_id == "jazz.00054"
            writer.append(
                Sample(track_id, () if broken else pack(images), refused="no sound" if broken else "")
            )
    store = open_store(folder / "x.h5")
    keras.utils.set_random_seed(3)
    model = models.dense(TINY.shape, len(store.genres), units=())
    model.set_weights([3 * weight for weight in model.get_weights()])  # so that it is sure of itself
    split = Split("by hand", tuple(sorted(set(GENRE_OF) - {*TEST, *VALIDATION})), VALIDATION, TEST)
    return train(model, store, split, TrainingSettings(epochs=1, learning_rate=1e-12), out=folder, verbose=0)


@pytest.fixture(scope="module")
def result(run):
    return evaluate(run, batch_size=4)


@pytest.fixture(scope="module")
def tracks(run, result):
    return read_result(run.folder)[1]


@pytest.fixture(scope="module")
def by_hand(run):
    """A row a test track: the mean of its segments' probabilities."""
    probabilities = np.asarray(run.model(run.store.read().astype(np.float32) / 255), float)
    table = pd.DataFrame(probabilities, columns=run.store.genres).groupby(run.store.track_id).mean()
    return table.loc[sorted(set(TEST) - {"jazz.00054"})]


def test_probabilities_of_segments_are_averaged_by_track(tracks, by_hand):
    assert tracks["track_id"].tolist() == by_hand.index.tolist()
    np.testing.assert_allclose(tracks[by_hand.columns], by_hand, atol=5.1e-5)
    assert tracks["genre"].tolist() == by_hand.index.map(GENRE_OF).tolist()
    assert tracks["predicted"].tolist() == by_hand.idxmax(axis=1).tolist()


def test_scores_are_scikit_learns_over_tracks(result, tracks, by_hand):
    scores, genres = result["scores"]["test"], ["disco", "jazz", "metal", "rock"]
    truth, predicted = by_hand.index.map(GENRE_OF), by_hand.idxmax(axis=1)
    expected = scikit_learn(truth, predicted)
    assert {name: scores[name]["value"] for name in expected} == pytest.approx(expected)
    assert scores["count"] == len(truth) == 6
    # To more digits than tracks.csv has.
    probabilities = by_hand.div(by_hand.sum(axis=1), axis=0)
    expected_loss = sklearn.metrics.log_loss(truth, probabilities, labels=genres)
    assert scores["loss"] == pytest.approx(expected_loss, rel=1e-6)
    matrix = sklearn.metrics.confusion_matrix(truth, predicted, labels=genres)
    assert confusion_matrix(tracks, genres).tolist() == matrix.tolist()
    per_class = class_scores(tracks, genres).set_index("genre")
    report = sklearn.metrics.classification_report(
        truth, predicted, labels=genres, output_dict=True, zero_division=0
    )
    expected = pd.DataFrame(report).T.loc[genres]
    np.testing.assert_allclose(per_class, expected[["precision", "recall", "f1-score", "support"]])


def test_segments_are_counted_and_scored_by_themselves(result, run):
    rows = run.store.rows(TEST)
    codes = np.asarray(run.model(run.store.read(rows).astype(np.float32) / 255)).argmax(axis=1)
    segments = result["scores"]["test"]["segments"]
    assert segments["count"] == len(rows) > 6
    right = np.array(run.store.genres)[codes] == run.store.genre[rows]
    assert segments["value"] == right.mean()
    # An independent bootstrap over tracks gives much the same ends.
    by_track = pd.Series(right).groupby(run.store.track_id[rows]).agg(["sum", "count"])
    samples = [by_track.sample(frac=1, replace=True, random_state=n).sum() for n in range(300)]
    spread = [sample["sum"] / sample["count"] for sample in samples]
    assert segments["low"] == pytest.approx(np.percentile(spread, 2.5), abs=0.08)
    assert segments["high"] == pytest.approx(np.percentile(spread, 97.5), abs=0.08)


def test_refused_tracks_are_listed_and_not_counted(result):
    split, data = result["split"], result["data"]
    assert data["refused"] == [{"track_id": "jazz.00054", "reason": "no sound"}]
    assert data["duplicates"] == [["metal.00058", "rock.00016"]]
    assert data["tracks"] == 25
    assert (split["train"], split["validation"], split["test"]) == (15, 3, 6)
    assert split["missing"] == ["jazz.00054"]
    assert split["leaky"] is False


def test_artists_and_confidences_are_scored_too(result, tracks):
    # The two tracks of Queen are of one artist, and the four others' artists differ.
    scores, genres = result["scores"]["test"], result["data"]["genres"]
    assert scores["by_artist"]["count"] == tracks["artist"].nunique() == 5
    assert scores["by_artist"]["accuracy"]["value"] == scores["accuracy"]["value"]
    sure, right = confidences(tracks, genres)
    np.testing.assert_array_equal(sure, tracks[genres].max(axis=1))
    assert right.mean() == scores["accuracy"]["value"]
    assert calibration(sure, right)["ece"] == pytest.approx(scores["ece"], abs=1e-4)


def test_a_part_without_tracks_has_no_scores(run, tmp_path):
    split = Split("s", ("rock.00000",), ("jazz.00054",), ("disco.00001",))
    scores = evaluate(dataclasses.replace(run, folder=tmp_path, split=split))["scores"]
    assert scores["validation"] is None  # its only track was refused
    assert scores["test"]["count"] == 1
    split = Split("s", ("rock.00000",), ("disco.00001",), ())
    scores = evaluate(dataclasses.replace(run, folder=tmp_path, split=split))["scores"]
    assert scores["test"] is None
    assert len(read_result(tmp_path)[1]) == 0


def test_a_genre_that_was_not_trained_lowers_the_ceiling(result, run):
    split = Split("s", ("rock.00000",), (), ("disco.00001", "rock.00006", "rock.00016"))
    scores = run_result(dataclasses.replace(run, split=split))[0]["scores"]["test"]
    assert scores["ceiling"] == pytest.approx(2 / 3)
    assert "ceiling" not in result["scores"]["test"]


def test_tracks_that_the_store_does_not_have_are_refused(run, tmp_path):
    split = Split("s", ("rock.00000",), (), ("blues.00000",))
    with pytest.raises(GtzanKerasError, match=r"blues\.00000"):
        evaluate(dataclasses.replace(run, folder=tmp_path, split=split))
    assert list(tmp_path.iterdir()) == []
