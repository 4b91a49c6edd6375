"""Tracks to a store: the same file whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS, SpectrogramSpec, mel_image, segments
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store import preprocess as module
from gtzan_keras.store.open import open_store
from gtzan_keras.store.preprocess import preprocess
from gtzan_keras.tracks.catalogue import load_tracks

SPEC = SpectrogramSpec(
    name="small", n_fft=512, window_length=512, n_mels=16, clip_seconds=1.0, height=16, width=24
)
OTHER = SpectrogramSpec(
    name="other",
    n_fft=512,
    window_length=512,
    hop_length=256,
    n_mels=16,
    clip_seconds=1.0,
    height=16,
    width=24,
)
PIECES = SpectrogramSpec(
    name="pieces", n_fft=512, window_length=512, n_mels=16, height=16, width=8,
    clip_seconds=None, segment_seconds=0.5, segment_hop_seconds=0.25,
)  # fmt: skip
GOOD = ["blues.00000", "blues.00001", "metal.00058", "rock.00007", "rock.00016"]
BROKEN = "jazz.00054"  # the only jazz there is


def write_sound(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-1, 1, 26460 + 100 * seed)  # 1.2 s and more
    soundfile.write(file, noise, 22050)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sounds")
    for seed, track_id in enumerate(GOOD):
        write_sound(root / track_id.split(".")[0] / f"{track_id}.wav", seed)
    (root / "jazz").mkdir()
    (root / "jazz" / f"{BROKEN}.wav").write_bytes(b"this is no music " * 999)
    return root


@pytest.fixture(scope="session")
def tracks(folder: Path) -> pd.DataFrame:
    return load_tracks(folder)


def contents(path: Path) -> dict[str, Any]:
    """Everything in an HDF5 file: datasets and attributes."""
    with h5py.File(path) as file:
        found: dict[str, Any] = {name: np.asarray(file[name][()]).tolist() for name in file}
        found["dtypes"] = {name: str(file[name].dtype) for name in file}
        found["attributes"] = dict(file.attrs)
    return found


@pytest.fixture(scope="session")
def reference(tracks: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an uninterrupted run makes of the tracks."""
    path = tmp_path_factory.mktemp("reference") / "x.h5"
    preprocess(tracks, path, SPEC, jobs=1)
    return contents(path)


class StoppedError(Exception):
    pass


