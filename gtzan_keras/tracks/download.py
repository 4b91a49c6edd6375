"""GTZAN from its public mirrors: fetched, checked track by track, and only then moved into place."""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pooch
from tqdm import tqdm

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import GENRES, facts, file_md5, load_tracks, track_id_of

__all__ = ["FULL_MIRRORS", "MINI_MIRRORS", "Mirror", "download"]


@dataclass(frozen=True)
class Mirror:
    """One place to download GTZAN from.

    Parameters
    ----------
    name : str
        Its name in messages.
    url : str
        The archive: http(s), or the path of a file on this machine.
    md5 : str or None
        The archive's MD5, None if unknown. The tracks' own MD5s are checked either way.
    tracks : int or None
        How many tracks the archive holds, None if unknown.

    Examples
    --------
    >>> from gtzan_keras.tracks.download import MINI_MIRRORS
    >>> MINI_MIRRORS[0].tracks
    100
    """

    name: str
    url: str
    md5: str | None = None
    tracks: int | None = None


# The University of Victoria and the mini set are the remotes of mirdata's loader,
# https://github.com/mir-dataset-loaders/mirdata/blob/master/mirdata/datasets/gtzan_genre.py
FULL_MIRRORS = (
    Mirror(
        "Hugging Face (marsyas/gtzan)",
        "https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz",
        tracks=1000,
    ),
    Mirror(
        "University of Victoria",
        "http://opihi.cs.uvic.ca/sound/genres.tar.gz",
        md5="5b3d6dddb579ab49814ab86dba69e7c7",
        tracks=1000,
    ),
)
MINI_MIRRORS = (
    Mirror(
        "GitHub (TempoBeatDownbeat/gtzan_mini)",
        "https://github.com/TempoBeatDownbeat/gtzan_mini/archive/refs/heads/main.zip",
        # mirdata knows the MD5 44f7f23af8363d96c59663a987f29a4c, but GitHub repacks the archive from
        # time to time, with other bytes around the same files
        tracks=100,
    ),
)

BROKEN_TRACKS = frozenset({"jazz.00054"})
"""Unreadable in the common release, and so fixed or left out in others: not counted as an error."""

MAX_BYTES, MAX_FILES = 8 * 2**30, 20_000
"""The most an archive may unpack to: GTZAN is 1.3 GB in 1,000 files."""

ATTEMPTS = 3
RETRY_SECONDS = 2.0
WORK_FOLDER = ".gtzan-download"

logger = logging.getLogger(__name__)


class _MirrorError(GtzanKerasError):
    """One mirror's archive cannot be used; the next one is tried."""


def download(
    folder: str | os.PathLike[str],
    *,
    mini: bool = False,
    mirror: str | None = None,
    progress: bool = True,
) -> Path:
    """Download GTZAN into `folder`/genres, checked against the MD5 of every track.

    The work is done in a hidden folder inside `folder`, and `genres` appears by one rename when every
    track has been checked; after an error or an interrupt `folder` is unchanged. A broken transfer is
    repeated, `ATTEMPTS` times in all, then the next mirror is tried. Other files in `folder` are left
    alone. AU files have no published MD5: they are accepted unchecked, with a warning.

    Parameters
    ----------
    folder : str or os.PathLike
        Where to put it; created if needed. If it holds the tracks already, nothing is done.
    mini : bool
        The set of 100 tracks instead of all 1000.
    mirror : str, optional
        URL (http, https or file) or path of a .tar.gz or .zip archive, to use instead of the
        mirrors known to the library. It may hold any number of GTZAN's tracks; those that
        `folder`/genres lacks are added.
    progress : bool
        Show progress bars if the output is a terminal.

    Returns
    -------
    pathlib.Path
        `folder`.

    Raises
    ------
    GtzanKerasError
        No mirror has a valid archive; `folder` cannot be written, or holds some of the tracks.

    Examples
    --------
    >>> from gtzan_keras.tracks.download import download
    >>> download("data/gtzan", mirror="genres.tar")
    Traceback (most recent call last):
    gtzan_keras.errors.GtzanKerasError: genres.tar: no such file; expected a .tar.gz or .zip archive
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise GtzanKerasError(f"{folder}: not a folder; name the folder to download into")
    known = MINI_MIRRORS if mini else FULL_MIRRORS
    mirrors = known if mirror is None else (Mirror("the given mirror", _location(mirror)),)
    md5s = _track_md5s()
    bar = partial(tqdm, disable=None if progress else True)
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    problems = []
    try:
        if _is_complete(folder, md5s, known[0].tracks, adding=mirror is not None):
            return folder
        for candidate in mirrors:
            try:
                return _install(candidate, folder, md5s, bar)
            except _MirrorError as error:
                if candidate is not mirrors[-1]:
                    logger.warning("%s: %s; trying the next mirror", candidate.name, error)
                problems.append(str(error))
    except OSError as error:
        raise GtzanKerasError(f"{folder}: cannot be written ({error})") from error
    finally:
        with suppress(OSError):  # raised by the first one that is not empty, as after success
            for path in new_folders:
                path.rmdir()
    raise GtzanKerasError(
        f"{'; '.join(problems)}. Nothing was kept. Download the archive with a browser and give its "
        f"path as the mirror, give another mirror's URL, or unpack it into {folder} yourself"
    )


def _track_md5s() -> dict[str, str]:
    """MD5 of each track's WAV file, by track id."""
    return {str(track_id): md5 for track_id, md5 in facts()["wav_md5"].items()}


