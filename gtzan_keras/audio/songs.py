"""The sound files that paths, folders and patterns stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from gtzan_keras.audio.decode import AUDIO_SUFFIXES, is_sound
from gtzan_keras.errors import GtzanKerasError

__all__ = ["find_songs"]


def find_songs(songs: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the files that paths, folders and patterns stand for.

    Parameters
    ----------
    songs : iterable of str or os.PathLike
        A folder stands for the sound files in and below it, by `AUDIO_SUFFIXES`; a pattern
        (``music/**/*.mp3``) for its matches; anything else for itself, whether it exists or not.

    Returns
    -------
    list of Path
        Each file once, sorted within a folder or pattern.

    Raises
    ------
    GtzanKerasError
        A folder contains no sound file, or a pattern matches nothing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from gtzan_keras.audio.songs import find_songs
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("b.mp3", "a.wav", "cover.jpg"):
    ...     (folder / name).touch()
    >>> [path.name for path in find_songs([folder])]
    ['a.wav', 'b.mp3']
    """
    found: dict[Path, None] = {}
    for song in songs:
        path = Path(song)
        if os.path.isdir(path):  # false, not an error, where a folder may not be entered
            if not (matches := _songs_below(path)):
                raise GtzanKerasError(f"{path}: no sound file in this folder ({', '.join(AUDIO_SUFFIXES)})")
        elif not os.path.exists(path) and glob.has_magic(os.fspath(song)):
            matches = []
            for match in map(Path, sorted(glob.glob(os.fspath(song), recursive=True))):
                matches += _songs_below(match) if os.path.isdir(match) else [match]
            if not matches:
                raise GtzanKerasError(f"{path}: no file matches this pattern")
        else:
            matches = [path]
        found.update(dict.fromkeys(matches))
    return list(found)


def _songs_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if is_sound(path.name) and os.path.isfile(path))
