"""Splits: which tracks are in training, validation and test. Always by track, never by segment.

Every choice depends on SHA-256 of the seed and the track id, not on a random generator, so a split is
the same on every machine and with every version of pandas and scikit-learn.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import (
    artist_key,
    check_columns,
    duplicate_groups,
    exact_copies,
    known_near_duplicates,
    linked,
    track_of,
)

__all__ = ["PRESETS", "Split", "ceiling", "fault_filtered", "folds", "stratified"]

logger = logging.getLogger(__name__)

PRESETS: Mapping[str, tuple[float, float, float]] = {
    "70/15/15": (0.70, 0.15, 0.15),
    "80/20": (0.80, 0.00, 0.20),
    "72/8/20": (0.72, 0.08, 0.20),
    "700-100-200": (0.70, 0.10, 0.20),
    "800-100-100": (0.80, 0.10, 0.10),
}
"""Named shares of training, validation and test (Malvezzi; Zhang and Uncu, without and with tracks for early
stopping; Arrigo twice)."""


def check_left_out(what: str, left_out: Iterable[str], present: Iterable[str]) -> None:
    """Refuse to leave out a genre that is not present, or all but one.

    Examples
    --------
    >>> from gtzan_keras.tracks.splits import check_left_out
    >>> check_left_out("the store", ["rock"], ["jazz", "pop", "rock"])
    """
    gone, there = set(left_out), set(present)
    if gone - there or len(there - gone) < 2:
        raise GtzanKerasError(
            f"{what} without {', '.join(sorted(gone))}: the genres are {', '.join(sorted(there))}; at least "
            "two must remain"
        )


@dataclass(frozen=True)
class Split:
    """Which tracks are in training, validation and test.

    Parameters
    ----------
    name : str
        Its name in tables and figures.
    train, validation, test : tuple of str
        Track ids, sorted. ``validation`` may be empty. Only a leaky split names single segments.
    leaky : bool
        One recording is in two parts; only to reproduce a published figure. Every table and figure
        made from such a split carries the word.

    Examples
    --------
    >>> from gtzan_keras.tracks.splits import Split
    >>> Split("by hand", ("rock.00000",), (), ("rock.00001",)).parts()["test"]
    ('rock.00001',)
    """

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    leaky: bool = False

    def parts(self) -> dict[str, tuple[str, ...]]:
        """Return the three parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def without(self, tracks: pd.DataFrame, genres: Iterable[str]) -> Split:
        """Return the same split without the tracks of some genres, as Zhang omits country and rock.

        Parameters
        ----------
        tracks : pd.DataFrame
            From `load_tracks`, with each track's genre.
        genres : iterable of str
            The genres to leave out.

        Returns
        -------
        Split
            Its name says which genres are missing.

        Raises
        ------
        GtzanKerasError
            `tracks` has no such genre, or fewer than two remain.

        Examples
        --------
        >>> from gtzan_keras import splits
        >>> from gtzan_keras.tracks.catalogue import describe, facts
        >>> gtzan = describe(facts()["genre"].to_dict())
        >>> split = splits.stratified(gtzan, "80/20").without(gtzan, ["country", "rock"])
        >>> split.name, len(split.train), len(split.test)
        ('80/20 without country, rock', 640, 160)
        """
        check_columns(tracks, ["track_id", "genre"])
        left_out = set(genres)
        check_left_out(f"split {self.name!r}", left_out, tracks["genre"])
        gone = set(tracks.loc[tracks["genre"].isin(left_out), "track_id"])
        parts = {
            part: tuple(any_id for any_id in ids if track_of(any_id) not in gone)
            for part, ids in self.parts().items()
        }
        name = f"{self.name} without {', '.join(sorted(left_out))}" if left_out else self.name
        return Split(name, **parts, leaky=self.leaky)

    def check(self, tracks: pd.DataFrame) -> None:
        """Refuse a split that has a recording in two parts.

        Parameters
        ----------
        tracks : pd.DataFrame
            The table whose ``duplicates`` say which tracks are copies. GTZAN's exact copies and known
            near-duplicates are copies too; those of other tracks if the table is from
            `with_near_duplicates`.

        Raises
        ------
        GtzanKerasError
            A track, one of its segments or one of its copies is in two parts, and the split is not
            marked as leaky.
        """
        if self.leaky:
            return
        remedy = "put all of it in one part, or mark the split leaky=True to reproduce a leak"
        part_of: dict[str, str] = {}
        for part, ids in self.parts().items():
            for any_id in ids:
                earlier = part_of.setdefault(track_of(any_id), part)
                if earlier != part:
                    raise GtzanKerasError(
                        f"split {self.name!r}: track {track_of(any_id)} is in {earlier} and in {part}; "
                        f"{remedy}"
                    )
        for group in linked(part_of, _copies(tracks)):
            if len({part_of[track_id] for track_id in group}) > 1:
                where = ", ".join(f"{track_id} in {part_of[track_id]}" for track_id in group)
                raise GtzanKerasError(
                    f"split {self.name!r}: copies of one recording are in two parts ({where}); {remedy}"
                )


