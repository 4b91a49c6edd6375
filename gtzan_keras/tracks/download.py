"""GTZAN from its public mirrors: fetched, judged track by track, and only then moved into place."""

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
from gtzan_keras.tracks.catalogue import GENRES, facts, file_md5, load_tracks

__all__ = ["FULL_MIRRORS", "MINI_MIRRORS", "Mirror", "download"]


@dataclass(frozen=True)
class Mirror:
    """One place that GTZAN can be had from.

    Parameters
    ----------
    name : str
        What messages call it.
    url : str
        The archive: http(s), or the path of a file on this machine.
    md5 : str or None
        The archive's MD5, None where it is not known. The tracks' own MD5s are checked either way.
    tracks : int or None
        How many tracks the archive holds, None where it is not known.

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
        # mirdata knows it as 44f7f23af8363d96c59663a987f29a4c; GitHub packs it anew now and then,
        # with other bytes around the same files, so that MD5 decides nothing here
        tracks=100,
    ),
)

BROKEN_TRACKS = frozenset({"jazz.00054"})
"""Unreadable in the common release, and so mended or left out in others: not held against one."""

ATTEMPTS = 3
RETRY_SECONDS = 2.0
WORK_FOLDER = ".gtzan-download"

logger = logging.getLogger(__name__)


class _MirrorError(GtzanKerasError):
    """What one mirror gave was of no use; the next one may do better."""


def download(
    folder: str | os.PathLike[str],
    *,
    mini: bool = False,
    mirror: str | None = None,
    progress: bool = True,
) -> Path:
    """Download GTZAN into `folder`/genres, checked against the MD5 of every track.

    All work is done in a hidden folder inside `folder`, and `genres` appears by one rename when
    every track has been checked; after an error or an interrupt `folder` is as it was. A broken
    transfer starts again, `ATTEMPTS` times, then the next mirror has its turn. Other files in
    `folder` are left alone. AU files have no published MD5: they are taken unchecked, with a warning.

    Parameters
    ----------
    folder : str or os.PathLike
        Where to put it; created if need be. If it holds the tracks already, nothing is done.
    mini : bool
        The set of 100 tracks instead of all 1000.
    mirror : str, optional
        URL (http, https or file) or path of a .tar.gz or .zip archive, to use instead of the
        mirrors known to the library. It may hold any number of GTZAN's tracks.
    progress : bool
        Show progress bars, where the output is a terminal.

    Returns
    -------
    pathlib.Path
        `folder`.

    Raises
    ------
    GtzanKerasError
        No mirror gave a sound archive; or `folder` can not be written, or holds a part of the
        tracks.

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
        if _is_complete(folder, md5s, known[0].tracks):
            return folder
        for candidate in mirrors:
            try:
                return _install(candidate, folder, md5s, bar)
            except _MirrorError as error:
                if candidate is not mirrors[-1]:
                    logger.warning("%s: %s; trying the next mirror", candidate.name, error)
                problems.append(str(error))
    except OSError as error:
        raise GtzanKerasError(f"{folder}: could not be filled ({error})") from error
    finally:
        with suppress(OSError):  # raised by the first one that is not empty, as after success
            for path in new_folders:
                path.rmdir()
    raise GtzanKerasError(
        f"{'; '.join(problems)}. Nothing was kept. Fetch the archive with a browser and name its path "
        f"as the mirror, name another mirror's URL, or unpack it into {folder} yourself"
    )


def _track_md5s() -> dict[str, str]:
    """MD5 of each track's WAV file, by track id."""
    return {str(track_id): md5 for track_id, md5 in facts()["wav_md5"].items()}


def _location(mirror: str) -> str:
    """An http(s) URL as it is; a file URL or a path as the path of a file that is there."""
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


def _is_complete(folder: Path, md5s: dict[str, str], tracks: int | None) -> bool:
    """Whether there is nothing left to do; raises where a download would mix with what is there."""
    held = _held_tracks(folder, md5s)
    if held and _shortage(held, md5s, tracks) <= 0:
        logger.info("%s: holds %d tracks already, nothing to download", folder, len(held))
        return True
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
    except GtzanKerasError:  # none there
        return {}
    ids_and_paths = zip(table["track_id"], table["path"], strict=True)
    return {track_id: Path(path) for track_id, path in ids_and_paths if track_id in md5s}


