from __future__ import annotations

import hashlib
import importlib
import io
import os
import stat
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pandas as pd
import pytest

from gtzan_keras.errors import GtzanKerasError

# by name, because the package may offer the function under the module's name
module = importlib.import_module("gtzan_keras.tracks.download")
download = module.download

# A "GTZAN" of six tracks, two of which make up the mini set. The bytes are no sound: it is their
# MD5 that is looked at.
WAVS = {
    track_id: f"sound of {track_id}".encode() * 50
    for track_id in (
        "blues.00000", "blues.00001", "jazz.00000", "jazz.00054", "rock.00000", "rock.00001",
    )
}  # fmt: skip
MINI_IDS = ("blues.00000", "rock.00000")


def as_members(track_ids=WAVS, top: str = "genres") -> dict[str, bytes]:
    return {f"{top}/{i.split('.')[0]}/{i}.wav": WAVS[i] for i in track_ids}


def tar_gz(members: dict[str, bytes], special: tarfile.TarInfo | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if special is not None:
            archive.addfile(special)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def cut(archive: bytes) -> bytes:
    return archive[: len(archive) * 2 // 3]


GOOD = tar_gz({"genres/README": b"hello", **as_members()})


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A web server of the pages that `serve` is given; of the `requests`, the first `breaks` break off."""
    state = SimpleNamespace(requests=[], breaks=0)
    folder = tmp_path_factory.mktemp("pages")

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            super().do_GET()

        def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:
            body = source.read()
            outputfile.write(cut(body) if len(state.requests) <= state.breaks else body)

        def log_message(self, *args: object) -> None:
            pass

    def serve(path: str, body: bytes) -> str:
        (folder / path[1:]).write_bytes(body)
        return state.url + path

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url, state.serve = f"http://127.0.0.1:{http.server_port}", serve
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def small_gtzan(monkeypatch: pytest.MonkeyPatch, server: SimpleNamespace) -> None:
    md5s = {track_id: hashlib.md5(content).hexdigest() for track_id, content in WAVS.items()}
    full = (
        module.Mirror(f"{server.url}/full.tar.gz", tracks=5),  # jazz.00054 is not counted
        module.Mirror(f"{server.url}/old.tar.gz", 5, hashlib.md5(GOOD).hexdigest()),
    )
    mini = (module.Mirror(f"{server.url}/main.zip", tracks=2),)
    monkeypatch.setattr(module, "facts", lambda: pd.DataFrame({"wav_md5": md5s}))
    monkeypatch.setattr(module, "FULL_MIRRORS", full)
    monkeypatch.setattr(module, "MINI_MIRRORS", mini)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # before another attempt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "gtzan"


@pytest.fixture
def refuses(folder: Path, tmp_path: Path) -> Callable[..., str]:
    """Download, expect an error, and see that it left nothing where nothing was."""

    def check(**arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(GtzanKerasError) as caught:
            download(folder, **arguments)
        assert sorted(tmp_path.rglob("*")) == before
        return str(caught.value)

    return check


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_full_set_lands_in_genres_and_nowhere_else(server, folder):
    server.serve("/full.tar.gz", GOOD)
    assert download(folder) == folder
    assert contents(folder) == as_members()
    assert [path.name for path in folder.iterdir()] == ["genres"]


def test_mini_set_comes_out_of_a_zip_with_a_top_folder(server, folder):
    server.serve("/main.zip", zipped(as_members(MINI_IDS, top="gtzan_mini-main")))
    download(folder, mini=True)
    assert contents(folder) == as_members(MINI_IDS)


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_members_that_are_no_tracks_or_point_out_of_the_folder_are_left_out(server, folder, tmp_path, pack):
    extra = [
        "genres/blues/._blues.00000.wav",
        "__MACOSX/genres/blues/._blues.00001.wav",
        "genres/bextract_single.mf",
        "genres/blues/my song.wav",
        "elsewhere/blues.00000.wav",
        "../blues/blues.00009.wav",
        "genres/../../rock.wav",
        "/blues/evil.wav",
        "..\\blues\\blues.00001.wav",
        "C:\\blues\\blues.00001.wav",
        "genres/blues/blues.00000.wav:stream.wav",
    ]
    server.serve("/full.tar.gz", pack(as_members() | dict.fromkeys(extra, b"evil")))
    assert contents(download(folder)) == as_members()
    assert contents(tmp_path) == {f"data/gtzan/{name}": sound for name, sound in as_members().items()}


def test_folder_with_a_part_of_the_tracks_is_refused_untouched(server, folder, refuses):
    server.serve("/main.zip", zipped(as_members(MINI_IDS)))
    download(folder, mini=True)
    server.requests.clear()
    assert "holds 2 of 5 tracks" in refuses()
    assert not server.requests


def test_second_mirror_is_used_when_the_first_has_changed(server, folder):
    server.serve("/full.tar.gz", tar_gz(as_members() | {"genres/rock/rock.00000.wav": b"changed"}))
    server.serve("/old.tar.gz", GOOD)
    assert contents(download(folder)) == as_members()


def test_error_names_every_mirror_with_its_reason_and_a_remedy(server, refuses):
    message = refuses()
    assert f"{server.url}/full.tar.gz: 404 Client Error" in message
    assert f"{server.url}/old.tar.gz: 404 Client Error" in message
    assert "with a browser" in message


def test_transfer_that_breaks_off_once_is_begun_again(server, folder):
    server.serve("/full.tar.gz", GOOD)
    server.breaks = 1
    assert contents(download(folder)) == as_members()
    assert server.requests == ["/full.tar.gz"] * 2


def test_transfer_that_always_breaks_off_is_an_error(server, refuses):
    url = server.serve("/a.tar.gz", GOOD)
    server.breaks = 99
    assert f"{url}: " in refuses(mirror=url)
    assert server.requests == ["/a.tar.gz"] * (module.RETRIES + 1)


BAD: dict[str, Callable[[Callable[..., bytes]], bytes]] = {
    "cut short or not a .tar.gz or .zip archive": lambda pack: cut(pack(as_members())),
    "1 of 6 tracks differ from GTZAN's in their MD5, e.g. blues.00001": lambda pack: pack(
        as_members() | {"genres/blues/blues.00001.wav": b"changed"}
    ),
    "holds 0 tracks, expected at least 1": lambda pack: pack({"genres/blues/my song.wav": b"la"}),
    "unpacks to more than": lambda pack: pack(as_members() | {"genres/blues/more.wav": bytes(10_000)}),
}


@pytest.mark.parametrize("pack", [tar_gz, zipped])
@pytest.mark.parametrize("message", BAD)
def test_archive_that_is_cut_changed_empty_or_unpacks_to_too_much_is_an_error(
    server, refuses, monkeypatch, pack, message
):
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    assert message in refuses(mirror=server.serve("/a", BAD[message](pack)))


def test_missing_track_is_an_error(server, refuses):
    server.serve("/full.tar.gz", tar_gz(as_members(set(WAVS) - {"rock.00001"})))
    assert "holds 5 tracks, expected at least 5 besides jazz.00054" in refuses()


@pytest.mark.parametrize("content", [None, b"fixed"])
def test_jazz_00054_may_differ_or_be_left_out(server, folder, caplog, content):
    members = as_members(set(WAVS) - {"jazz.00054"})
    if content:
        members["genres/jazz/jazz.00054.wav"] = content
    server.serve("/full.tar.gz", tar_gz(members))
    assert contents(download(folder)) == members
    assert ("jazz.00054 differs from the common release" in caplog.text) == bool(content)
    server.requests.clear()
    download(folder)
    assert not server.requests


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_tar_member_that_is_a_link_or_device_is_left_out(server, folder, kind):
    special = tarfile.TarInfo("genres/jazz/jazz.00054.wav")
    special.type = kind
    special.linkname = "genres/blues/blues.00000.wav"
    members = as_members(set(WAVS) - {"jazz.00054"})
    server.serve("/full.tar.gz", tar_gz(members, special))
    assert contents(download(folder)) == members


def test_zip_member_that_is_a_link_is_no_track(server, refuses):
    name = "genres/blues/blues.00000.wav"
    url = server.serve("/a.zip", zipped(as_members() | {name: b"/etc/passwd"}, {name: stat.S_IFLNK | 0o644}))
    assert "1 of 6 tracks differ from GTZAN's in their MD5, e.g. blues.00000" in refuses(mirror=url)


def test_second_mirror_adds_the_tracks_that_are_missing(server, folder):
    first = server.serve("/three.zip", zipped(as_members(list(WAVS)[:3])))
    second = server.serve("/four.zip", zipped(as_members(list(WAVS)[2:])))
    download(folder, mirror=first)
    (folder / "genres" / "blues" / "x.wav").write_bytes(b"my own")
    download(folder, mirror=first)
    assert contents(folder) == as_members(list(WAVS)[:3]) | {"genres/blues/x.wav": b"my own"}
    download(folder, mirror=second)
    assert contents(folder) == as_members() | {"genres/blues/x.wav": b"my own"}


def test_second_mirror_that_fails_changes_nothing(server, folder, refuses):
    download(folder, mirror=server.serve("/three.zip", zipped(as_members(list(WAVS)[:3]))))
    changed = server.serve("/changed.zip", zipped({"genres/rock/rock.00000.wav": b"changed"}))
    assert "differ from GTZAN's in their MD5" in refuses(mirror=changed)


def test_tracks_outside_of_genres_are_not_mixed_with_those_of_a_mirror(server, folder, refuses):
    (folder / "blues").mkdir(parents=True)
    (folder / "blues" / "blues.00000.wav").write_bytes(WAVS["blues.00000"])
    url = server.serve("/three.zip", zipped(as_members(list(WAVS)[:3])))
    assert "holds 1 of 5 tracks; name another folder" in refuses(mirror=url)


def test_au_files_are_accepted_unchecked_and_reported(server, folder, caplog):
    members = {f"genres/{i.split('.')[0]}/{i.replace('.', '')}.au": b"au" for i in WAVS}
    server.serve("/full.tar.gz", tar_gz(members))
    assert contents(download(folder)) == members
    assert "6 AU files accepted unchecked" in caplog.text


@pytest.mark.parametrize("locate", [os.fspath, Path.as_uri])
def test_archive_on_this_machine_serves_as_mirror_and_stays(server, tmp_path, folder, locate):
    archive = tmp_path / "my genres.tar.gz"
    archive.write_bytes(GOOD)
    assert contents(download(folder, mirror=locate(archive))) == as_members()
    assert archive.read_bytes() == GOOD
    assert not server.requests


@pytest.mark.parametrize(
    ("mirror", "reason"), [(os.curdir, "no such file"), ("gopher://a/b.zip", "No connection adapters")]
)
def test_invalid_mirror_is_refused(refuses, mirror, reason):
    message = refuses(mirror=mirror)
    assert mirror in message
    assert reason in message


@pytest.mark.parametrize("step", ["_fetch", "_checked"])
def test_interrupt_leaves_nothing(server, folder, tmp_path, monkeypatch, step):
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    server.serve("/full.tar.gz", GOOD)
    monkeypatch.setattr(module, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(folder)
    assert not list(tmp_path.iterdir())


def test_full_disk_is_an_error_at_once(server, refuses, monkeypatch):
    def full(source, sink) -> None:
        raise OSError(28, "No space left on device")

    server.serve("/full.tar.gz", GOOD)
    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    assert "No space left on device" in refuses()
    assert server.requests == ["/full.tar.gz"]


def test_table_of_mirrors_and_facts_name_all_tracks(monkeypatch):
    monkeypatch.undo()
    assert {mirror.tracks for mirror in module.FULL_MIRRORS} == {len(module.facts()) - 1}
