from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_keras import AudioError, SpectrogramSpec, open_store, preprocess
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.feature_table import feature_table
from gtzan_keras.tracks import catalogue
from gtzan_keras.tracks.catalogue import describe, exact_copies, facts, genre_names, load_tracks
from gtzan_keras.tracks.verify import verify
from gtzan_keras.training.cross_validate import tracks_of

HEADER = "track_id,genre,artist,title,wav_md5,fault_filtered,exact_duplicate_of\n"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ids(root: Path) -> list[str]:
    return load_tracks(root)["track_id"].tolist()


def tone(path: Path, seconds: float = 2.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(0.125 * np.arange(round(seconds * 22050))), 22050)
    return path


# --- the facts


def test_facts_have_14_pairs_of_exact_copies_which_are_the_tracks_of_equal_md5():
    groups = facts().groupby("wav_md5").groups.values()
    pairs = sorted(tuple(sorted(ids)) for ids in groups if len(ids) > 1)
    assert len(pairs) == 14
    assert catalogue.duplicate_groups(describe(facts()["genre"].to_dict())) == pairs


def test_packaged_facts_equal_the_published_table(real_data):
    ours = facts().reset_index()
    theirs = pd.read_csv(real_data / "gtzan_tracks.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(ours, theirs[ours.columns])


def test_facts_saved_by_a_spreadsheet_are_text_also_where_they_say_na(tmp_path):
    (tmp_path / "tracks.csv").write_text(HEADER + "a/x,a,Björk,NA,,,\n", encoding="utf-8-sig")
    assert facts(tmp_path / "tracks.csv").loc["a/x", ["artist", "title"]].tolist() == ["Björk", "NA"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"track_id,genre\na/x,a\n", "the table has no column artist, title, wav_md5"),
        (HEADER.encode() + b"a/x,a,,,,,\na/x,a,,,,,\n", "track_id 'a/x' is duplicated"),
        (HEADER.encode() + b"a/x,a,,,,test set,\n", "fault_filtered is 'test set'; expected train, valid"),
        (b"\xff\xfe\x00junk", "cannot be read"),
        (b'track_id,"genre\n', "cannot be read"),
        (None, "cannot be read"),
    ],
    ids=repr,
)
def test_a_table_of_facts_with_faults_is_refused_by_file_and_fault(tmp_path, content, message):
    if content is not None:
        (tmp_path / "tracks.csv").write_bytes(content)
    with pytest.raises(GtzanKerasError, match=rf"tracks\.csv: {message}"):
        facts(tmp_path / "tracks.csv")


# --- finding tracks


@pytest.mark.parametrize("top", ["", "GTZAN-Genre-Collection-mini"])
@pytest.mark.parametrize("layout", ["genres", "genres_original", "", "Data/genres_original"])
def test_every_common_layout_is_found_also_below_an_archives_top_folder(tmp_path, top, layout):
    base = touch(tmp_path / top / layout, "blues/blues.00000.wav")
    assert load_tracks(tmp_path)["path"].tolist() == [str(base / "blues" / "blues.00000.wav")]


def test_shadow_files_of_a_mac_hidden_folders_and_other_files_are_left_alone(tmp_path):
    touch(tmp_path, "genres/blues/._blues.00000.wav", "genres/.git/x.wav", "__MACOSX/blues/blues.00001.wav")
    touch(tmp_path, "genres/blues/blues.00000.wav", "genres/blues/notes.txt", "genres/blues/x.wav.md5")
    assert ids(tmp_path) == ["blues.00000"]


@pytest.mark.parametrize(
    "name",
    ["blues/blues.00000.wav", "blues/blues00000.au", "BLUES/BLUES.00000.WAV", "hip-hop/hiphop.00000.wav"],
)
def test_the_names_of_every_release_mean_the_same_track(tmp_path, name):
    found = load_tracks(touch(tmp_path, name))
    genre = "blues" if name.lower().startswith("blues") else "hiphop"
    assert found.loc[0, ["track_id", "genre"]].tolist() == [f"{genre}.00000", genre]
    assert found.loc[0, "artist"] == facts().loc[f"{genre}.00000", "artist"]