def leave_journal(tracks: pd.DataFrame, path: Path, spec: SpectrogramSpec = SPEC) -> Path:
    """Go as far as having every track done, and no store."""

    def stop(*_: object) -> None:
        raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "StoreWriter", stop)
        with pytest.raises(StoppedError):
            preprocess(tracks, path, spec, jobs=1)
    return path.with_name(path.name + ".partial")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the tracks that were decoded."""
    ids: list[str] = []

    def record(path: str, *arguments: Any) -> np.ndarray:
        ids.append(Path(path).stem)
        return load_audio(path, *arguments)

    monkeypatch.setattr(module, "load_audio", record)
    return ids


# ---- what is written


def test_samples_are_the_pictures_of_the_tracks(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    store = open_store(tmp_path / "x.h5")
    path = tracks.set_index("track_id")["path"]
    expected = [mel_image(load_audio(path[track_id], 22050), SPEC) for track_id in GOOD]
    np.testing.assert_array_equal(store.read(), expected)


def test_samples_of_a_spec_with_segments_are_the_pictures_of_the_pieces(
    tmp_path: Path, tracks: pd.DataFrame
) -> None:
    report = preprocess(tracks, tmp_path / "x.h5", PIECES, jobs=1)
    store = open_store(tmp_path / "x.h5")
    sound = load_audio(tracks.set_index("track_id").at["rock.00007", "path"], 22050)
    expected = [mel_image(piece, PIECES) for piece in segments(sound, PIECES)]
    rows = store.rows(["rock.00007"])
    assert len(expected) == 4
    assert store.segment[rows].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(store.read(rows), expected)
    assert (report.written, report.samples) == (5, len(store))


def test_the_file_is_in_the_order_of_the_table(tmp_path: Path, tracks: pd.DataFrame) -> None:
    shuffled = tracks.sample(frac=1, random_state=3)
    preprocess(shuffled, tmp_path / "x.h5", SPEC, jobs=1)
    store = open_store(tmp_path / "x.h5")
    order = [track_id for track_id in shuffled["track_id"] if track_id != BROKEN]
    assert order != GOOD
    assert store.track_id.tolist() == order
    assert store.tracks["track_id"].tolist() == shuffled["track_id"].tolist()


def test_the_md5_of_every_source_is_recorded(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    expected = {
        row.track_id: hashlib.md5(Path(row.path).read_bytes()).hexdigest()
        for row in tracks.itertuples()
        if row.track_id != BROKEN
    }
    assert open_store(tmp_path / "x.h5").source_md5 == expected


def test_the_table_of_tracks_comes_back(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    assert open_store(tmp_path / "x.h5").tracks.to_dict("list") == tracks.to_dict("list")


def test_a_spec_goes_by_its_name(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks.iloc[:1], tmp_path / "x.h5", "zhang-128", jobs=1)
    assert open_store(tmp_path / "x.h5").spec == SPECTROGRAM_SPECS["zhang-128"]


def test_two_jobs_make_the_same_contents(
    tmp_path: Path, tracks: pd.DataFrame, reference: dict[str, Any]
) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=2)
    assert contents(tmp_path / "x.h5") == reference


def test_nothing_but_the_store_is_left(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "below" / "x.h5", SPEC, jobs=1)
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["x.h5"]


# ---- files that are no sound


def test_a_broken_file_is_left_out_with_one_line_and_its_genre_stays(
    tmp_path: Path, tracks: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    report = preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    store = open_store(tmp_path / "x.h5")
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert BROKEN in lines[0]
    assert store.genres == ["blues", "jazz", "metal", "rock"]
    assert BROKEN not in store.track_id
    assert list(store.refused) == list(report.refused) == [BROKEN]
    assert "not readable as sound" in store.refused[BROKEN]
    assert (report.written, report.samples) == (5, 5)


@pytest.mark.parametrize("content", [b"", b"cut short", None], ids=["empty", "cut short", "missing"])
def test_other_broken_files_are_left_out_too(
    tmp_path: Path, tracks: pd.DataFrame, content: bytes | None
) -> None:
    file = tmp_path / "blues" / "blues.00099.wav"
    if content == b"cut short":
        content = Path(tracks["path"][0]).read_bytes()[:100]
    if content is not None:
        file.parent.mkdir()
        file.write_bytes(content)
    table = tracks.assign(path=[str(file), *tracks["path"][1:]])
    report = preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    assert set(report.refused) == {"blues.00000", BROKEN}


def test_nothing_but_broken_files_is_an_error_that_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    table = load_tracks(folder).query("genre == 'jazz'")
    with pytest.raises(GtzanKerasError, match=r"x\.h5: not one of 1 tracks could be read \(jazz.00054: not"):
        preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_that_was_mended_is_taken_in(tmp_path: Path) -> None:
    for seed, name in enumerate(["one", "two", "three"]):
        write_sound(tmp_path / "pop" / f"{name}.wav", seed)
    (tmp_path / "pop" / "two.wav").write_bytes(b"no music")
    table = load_tracks(tmp_path)
    leave_journal(table, tmp_path / "journal.h5")
    assert list(preprocess(table, tmp_path / "store.h5", SPEC, jobs=1).refused) == ["pop/two"]
    write_sound(tmp_path / "pop" / "two.wav", 1)
    for name in ("journal.h5", "store.h5", "fresh.h5"):
        assert preprocess(table, tmp_path / name, SPEC, jobs=1).refused == {}
    assert contents(tmp_path / "journal.h5") == contents(tmp_path / "fresh.h5")
    assert contents(tmp_path / "store.h5") == contents(tmp_path / "fresh.h5")


# ---- going on where it stopped

# A process that forks once for each moment: the child is killed at that line of our store's code, the
# parent then runs to the end. Prints how many tracks were there already.
KILLER = """
    import json, os, signal, sys
    from pathlib import Path
    from gtzan_keras.audio.spectrogram import SpectrogramSpec, mel_image
    from gtzan_keras.store.preprocess import preprocess
    from gtzan_keras.tracks.catalogue import load_tracks

    folder, out, spec = Path(sys.argv[1]), Path(sys.argv[2]), SpectrogramSpec(**json.loads(sys.argv[3]))
    tracks = load_tracks(folder)
    lines, last = 0, None

    def trace(frame, event, _):
        global lines
        if os.sep + os.path.join("gtzan_keras", "store") + os.sep not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            if lines == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    preprocess(tracks, out / "whole.h5", spec, jobs=1)  # imports all there is to import
    (out / "whole.h5").unlink()
    sys.settrace(trace)
    preprocess(tracks, out / "whole.h5", spec, jobs=1)
    sys.settrace(None)
    total, moments = lines, 24
    for moment in range(moments):
        path = out / f"killed-{moment}.h5"
        last, lines = 1 + moment * (total - 1) // (moments - 1), 0
        child = os.fork()
        if not child:
            sys.settrace(trace)
            preprocess(tracks, path, spec, jobs=1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        print(preprocess(tracks, path, spec, jobs=1).resumed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_and_run_again_it_ends_with_the_same_contents(
    tmp_path: Path, folder: Path, reference: dict[str, Any]
) -> None:
    arguments = [str(folder), str(tmp_path), json.dumps(SPEC.to_dict())]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLER), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resumed = [int(number) for number in done.stdout.split()]
    assert resumed == sorted(resumed)
    assert set(range(6)) <= set(resumed)  # from nothing done to all done
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["whole.h5", *(f"killed-{moment}.h5" for moment in range(24))]
    )
    for path in tmp_path.iterdir():
        assert contents(path) == reference


