"""Splits: which track stands in training, validation and test. Always by track, never by segment.

Every choice hangs on SHA-256 of the seed and the track id, not on a random generator, so that a
split is the same on every machine and with every version of pandas and scikit-learn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import check_columns, duplicate_groups, known_near_duplicates

__all__ = ["PRESETS", "Split", "fault_filtered", "folds", "stratified"]

PRESETS: Mapping[str, tuple[float, float, float]] = {
    "70/15/15": (0.70, 0.15, 0.15),
    "80/20": (0.80, 0.00, 0.20),
    "72/8/20": (0.72, 0.08, 0.20),
    "700-100-200": (0.70, 0.10, 0.20),
    "800-100-100": (0.80, 0.10, 0.10),
}
"""Named shares of training, validation and test (Malvezzi; Zhang and Uncu, without and with tracks set apart
for early stopping; Arrigo twice)."""


@dataclass(frozen=True)
class Split:
    """Who is in training, validation and test.

    Parameters
    ----------
    name : str
        How tables and figures call it.
    train, validation, test : tuple of str
        Track ids, sorted. ``validation`` may be empty.
    leaky : bool
        Known to have one recording on two sides; only to reproduce a published figure. Every table
        and figure made from such a split carries the word.

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
        """The three parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def without(self, tracks: pd.DataFrame, genres: Iterable[str]) -> Split:
        """The same split without the tracks of some genres, as Zhang leaves out country and rock.

        Parameters
        ----------
        tracks : pd.DataFrame
            From `load_tracks`: says which track is of which genre.
        genres : iterable of str
            To leave out.

        Returns
        -------
        Split
            Its name says what is missing.

        Raises
        ------
        GtzanKerasError
            There is no such genre among `tracks`, or fewer than two are left.

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
        left_out, present = set(genres), set(tracks["genre"])
        if left_out - present or len(present - left_out) < 2:
            raise GtzanKerasError(
                f"split {self.name!r} without {', '.join(sorted(left_out))}: the genres are "
                f"{', '.join(sorted(present))}, of which at least two must be left"
            )
        gone = set(tracks.loc[tracks["genre"].isin(left_out), "track_id"])
        parts = {
            part: tuple(track_id for track_id in ids if track_id not in gone)
            for part, ids in self.parts().items()
        }
        name = f"{self.name} without {', '.join(sorted(left_out))}" if left_out else self.name
        return Split(name, **parts, leaky=self.leaky)

    def check(self, tracks: pd.DataFrame) -> None:
        """Refuse a split in which a recording stands on two sides.

        Parameters
        ----------
        tracks : pd.DataFrame
            The table whose ``duplicates`` say which tracks are copies. GTZAN's known near-duplicates
            are copies too; those of other tracks where the table is from `with_near_duplicates`.

        Raises
        ------
        GtzanKerasError
            A track, or one of its copies, stands in two parts, and the split is not marked as leaky.
        """
        if self.leaky:
            return
        part_of: dict[str, str] = {}
        for part, ids in self.parts().items():
            for track_id in ids:
                if track_id in part_of:
                    raise GtzanKerasError(
                        f"split {self.name!r}: track {track_id} stands in {part_of[track_id]} and in "
                        f"{part}; put it in one, or mark the split leaky=True to reproduce a leak"
                    )
                part_of[track_id] = part
        for group in linked({*tracks["track_id"], *part_of}, _copies(tracks)):
            placed = {track_id: part_of[track_id] for track_id in group if track_id in part_of}
            if len(set(placed.values())) > 1:
                where = ", ".join(f"{track_id} in {part}" for track_id, part in placed.items())
                raise GtzanKerasError(
                    f"split {self.name!r}: copies of one recording stand on two sides ({where}); put "
                    "them in one part, or mark the split leaky=True to reproduce a leak"
                )