def test_a_file_in_the_wrong_genre_folder_gets_the_folders_genre_and_no_facts(tmp_path):
    found = load_tracks(touch(tmp_path, "rock/blues.00000.wav", "blues/blues.00000.wav"))
    assert found[["track_id", "genre", "artist", "fault_filtered"]].values.tolist() == [
        ["blues.00000", "blues", "John Lee Hooker", "valid"],
        ["rock/blues.00000", "rock", "", ""],
    ]


def test_rows_are_in_class_order_then_by_track_id(tmp_path):
    touch(tmp_path, "rock/rock.00001.wav", "rock/rock.00000.wav", "metal/metal.00000.wav", "hip-hop/x.wav")
    assert ids(tmp_path) == ["hiphop/x", "metal.00000", "rock.00000", "rock.00001"]
    touch(tmp_path, "zouk/a.wav", "Ambient/b.wav")  # own genres make the class order sorted
    assert genre_names(load_tracks(tmp_path)["genre"]) == ["ambient", "hiphop", "metal", "rock", "zouk"]
    assert ids(tmp_path)[::5] == ["ambient/b", "zouk/a"]


def test_a_tracks_csv_next_to_the_genre_folders_overrides_the_packaged_facts(tmp_path):
    touch(tmp_path, "genres/rock/my song.ogg", "genres/rock/its copy.ogg", "genres/blues/blues.00000.wav")
    (tmp_path / "genres" / "tracks.csv").write_text(
        HEADER
        + "rock/my song,rock,Me,Song,,test,rock/its copy; rock/gone\n"
        + "rock/its copy,rock,Me,Song,,test,rock/my song\n"
    )
    found = load_tracks(tmp_path).set_index("track_id")
    assert found.loc["rock/my song", ["artist", "title", "fault_filtered"]].tolist() == ["Me", "Song", "test"]
    assert found.loc["rock/my song", "duplicates"] == ("rock/its copy",)
    assert found.loc["blues.00000", "artist"] == ""


def test_own_facts_do_not_drop_gtzans_exact_copies(tmp_path):
    (tmp_path / "tracks.csv").write_text(HEADER + "rock.00016,rock,Me,,,,\n")
    assert load_tracks(touch(tmp_path, "rock/rock.00016.wav"))["duplicates"].tolist() == [()]
    touch(tmp_path, "metal/metal.00058.wav")
    assert load_tracks(tmp_path)["duplicates"].tolist() == [("rock.00016",), ("metal.00058",)]


def test_copies_of_one_absent_track_are_copies_of_each_other(tmp_path):
    touch(tmp_path, "rock/a.wav", "rock/b.wav", "rock/c.wav")
    (tmp_path / "tracks.csv").write_text(HEADER + "rock/a,rock,,,,,rock/gone\nrock/gone,rock,,,,,rock/b\n")
    assert load_tracks(tmp_path)["duplicates"].tolist() == [("rock/b",), ("rock/a",), ()]


# --- folders as people have them


def test_equal_files_of_an_own_collection_are_copies_and_strange_facts_are_named(tmp_path, caplog):
    for name, content in {"rock/a.wav": b"a" * 20_000 + b"1", "pop/b.mp3": b"a" * 20_000 + b"2"}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    for name, original in {"pop/copy.ogg": "rock/a.wav", "rock/blues.00000.wav": "pop/b.mp3"}.items():
        (tmp_path / name).write_bytes((tmp_path / original).read_bytes())
    (tmp_path / "tracks.csv").write_text(
        HEADER
        + "Rock/a,rock,Ada,,,,pop/b.mp3\nrock/lost,,,,,,\npop/b,Rock,,,,,rock/lost\npop/copy,Pop,,,,,\n"
    )
    (tmp_path / "rock" / "gone.wav").symlink_to("nowhere.wav")
    tracks = load_tracks(tmp_path)
    assert {row.track_id: row.duplicates for row in tracks.itertuples() if row.duplicates} == {
        "pop/b": ("rock/blues.00000",),
        "pop/copy": ("rock/a",),
        "rock/a": ("pop/copy",),
        "rock/blues.00000": ("pop/b",),
    }
    rule = "a track id is genre/name or genre/album/name, without a suffix"
    own = tmp_path / "tracks.csv"
    assert [record.message for record in caplog.records] == [
        f"{own}: 2 row(s) about no track of this folder; {rule}: Rock/a, rock/lost",
        f"{own}: 1 id(s) in exact_duplicate_of of no track; {rule}: pop/b.mp3",
        f"{own}: 1 row(s) with another genre than the folder, whose name counts: pop/b",
    ]


