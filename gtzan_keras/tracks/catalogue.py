"""The catalogue: which recordings a folder holds, what is known about each, and its id.

Identity is derived here and nowhere else. A track id is ``blues.00000`` where the name is GTZAN's, else
``genre/name``. A segment id is the track's with ``#`` and a number. Files named ``blues.00000.3.wav``
are pieces of one recording.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from gtzan_keras.audio.decode import AUDIO_SUFFIXES, SILENCE, SILENT, AudioError, is_sound, load_audio
from gtzan_keras.errors import GtzanKerasError

__all__ = [
    "AUDIO_SUFFIXES",
    "GENRES",
    "describe",
    "facts",
    "genre_names",
    "known_near_duplicates",
    "load_track",
    "load_tracks",
    "segment_id",
    "track_id_of",
    "track_of",
]

logger = logging.getLogger(__name__)

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
"""The ten genres of GTZAN, in the order of their folders, which is the class order."""

COLUMNS = ["track_id", "genre", "path", "artist", "title", "fault_filtered", "duplicates", "status"]
FACT_COLUMNS = ["track_id", "genre", "artist", "title", "wav_md5", "fault_filtered", "exact_duplicate_of"]
_PARTS = ("train", "valid", "test", "excluded", "")

# Where the common releases put their genre folders: Kaggle's archive, its inner folder, the original.
_LAYOUTS = ("Data/genres_original", "genres_original", "genres", ".")
_GTZAN_NAME = re.compile(rf"({'|'.join(GENRES)})\.?(\d{{5}})(\.\d{{1,4}})?", re.IGNORECASE)
_SEGMENT_MARK = re.compile(r"#(?=[0-9]+\Z)")


def facts(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Return what is known about each track, indexed by track id.

    Parameters
    ----------
    path : str or os.PathLike, optional
        A table of facts; the packaged one about GTZAN when omitted. Artists and titles in it come
        from Sturm's index (arXiv:1306.1461), the MD5 of the WAV files from mirdata's index, the
        fault-filtered parts from Kereliuk, Sturm and Larsen, "Deep learning and music adversaries"
        (IEEE Transactions on Multimedia, 2015, doi:10.1109/TMM.2015.2478068).

    Returns
    -------
    pd.DataFrame [shape=(n, 6)]
        Columns ``genre, artist, title, wav_md5, fault_filtered, exact_duplicate_of``, all text; ""
        means unknown. Several ids in ``exact_duplicate_of`` are separated by ``;``.

    Raises
    ------
    GtzanKerasError
        The table cannot be read, a column is missing, a track id is duplicated, or a fault-filtered
        part is not one of train, valid, test and excluded.

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
    table = read_table(path, "facts", FACT_COLUMNS, dtype=str)
    ids, parts = table["track_id"], table["fault_filtered"]
    if twice := ids[ids.duplicated()].tolist():
        raise GtzanKerasError(f"{path}: track_id {twice[0]!r} is duplicated; keep one row")
    if strange := parts[~parts.isin(_PARTS)].tolist():
        raise GtzanKerasError(
            f"{path}: fault_filtered is {strange[0]!r}; expected train, valid, test, excluded or nothing"
        )
    return table.set_index("track_id")


@functools.cache
def _packaged_facts() -> pd.DataFrame:
    return facts(Path(__file__).with_name("tracks.csv"))


def known_near_duplicates() -> pd.DataFrame:
    """Return the near-duplicates of GTZAN: one recording in two files that differ, each judged by eye.

    Returns
    -------
    pd.DataFrame [shape=(44, 3)]
        Columns ``first, second, judgement``. The 14 exact pairs are in `facts` instead. How the table
        was made is in docs/near-duplicates.md.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import known_near_duplicates
    >>> pairs = known_near_duplicates()
    >>> pairs.loc[pairs["first"] == "jazz.00033", "second"].item()
    'jazz.00051'
    """
    return pd.read_csv(Path(__file__).with_name("near_duplicates.csv"), dtype=str, keep_default_na=False)


def load_tracks(root: str | os.PathLike[str]) -> pd.DataFrame:
    """List the tracks in a folder, one row per track, with the facts known about them.

    Genre folders are looked for in ``Data/genres_original``, ``genres_original``, ``genres`` and the
    folder itself, then in an archive's only top folder. Sound files in folders below a genre (albums)
    belong to it. A file is a GTZAN track when its name says so (``blues.00000.wav``, ``blues00000.au``)
    and it is in that genre's folder; pieces of one (``blues.00000.0.wav``, ``blues.00000.1.wav``) make
    one track. Other sound files are kept with empty facts, under the track id ``genre/name``. A
    ``tracks.csv`` next to the genre folders, in the columns of `facts`, overrides the packaged facts.
    Files that are left out are logged, one line per reason, as are facts about tracks that are not there.
    Sound is not decoded: `verify` does that. In your own collection, files of the same size and beginning
    are compared, so that splits keep exact copies together.

    Parameters
    ----------
    root : str or os.PathLike
        The folder.

    Returns
    -------
    pd.DataFrame [shape=(tracks, 8)]
        Columns ``track_id, genre, path, artist, title, fault_filtered, duplicates, status``, in
        class order, then by track id. ``path`` of a track in pieces is ``.../blues.00000.*.wav``:
        `load_track` reads them. ``fault_filtered`` is train, valid, test, excluded or "";
        ``duplicates`` is a tuple of the ids of exact copies; ``status`` is "" (not verified).

    Raises
    ------
    GtzanKerasError
        The folder is missing, cannot be read, its name is not UTF-8, its genre folders are numbers, or
        no sound file is in a genre folder below it.

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
        # Songs right below genres first: `genres/blues` of an archive are not albums of "genres".
        base = _find_base(root, 1) or _find_base(root, 2)
        if base is None:
            raise GtzanKerasError(
                f"{root}: no sound files in genre folders; expected for example "
                f"{root}/genres/blues/blues.00000.wav ({', '.join(AUDIO_SUFFIXES)})"
            )
        files = list(_sound_files(base))
        loose = [path for path in base.iterdir() if is_sound(path.name) and not path.is_dir()]
    except OSError as error:
        raise GtzanKerasError(f"{error.filename or root}: cannot be read ({error.strerror})") from error
    strange = {file for file in files if readable(file) != str(file)}
    _report("in no genre folder", loose)
    _report("their names have control characters or invalid UTF-8; rename the files", strange)
    if not (named := set(files) - strange):
        raise GtzanKerasError(
            f"{readable(files[0])}: file names with control characters or invalid UTF-8 cannot be read; "
            "rename the files"
        )
    folders = sorted({file.relative_to(base).parts[0] for file in named})
    if all(re.fullmatch(r"\d{3}", name) for name in folders):
        raise GtzanKerasError(
            f"{base}: folders named {', '.join(folders[:3])} are numbers, as in FMA, not genres; "
            "sort the files into one folder per genre"
        )
    genres: dict[str, str] = {}
    paths: dict[str, Path] = {}
    second = []
    for file in sorted(named, key=_preference):
        folder, *name = file.relative_to(base).parts
        track_id, source = track_id_of(folder, "/".join(name)), _source(file)
        if paths.setdefault(track_id, source) != source:
            second.append(file)
        genres[track_id] = genre_of_folder(folder)
    _report("another file already has the same track id", second)
    own_facts = base / "tracks.csv"
    known = facts_about(own_facts, genres) if own_facts.is_file() else None
    if known is not None:
        _report_strange_facts(own_facts, known, genres)
    return describe(genres, paths, known)