def ceiling(split: Split, tracks: pd.DataFrame) -> float:
    """Return the highest accuracy a split allows: the share of test tracks whose genre is in training.

    Parameters
    ----------
    split : Split
        Its segments count like tracks; ids that are not in `tracks` do not count.
    tracks : pd.DataFrame
        From `load_tracks`, with each track's genre.

    Returns
    -------
    float
        1.0 unless a genre of the test part has no training track, as with few artists per genre.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import describe
    >>> from gtzan_keras.tracks.splits import Split, ceiling
    >>> tracks = describe({"pop.00000": "pop", "pop.00001": "pop", "rock.00000": "rock"})
    >>> ceiling(Split("by hand", ("pop.00000",), (), ("pop.00001", "rock.00000")), tracks)
    0.5
    """
    unseen, tested = _unseen(split, tracks)
    return 1 - sum(genre in unseen for genre in tested) / max(1, len(tested))


def warn_of_unseen_genres(split: Split, tracks: pd.DataFrame) -> None:
    """Log a warning if a genre of the test part has no training track.

    Parameters
    ----------
    split : Split
        What a model is about to be trained on.
    tracks : pd.DataFrame
        From `load_tracks`.
    """
    unseen, _ = _unseen(split, tracks)
    if unseen:
        logger.warning(
            "split %r: no training track for genre(s) %s, so at most %.1f %% of the test tracks can be "
            "predicted correctly",
            *(split.name, ", ".join(sorted(unseen)), 100 * ceiling(split, tracks)),
        )


def _unseen(split: Split, tracks: pd.DataFrame) -> tuple[set[str], list[str]]:
    """Genres of the test part without a training track, and the genre of every test track."""
    check_columns(tracks, ["track_id", "genre"])
    genre = dict(zip(tracks["track_id"], tracks["genre"], strict=True))
    trained, tested = (
        [genre[track_of(any_id)] for any_id in ids if track_of(any_id) in genre]
        for ids in (split.train, split.test)
    )
    return set(tested) - set(trained), tested


def stratified(
    tracks: pd.DataFrame,
    shares: str | tuple[float, float, float] = "70/15/15",
    seed: int = 0,
) -> Split:
    """Split tracks at random, with the same share of each genre in every part.

    Copies of one recording, GTZAN's known near-duplicates among them, are always in one part; artists
    may be in several, which inflates the scores (see `fault_filtered` and `folds` with
    ``group="artist"``).

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    shares : str or (float, float, float)
        One of `PRESETS`, or the shares of training, validation and test; they add up to 1.
    seed : int
        A different seed gives a different split.

    Returns
    -------
    Split

    Raises
    ------
    GtzanKerasError
        An unknown preset, shares that do not add up to 1, or no tracks.

    Examples
    --------
    >>> from gtzan_keras import splits
    >>> from gtzan_keras.tracks.catalogue import describe, facts
    >>> gtzan = describe(facts()["genre"].to_dict())
    >>> split = splits.stratified(gtzan, "700-100-200")
    >>> len(split.train), len(split.validation), len(split.test)
    (700, 100, 200)
    """
    if isinstance(shares, str):
        if shares not in PRESETS:
            raise GtzanKerasError(f"split {shares!r} is not known; choose one of {', '.join(PRESETS)}")
        name, shares = shares, PRESETS[shares]
    else:
        name = "/".join(f"{100 * share:g}" for share in shares)
        if len(shares) != 3 or not min(shares) >= 0 or not abs(sum(shares) - 1) < 1e-9:
            raise GtzanKerasError(
                f"split shares {shares}: expected three numbers >= 0 that add up to 1 "
                "(training, validation, test)"
            )
    if seed:
        name += f" (seed {seed})"
    train, validation, test = _place(kept_together(tracks), tracks, np.asarray(shares), seed)
    return Split(name, train, validation, test)


