"""GTZAN from its public mirrors: fetched, checked track by track, and only then moved into place."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pandas as pd
from tqdm import tqdm

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks.catalogue import facts, file_md5, load_tracks, track_id_of

__all__ = ["FULL_MIRRORS", "MINI_MIRRORS", "Mirror", "download"]


@dataclass(frozen=True)
class Mirror:
    """One place to download GTZAN from.

    Parameters
    ----------
    url : str
        The archive: http(s), or the path of a file on this machine.
    tracks : int
        Minimum number of tracks in the archive, `BROKEN_TRACKS` not counted.
    md5 : str or None
        The archive's MD5, None if unknown. The tracks' own MD5s are checked either way.

    Examples
    --------
    >>> from gtzan_keras.tracks.download import MINI_MIRRORS
    >>> MINI_MIRRORS[0].tracks
    100
    """

    url: str
    tracks: int = 1
    md5: str | None = None


# The University of Victoria and the mini set are the remotes of mirdata's loader,
# https://github.com/mir-dataset-loaders/mirdata/blob/master/mirdata/datasets/gtzan_genre.py
FULL_MIRRORS = (
    Mirror("https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz", 999),
    Mirror("http://opihi.cs.uvic.ca/sound/genres.tar.gz", 999, "5b3d6dddb579ab49814ab86dba69e7c7"),
)
# mirdata knows the MD5 44f7f23af8363d96c59663a987f29a4c of this one, but GitHub repacks the archive from time
# to time, with other bytes around the same files.
MINI_MIRRORS = (Mirror("https://github.com/TempoBeatDownbeat/gtzan_mini/archive/refs/heads/main.zip", 100),)

BROKEN_TRACKS = frozenset({"jazz.00054"})
"""Unreadable in the common release, and so fixed or left out in others: not counted as an error."""

MAX_BYTES = 8 * 2**30
"""Upper limit of an unpacked archive: GTZAN is 1.3 GB."""

RETRIES = 2
WORK_FOLDER = ".gtzan-download"

logger = logging.getLogger(__name__)


def download(folder: str | os.PathLike[str], *, mini: bool = False, mirror: str | None = None) -> Path:
    """Download GTZAN into `folder`/genres, checked against the MD5 of every track.

    The work is done in a hidden folder inside `folder`, and `genres` appears by one rename when every
    track has been checked; after an error or an interrupt `folder` is unchanged. A broken transfer is
    repeated, `RETRIES` times at most, then the next mirror is tried. Other files in `folder` are left
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
        `folder`/genres lacks are added. Other files are left out.

    Returns
    -------
    pathlib.Path
        `folder`.

    Raises
    ------
    GtzanKerasError
        No mirror has a valid archive; `folder` cannot be written, or holds only some of the tracks.

    Examples
    --------
    >>> from gtzan_keras.tracks.download import download
    >>> download("data/gtzan", mirror="genres.tar")
    Traceback (most recent call last):
    gtzan_keras.errors.GtzanKerasError: genres.tar: no such file; expected a .tar.gz or .zip archive
    """
    folder = Path(folder)
    known = MINI_MIRRORS if mini else FULL_MIRRORS
    mirrors = known if mirror is None else (Mirror(_location(mirror)),)
    md5s = facts()["wav_md5"]
    held = _held_tracks(folder, md5s)
    if _are_enough(held, known[0]):
        logger.info("%s: holds %d tracks already, nothing to download", folder, len(held))
        return folder
    elsewhere = any(not path.is_relative_to(folder / "genres") for path in held.values())
    if elsewhere or (mirror is None and (folder / "genres").exists()):
        raise GtzanKerasError(
            f"{folder}: holds {len(held)} of {known[0].tracks} tracks; name another folder, or remove its "
            "'genres' and other folders of tracks first"
        )
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    problems = []
    try:
        for candidate in mirrors:
            try:
                return _install(candidate, folder, md5s)
            except GtzanKerasError as error:
                logger.info("%s", error)
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


def _location(mirror: str) -> str:
    """A URL as it is; a file URL or a path as the path of an existing file."""
    if "://" in mirror and not mirror.startswith("file://"):
        return mirror
    path = Path(url2pathname(urlsplit(mirror).path) if "://" in mirror else mirror)
    if not path.is_file():
        raise GtzanKerasError(f"{path}: no such file; expected a .tar.gz or .zip archive")
    return os.fspath(path)


def _held_tracks(folder: Path, md5s: pd.Series) -> dict[str, Path]:
    """The files of GTZAN's tracks in a folder, by track id."""
    try:
        table = load_tracks(folder)
    except GtzanKerasError:  # none yet
        return {}
    ids_and_paths = zip(table["track_id"], table["path"], strict=True)
    return {track_id: Path(path) for track_id, path in ids_and_paths if track_id in md5s}


