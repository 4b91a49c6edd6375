"""Files that are replaced as a whole: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtzan_keras.errors import GtzanKerasError

__all__ = ["file_to_write", "make_folder", "replace", "replacing", "write_json"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` at the end, or delete it if an error occurred.

    Parameters
    ----------
    path : str or os.PathLike
        The file to make or replace; its folder is made. The temporary file is next to it and has the same
        suffix. Temporary files left by killed processes of this machine are deleted.

    Raises
    ------
    GtzanKerasError
        The disk is full, `path` is a folder, or the file cannot be made or replaced.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from gtzan_keras.store.files import replacing
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole", "utf-8")
    >>> target.read_text("utf-8"), len(list(target.parent.iterdir()))
    ('whole', 1)
    """
    path = file_to_write(path)
    make_folder(path.parent)
    start, end = f".{path.stem}.{socket.gethostname()}-", f".writing{path.suffix}"
    for left in path.parent.glob(f"{glob.escape(start)}*{glob.escape(end)}"):
        if not _is_running(left.name.removeprefix(start).removesuffix(end)):
            _delete(left)
    temporary = path.with_name(f"{start}{os.getpid()}{end}")
    try:
        yield temporary
        replace(temporary, path)
    except (OSError, RuntimeError) as error:  # HDF5 raises both
        if reason := _is_full(error):
            raise GtzanKerasError(
                f"{path}: cannot be written ({reason}); free some space, then start again"
            ) from error
        if str(temporary) in str(error):  # an error of the block may be about something else
            raise GtzanKerasError(f"{path}: cannot be written ({error}); choose another place") from error
        raise
    finally:
        _delete(temporary)


def file_to_write(path: str | os.PathLike[str]) -> Path:
    """Return the path of an output; refuse a folder."""
    if os.path.isdir(path):
        raise GtzanKerasError(f"{path} is a folder; name the file to write")
    return Path(path)


def make_folder(folder: Path) -> None:
    """Make a folder for output, and those that it is in, if they do not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GtzanKerasError(
            f"{folder}: this folder cannot be made ({error.strerror}); choose another place"
        ) from error


def _delete(path: Path) -> None:
    """Delete a file or a folder, such as a SavedModel, if it exists."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        path.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    """Whether a process of this machine has this number; not known where signals mean something else."""
    if os.name == "posix" and process.isdecimal():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass
    return True


def _is_full(error: BaseException) -> str:
    """Return the reason if an error says that no more can be written, else ""."""
    numbers = {int(number) for number in re.findall(r"errno = (\d+)", str(error))}  # in HDF5's own words
    if isinstance(error, OSError) and error.errno:
        numbers.add(error.errno)
    full = numbers & {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return os.strerror(full.pop()) if full else ""


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as JSON, replacing the file as a whole; NaN and infinity are refused."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")


def replace(temporary: Path, path: Path) -> None:
    """Move a finished file to its name; on Windows this fails while a program has the old one open."""
    try:
        os.replace(temporary, path)
    except OSError as error:
        raise GtzanKerasError(
            f"{path}: cannot be replaced ({error}); close the programs that have it open, or choose another "
            "name"
        ) from error