def test_facts_find_their_track_in_either_form_of_its_accents(tmp_path):
    composed, apart = (unicodedata.normalize(form, "rock/ärger") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{apart}.wav", "rock/b.wav")
    rows = f"{composed},,Ada,,,,\n{apart},,Bo,,,,\nrock/b,,,,,,{composed}\n"
    (tmp_path / "tracks.csv").write_text(HEADER + rows, "utf-8")
    tracks = load_tracks(tmp_path).set_index("track_id")
    assert len(tracks) == 2
    assert tracks["artist"].to_dict() == {apart: "Ada", "rock/b": ""}
    assert tracks.loc["rock/b", "duplicates"] == (apart,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER.replace(",", ";"), "its columns are separated by ';'; save it with commas"),
        (HEADER.replace(",", "\t"), r"its columns are separated by '\\t'; save it with commas"),
        (HEADER + "früh/b,,,,,,", r"cannot be read as a table of facts in CSV \(it is not in UTF-8\)"),
    ],
)
def test_tables_as_spreadsheets_write_them_are_refused_with_the_reason(tmp_path, content, message):
    touch(tmp_path, "rock/a.wav")
    (tmp_path / "tracks.csv").write_text(content, "latin-1")
    with pytest.raises(GtzanKerasError, match=f"tracks.csv: {message}"):
        load_tracks(tmp_path)


def test_a_trailing_semicolon_links_nothing():
    table = pd.DataFrame({"exact_duplicate_of": ["b; ", "d;"]}, index=["a", "c"])
    assert [pair for pair in exact_copies(table) if pair[0] in "ac"] == [("a", "b"), ("c", "d")]


def test_pieces_are_read_as_one_sound_in_their_order(tmp_path):
    sounds = [np.full(22050, number / 20) for number in range(11)]
    (tmp_path / "blues").mkdir()
    for number, sound in enumerate(sounds):
        soundfile.write(tmp_path / "blues" / f"blues.00000.{number}.wav", sound, 22050)
    path = load_tracks(tmp_path)["path"][0]
    read = catalogue.load_track(path, 22050)
    np.testing.assert_allclose(read, np.concatenate(sounds), atol=1e-4)
    np.testing.assert_array_equal(catalogue.load_track(path, 22050, duration=1.5), read[:33075])
    assert verify(load_tracks(tmp_path), jobs=1)["status"].tolist() == ["ok"]
    before = catalogue.file_md5(path)
    soundfile.write(tmp_path / "blues" / "blues.00000.3.wav", sounds[0], 22050)
    assert catalogue.file_md5(path) != before


def test_stores_and_tables_have_the_tracks_of_a_folder_of_pieces_and_of_takes_that_are_none(tmp_path):
    pieces = [f"blues/blues.{t:05d}.{k}" for t in range(2) for k in range(3)]
    for name in (*pieces, "rock/Take.1", "rock/Take.2"):
        tone(tmp_path / f"{name}.wav", seconds=1.5)
    tracks = load_tracks(tmp_path)
    expected = ["blues.00000", "blues.00001", "rock/Take.1", "rock/Take.2"]
    assert tracks["track_id"].tolist() == expected
    cut = {"clip_seconds": None, "segment_seconds": 1.5, "segment_hop_seconds": 1.5}
    spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8, **cut)
    preprocess(tracks, tmp_path / "x.h5", spec, jobs=1, progress=False)
    with open_store(tmp_path / "x.h5") as store:
        assert store.tracks["track_id"].tolist() == expected
        assert store.sample_id[:4] == ["blues.00000#0", "blues.00000#1", "blues.00000#2", "blues.00001#0"]
    table = feature_table(tracks, segment=1, jobs=1, progress=False)
    assert tracks_of(table)["track_id"].tolist() == expected
    names = ["blues.00000.0.wav", "blues.00001.0.wav", "rock/Take.1#0.wav"]
    assert table["filename"].tolist()[::4] == names