def fault_filtered(tracks: pd.DataFrame) -> Split:
    """Return the split that leaves GTZAN's faults out and has no artist in two parts.

    443 tracks in training, 197 in validation, 290 in test (442 in training with the common release,
    whose ``jazz.00054`` is broken); 70 are left out.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`, with the column ``fault_filtered``.

    Returns
    -------
    Split

    Raises
    ------
    GtzanKerasError
        No track of the table has a fault-filtered part.

    References
    ----------
    Kereliuk, Sturm, Larsen: "Deep learning and music adversaries", IEEE Transactions on Multimedia
    17(11), 2015. Sturm: "The state of the art ten years after a state of the art", 2014.

    Examples
    --------
    >>> from gtzan_keras import splits
    >>> from gtzan_keras.tracks.catalogue import describe, facts
    >>> split = splits.fault_filtered(describe(facts()["genre"].to_dict()))
    >>> len(split.train), len(split.validation), len(split.test)
    (443, 197, 290)
    """
    check_columns(tracks, ["track_id", "fault_filtered"])
    train, validation, test = (
        tuple(sorted(tracks.loc[tracks["fault_filtered"] == part, "track_id"]))
        for part in ("train", "valid", "test")
    )
    if not train or not test:
        raise GtzanKerasError(
            "split 'fault-filtered': these tracks have no fault-filtered parts, which are known for "
            "GTZAN only; use a stratified split, or folds, or a tracks.csv next to the genre folders"
        )
    return Split("fault-filtered", train, validation, test)


def folds(
    tracks: pd.DataFrame,
    k: int = 5,
    group: Literal["artist"] | None = None,
    seed: int = 0,
    validation: float = 0.0,
) -> list[Split]:
    """Cut the tracks into k parts of similar size and genres; each is the test part once.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    k : int >= 2
        Number of folds.
    group : "artist" or None
        Keep every artist's tracks in one fold, whatever the case and punctuation of the name. Each
        track without a known artist is its own group. Copies of one recording, GTZAN's known
        near-duplicates among them, are together in any case.
    seed : int
        A different seed gives different folds.
    validation : float in [0, 1)
        Share of each fold's training tracks used for validation, under the same grouping.

    Returns
    -------
    list of Split [length k]

    Raises
    ------
    GtzanKerasError
        `k` is below 2 or above the number of groups, `group` is invalid, no artist is known, or
        `validation` is out of range.

    Examples
    --------
    >>> from gtzan_keras import splits
    >>> from gtzan_keras.tracks.catalogue import describe, facts
    >>> gtzan = describe(facts()["genre"].to_dict())
    >>> [len(fold.test) for fold in splits.folds(gtzan, k=5)]
    [200, 200, 200, 200, 200]
    """
    if group not in (None, "artist"):
        raise GtzanKerasError(f"folds: group={group!r}: expected 'artist' or None")
    if not 0 <= validation < 1:
        raise GtzanKerasError(f"folds: validation={validation}: expected 0 <= validation < 1")
    if group and not tracks.get(group, pd.Series()).fillna("").any():
        raise GtzanKerasError(
            "folds: group='artist': the artists of these tracks are unknown; name them in a tracks.csv next "
            "to the genre folders and load the tracks again (make a store again), or use stratified folds"
        )
    units = kept_together(tracks, group)
    if not 2 <= k <= len(units):
        raise GtzanKerasError(
            f"folds: k={k}: expected 2 up to the number of {group or 'track'} groups, here {len(units)}"
        )
    parts = _place(units, tracks, np.full(k, 1 / k), seed)
    kind = "artist-grouped" if group else "stratified"
    seeded = f", seed {seed}" if seed else ""
    result = []
    for index, test in enumerate(parts):
        tested = set(test)
        rest = [ids for ids in units if ids[0] not in tested]
        train, valid = _place(rest, tracks, np.array([1 - validation, validation]), seed + index)
        name = f"{kind} fold {index + 1} of {k}{seeded}"
        result.append(Split(name, train, valid, test))
    return result


