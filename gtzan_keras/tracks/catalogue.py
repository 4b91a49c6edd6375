"""The catalogue: which recordings a folder holds, and what is known about each of them."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path

import pandas as pd

from gtzan_keras.errors import GtzanKerasError

__all__ = [
    "AUDIO_SUFFIXES",
    "GENRES",
    "describe",
    "facts",
    "genre_names",
    "known_near_duplicates",
    "load_tracks",
]

GENRES = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip
"""The ten genres of GTZAN, in the order of their folders, which is the class order."""

AUDIO_SUFFIXES = (".wav", ".au", ".flac", ".ogg", ".mp3")
"""What counts as a track; where one track lies there twice, the earlier suffix is taken."""

COLUMNS = ["track_id", "genre", "path", "artist", "title", "fault_filtered", "duplicates", "status"]
FACT_COLUMNS = [
    "track_id",
    "genre",
    "artist",
    "title",
    "wav_md5",
    "fault_filtered",
    "exact_duplicate_of",
]
FAULT_FILTERED_PARTS = ("train", "valid", "test", "excluded", "")

# Where the common releases put their genre folders: Kaggle's archive, its inner folder, the original.
_LAYOUTS = ("Data/genres_original", "genres_original", "genres", ".")
_GTZAN_NAME = re.compile(rf"({'|'.join(GENRES)})\.?(\d{{5}})")


def facts(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """What is known about each track, indexed by track id.

    Parameters
    ----------
    path : str or os.PathLike, optional
        A table of facts; the packaged one about GTZAN when left out. Artists and titles in it come
        from Sturm's index (arXiv:1306.1461), the MD5 of the WAV files from mirdata's index, the
        fault-filtered parts from Kereliuk, Sturm and Larsen, "Deep learning and music adversaries"
        (IEEE Transactions on Multimedia, 2015, doi:10.1109/TMM.2015.2478068).

    Returns
    -------
    pd.DataFrame [shape=(n, 6)]
        Columns ``genre, artist, title, wav_md5, fault_filtered, exact_duplicate_of``, all text, ""
        where nothing is known. Several ids in ``exact_duplicate_of`` are separated by ``;``.

    Raises
    ------
    GtzanKerasError
        The table cannot be read, a column is missing, a track id stands there twice, or a
        fault-filtered part is none of train, valid, test and excluded.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import facts
    >>> facts().loc["rock.00016", ["artist", "title"]].tolist()
    ['Queen', 'Tie Your Mother Down']
    >>> facts()["fault_filtered"].value_counts().to_dict()
    {'train': 443, 'test': 290, 'valid': 197, 'excluded': 70}
    """
    if path is None:
        return _packaged_facts().copy()
    try:
        # Spreadsheets put a byte order mark before the first column's name.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise GtzanKerasError(f"{path}: not readable as a table of facts, in CSV ({error})") from error
    missing = [column for column in FACT_COLUMNS if column not in table]
    if missing:
        raise GtzanKerasError(
            f"{path}: column(s) {', '.join(missing)} missing; a table of facts has the columns "
            f"{', '.join(FACT_COLUMNS)}"
        )
    twice = table["track_id"][table["track_id"].duplicated()]
    if len(twice):
        raise GtzanKerasError(f"{path}: track_id {twice.iloc[0]!r} stands there more than once")
    strange = table.loc[~table["fault_filtered"].isin(FAULT_FILTERED_PARTS), ["track_id", "fault_filtered"]]
    if len(strange):
        track_id, part = strange.iloc[0]
        raise GtzanKerasError(
            f"{path}: fault_filtered of {track_id} is {part!r}; expected one of "
            f"{', '.join(FAULT_FILTERED_PARTS[:-1])}, or nothing"
        )
    return table[FACT_COLUMNS].set_index("track_id")


@functools.cache
def _packaged_facts() -> pd.DataFrame:
    with resources.as_file(resources.files("gtzan_keras.tracks") / "tracks.csv") as packaged:
        return facts(packaged)


def known_near_duplicates() -> pd.DataFrame:
    """The near-duplicates of GTZAN: one recording in two files that differ, judged one by one by eye.

    Returns
    -------
    pd.DataFrame [shape=(44, 3)]
        Columns ``first, second, judgement``. The 14 exact pairs are not in it: `facts` knows them. How
        it was made is in docs/near-duplicates.md.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import known_near_duplicates
    >>> pairs = known_near_duplicates()
    >>> pairs.loc[pairs["first"] == "jazz.00033", "second"].item()
    'jazz.00051'
    """
    return _packaged_pairs().copy()


@functools.cache
def _packaged_pairs() -> pd.DataFrame:
    with resources.as_file(resources.files("gtzan_keras.tracks") / "near_duplicates.csv") as path:
        return pd.read_csv(path, dtype=str, keep_default_na=False)


def load_tracks(root: str | os.PathLike[str]) -> pd.DataFrame:
    """List the tracks in a folder, one row a track, with the facts known about them.

    Genre folders are looked for in ``Data/genres_original``, ``genres_original``, ``genres`` and
    the folder itself, then one level down where an archive's top folder is the only one there.
    A file is a GTZAN track when its name says so (``blues.00000.wav``, ``blues00000.au``) and it
    lies in that genre's folder; other sound files are kept with empty facts, under the track id
    ``genre/name``. A ``tracks.csv`` beside the genre folders, in the columns of `facts`, overrides
    the packaged facts. Nothing is opened: `verify` does that.

    Parameters
    ----------
    root : str or os.PathLike
        The folder.

    Returns
    -------
    pd.DataFrame [shape=(tracks, 8)]
        Columns ``track_id, genre, path, artist, title, fault_filtered, duplicates, status``, in
        class order, then by track id. ``fault_filtered`` is train, valid, test, excluded or "";
        ``duplicates`` is a tuple of the ids of exact copies; ``status`` is "" (not verified).

    Raises
    ------
    GtzanKerasError
        There is no such folder, it may not be read, or no sound file is in a genre folder below it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from gtzan_keras import load_tracks
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("rock/rock.00016.wav", "metal/metal00058.au", "rock/my song.ogg"):
    ...     (root / "genres" / name).parent.mkdir(parents=True, exist_ok=True)
    ...     (root / "genres" / name).touch()
    >>> load_tracks(root)[["track_id", "artist", "duplicates"]].values.tolist()[:2]
    [['metal.00058', 'Queen', ('rock.00016',)], ['rock.00016', 'Queen', ('metal.00058',)]]
    """
    root = Path(root)
    if not os.path.isdir(root):
        raise GtzanKerasError(f"{root}: no such folder; name the one that holds the genre folders")
    try:
        base = _find_base(root)
        files = [] if base is None else list(_sound_files(base))
    except OSError as error:
        raise GtzanKerasError(f"{error.filename or root}: cannot be read ({error.strerror})") from error
    if base is None:
        raise GtzanKerasError(
            f"{root}: no sound files in genre folders; expected for example "
            f"{root}/genres/blues/blues.00000.wav ({', '.join(AUDIO_SUFFIXES)})"
        )
    paths: dict[str, Path] = {}
    genres: dict[str, str] = {}
    for file in sorted(files, key=lambda p: (AUDIO_SUFFIXES.index(p.suffix.lower()), p)):
        track_id = track_id_of(file)
        if track_id not in paths:
            paths[track_id], genres[track_id] = file, genre_of_folder(file.parent.name)
    own_facts = base / "tracks.csv"
    return describe(genres, paths, facts(own_facts) if own_facts.is_file() else None)


def describe(
    genres: Mapping[str, str],
    paths: Mapping[str, Path] | None = None,
    known: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Make the table of tracks from ids and genres alone.

    Parameters
    ----------
    genres : mapping of track id to genre
        The tracks.
    paths : mapping of track id to path, optional
        Their files; "" for tracks that are known by id only.
    known : pd.DataFrame, optional
        Facts in the layout of `facts`; the packaged ones when left out.

    Returns
    -------
    pd.DataFrame [shape=(tracks, 8)]
        As from `load_tracks`.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import describe
    >>> describe({"pop.00000": "pop"}).loc[0, "fault_filtered"]
    'test'
    """
    known = facts() if known is None else known
    ids = list(genres)
    table = pd.DataFrame({"track_id": ids, "genre": list(genres.values())}, dtype=object)
    table["path"] = [str((paths or {}).get(track_id, "")) for track_id in ids]
    aligned = known.reindex(ids).fillna("")
    for column in ("artist", "title", "fault_filtered"):
        table[column] = aligned[column].to_numpy(dtype=object)
    # Both copies name each other in the facts; those whose copy is not here have none to mind.
    table["duplicates"] = [
        tuple(other for other in map(str.strip, cell.split(";")) if other in genres and other != track_id)
        for track_id, cell in zip(ids, aligned["exact_duplicate_of"], strict=True)
    ]
    table["status"] = ""
    order = {genre: index for index, genre in enumerate(genre_names(table["genre"]))}
    position = table["genre"].map(order)
    return (
        table.assign(_position=position)
        .sort_values(["_position", "track_id"], kind="stable")
        .drop(columns="_position")
        .reset_index(drop=True)[COLUMNS]
    )


