from __future__ import annotations

import hashlib
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks import splits
from gtzan_keras.tracks.catalogue import GENRES, describe, facts, known_near_duplicates, load_tracks
from gtzan_keras.tracks.splits import Split


@pytest.fixture(scope="module")
def gtzan() -> pd.DataFrame:
    return describe(facts()["genre"].to_dict())


def sizes(split: Split) -> tuple[int, int, int]:
    return len(split.train), len(split.validation), len(split.test)


def side_of(split: Split) -> dict[str, str]:
    return {track_id: part for part, ids in split.parts().items() for track_id in ids}


def fingerprint(split: Split) -> str:
    lines = [f"{part} {track_id}" for part, ids in split.parts().items() for track_id in ids]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def per_genre(tracks: pd.DataFrame, ids: tuple[str, ...]) -> pd.Series:
    return tracks["track_id"].isin(ids).groupby(tracks["genre"]).sum()


def same_artist(name: str) -> str:
    """Spelling apart, as a person would see it: letters and digits only, "&" read out."""
    return "".join(c for c in name.lower().replace("&", "and") if c.isalnum())


# --- shares


@pytest.mark.parametrize(
    ("preset", "published"),
    [
        ("70/15/15", (700, 150, 150)),
        ("80/20", (800, 0, 200)),
        ("72/8/20", (720, 80, 200)),
        ("700-100-200", (700, 100, 200)),
        ("800-100-100", (800, 100, 100)),
    ],
)
def test_presets_cut_the_1000_tracks_as_published_and_give_every_genre_its_share(gtzan, preset, published):
    split = splits.stratified(gtzan, preset)
    assert split.name == preset
    assert sizes(split) == published
    for count, ids in zip(published, split.parts().values(), strict=True):
        assert (per_genre(gtzan, ids) - count / 10).abs().max() <= 1


def test_known_near_duplicates_are_in_one_part_of_every_split(gtzan):
    known = known_near_duplicates()
    for split in (
        *(splits.stratified(gtzan, preset) for preset in splits.PRESETS),
        *splits.folds(gtzan, 5, validation=0.1),
        *splits.folds(gtzan, 5, "artist"),
    ):
        side = side_of(split)
        assert known["first"].map(side).tolist() == known["second"].map(side).tolist()


def test_as_many_tracks_as_parts_leave_no_part_empty():
    tracks = describe({f"rock/{n}": "rock" for n in range(3)})  # the shares alone would ask for 2, 1 and 0
    assert {sizes(splits.stratified(tracks, "70/15/15", seed)) for seed in range(20)} == {(1, 1, 1)}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((0.5, 0.5), "split shares (0.5, 0.5): expected three numbers"),
        ((0.6, 0.6, -0.2), "split shares (0.6, 0.6, -0.2)"),
        ((0.7, 0.2, 0.2), "split shares (0.7, 0.2, 0.2)"),
        ((0.5, 0.5, np.nan), "split shares (0.5, 0.5, nan)"),
        ("60/40", "'60/40' is not known; choose one of 70/15/15, 80/20"),
    ],
    ids=str,
)
def test_shares_that_do_not_add_up_or_are_unknown_are_refused_with_their_value(gtzan, shares, message):
    with pytest.raises(GtzanKerasError, match=re.escape(message)):
        splits.stratified(gtzan, shares)


def test_shares_of_ones_own_are_named_in_percent(gtzan):
    split = splits.stratified(gtzan, (0.625, 0.125, 0.25), seed=3)
    assert split.name == "62.5/12.5/25 (seed 3)"
    assert sizes(split) == (625, 125, 250)


@pytest.mark.parametrize(
    ("column", "made_from"),
    [
        ("duplicates", splits.folds),
        ("fault_filtered", splits.fault_filtered),
        ("genre", lambda tracks: splits.ceiling(Split("s", ("a",), (), ("b",)), tracks)),
    ],
)
def test_a_table_without_the_needed_columns_is_refused_by_their_names(gtzan, column, made_from):
    with pytest.raises(GtzanKerasError, match=rf"no column {column}; make it with load_tracks\(\)"):
        made_from(gtzan.drop(columns=column))


def test_artist_folds_of_the_mini_set_cannot_be_more_than_60_percent_right(real_data):
    tracks = load_tracks(real_data / "gtzan_mini")
    ceilings = [splits.ceiling(fold, tracks) for fold in splits.folds(tracks, 5, "artist")]
    sizes_of = [len(fold.test) for fold in splits.folds(tracks, 5, "artist")]
    assert np.average(ceilings, weights=sizes_of) == pytest.approx(0.6)


# --- the same everywhere


def test_splits_never_change(gtzan):
    """Literals: whoever changes one of these changes every figure made on that split before."""
    made = [
        splits.stratified(gtzan, "700-100-200"),
        splits.stratified(gtzan, "70/15/15", seed=7),
        splits.fault_filtered(gtzan),
        splits.folds(gtzan, 10)[9],
        splits.folds(gtzan, 5, group="artist", validation=0.1)[0],
        splits.folds(gtzan, 5, seed=3, validation=0.1)[2],
    ]
    assert [fingerprint(split) for split in made] == [
        "e0cf31a2a2c9cf74",
        "74b8005fb988a34b",
        "833ce9c48e79d4ca",
        "08753663877264cf",
        "338fa3b324660c78",
        "8177a55e0a58c61b",
    ]