def kept_together(tracks: pd.DataFrame, group: Literal["artist"] | None = None) -> list[tuple[str, ...]]:
    """Return the sets of tracks that every split keeps on one side, each sorted.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    group : "artist" or None
        As for `folds`: without it copies of one recording, with it also all tracks of one artist.

    Returns
    -------
    list of tuple of str
        Track ids; a track that belongs with no other is a set of its own.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import describe
    >>> from gtzan_keras.tracks.splits import kept_together
    >>> kept_together(describe({"rock.00016": "rock", "metal.00058": "metal", "pop.00000": "pop"}))
    [('metal.00058', 'rock.00016'), ('pop.00000',)]
    """
    check_columns(tracks, ["track_id", "genre", "duplicates", *([group] if group else [])])
    if tracks.empty:
        raise GtzanKerasError("no tracks to split: the table of tracks is empty")
    together = _copies(tracks)
    if group:
        known = tracks[tracks[group].fillna("") != ""]
        together += map(tuple, known["track_id"].groupby(known[group].map(artist_key)).agg(list))
    return linked(tracks["track_id"], together)


def _copies(tracks: pd.DataFrame) -> list[tuple[str, ...]]:
    """Tracks that are one recording: by the table, and by what is known about GTZAN."""
    near = known_near_duplicates()
    pairs = zip(near["first"], near["second"], strict=True)
    return [*duplicate_groups(tracks), *exact_copies(), *pairs]


def _place(
    units: Sequence[tuple[str, ...]], tracks: pd.DataFrame, shares: np.ndarray, seed: int
) -> list[tuple[str, ...]]:
    """Deal units to parts, each sorted, so that each gets its share of every genre, large units first.

    A unit goes to the part where its genres are furthest below their targets; the hash decides ties
    and the order of units of the same size.
    """
    parts: list[list[str]] = [[] for _ in shares]
    genres = sorted(set(tracks["genre"]))
    genre = dict(zip(tracks["track_id"], map(genres.index, tracks["genre"]), strict=True))
    sizes = np.array([np.bincount([genre[i] for i in ids], minlength=len(genres)) for ids in units])
    missing = _targets(sizes.sum(axis=0), shares).astype(float)  # (part, genre)
    order = sorted(range(len(units)), key=lambda u: (-sizes[u].sum(), _hash(seed, units[u][0])))
    for done, u in enumerate(order):
        # How much nearer to its targets the part comes: |missing| before minus after.
        gain = (np.abs(missing) - np.abs(missing - sizes[u])).sum(axis=1)
        starved = np.array([share > 0 and not ids for ids, share in zip(parts, shares, strict=True)])
        if len(units) - done <= starved.sum():  # few and unequal groups must not leave a part empty
            gain[~starved] = -np.inf
        best = np.flatnonzero(gain >= gain.max() - 1e-9)
        # Among equals, by a weighted draw, so that no part gets the first of each genre.
        weight = np.maximum(missing[best] @ (sizes[u] > 0), 1e-9)
        draw = int(_hash(seed, "draw " + units[u][0])[:12], 16) / 16**12
        part = best[np.searchsorted(np.cumsum(weight) / weight.sum(), draw, side="right")]
        parts[part].extend(units[u])
        missing[part] -= sizes[u]
    return [tuple(sorted(ids)) for ids in parts]


def _targets(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """How many tracks of each genre each part should get; whole numbers that add up (part, genre).

    Largest remainders within a genre; which part gets the odd one alternates over genres, so that
    the parts' totals stay near their shares too.
    """
    targets = np.zeros((len(shares), len(counts)), dtype=int)
    owed = np.zeros(len(shares))
    for genre, count in enumerate(counts):
        exact = count * shares + owed
        whole = np.floor(count * shares + 1e-9).astype(int)
        for _ in range(count - whole.sum()):
            whole[np.argmax(np.where(shares > 0, exact - whole, -np.inf))] += 1
        owed = exact - whole
        targets[:, genre] = whole
    return targets


def _hash(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed} {text}".encode("utf-8", "surrogatepass")).hexdigest()
