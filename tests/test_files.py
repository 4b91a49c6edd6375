"""Files and folders that are replaced as a whole."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.files import replacing
from gtzan_keras.store.parts import Parts


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


@pytest.mark.parametrize("begin", [replacing, Parts])
@pytest.mark.parametrize(
    ("name", "message"),
    [(".", "is a folder; name the file"), ("file/x.h5", "file.*: this folder cannot be made")],
)
def test_a_place_where_nothing_can_be_written_is_named(begin, name, message, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(GtzanKerasError, match=message), begin(tmp_path / name):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_an_error_about_the_output_is_blamed_on_it(tmp_path):
    message, name = r"cannot be written .*too long.*another place", "x" * 250
    with pytest.raises(GtzanKerasError, match=message), replacing(tmp_path / name) as temporary:
        temporary.touch()
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "x"):
        (tmp_path / "another").read_bytes()