# Two workers; after three tracks, one of them broken, the process says so and waits for its end.
WAITER = """
    import json, sys
    from gtzan_keras.audio.spectrogram import SpectrogramSpec
    from gtzan_keras.store import preprocess as module
    from gtzan_keras.tracks.catalogue import load_tracks

    def append(journal, sample, original=module._Journal.append):
        original(journal, sample)
        if len(journal.places) == 3:
            print("three", flush=True)
            sys.stdin.read()

    module._Journal.append = append
    folder, out, spec = sys.argv[1:]
    module.preprocess(load_tracks(folder), out, SpectrogramSpec(**json.loads(spec)), jobs=2)
"""


def test_killed_with_two_workers_it_goes_on_from_there(
    tmp_path: Path, folder: Path, tracks: pd.DataFrame, reference: dict[str, Any]
) -> None:
    arguments = [str(folder), str(tmp_path / "x.h5"), json.dumps(SPEC.to_dict())]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WAITER), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "three\n"
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
    assert not (tmp_path / "x.h5").exists()
    assert preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1).resumed == 2
    assert contents(tmp_path / "x.h5") == reference


@pytest.fixture(scope="session")
def journal(tracks: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """All tracks done, and no store yet."""
    return leave_journal(tracks, tmp_path_factory.mktemp("journal") / "x.h5").read_bytes()


@pytest.fixture
def resume(tmp_path: Path, tracks: pd.DataFrame) -> Callable[[bytes], dict[str, Any]]:
    """What a run makes of a journal that it finds."""

    def run(journal: bytes) -> dict[str, Any]:
        path = tmp_path / "x.h5"
        path.unlink(missing_ok=True)
        (tmp_path / "x.h5.partial").write_bytes(journal)
        preprocess(tracks, path, SPEC, jobs=1)
        assert list(tmp_path.iterdir()) == [path]
        return contents(path)

    return run


# The function-scoped fixture writes to one path again and again, which is what is meant here.
any_example = settings(max_examples=30, deadline=None, suppress_health_check=["function_scoped_fixture"])


@any_example
@given(data=st.data())
def test_a_journal_cut_off_anywhere_ends_with_the_same_contents(
    data: st.DataObject, resume: Callable, journal: bytes, reference: dict[str, Any]
) -> None:
    assert resume(journal[: data.draw(st.integers(0, len(journal)))]) == reference


@any_example
@given(data=st.data())
def test_a_journal_with_a_damaged_byte_ends_with_the_same_contents(
    data: st.DataObject, resume: Callable, journal: bytes, reference: dict[str, Any]
) -> None:
    damaged = bytearray(journal)
    damaged[data.draw(st.integers(0, len(journal) - 1))] ^= data.draw(st.integers(1, 255))
    assert resume(bytes(damaged)) == reference


@any_example
@given(data=st.data(), junk=st.binary(min_size=1, max_size=40) | st.integers(1, 40).map(bytes))
def test_junk_at_the_end_of_a_journal_ends_with_the_same_contents(
    data: st.DataObject, junk: bytes, resume: Callable, journal: bytes, reference: dict[str, Any]
) -> None:
    assert resume(journal[: data.draw(st.integers(0, len(journal)))] + junk) == reference


def test_what_the_journal_holds_is_not_done_again(
    tmp_path: Path, tracks: pd.DataFrame, loaded: list[str]
) -> None:
    leave_journal(tracks, tmp_path / "x.h5")
    loaded.clear()
    assert preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1).resumed == 5
    assert loaded == [BROKEN]  # what was refused is tried again