def genre_names(genres: Iterable[str]) -> list[str]:
    """Class order: GTZAN's own for its ten genres, sorted when there is any other among them.

    Parameters
    ----------
    genres : iterable of str
        One name a track, say, or one a folder.

    Returns
    -------
    list of str
        Each name once.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import genre_names
    >>> genre_names(["rock", "blues", "rock"])
    ['blues', 'rock']
    """
    found = set(genres)
    return [genre for genre in GENRES if genre in found] if found <= set(GENRES) else sorted(found)


def file_md5(path: str | os.PathLike[str]) -> str:
    """MD5 of a file, as GTZAN's published index gives it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _find_base(root: Path) -> Path | None:
    for layout in _LAYOUTS:
        base = root / layout
        if base.is_dir() and any(_sound_files(base)):
            return base
    inner = _folders(root)
    return _find_base(inner[0]) if len(inner) == 1 else None


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _sound_files(base: Path) -> Iterable[Path]:
    """Sound files that lie directly in a folder below `base`; a Mac's ``._`` shadows are none."""
    for folder in _folders(base):
        for file in folder.iterdir():
            if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".") and not file.is_dir():
                yield file


def genre_of_folder(name: str) -> str:
    """Genre that a folder's name stands for: lower case, and "hiphop" however it is written."""
    genre = name.lower()
    return "hiphop" if re.fullmatch(r"hip[-_ ]?hop", genre) else genre


