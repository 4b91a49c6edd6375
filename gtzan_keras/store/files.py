"""Files that are replaced as a whole: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtzan_keras.errors import GtzanKerasError

__all__ = ["replace", "replacing", "write_json"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` at the end, or delete it if an error occurred.

    Parameters
    ----------
    path : str or os.PathLike
        The file to make or replace. The temporary file is next to it and has the same suffix.

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
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.writing{path.suffix}")
    try:
        yield temporary
        replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