def test_the_order_of_the_table_does_not_matter(gtzan):
    shuffled = gtzan.sample(frac=1, random_state=0)
    assert splits.stratified(shuffled) == splits.stratified(gtzan)
    assert splits.fault_filtered(shuffled) == splits.fault_filtered(gtzan)
    assert splits.folds(shuffled, 5, "artist", 0, 0.2) == splits.folds(gtzan, 5, "artist", 0, 0.2)


# --- artists


def test_no_artist_is_in_two_parts_of_the_fault_filtered_split_or_of_artist_folds(gtzan):
    for split in (splits.fault_filtered(gtzan), *splits.folds(gtzan, 5, group="artist", validation=0.15)):
        side = side_of(split)
        known = gtzan[(gtzan["artist"] != "") & gtzan["track_id"].isin(side)]
        sides = known["track_id"].map(side).groupby(known["artist"].map(same_artist)).nunique()
        assert len(sides) > 200
        assert sides.max() == 1


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_fault_filtered_split_without_training_or_test_tracks_is_refused_with_a_remedy(gtzan, part):
    with pytest.raises(GtzanKerasError, match=r"no fault-filtered parts.*use a stratified split"):
        splits.fault_filtered(gtzan[gtzan["fault_filtered"] != part])


# --- folds


def test_artist_folds_of_tracks_without_artists_are_refused_with_the_remedy():
    tracks = describe({f"rock/{n}": "rock" for n in range(10)})
    with pytest.raises(GtzanKerasError, match=r"the artists of these tracks are unknown; name them in"):
        splits.folds(tracks, 5, "artist")


