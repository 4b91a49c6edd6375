"""Tables of features: one row a track or segment, and Kaggle's own."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.features import FEATURE_COLUMNS, TABLE_COLUMNS, extract
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.feature_table import feature_table, load_feature_table
from gtzan_keras.tracks.catalogue import load_tracks

RATE = 22050


def music(seconds: float, seed: int = 0) -> np.ndarray:
    """A tone and some noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(size=len(time))
    return (0.3 * np.sin(2 * np.pi * 450 * time) + 0.1 * noise).astype("float32")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three short tracks of two genres."""
    for index, name in enumerate(("jazz/one.wav", "jazz/two.wav", "rock/three.wav")):
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "music" / name, music(2.5, seed=index), RATE)
    return tmp_path / "music"


def table_like_kaggle(rows: int = 4) -> pd.DataFrame:
    numbers = np.random.default_rng(0).normal(size=(rows, len(FEATURE_COLUMNS)))
    table = pd.DataFrame(numbers, columns=list(FEATURE_COLUMNS))
    table.insert(0, "filename", [f"blues.{row:05}.wav" for row in range(rows)])
    table.insert(1, "length", 661794)
    return table.assign(label="blues")


def test_a_table_has_a_row_a_track_in_their_order(root):
    table = feature_table(load_tracks(root), jobs=1)
    assert list(table) == list(TABLE_COLUMNS)
    assert table["filename"].tolist() == ["jazz/one.wav", "jazz/two.wav", "rock/three.wav"]
    assert table["label"].tolist() == ["jazz", "jazz", "rock"]
    expected = extract(load_audio(root / "jazz" / "two.wav", RATE), RATE)
    assert table[list(expected)].iloc[1].to_dict() == expected
    assert table.attrs["refused"] == {}


def test_segments_are_whole_ones_and_numbered_from_0(root):
    soundfile.write(root / "jazz" / "jazz.00001.wav", music(3.9), RATE)
    table = feature_table(load_tracks(root), segment=1.25, jobs=1)
    names = [name for name in table["filename"] if name.startswith("jazz.00001")]
    assert names == ["jazz.00001.0.wav", "jazz.00001.1.wav", "jazz.00001.2.wav"]
    length = round(1.25 * RATE)
    assert set(table["length"]) == {length}
    sound = load_audio(root / "jazz" / "jazz.00001.wav", RATE)[length : 2 * length]
    row = table.set_index("filename").loc["jazz.00001.1.wav"]
    assert row[list(FEATURE_COLUMNS)].to_dict() == pytest.approx(
        {column: extract(sound, RATE)[column] for column in FEATURE_COLUMNS}
    )


def test_broken_files_are_left_out_and_named(root, caplog):
    (root / "jazz" / "two.wav").write_text("not music")
    soundfile.write(root / "rock" / "three.wav", music(1.2), RATE)
    soundfile.write(root / "rock" / "four.wav", 0 * music(3), RATE)
    with caplog.at_level(logging.WARNING):
        table = feature_table(load_tracks(root), segment=2, jobs=1)
    assert table["filename"].tolist() == ["jazz/one#0.wav"]
    assert table.attrs["refused"] == {
        "jazz/two": "not readable as sound (Format not recognised)",
        "rock/four": "silent: every sample is below half a 16-bit step",
        "rock/three": "too short: 1.20 s of sound, a segment has 2 s",
    }
    logged = [record.getMessage().split(":")[0] for record in caplog.records]
    assert logged == ["left out jazz/two", "left out rock/four", "left out rock/three"]


def test_a_table_of_nothing_is_refused(root, tmp_path):
    tracks = load_tracks(root)
    with pytest.raises(GtzanKerasError, match=r"none of the 3 tracks could be read .*too short: 2.50 s"):
        feature_table(tracks, segment=30, jobs=1, path=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_bad_arguments_are_refused(root, tmp_path):
    tracks = load_tracks(root)
    for segment in (0.5, float("nan"), float("inf")):
        with pytest.raises(GtzanKerasError, match=f"segment={segment}: expected at least 1 second, or None"):
            feature_table(tracks, segment=segment)
    with pytest.raises(GtzanKerasError, match="no column genre"):
        feature_table(tracks[["track_id", "path"]])
    with pytest.raises(GtzanKerasError, match="is a folder; name the file to write"):
        feature_table(tracks, path=tmp_path)


# Written and read back (interrupted: test_parts.py)


@pytest.mark.parametrize("suffix", ["gz", "zip", "xz", "bz2"])
def test_a_damaged_archive_is_one_error(suffix, tmp_path):
    path = tmp_path / f"table.csv.{suffix}"
    pd.DataFrame({"filename": [f"{number}.wav" for number in range(99)]}).to_csv(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
        GtzanKerasError, match=rf"table\.csv\.{suffix}: cannot be read as a table of features"
    ):
        load_feature_table(path)


def test_two_jobs_write_the_table_that_one_returns(root, tmp_path):
    path = tmp_path / "new folder" / "features.csv"
    table = feature_table(load_tracks(root), segment=1, jobs=2, path=path)
    pd.testing.assert_frame_equal(feature_table(load_tracks(root), segment=1, jobs=1), table)
    pd.testing.assert_frame_equal(load_feature_table(path), table, rtol=1e-15)
    assert [file.name for file in path.parent.iterdir()] == ["features.csv"]


# Reading tables


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zip"])
def test_a_table_is_compressed_as_its_name_says(suffix, root, tmp_path):
    path = tmp_path / f"features.csv{suffix}"
    table = feature_table(load_tracks(root), path=path, jobs=1)
    pd.testing.assert_frame_equal(load_feature_table(path), table, rtol=1e-15)


def test_kaggles_table_loads(real_data):
    table = load_feature_table(real_data / "features_30_sec.csv")
    assert list(table) == list(TABLE_COLUMNS)
    assert table["label"].value_counts().eq(100).all()
    assert table.loc[0, "tempo"] == 123.046875
    assert (table[list(FEATURE_COLUMNS)].dtypes == "float64").all()


def test_other_columns_orders_and_labels_do_not_matter(tmp_path):
    table = table_like_kaggle().assign(label="fado")
    table[table.columns[::-1]].to_csv(tmp_path / "table.csv")  # with the index as a nameless column
    pd.testing.assert_frame_equal(load_feature_table(tmp_path / "table.csv"), table, rtol=1e-15)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("rms_mean", np.nan, r"column 'rms_mean', row 'blues.00002.wav' \(line 4\): nan; expected a finite"),
        ("mfcc20_var", "loud", r"column 'mfcc20_var', row .*: 'loud'; expected a finite number"),
        ("tempo", np.inf, r"column 'tempo', row .*: inf; expected a finite number"),
        ("label", np.nan, r"column 'label', row .* \(line 4\): nan; expected a genre"),
        ("filename", "blues.00001.wav", r"column 'filename', row 'blues.00001.wav' \(line 4\).*once"),
        ("filename", np.nan, r"column 'filename', row nan \(line 4\): nan; expected a file name"),
    ],
)
def test_a_bad_cell_is_named(tmp_path, column, value, message):
    table = table_like_kaggle().astype(object)
    table.loc[2, column] = value
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(GtzanKerasError, match=f"table.csv: {message}"):
        load_feature_table(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read .*No such file"),
        ("a,b\n1,2\n3,4,5\n", "cannot be read as a table of features in CSV"),
        (",".join(TABLE_COLUMNS), "holds no rows"),
        (",".join(TABLE_COLUMNS[:-2]) + "\n", "the table has no column mfcc20_var, label"),
        (
            "name\n",
            r"the table has no column filename, length, .*, and 52 more; .* has .*, and 52 more$",
        ),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "table.csv").write_text(content)
    with pytest.raises(GtzanKerasError, match=f"table.csv: {message}"):
        load_feature_table(tmp_path / "table.csv")