def stratified(
    tracks: pd.DataFrame,
    shares: str | tuple[float, float, float] = "70/15/15",
    seed: int = 0,
) -> Split:
    """Random tracks, the same share of each genre in every part.

    Copies of one recording, GTZAN's known near-duplicates among them, always fall on one side; artists
    may stand on both, which flatters the figures (see `fault_filtered` and `folds` with
    ``group="artist"``).

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    shares : str or (float, float, float)
        One of `PRESETS`, or the shares of training, validation and test; they add up to 1.
    seed : int
        Another seed gives another split.

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
    placed = _place(_units(tracks, None), np.asarray(shares), seed)
    train, validation, test = (tuple(sorted(ids)) for ids in placed)
    return Split(name, train, validation, test)


def fault_filtered(tracks: pd.DataFrame) -> Split:
    """GTZAN's faults taken out, no artist on two sides: the honest split.

    443 tracks in training, 197 in validation, 290 in test (442 in training with the common release,
    whose ``jazz.00054`` is broken); 70 are left out.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`; its ``fault_filtered`` column decides.

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
            "GTZAN only; use a stratified split, or folds, or a tracks.csv beside the genre folders"
        )
    return Split("fault-filtered", train, validation, test)


def folds(
    tracks: pd.DataFrame,
    k: int = 5,
    group: Literal["artist"] | None = None,
    seed: int = 0,
    validation: float = 0.0,
) -> list[Split]:
    """Cut the tracks into k parts of like size and like genres; each is the test part once.

    Parameters
    ----------
    tracks : pd.DataFrame
        From `load_tracks`.
    k : int >= 2
        How many folds.
    group : "artist" or None
        Keep every artist's tracks in one fold, in whichever case and punctuation the name is given.
        Tracks without a known artist are each their own group. Copies of one recording, GTZAN's known
        near-duplicates among them, stay together in any case.
    seed : int
        Another seed gives other folds.
    validation : float in [0, 1)
        Share of each fold's training tracks set apart for validation, under the same grouping.

    Returns
    -------
    list of Split [length k]

    Raises
    ------
    GtzanKerasError
        `k` is below 2 or above the number of groups, or `group` or `validation` is none of the above.

    Examples
    --------
    >>> from gtzan_keras import splits
    >>> from gtzan_keras.tracks.catalogue import describe, facts
    >>> gtzan = describe(facts()["genre"].to_dict())
    >>> [len(fold.test) for fold in splits.folds(gtzan, k=5)]
    [200, 200, 200, 200, 200]
    """
    if group not in (None, "artist"):
        raise GtzanKerasError(f"folds: group {group!r} is not known; use 'artist' or None")
    if not 0 <= validation < 1:
        raise GtzanKerasError(f"folds: validation {validation} is no share; use 0 up to below 1")
    units = _units(tracks, group)
    if not 2 <= k <= len(units):
        raise GtzanKerasError(
            f"folds: k={k}; use 2 up to the number of {group or 'track'} groups, here {len(units)}"
        )
    parts = _place(units, np.full(k, 1 / k), seed)
    kind = "artist-grouped" if group else "stratified"
    seeded = f", seed {seed}" if seed else ""
    result = []
    for index, test in enumerate(parts):
        tested = set(test)
        rest = [unit for unit in units if unit.ids[0] not in tested]
        train, valid = _place(rest, np.array([1 - validation, validation]), seed + index)
        name = f"{kind} fold {index + 1} of {k}{seeded}"
        result.append(Split(name, tuple(sorted(train)), tuple(sorted(valid)), tuple(sorted(test))))
    return result


@dataclass(frozen=True)
class _Unit:
    """Tracks that must stay together, and how many of each genre they are."""

    ids: tuple[str, ...]
    genres: tuple[int, ...]


def _units(tracks: pd.DataFrame, group: str | None) -> list[_Unit]:
    """Connected sets: copies, and with `group` all tracks of one name in that column."""
    check_columns(tracks, ["track_id", "genre", "duplicates", *([group] if group else [])])
    if tracks.empty:
        raise GtzanKerasError("there are no tracks to split; the table of tracks is empty")
    together = _copies(tracks)
    if group:
        by_name: dict[str, list[str]] = {}
        for track_id, name in zip(tracks["track_id"], tracks[group].fillna(""), strict=True):
            if name:
                by_name.setdefault(_plain(name), []).append(track_id)
        together += [tuple(ids) for ids in by_name.values()]
    names = sorted(set(tracks["genre"]))
    genre = dict(zip(tracks["track_id"], (names.index(g) for g in tracks["genre"]), strict=True))
    return [
        _Unit(ids, tuple(np.bincount([genre[i] for i in ids], minlength=len(names)).tolist()))
        for ids in linked(genre, together)
    ]


def _copies(tracks: pd.DataFrame) -> list[tuple[str, ...]]:
    """Tracks that are one recording: copies as the table says, and GTZAN's known near-duplicates."""
    pairs = known_near_duplicates()
    return [*duplicate_groups(tracks), *zip(pairs["first"], pairs["second"], strict=True)]


def linked(track_ids: Iterable[str], together: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Connected sets of these tracks, each sorted, in order of id; others in `together` link nothing."""
    parent = {track_id: track_id for track_id in sorted(track_ids)}

    def root(track_id: str) -> str:
        while parent[track_id] != track_id:
            track_id = parent[track_id]
        return track_id

    for ids in together:
        first, *others = [track_id for track_id in ids if track_id in parent] or [""]
        for other in others:
            parent[root(other)] = root(first)
    members: dict[str, list[str]] = {}
    for track_id in parent:
        members.setdefault(root(track_id), []).append(track_id)
    return [tuple(ids) for ids in members.values()]


def _plain(name: str) -> str:
    """The same for "Earth, Wind & Fire" and "Earth Wind and Fire", which GTZAN's facts both have."""
    return re.sub(r"[\W_]", "", name.casefold().replace("&", "and")) or name


def _place(units: Sequence[_Unit], shares: np.ndarray, seed: int) -> list[list[str]]:
    """Deal units to parts so that each part gets its share of every genre, large units first.

    A unit goes where its genres are most short of their targets; ties, and the order among units
    of one size, come from the hash.
    """
    parts: list[list[str]] = [[] for _ in shares]
    if not units:
        return parts
    sizes = np.array([unit.genres for unit in units])  # (unit, genre)
    missing = _targets(sizes.sum(axis=0), shares).astype(float)  # (part, genre)
    order = sorted(range(len(units)), key=lambda u: (-sizes[u].sum(), _hash(seed, units[u].ids[0])))
    for done, u in enumerate(order):
        # How much nearer to its targets the part comes: |missing| before minus after.
        gain = (np.abs(missing) - np.abs(missing - sizes[u])).sum(axis=1)
        starved = np.array([share > 0 and not ids for ids, share in zip(parts, shares, strict=True)])
        if len(units) - done <= starved.sum():  # few and unequal groups must not leave a part empty
            gain[~starved] = -np.inf
        best = np.flatnonzero(gain >= gain.max() - 1e-9)
        # Among equals, by a weighted draw, so that no part gets the first of each genre.
        weight = np.maximum(missing[best] @ (sizes[u] > 0), 1e-9)
        draw = int(_hash(seed, "draw " + units[u].ids[0])[:12], 16) / 16**12
        part = best[np.searchsorted(np.cumsum(weight) / weight.sum(), draw, side="right")]
        parts[part].extend(units[u].ids)
        missing[part] -= sizes[u]
    return parts


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
    return hashlib.sha256(f"{seed} {text}".encode()).hexdigest()