def _shortage(held: dict[str, Path], md5s: dict[str, str], tracks: int | None) -> int:
    """How many tracks are wanting; the full set may do without the broken ones."""
    if tracks == len(md5s):
        return len(set(md5s) - set(held) - BROKEN_TRACKS)
    return (tracks or 1) - len(held)


def _install(mirror: Mirror, folder: Path, md5s: dict[str, str], bar: partial[Any]) -> Path:
    """One mirror's tracks into `folder`/genres, or nothing at all."""
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
        count = _judge(mirror, work / "genres", md5s, bar)
        os.replace(work / "genres", folder / "genres")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    logger.info("%s: %d tracks from %s", folder / "genres", count, mirror.url)
    return folder


def _fetch(url: str, target: Path, bar: partial[Any]) -> None:
    """Download one file; a transfer that breaks off starts again from the beginning."""
    import requests

    def refuse_short_reads(response: Any, *args: Any, **kwargs: Any) -> None:
        response.raw.enforce_content_length = True  # urllib3 1 takes a cut transfer for a whole one

    settings = {"headers": {"Accept-Encoding": "identity"}, "hooks": {"response": refuse_short_reads}}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            # a bar whose total is 0 or None counts as false, and pooch would take it for "no bar"
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
    """What went wrong, out of the layers that requests and urllib3 wrap around it."""
    inner: Any = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)
    text = inner.args[0] if isinstance(inner, Exception) and inner.args else inner
    return re.split("[)>]: ", str(text))[-1]  # drops "HTTPConnection(host=..., port=...): "


def _extract(name: str, archive: Path, target: Path, bar: partial[Any]) -> None:
    """Copy the sound files of genre folders to `target`/<genre>; refuse an archive with bad members.

    Of a member only the bytes, the genre and the bare file name are used, never its path, mode or
    link (hence no `tarfile` filter): it could not land elsewhere even if a check here missed it.
    """
    target.mkdir()
    try:
        with closing(_members(archive)) as members:
            for member, kind, opened in bar(members, unit=" files", desc="unpacking"):
                path = PurePosixPath(member.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", member):
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
            raise  # the disk's fault, not the archive's
        raise _MirrorError(f"{name}: cut short or not a .tar.gz or .zip archive ({error})") from error


def _members(archive: Path) -> Generator[tuple[str, str, Callable[[], Any]], None, None]:
    """Name, kind ("file", "folder" or "special") and opener of everything in an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
                kind = ("folder" if info.is_dir() else "file") if plain else "special"
                yield info.filename, kind, partial(zipped.open, info)
    else:
        with tarfile.open(archive) as tarred:
            for entry in tarred:
                kind = "file" if entry.isreg() else "folder" if entry.isdir() else "special"
                yield entry.name, kind, partial(tarred.extractfile, entry)


def _judge(mirror: Mirror, folder: Path, md5s: dict[str, str], bar: partial[Any]) -> int:
    """Hold what was extracted against the table of facts; the number of tracks."""
    held = _held_tracks(folder, md5s)
    judged = {track_id: path for track_id, path in held.items() if path.suffix.lower() == ".wav"}
    changed = {
        track_id
        for track_id, path in bar(judged.items(), unit=" tracks", desc="checking")
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
            + (f" (not there: {_first(missing)})" if missing else "")
        )
    for track_id in sorted(changed | missing):
        logger.warning("%s: %s is mended, broken or left out there", mirror.url, track_id)
    if unjudged := len(held) - len(judged):
        logger.warning("%s: %d AU files taken unchecked", mirror.url, unjudged)
    if others := len(list(folder.glob("*/*"))) - len(held):
        logger.warning("%s: %d further sound files, no tracks of GTZAN's by name", mirror.url, others)
    return len(held)


def _first(track_ids: set[str], limit: int = 3) -> str:
    return ", ".join(sorted(track_ids)[:limit]) + (", ..." if len(track_ids) > limit else "")