def track_id_of(file: Path) -> str:
    """``blues.00000`` for GTZAN's names in that genre's folder, ``genre/name`` for any other."""
    genre = genre_of_folder(file.parent.name)
    match = _GTZAN_NAME.fullmatch(file.stem.lower())
    if match and match[1] == genre:
        return f"{match[1]}.{match[2]}"
    return f"{genre}/{file.stem}"


def duplicate_groups(tracks: pd.DataFrame) -> list[tuple[str, ...]]:
    """Sets of tracks that are one recording, each sorted, in order of id.

    Byte for byte, unless the table is from `with_near_duplicates`.
    """
    return sorted(
        {
            tuple(sorted((track_id, *duplicates)))
            for track_id, duplicates in zip(tracks["track_id"], tracks["duplicates"], strict=True)
            if duplicates
        }
    )


def data_name(tracks: pd.DataFrame) -> str:
    """What tables and figures call these tracks; the demo set is never called anything else."""
    ids = tracks["track_id"]
    if ids.str.contains("/demo.", regex=False).all():
        return "demo set"
    known = ids.isin(facts().index).sum()
    if known < len(ids):
        return f"own collection of {len(ids)} tracks"
    return "GTZAN" if known >= 990 else f"{known} of GTZAN's 1000 tracks"


def check_columns(tracks: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse a table that lacks one of `columns`."""
    missing = [column for column in columns if column not in tracks]
    if missing:
        raise GtzanKerasError(
            f"the table of tracks has no column {', '.join(missing)}; make it with load_tracks()"
        )


def check_jobs(jobs: int) -> None:
    """Refuse 0 worker processes."""
    if jobs == 0:
        raise GtzanKerasError("jobs=0: expected a number of worker processes, or -1 for one per core")