def test_what_follows_a_damaged_record_is_found_again(
    tmp_path: Path, tracks: pd.DataFrame, journal: bytes, loaded: list[str]
) -> None:
    (tmp_path / "x.h5.partial").write_bytes(journal[:-300])
    leave_journal(tracks, tmp_path / "x.h5")  # does the last track anew, and is stopped again
    assert loaded == [BROKEN, GOOD[-1]]
    assert preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1).resumed == 5


def test_a_half_written_store_is_written_anew(
    tmp_path: Path, tracks: pd.DataFrame, reference: dict[str, Any]
) -> None:
    (tmp_path / "x.h5.writing").write_bytes(b"half a store")
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    assert contents(tmp_path / "x.h5") == reference
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


# ---- more tracks, other tracks


def test_tracks_added_later_cost_only_those(
    tmp_path: Path, tracks: pd.DataFrame, reference: dict[str, Any], loaded: list[str]
) -> None:
    preprocess(tracks.iloc[[0, 3]], tmp_path / "x.h5", SPEC, jobs=1)
    loaded.clear()
    report = preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    assert loaded == [
        track_id for track_id in tracks["track_id"] if track_id not in set(tracks["track_id"][[0, 3]])
    ]
    assert report.resumed == 2
    assert contents(tmp_path / "x.h5") == reference


def test_tracks_added_to_a_store_with_segments_keep_their_pieces(
    tmp_path: Path, tracks: pd.DataFrame
) -> None:
    preprocess(tracks.iloc[[1, 4]], tmp_path / "x.h5", PIECES, jobs=1)
    preprocess(tracks, tmp_path / "x.h5", PIECES, jobs=1)
    preprocess(tracks, tmp_path / "fresh.h5", PIECES, jobs=1)
    assert contents(tmp_path / "x.h5") == contents(tmp_path / "fresh.h5")


def test_a_file_that_changed_is_done_anew(tmp_path: Path, loaded: list[str]) -> None:
    for seed, name in enumerate(["one", "two", "three"]):
        write_sound(tmp_path / "pop" / f"{name}.wav", seed)
    table = load_tracks(tmp_path)
    preprocess(table, tmp_path / "store.h5", SPEC, jobs=1)
    leave_journal(table, tmp_path / "journal.h5")
    write_sound(tmp_path / "pop" / "two.wav", 7)
    preprocess(table, tmp_path / "fresh.h5", SPEC, jobs=1)
    for name in ("store.h5", "journal.h5"):
        loaded.clear()
        assert preprocess(table, tmp_path / name, SPEC, jobs=1).resumed == 2
        assert loaded == ["two"]
        assert contents(tmp_path / name) == contents(tmp_path / "fresh.h5")


def test_pictures_of_files_that_are_gone_are_kept(tmp_path: Path) -> None:
    for seed, name in enumerate(["one", "two"]):
        write_sound(tmp_path / "pop" / f"{name}.wav", seed)
    table = load_tracks(tmp_path)
    preprocess(table, tmp_path / "x.h5", SPEC, jobs=1)
    before = contents(tmp_path / "x.h5")
    (tmp_path / "pop" / "two.wav").unlink()
    assert preprocess(table, tmp_path / "x.h5", SPEC, jobs=1).refused == {}
    assert contents(tmp_path / "x.h5") == before