def facts_about(path: Path, track_ids: Iterable[str]) -> pd.DataFrame:
    """Return a table of facts with the ids of these tracks, in which an accent may be written otherwise."""
    ids = set(track_ids)
    here = {unicodedata.normalize("NFC", track_id): track_id for track_id in ids}

    def as_here(track_id: str) -> str:
        return track_id if track_id in ids else here.get(unicodedata.normalize("NFC", track_id), track_id)

    known = facts(path)
    known.index = known.index.map(as_here)
    known["exact_duplicate_of"] = [
        ";".join(map(as_here, _ids_in(cell))) for cell in known["exact_duplicate_of"]
    ]
    return known[~known.index.duplicated()]


def _ids_in(cell: str) -> list[str]:
    """The ids in a cell of ``exact_duplicate_of``."""
    return [track_id for part in cell.split(";") if (track_id := part.strip())]


def _report_strange_facts(path: Path, known: pd.DataFrame, genres: Mapping[str, str]) -> None:
    """Log what a table of facts says that does not fit the tracks of its folder, one line per reason."""
    copies = {track_id for cell in known["exact_duplicate_of"] for track_id in _ids_in(cell)}
    given = known["genre"][[track_id in genres for track_id in known.index]]
    differ = given[[g != "" and genre_of_folder(g) != genres[str(track_id)] for track_id, g in given.items()]]
    rule = "a track id is genre/name or genre/album/name, without a suffix"
    strange: dict[str, Iterable[Any]] = {
        f"row(s) about no track of this folder; {rule}": known.index.difference(list(genres)),
        f"id(s) in exact_duplicate_of of no track; {rule}": sorted(copies - {*genres, *known.index}),
        "row(s) with another genre than the folder, whose name counts": differ.index,
    }
    for reason, found in strange.items():
        if ids := list(map(str, found)):
            logger.warning("%s: %d %s: %s", path, len(ids), reason, ", ".join(ids[:3]))