def _location(mirror: str) -> str:
    """An http(s) URL as it is; a file URL or a path as the path of an existing file."""
    scheme, separator, _ = mirror.partition("://")
    if separator and scheme in ("http", "https"):
        return mirror
    if separator and scheme != "file":
        raise GtzanKerasError(f"{mirror}: expected an http, https or file URL, or a path")
    path = Path(url2pathname(urlsplit(mirror).path) if separator else mirror)
    if not path.is_file():
        reason = "not a file" if path.exists() else "no such file"
        raise GtzanKerasError(f"{path}: {reason}; expected a .tar.gz or .zip archive")
    return os.fspath(path)


def _is_complete(folder: Path, md5s: dict[str, str], tracks: int | None, adding: bool) -> bool:
    """Whether nothing is left to do; raises if a download would mix with other tracks."""
    held = _held_tracks(folder, md5s)
    if held and _shortage(held, md5s, tracks) <= 0:
        logger.info("%s: holds %d tracks already, nothing to download", folder, len(held))
        return True
    if adding and all(path.is_relative_to(folder / "genres") for path in held.values()):
        return False
    if held or (folder / "genres").exists():
        raise GtzanKerasError(
            f"{folder}: holds {len(held)} of {tracks} tracks; name another folder, or remove its "
            "'genres' and other folders of tracks first"
        )
    return False


def _held_tracks(folder: Path, md5s: dict[str, str]) -> dict[str, Path]:
    """The files of GTZAN's tracks in a folder, by track id."""
    try:
        table = load_tracks(folder)
    except GtzanKerasError:  # none yet
        return {}
    ids_and_paths = zip(table["track_id"], table["path"], strict=True)
    return {track_id: Path(path) for track_id, path in ids_and_paths if track_id in md5s}


def _shortage(held: dict[str, Path], md5s: dict[str, str], tracks: int | None) -> int:
    """How many tracks are missing; the full set is complete without the broken ones."""
    if tracks == len(md5s):
        return len(set(md5s) - set(held) - BROKEN_TRACKS)
    return (tracks or 1) - len(held)


def _install(mirror: Mirror, folder: Path, md5s: dict[str, str], bar: partial[Any]) -> Path:
    """Put one mirror's tracks into `folder`/genres, after all checks."""
    work = folder / WORK_FOLDER
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    work.mkdir(parents=True)
    try:
        archive = Path(mirror.url)
        if mirror.url.startswith(("http://", "https://")):
            archive = work / "archive"
            _fetch(mirror.url, archive, bar)
        if mirror.md5 and (md5 := file_md5(archive)) != mirror.md5:
            raise _MirrorError(f"{mirror.url}: has changed, its MD5 is {md5}, not {mirror.md5}")
        _extract(mirror.url, archive, work / "genres", bar)
        count = _check(mirror, work / "genres", md5s, bar)
        if not (folder / "genres").exists():
            os.replace(work / "genres", folder / "genres")
        else:
            _add(work / "genres", folder, md5s)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    logger.info("%s: %d tracks from %s", folder / "genres", count, mirror.url)
    return folder


def _add(new: Path, folder: Path, md5s: dict[str, str]) -> None:
    """Move the files of `new` that `folder`/genres lacks there."""
    held = _held_tracks(folder, md5s)
    for file in new.glob("*/*"):
        target = folder / "genres" / file.parent.name / file.name
        if track_id_of(file.parent.name, file.name) not in held and not target.exists():
            target.parent.mkdir(exist_ok=True)
            os.replace(file, target)


def _fetch(url: str, target: Path, bar: partial[Any]) -> None:
    """Download one file; a broken transfer starts again from the beginning."""
    import requests

    def refuse_short_reads(response: Any, *args: Any, **kwargs: Any) -> None:
        response.raw.enforce_content_length = True  # urllib3 1 accepts a cut transfer

    settings = {"headers": {"Accept-Encoding": "identity"}, "hooks": {"response": refuse_short_reads}}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            # a bar whose total is 0 or None is false, which means "no bar" to pooch
            with bar(total=1, unit="B", unit_scale=True, desc="downloading") as shown:
                fetch = pooch.HTTPDownloader(progressbar=shown, chunk_size=2**18, **settings)
                fetch(url, os.fspath(target), None)
            return
        except requests.RequestException as error:
            answer = error.response
            reason = f"HTTP {answer.status_code} {answer.reason}" if answer is not None else _reason(error)
            if attempt == ATTEMPTS or (answer is not None and answer.status_code < 500):
                raise _MirrorError(f"{url}: {reason}") from error
            logger.warning("%s: %s; attempt %d of %d", url, reason, attempt + 1, ATTEMPTS)
            time.sleep(RETRY_SECONDS)