def _are_enough(held: dict[str, Path], mirror: Mirror) -> bool:
    return len(held.keys() - BROKEN_TRACKS) >= mirror.tracks


def _install(mirror: Mirror, folder: Path, md5s: pd.Series) -> Path:
    """Put one mirror's tracks into `folder`/genres, after all checks."""
    work = folder / WORK_FOLDER
    shutil.rmtree(work, ignore_errors=True)  # left by a killed run
    (work / "genres").mkdir(parents=True)
    try:
        archive = _fetch(mirror.url, work) if "://" in mirror.url else Path(mirror.url)
        if mirror.md5 and (md5 := file_md5(archive)) != mirror.md5:
            raise GtzanKerasError(f"{mirror.url}: has changed, its MD5 is {md5}, not {mirror.md5}")
        _extract(mirror.url, archive, work / "genres", md5s)
        new = _checked(mirror, work / "genres", md5s)
        if not (folder / "genres").exists():
            os.replace(work / "genres", folder / "genres")
        else:
            for track_id in set(new) - set(_held_tracks(folder, md5s)):
                target = folder / new[track_id].relative_to(work)
                target.parent.mkdir(exist_ok=True)
                os.replace(new[track_id], target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    logger.info("%s: %d tracks from %s", folder / "genres", len(new), mirror.url)
    return folder


def _fetch(url: str, work: Path) -> Path:
    """Download one file; a broken transfer starts again from the beginning."""
    import pooch
    import requests

    source = pooch.create(
        work, "", registry={"archive": None}, urls={"archive": url}, retry_if_failed=RETRIES
    )
    try:
        downloader = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=2**18,
            headers={"Accept-Encoding": "identity"},  # some servers unpack a .gz that they send
        )
        return Path(source.fetch("archive", downloader=downloader))
    except (ValueError, requests.RequestException) as error:
        raise GtzanKerasError(f"{url}: {error}") from error


def _extract(name: str, archive: Path, target: Path, md5s: pd.Series) -> None:
    """Copy the files of GTZAN's tracks to `target`/<genre>, and nothing else.

    Only a member's bytes and a GTZAN file name are used, never its path, mode or link, so no archive can
    write elsewhere.
    """
    total = 0
    try:
        with closing(_members(archive)) as members:
            for member, size, opened in tqdm(members, "unpacking", unit=" files", disable=None):
                total += size
                if total > MAX_BYTES:
                    raise GtzanKerasError(
                        f"{name}: unpacks to more than {MAX_BYTES / 2**30:.0f} GiB; GTZAN is 1.3 GB"
                    )
                path = PurePosixPath(member)
                is_sound = path.suffix.lower() in (".wav", ".au")
                if is_sound and track_id_of(path.parent.name, path.name) in md5s:
                    (target / path.parent.name).mkdir(exist_ok=True)
                    with opened() as source, open(target / path.parent.name / path.name, "wb") as sink:
                        shutil.copyfileobj(source, sink)
    except Exception as error:  # every decompressor raises its own kind
        if isinstance(error, GtzanKerasError) or (isinstance(error, OSError) and error.errno is not None):
            raise  # it is larger than it may be, or the disk fails, not the archive
        raise GtzanKerasError(f"{name}: cut short or not a .tar.gz or .zip archive ({error})") from error


def _members(archive: Path) -> Generator[tuple[str, int, Callable[[], Any]], None, None]:
    """Name, bytes and opener of every file in an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                yield info.filename, info.file_size, partial(zipped.open, info)
    else:
        with tarfile.open(archive) as tarred:
            for entry in tarred:
                # Links and devices have no bytes of their own.
                yield entry.name if entry.isreg() else "", entry.size, partial(tarred.extractfile, entry)


def _checked(mirror: Mirror, folder: Path, md5s: pd.Series) -> dict[str, Path]:
    """Return the extracted tracks; refuse them if they are not those of the table of facts."""
    held = _held_tracks(folder, md5s)
    wavs = {track_id: path for track_id, path in held.items() if path.suffix.lower() == ".wav"}
    changed = {
        track_id
        for track_id, path in tqdm(wavs.items(), "checking", unit=" tracks", disable=None)
        if file_md5(path) != md5s[track_id]
    }
    if serious := changed - BROKEN_TRACKS:
        raise GtzanKerasError(
            f"{mirror.url}: the archive has changed: {len(serious)} of {len(held)} tracks differ from "
            f"GTZAN's in their MD5, e.g. {min(serious)}"
        )
    if not _are_enough(held, mirror):
        raise GtzanKerasError(
            f"{mirror.url}: holds {len(held)} tracks, expected at least {mirror.tracks} besides jazz.00054"
        )
    for track_id in changed:
        logger.warning("%s: %s differs from the common release, whose file is broken", mirror.url, track_id)
    if unchecked := len(held) - len(wavs):
        logger.warning("%s: %d AU files accepted unchecked", mirror.url, unchecked)
    return held