def describe(
    genres: Mapping[str, str],
    paths: Mapping[str, Path] | None = None,
    known: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the table of tracks for ids and genres alone.

    Parameters
    ----------
    genres : mapping of track id to genre
        The tracks.
    paths : mapping of track id to path, optional
        Their files; "" for tracks that are known by id only.
    known : pd.DataFrame, optional
        Facts in the layout of `facts`, in place of the packaged ones; only GTZAN's exact copies
        still count then.

    Returns
    -------
    pd.DataFrame [shape=(tracks, 8)]
        As from `load_tracks`.

    Raises
    ------
    GtzanKerasError
        A track id ends like a segment's, in ``#`` and a number.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import describe
    >>> describe({"pop.00000": "pop"}).loc[0, "fault_filtered"]
    'test'
    """
    known = facts() if known is None else known
    ids = list(genres)
    if strange := [track_id for track_id in ids if track_of(track_id) != track_id]:
        raise GtzanKerasError(
            f"track_id {strange[0]!r}: '#' and a number at the end name a segment; write %23 for the '#'"
        )
    table = pd.DataFrame({"track_id": ids, "genre": list(genres.values())}, dtype=object)
    table["path"] = [str((paths or {}).get(track_id, "")) for track_id in ids]
    facts_columns = ["artist", "title", "fault_filtered"]
    table[facts_columns] = known[facts_columns].reindex(ids).fillna("").to_numpy(dtype=object)
    own = [] if paths is None or set(ids).issubset(_packaged_facts().index) else _identical(paths)
    copies = {track_id: group for group in linked(ids, [*exact_copies(known), *own]) for track_id in group}
    table["duplicates"] = [
        tuple(other for other in copies[track_id] if other != track_id) for track_id in ids
    ]
    table["status"] = ""
    classes = genre_names(table["genre"])
    order = sorted(table.index, key=lambda row: (classes.index(table["genre"][row]), ids[row]))
    return table.loc[order, COLUMNS].reset_index(drop=True)


def exact_copies(*tables: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield tracks that are identical byte for byte: by GTZAN's facts, and by further tables of facts."""
    for table in (*tables, _packaged_facts()):
        copies = table["exact_duplicate_of"]
        for track_id, cell in copies[copies != ""].items():
            yield (str(track_id), *_ids_in(cell))


def _identical(paths: Mapping[str, Path]) -> list[list[str]]:
    """Return tracks whose files are equal, not empty; only those of one size and beginning are read whole."""
    groups = [list(paths)]
    for key in (lambda path: path.stat().st_size or path, _beginning, file_md5):
        found: dict[Any, list[str]] = defaultdict(list)
        for number, group in enumerate(groups):
            for track_id in group:
                with suppress(OSError):  # `verify` says which files are missing
                    found[number, key(paths[track_id])].append(track_id)
        groups = [group for group in found.values() if len(group) > 1]
    return groups


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2**14)