def test_a_short_last_piece_is_left_out_and_a_broken_one_is_named(tmp_path):
    for number, seconds in enumerate((2.0, 0.1)):
        tone(tmp_path / "blues" / f"blues.00000.{number}.wav", seconds)
        tone(tmp_path / "blues" / f"blues.00001.{number}.wav", 0.1)
    (tmp_path / "blues" / "blues.00002.0.wav").write_bytes(b"no music")
    tone(tmp_path / "blues" / "blues.00002.1.wav")
    first, short, broken = load_tracks(tmp_path)["path"]
    assert len(catalogue.load_track(first, 22050)) == 44100
    with pytest.raises(AudioError, match=r"too short.*, in blues\.00001\.1\.wav"):
        catalogue.load_track(short, 22050)
    with pytest.raises(AudioError, match=r"not readable as sound.*, in blues\.00002\.0\.wav"):
        catalogue.load_track(broken, 22050)


def test_a_silent_track_is_refused_but_not_one_with_a_silent_piece(tmp_path):
    for track, levels in {"blues.00000": (0, 1), "blues.00001": (0, 0)}.items():
        for number, level in enumerate(levels):
            file = tone(tmp_path / "blues" / f"{track}.{number}.wav")
            if not level:
                soundfile.write(file, np.full(44100, 1e-5), 22050, subtype="FLOAT")  # 1/3 of a 16-bit step
    first, silent = load_tracks(tmp_path)["path"]
    assert len(catalogue.load_track(first, 22050)) == 2 * 44100
    with pytest.raises(AudioError, match="silent: every sample is below half a 16-bit step"):
        catalogue.load_track(silent, 22050)


def test_a_number_sign_in_a_name_is_not_a_segment(tmp_path):
    found = load_tracks(touch(tmp_path, "rock/a.wav", "rock/a#0.wav", "rock/#1 hit.wav"))
    assert found["track_id"].tolist() == ["rock/#1 hit", "rock/a", "rock/a%230"]
    assert [catalogue.track_of(track_id) for track_id in found["track_id"]] == found["track_id"].tolist()
    with pytest.raises(GtzanKerasError, match="'rock/a#0': '#' and a number at the end name a segment"):
        describe({"rock/a#0": "rock"})


@pytest.mark.parametrize(
    ("taken", "left_out", "reason"),
    [
        ("Rock/01.wav", ["rock/01.flac"], "another file already has the same track id"),
        ("pop/x.mp3", ["1.wav", "2.wav", "3.wav"], "in no genre folder"),
        (
            "blues/blues.00000.mp3",
            ["blues/blues.00000.0.wav", "blues/blues.00000.1.wav"],
            "another file already has the same track id",
        ),
    ],
    ids=["colliding names", "no genre folder", "pieces of a whole track"],
)
def test_files_that_are_left_out_are_named_in_one_line(tmp_path, caplog, taken, left_out, reason):
    touch(tmp_path, taken, *left_out)
    assert load_tracks(tmp_path)["path"].tolist() == [str(tmp_path / taken)]
    named = ", ".join(str(tmp_path / name) for name in left_out)
    assert [record.message for record in caplog.records] == [
        f"{len(left_out)} sound file(s) left out, {reason}: {named}"
    ]


def test_albums_below_a_genre_are_read(tmp_path):
    touch(tmp_path, "rock/first/1.mp3", "rock/second/1.mp3", "pop/third/live/1.mp3")
    assert ids(tmp_path) == ["pop/third/live/1", "rock/first/1", "rock/second/1"]
    assert ids(touch(tmp_path, "pop/0.mp3"))[0] == "pop/0"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="such names cannot be made there")