def test_a_store_with_other_tracks_is_refused_and_left_alone(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    before = (tmp_path / "x.h5").read_bytes()
    with pytest.raises(
        GtzanKerasError, match=r"x\.h5 holds 3 track\(s\).*metal.00058, rock.00007, rock.00016"
    ):
        preprocess(tracks.query("genre in ('blues', 'jazz')"), tmp_path / "x.h5", SPEC, jobs=1)
    assert (tmp_path / "x.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


# ---- what is refused


def test_a_store_of_another_spec_is_refused_with_both_named(tmp_path: Path, tracks: pd.DataFrame) -> None:
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    before = (tmp_path / "x.h5").read_bytes()
    with pytest.raises(GtzanKerasError) as caught:
        preprocess(tracks, tmp_path / "x.h5", OTHER, jobs=1)
    message = str(caught.value)
    assert "x.h5 was made with spec 'small', not 'other'" in message
    assert "hop_length: 512 against 256" in message
    assert repr(SPEC) in message
    assert repr(OTHER) in message
    assert (tmp_path / "x.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_a_journal_of_another_spec_is_refused_with_both_named(tmp_path: Path, tracks: pd.DataFrame) -> None:
    journal = leave_journal(tracks, tmp_path / "x.h5")
    before = journal.read_bytes()
    with pytest.raises(
        GtzanKerasError, match=r"x\.h5\.partial was made with spec 'small', not 'other' \(.*hop_"
    ):
        preprocess(tracks, tmp_path / "x.h5", OTHER, jobs=1)
    assert journal.read_bytes() == before
    assert list(tmp_path.iterdir()) == [journal]


@pytest.mark.parametrize("kind", ["text", "hdf5", "folder"])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, tracks: pd.DataFrame, kind: str) -> None:
    path = tmp_path / "x.h5"
    if kind == "text":
        path.write_text("my diary")
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file["mel"] = np.arange(3)
    else:
        path.mkdir()
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(GtzanKerasError, match=r"x\.h5: (not an HDF5 file|an HDF5 file, but not|a folder)"):
        preprocess(tracks, path, SPEC, jobs=1)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"spec": "arrigo-v9"}, "spec 'arrigo-v9' is not known; choose one of arrigo-v1"),
        ({}, {"spec": SpectrogramSpec(name="png", from_audio=False)}, "'png' describes imported pictures"),
        ({}, {"jobs": 0}, "jobs=0"),
        (
            {"track_id": "rock.00007"},
            {},
            "track_id 'rock.00007' stands in the table of tracks more than once",
        ),
        (None, {}, "no column genre, path, artist"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, tracks: pd.DataFrame, change: dict | None, arguments: dict[str, Any], message: str
) -> None:
    table = tracks[["track_id"]] if change is None else tracks.assign(**change)
    with pytest.raises(GtzanKerasError, match=message):
        preprocess(table, tmp_path / "x.h5", **{"spec": SPEC, "jobs": 1, **arguments})
    assert list(tmp_path.iterdir()) == []


# ---- memory


def test_workers_do_not_run_ahead_of_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    started = 0

    def make(track_id: str, file: str, spec: SpectrogramSpec) -> str:
        nonlocal started
        started += 1
        return track_id

    monkeypatch.setattr(module, "_BLOCK", 3)
    monkeypatch.setattr(module, "_make_sample", make)
    to_do = [(str(number), "") for number in range(100)]
    waiting = []
    with joblib.parallel_config(backend="threading"):
        for taken, sample in enumerate(module._work(to_do, SPEC, 2, progress=False), start=1):
            assert sample == str(taken - 1)
            hashlib.sha256(bytes(2**20))  # a slow writer
            waiting.append(started - taken)
    assert started == 100
    assert max(waiting) < 6  # two workers, three each


def test_a_track_is_written_before_the_next_is_done(
    tmp_path: Path, tracks: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    work, append = module._make_sample, module._Journal.append

    def make(*arguments: Any) -> Any:
        events.append("make")
        return work(*arguments)

    def write(*arguments: Any) -> None:
        events.append("write")
        append(*arguments)

    monkeypatch.setattr(module, "_make_sample", make)
    monkeypatch.setattr(module._Journal, "append", write)
    preprocess(tracks, tmp_path / "x.h5", SPEC, jobs=1)
    assert events == ["make", "write"] * 6