def linked(track_ids: Iterable[str], together: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return connected sets of tracks, also if connected through tracks that are not in `track_ids`.

    Parameters
    ----------
    track_ids : iterable of str
        The tracks.
    together : iterable of sequences of str
        Tracks that belong together.

    Returns
    -------
    list of tuple of str
        Each track once; sets and their members in order of id.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import linked
    >>> linked(["a", "b", "c"], [("a", "absent"), ("absent", "c")])
    [('a', 'c'), ('b',)]
    """
    parent: dict[str, str] = {}

    def root(track_id: str) -> str:
        while (above := parent.get(track_id, track_id)) != track_id:
            track_id = above
        return track_id

    for first, *others in together:
        for other in others:
            parent[root(other)] = root(first)
    members: dict[str, list[str]] = {}
    for track_id in sorted(set(track_ids)):
        members.setdefault(root(track_id), []).append(track_id)
    return [tuple(ids) for ids in members.values()]


def genre_names(genres: Iterable[str]) -> list[str]:
    """Return the class order: GTZAN's own for its ten genres, sorted if there is any other among them.

    Parameters
    ----------
    genres : iterable of str
        For example one per track, or one per folder.

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


def artist_key(name: str) -> str:
    """Return one key for all spellings of an artist: "Earth, Wind & Fire", "Earth Wind and Fire"."""
    composed = unicodedata.normalize("NFC", name)  # an accent may be a character of its own
    return re.sub(r"[\W_]", "", composed.casefold().replace("&", "and")) or name


def load_track(
    path: str | os.PathLike[str], sample_rate: int, duration: float | None = None
) -> npt.NDArray[np.float32]:
    """Read the sound of one row of the table of tracks; pieces are joined in their order.

    A piece of less than a second, as the last one may be, is left out.

    Parameters
    ----------
    path : str or os.PathLike
        From the column ``path``.
    sample_rate : int > 0 [Hz]
        Sample rate of the result.
    duration : float > 0 [seconds], optional
        Return at most this much.

    Returns
    -------
    np.ndarray [shape=(samples,), dtype=float32]

    Raises
    ------
    AudioError
        A file cannot be read, all hold less than a second of sound, or the track is silent.

    See Also
    --------
    gtzan_keras.load_audio : one file.
    """
    files = files_of(path)
    sound = load_audio(files[0], sample_rate, duration) if len(files) == 1 else _joined(files, sample_rate)
    if np.abs(sound).max() < SILENCE:
        raise AudioError(path, SILENT)
    return sound if duration is None else sound[: round(duration * sample_rate)]


def _joined(files: Sequence[Path], sample_rate: int) -> npt.NDArray[np.float32]:
    sounds = []
    for file in files:
        try:
            sounds.append(load_audio(file, sample_rate))
        except AudioError as error:
            if not error.reason.startswith("too short") or (file == files[-1] and not sounds):
                raise AudioError(file, f"{error.reason}, in {file.name}") from error
    return np.concatenate(sounds)


def file_md5(path: str | os.PathLike[str]) -> str:
    """Return the MD5 of a file, as GTZAN's published index gives it; of a track in pieces, that of all."""
    digest = hashlib.md5(usedforsecurity=False)
    for source in files_of(path):
        with open(source, "rb") as file:
            hashlib.file_digest(file, lambda: digest)  # goes on where the last file ended
    return digest.hexdigest()


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files of one row of the table of tracks: one, or the pieces ``name.*.wav`` in order."""
    path = Path(path)
    start, star, suffix = path.name.partition(".*.")
    if not (star and _GTZAN_NAME.fullmatch(start)):
        return [path]
    pieces = [file for file in path.parent.glob(f"{start}.*.{suffix}") if _number(file).isdecimal()]
    return sorted(pieces, key=lambda file: int(_number(file))) or [path]


def _number(piece: Path) -> str:
    return piece.stem.rpartition(".")[2]


def _source(file: Path) -> Path:
    """The entry of a file in the column ``path``: ``blues.00000.*.wav`` for a piece of GTZAN's."""
    match = _GTZAN_NAME.fullmatch(file.stem)
    return file.with_name(f"{file.stem[: match.end(2)]}.*{file.suffix}") if match and match[3] else file


def _preference(file: Path) -> tuple[bool, int, Path]:
    """Of two files of one track, the lower one is taken: whole ones first."""
    return _source(file) != file, AUDIO_SUFFIXES.index(file.suffix.lower()), file


def _find_base(root: Path, depth: int) -> Path | None:
    """The folder that the genre folders are in; sound files `depth` folders below it show that it is."""
    for layout in _LAYOUTS:
        base = root / layout
        if base.is_dir() and any(_sound_files(base, depth)):
            return base
    inner = _folders(root)
    return _find_base(inner[0], depth) if len(inner) == 1 else None


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _sound_files(base: Path, depth: int | None = None) -> Iterator[Path]:
    """Sound files in the folders below `base`, at any depth or at one."""
    for genre in _folders(base):
        for place, folders, names in os.walk(genre, onerror=_raise):
            folder = Path(place)
            level = len(folder.relative_to(base).parts)
            folders[:] = [name for name in folders if not name.startswith((".", "__")) and level != depth]
            if depth in (None, level):
                yield from (folder / name for name in names if is_sound(name))


def _raise(error: OSError) -> NoReturn:
    raise error


def readable(path: Path) -> str:
    """A path as text that CSV, JSON, HDF5 and one line of a terminal can hold."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"[\x00-\x1f\x7f]", lambda match: repr(match[0])[1:-1], text)


def _report(reason: str, left_out: Collection[Path]) -> None:
    if left_out:
        shown = ", ".join(readable(file) for file in sorted(left_out)[:3])
        shown += ", ..." if len(left_out) > 3 else ""
        logger.warning("%d sound file(s) left out, %s: %s", len(left_out), reason, shown)


def genre_of_folder(name: str) -> str:
    """Return the genre that a folder's name means: lower case, and "hiphop" in every spelling."""
    genre = name.lower()
    return "hiphop" if re.fullmatch(r"hip[-_ ]?hop", genre) else genre


def track_id_of(folder: str, name: str) -> str:
    """Return the track id of a file: ``blues.00000`` for GTZAN's names, ``genre/name`` for any other.

    Parameters
    ----------
    folder : str
        Name of the genre folder.
    name : str
        Path of the file below it, with ``/``.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import track_id_of
    >>> track_id_of("Blues", "blues00000.au"), track_id_of("blues", "blues.00000.3.wav")
    ('blues.00000', 'blues.00000')
    >>> track_id_of("rock", "live/Session.1.flac"), track_id_of("rock", "Take #2.wav")
    ('rock/live/Session.1', 'rock/Take %232')
    """
    genre, (*albums, stem) = genre_of_folder(folder), os.path.splitext(name)[0].split("/")
    match = _GTZAN_NAME.fullmatch(stem)
    if match and not albums and match[1].lower() == genre:
        return f"{genre}.{match[2]}"
    stem = stem[: match.end(2)] if match else _SEGMENT_MARK.sub("%23", stem)
    return "/".join((genre, *albums, stem))


def segment_id(track_id: str, number: int) -> str:
    """Return the id of a track's segment: ``blues.00000#3``."""
    return f"{track_id}#{number}"


def track_of(any_id: str) -> str:
    """Return the track of a segment id, or of a track id.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import track_of
    >>> track_of("blues.00000#3"), track_of("rock/Session.1")
    ('blues.00000', 'rock/Session.1')
    """
    return re.sub(r"#[0-9]+\Z", "", any_id)


def row_name(track_id: str, suffix: str, segment: int | None = None) -> str:
    """Return the ``filename`` of a row of a feature table, as Kaggle has it for GTZAN's tracks.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import row_name
    >>> row_name("blues.00000", ".wav", 3), row_name("rock/my song", ".flac", 3)
    ('blues.00000.3.wav', 'rock/my song#3.flac')
    """
    if segment is None:
        return track_id + suffix
    return f"{track_id}{'.' if _GTZAN_NAME.fullmatch(track_id) else '#'}{segment}{suffix}"


def track_of_row(filename: str, genre: str) -> str:
    """Return the track id of a row of a feature table, ours or Kaggle's.

    Examples
    --------
    >>> from gtzan_keras.tracks.catalogue import track_of_row
    >>> track_of_row("blues.00000.3.wav", "blues"), track_of_row("rock/my song#3.flac", "rock")
    ('blues.00000', 'rock/my song')
    """
    stem, suffix = os.path.splitext(filename.removeprefix(f"{genre}/"))
    return track_id_of(genre, track_of(stem) + suffix)


def duplicate_groups(tracks: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return sets of tracks that are one recording by the table's ``duplicates``, each in order of id."""
    return sorted(
        {
            tuple(sorted((track_id, *duplicates)))
            for track_id, duplicates in zip(tracks["track_id"], tracks["duplicates"], strict=True)
            if duplicates
        }
    )


def data_name(tracks: pd.DataFrame) -> str:
    """Return the name of these tracks in tables and figures."""
    ids = tracks["track_id"]
    if ids.str.contains("/demo.", regex=False).all():
        return "demo set"
    known = ids.isin(facts().index).sum()
    if known < len(ids):
        return f"own collection of {len(ids)} tracks"
    return "GTZAN" if known >= 990 else f"{known} of GTZAN's 1000 tracks"


def check_columns(
    table: pd.DataFrame,
    columns: Iterable[str],
    what: str = "the table of tracks",
    advice: str = "make it with load_tracks()",
) -> None:
    """Refuse a table that lacks one of `columns`."""
    if missing := [column for column in columns if column not in table]:
        raise GtzanKerasError(f"{what} has no column {_first(missing)}; {advice}")


def _first(names: Sequence[str]) -> str:
    """Return the first eight names, and how many follow."""
    return ", ".join(names[:8]) + (f", and {len(names) - 8} more" if len(names) > 8 else "")


def read_table(
    path: str | os.PathLike[str], kind: str, columns: Sequence[str], **options: Any
) -> pd.DataFrame:
    """Return these columns of a CSV file; a cell that says "NA" is text. `options` are pandas'."""
    try:
        # A warning says that rows are longer than the header.
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            # Spreadsheets put a byte order mark before the first column's name.
            table = pd.read_csv(path, index_col=False, keep_default_na=False, encoding="utf-8-sig", **options)
    except Exception as error:  # every decompressor raises errors of its own
        reason = "it is not in UTF-8" if isinstance(error, UnicodeError) else str(error).strip()
        raise GtzanKerasError(f"{path}: cannot be read as a table of {kind} in CSV ({reason})") from error
    header = str(table.columns[0]) if len(table.columns) == 1 else ""
    if mark := next((mark for mark in (";", "\t", "|") if mark in header), ""):
        raise GtzanKerasError(f"{path}: its columns are separated by {mark!r}; save it with commas")
    check_columns(table, columns, f"{path}: the table", f"a table of {kind} has {_first(columns)}")
    return table[list(columns)]
