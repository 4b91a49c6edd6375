"""Files and folders that are replaced as a whole."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gtzan_keras.store.files import replacing


@pytest.mark.parametrize("is_folder", [False, True], ids=["a file", "a folder"])
def test_nothing_is_left_of_a_failure_or_of_a_killed_process(is_folder: bool, tmp_path: Path) -> None:
    def begin(path: Path) -> None:
        path.mkdir() if is_folder else path.touch()
        if is_folder:
            (path / "half").touch()

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    begin(tmp_path / f".model.{socket.gethostname()}-{ended.pid}.writing.x")
    begin(tmp_path / f".model.elsewhere-{ended.pid}.writing.x")  # of another machine: not known to be dead

    def fail() -> None:
        with replacing(tmp_path / "model.x") as temporary:
            begin(temporary)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == [f".model.elsewhere-{ended.pid}.writing.x"]