def _reason(error: Exception) -> str:
    """The reason inside the layers that requests and urllib3 wrap around it."""
    inner: Any = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)
    text = inner.args[0] if isinstance(inner, Exception) and inner.args else inner
    return re.split("[)>]: ", str(text))[-1]  # drops "HTTPConnection(host=..., port=...): "


def _extract(name: str, archive: Path, target: Path, bar: partial[Any]) -> None:
    """Copy the sound files of genre folders to `target`/<genre>; refuse an archive with bad members.

    Only a member's bytes, genre and bare file name are used, never its path, mode or link (hence no
    `tarfile` filter): it could not be written elsewhere even if a check here missed it.
    """
    target.mkdir()
    total = 0
    try:
        with closing(_members(archive)) as members:
            for count, (member, size, kind, opened) in enumerate(
                bar(members, unit=" files", desc="unpacking")
            ):
                total += size
                if total > MAX_BYTES or count >= MAX_FILES:
                    raise _MirrorError(
                        f"{name}: unpacks to more than {MAX_BYTES / 2**30:.0f} GiB or {MAX_FILES:,} files; "
                        "GTZAN is 1.3 GB in 1,000 files"
                    )
                path = PurePosixPath(member.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or ":" in member:  # C:, or a stream of Windows
                    raise _MirrorError(f"{name}: member {member!r} points out of the folder")
                if kind == "special":
                    raise _MirrorError(f"{name}: member {member!r} is a link or a device")
                genre = path.parent.name
                sound = path.suffix.lower() in (".wav", ".au") and not path.name.startswith(".")
                if kind == "folder" or genre not in GENRES or not sound:
                    continue
                destination = target / genre / path.name
                destination.parent.mkdir(exist_ok=True)
                with opened() as source, open(destination, "wb") as sink:
                    shutil.copyfileobj(source, sink)
    except GtzanKerasError:
        raise
    except Exception as error:  # every decompressor raises its own kind
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the disk, not of the archive
        raise _MirrorError(f"{name}: cut short or not a .tar.gz or .zip archive ({error})") from error


def _members(archive: Path) -> Generator[tuple[str, int, str, Callable[[], Any]], None, None]:
    """Name, bytes, kind ("file", "folder" or "special") and opener of every member of an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
                kind = ("folder" if info.is_dir() else "file") if plain else "special"
                yield info.filename, info.file_size, kind, partial(zipped.open, info)
    else:
        with tarfile.open(archive) as tarred:
            for entry in tarred:
                kind = "file" if entry.isreg() else "folder" if entry.isdir() else "special"
                yield entry.name, entry.size, kind, partial(tarred.extractfile, entry)


def _check(mirror: Mirror, folder: Path, md5s: dict[str, str], bar: partial[Any]) -> int:
    """Compare the extracted files with the table of facts; return the number of tracks."""
    held = _held_tracks(folder, md5s)
    checked = {track_id: path for track_id, path in held.items() if path.suffix.lower() == ".wav"}
    changed = {
        track_id
        for track_id, path in bar(checked.items(), unit=" tracks", desc="checking")
        if file_md5(path) != md5s[track_id]
    }
    if serious := changed - BROKEN_TRACKS:
        raise _MirrorError(
            f"{mirror.url}: the archive has changed: {len(serious)} of {len(held)} tracks differ by "
            f"their MD5 from GTZAN's ({_first(serious)})"
        )
    missing = set(md5s) - set(held) if mirror.tracks == len(md5s) else set()
    if _shortage(held, md5s, mirror.tracks) > 0:
        raise _MirrorError(
            f"{mirror.url}: holds {len(held)} tracks, expected {mirror.tracks or 'at least 1'}"
            + (f" (missing: {_first(missing)})" if missing else "")
        )
    for track_id in sorted(changed | missing):
        logger.warning("%s: %s is fixed, broken or missing in it", mirror.url, track_id)
    if unchecked := len(held) - len(checked):
        logger.warning("%s: %d AU files accepted unchecked", mirror.url, unchecked)
    if others := len(list(folder.glob("*/*"))) - len(held):
        logger.warning("%s: %d other sound files, not named like GTZAN's tracks", mirror.url, others)
    return len(held)


def _first(track_ids: set[str], limit: int = 3) -> str:
    return ", ".join(sorted(track_ids)[:limit]) + (", ..." if len(track_ids) > limit else "")