def test_artist_folds_are_as_balanced_as_those_of_scikit_learn(gtzan):
    """Sum over folds and genres of the distance from an even deal, against StratifiedGroupKFold."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = gtzan["artist"].map(same_artist).where(gtzan["artist"] != "", gtzan["track_id"])

    def imbalance(tests: list) -> float:
        return sum((per_genre(gtzan, ids) - 100 / len(tests)).abs().sum() for ids in tests)

    dealt = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(gtzan, gtzan["genre"], groups)
    theirs = imbalance([gtzan["track_id"].iloc[test] for _, test in dealt])
    assert imbalance([fold.test for fold in splits.folds(gtzan, 5, "artist")]) <= theirs


def test_an_artist_of_two_genres_goes_where_both_genres_together_are_most_short():
    """Each fold should get two tracks of a and two of b. X takes three of a into one fold.

    Y has one of a and two of b. With X, a gets worse by one and b better by two, together one; apart
    from X both get better, together three.
    """
    artists = {"a/1": "X", "a/2": "X", "a/3": "X", "a/4": "Y", "b/1": "Y", "b/2": "Y", "b/3": "", "b/4": ""}
    tracks = describe({track_id: track_id[0] for track_id in artists})
    tracks["artist"] = tracks["track_id"].map(artists)
    for seed in range(20):
        tests = {fold.test for fold in splits.folds(tracks, 2, "artist", seed)}
        assert tests == {("a/1", "a/2", "a/3", "b/3", "b/4"), ("a/4", "b/1", "b/2")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 1}, "folds: k=1: expected 2 up to the number of track groups, here 947"),
        ({"k": 1001}, "folds: k=1001: expected 2 up to"),
        ({"group": "title"}, "folds: group='title': expected 'artist' or None"),
        ({"validation": 1.0}, r"folds: validation=1\.0: expected 0 <= validation < 1"),
        ({"validation": float("nan")}, "folds: validation=nan: expected"),
    ],
    ids=str,
)
def test_folds_refuse_arguments_that_are_out_of_range(gtzan, arguments, message):
    with pytest.raises(GtzanKerasError, match=message):
        splits.folds(gtzan, **arguments)


# --- check


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ("pop.00000#0", "pop.00000#1", "track pop.00000 is in train and in test"),
        ("metal.00058#3", "rock.00016#1", "metal.00058 in train, rock.00016 in test"),
        ("jazz.00033", "jazz.00051", "jazz.00033 in train, jazz.00051 in test"),
        ("pop.00022", "pop.00037", "pop.00022 in train, pop.00037 in test"),
    ],
    ids=["segments", "copies", "near-duplicates", "copies of the absent pop.00015"],
)
def test_a_recording_in_two_parts_is_refused_unless_the_split_is_leaky(gtzan, one, two, message):
    tracks = gtzan[gtzan["track_id"].isin([one.split("#")[0], two.split("#")[0]])]
    with pytest.raises(GtzanKerasError, match=f"split 'mine': .*{re.escape(message)}.*leaky=True"):
        Split("mine", (one,), (), (two,)).check(tracks)
    Split("mine", (one, two), (), ("blues.00000#2",)).check(tracks)
    Split("mine", (one,), (), (two,), leaky=True).check(tracks)


# --- the ceiling


def test_the_ceiling_is_the_share_of_test_tracks_of_a_genre_that_was_trained_on(gtzan, caplog):
    tested = ("pop.00001", "rock.00000", "jazz.00000", "pop.00002#4", "not in the table")
    split = Split("mine", ("pop.00000", "not in it either"), (), tested)
    assert splits.ceiling(split, gtzan) == 0.5
    splits.warn_of_unseen_genres(split, gtzan)
    assert [record.message for record in caplog.records] == [
        "split 'mine': no training track for genre(s) jazz, rock, so at most 50.0 % of the test tracks can "
        "be predicted correctly"
    ]


@pytest.mark.parametrize(("tested", "highest"), [((), 1), (("rock.00000",), 0), (("pop.00001",), 1)])
def test_the_ceiling_of_one_test_track_or_none_is_a_share_too(gtzan, tested, highest):
    assert splits.ceiling(Split("small", ("pop.00000",), (), tested), gtzan) == highest


# --- made-up collections


@st.composite
def collections(draw: st.DrawFn) -> pd.DataFrame:
    """A table of 3 to 60 tracks of 1 to 4 genres, with some artists and some exact copies."""
    count = draw(st.integers(3, 60))
    genres = draw(st.lists(st.sampled_from("abcd"), min_size=count, max_size=count))
    ids = [f"{genre}/{n}" for n, genre in enumerate(genres)]
    tracks = describe(dict(zip(ids, genres, strict=True)))
    artists = st.sampled_from(["", "", "X", "x", "Y & Z", "Y and Z", "W"])
    tracks["artist"] = draw(st.lists(artists, min_size=count, max_size=count))
    copies = draw(st.lists(st.tuples(st.sampled_from(ids), st.sampled_from(ids)), max_size=4))
    others = {track_id: {b for a, b in copies if a == track_id and b != a} for track_id in ids}
    tracks["duplicates"] = [tuple(sorted(others[track_id])) for track_id in tracks["track_id"]]
    return tracks


def groups_of(tracks: pd.DataFrame, by_artist: bool) -> list[set[str]]:
    """What must stay together: connected components, by repeated merging."""
    sets = [{row.track_id, *row.duplicates} for row in tracks.itertuples()]
    if by_artist:
        known = tracks[tracks["artist"] != ""]
        sets += [set(ids) for _, ids in known["track_id"].groupby(known["artist"].map(same_artist))]
    merged: list[set[str]] = []
    for one in sets:
        touching = [other for other in merged if other & one]
        merged = [other for other in merged if not other & one] + [one.union(*touching)]
    return merged


SHARES = st.sampled_from([*splits.PRESETS.values(), (0.5, 0.0, 0.5), (0.34, 0.33, 0.33)])


@settings(max_examples=40, deadline=None)
@given(
    tracks=collections(), k=st.integers(2, 5), by_artist=st.booleans(), seed=st.integers(0, 9), shares=SHARES
)
def test_splits_and_folds_of_any_collection_keep_groups_together(tracks, k, by_artist, seed, shares):
    by_artist = by_artist and tracks["artist"].any()
    together = groups_of(tracks, by_artist)
    group = "artist" if by_artist else None
    if k > len(together):
        with pytest.raises(GtzanKerasError, match=f"here {len(together)}"):
            splits.folds(tracks, k, group, seed)
        return
    folds = splits.folds(tracks, k, group, seed, validation=shares[1])
    assert all(fold.test for fold in folds)
    assert sorted(itertools.chain(*(fold.test for fold in folds))) == sorted(tracks["track_id"])
    for split in [*folds] if by_artist else [*folds, splits.stratified(tracks, shares, seed)]:
        assert sorted(itertools.chain(*split.parts().values())) == sorted(tracks["track_id"])
        side = side_of(split)
        assert [ids for ids in together if len({side[track_id] for track_id in ids}) > 1] == []
        assert bool(split.validation) <= bool(shares[1])


def test_a_leaky_split_without_genres_loses_their_segments_and_keeps_its_mark():
    table = describe({"jazz/a": "jazz", "pop/a": "pop", "rock/a": "rock"})
    leaky = Split("mine", ("jazz/a#0", "pop/a#0", "rock/a#0"), (), ("pop/a#1", "rock/a#1"), leaky=True)
    assert leaky.without(table, ["jazz"]) == Split(
        "mine without jazz", ("pop/a#0", "rock/a#0"), (), ("pop/a#1", "rock/a#1"), leaky=True
    )


@pytest.mark.parametrize("genres", [["polka"], list(GENRES[:9])])
def test_leaving_out_an_unknown_genre_or_all_but_one_is_refused(gtzan, genres):
    with pytest.raises(GtzanKerasError, match="at least two must remain"):
        splits.fault_filtered(gtzan).without(gtzan, genres)