@pytest.mark.parametrize("folder", [b"rock", b"r\xf3ck"])
def test_names_that_are_not_utf_8_are_left_out_in_one_line_that_names_them(tmp_path, caplog, folder):
    touch(tmp_path, "pop/ok.wav")
    place = os.fsencode(tmp_path) + b"/" + folder
    os.mkdir(place)
    open(place + b"/br\xe9sil.wav", "wb").close()
    assert ids(tmp_path) == ["pop/ok"]
    assert "1 sound file(s) left out, their names have control characters or invalid UTF-8; " in caplog.text
    assert r"br\udce9sil.wav" in caplog.text
    (tmp_path / "pop" / "ok.wav").unlink()
    with pytest.raises(GtzanKerasError, match="cannot be read; rename the files"):
        load_tracks(tmp_path)


NAMES = st.text(
    st.one_of(st.sampled_from("ab.#01 []/%_é\udce9"), st.characters(exclude_characters="\0")),
    min_size=1,
    max_size=8,
)
PATHS = st.builds(
    lambda parts, name, suffix: "/".join([*parts, name + suffix]),
    st.lists(st.one_of(st.sampled_from(["blues", "Blues", "000", "genres", "Data"]), NAMES), max_size=4),
    st.one_of(st.sampled_from(["blues.00000", "blues00000", "blues.00000.3", "x#2"]), NAMES),
    st.sampled_from([".wav", ".WAV", ".mp3", ".opus", ".txt", ""]),
)


@settings(max_examples=50, deadline=None)
@given(paths=st.lists(PATHS, max_size=8))
def test_any_folder_gives_a_table_or_one_error(paths):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "root"
        root.mkdir()
        for path in paths:
            file = root.joinpath(*(part for part in path.split("/") if part not in ("", ".", "..")))
            with contextlib.suppress(OSError, UnicodeError):  # a name that cannot be, or is taken
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        try:
            found = load_tracks(root)
        except GtzanKerasError:
            return
        assert found["track_id"].is_unique
        assert all(catalogue.track_of(track_id) == track_id for track_id in found["track_id"])
        for row in found.itertuples():
            assert all(file.is_file() for file in catalogue.files_of(row.path))
            for segment in (None, 3):  # a table of features tells the same tracks apart
                name = catalogue.row_name(row.track_id, Path(row.path).suffix, segment)
                assert catalogue.track_of_row(name, row.genre) == row.track_id
        found.to_json()
        found.to_csv().encode("utf-8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("elsewhere/rock/song.wav", "root: no such folder"),
        ("root/blues/readme.txt", r"no sound files in genre folders.*blues/blues\.00000\.wav"),
        ("root/song.wav", r"no sound files in genre folders.*blues/blues\.00000\.wav"),
        ("root/fma_small/001/001039.mp3", "folders named 001 are numbers, as in FMA, not genres"),
    ],
)
def test_a_folder_without_genres_is_refused_with_an_example_of_what_is_expected(tmp_path, name, message):
    touch(tmp_path, name)
    with pytest.raises(GtzanKerasError, match=message):
        load_tracks(tmp_path / "root")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_genre_folder_that_may_not_be_read_is_refused_by_name(tmp_path):
    touch(tmp_path, "blues/blues.00000.wav", "rock/rock.00000.wav")
    (tmp_path / "rock").chmod(0)
    try:
        with pytest.raises(GtzanKerasError, match=r"rock: cannot be read \(Permission denied\)"):
            load_tracks(tmp_path)
    finally:
        (tmp_path / "rock").chmod(0o700)


# --- names


def test_tracks_are_called_by_what_they_are():
    gtzan = facts()["genre"].to_dict()
    assert catalogue.data_name(describe(gtzan)) == "GTZAN"
    assert catalogue.data_name(describe(dict(list(gtzan.items())[:100]))) == "100 of GTZAN's 1000 tracks"
    assert catalogue.data_name(describe({"rock/x": "rock"} | gtzan)) == "own collection of 1001 tracks"
    assert catalogue.data_name(describe({"rock/demo.00000": "rock"})) == "demo set"
