"""Features: Kaggle's numbers, librosa's numbers, tables that survive kills, and the report's filter."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from gtzan_keras.audio import features as features_module
from gtzan_keras.audio.decode import load_audio
from gtzan_keras.audio.features import (
    FEATURE_COLUMNS,
    MFCC_COLUMNS,
    NON_MFCC_COLUMNS,
    TABLE_COLUMNS,
    correlation_filter,
    extract,
)
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.feature_table import feature_table, load_feature_table
from gtzan_keras.tracks.catalogue import load_tracks

RATE = 22050


def music(seconds: float, seed: int = 0) -> np.ndarray:
    """Two tones, a click twice a second, and some noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 450 * time) + 0.2 * np.sin(2 * np.pi * 1330 * time)
    sound += 0.8 * (time % 0.5 < 0.003) * rng.normal(size=len(time))
    return (sound + 0.01 * rng.normal(size=len(time))).astype("float32") * np.float32(0.5)


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


# The numbers


def plain_librosa(sound: np.ndarray) -> dict[str, float]:
    """Each feature by its own call from the samples, with the padding of the older librosa."""
    from librosa import feature
    from librosa.beat import beat_track
    from librosa.effects import hpss
    from librosa.onset import onset_strength

    mirrored: dict[str, Any] = {"y": sound, "sr": RATE, "pad_mode": "reflect"}
    harmonic, percussive = hpss(sound, pad_mode="reflect")
    onsets = onset_strength(aggregate=np.median, **mirrored)
    series = {
        "chroma_stft": feature.chroma_stft(**mirrored),
        "rms": feature.rms(y=sound, pad_mode="reflect"),
        "spectral_centroid": feature.spectral_centroid(**mirrored),
        "spectral_bandwidth": feature.spectral_bandwidth(**mirrored),
        "rolloff": feature.spectral_rolloff(**mirrored),
        "zero_crossing_rate": feature.zero_crossing_rate(sound),
        "harmony": harmonic,
        "perceptr": percussive,
    }
    series |= {f"mfcc{i}": row for i, row in enumerate(feature.mfcc(n_mfcc=20, **mirrored), 1)}
    result: dict[str, float] = {"length": len(sound)}
    for name, values in series.items():
        result |= {f"{name}_mean": np.mean(values), f"{name}_var": np.var(values)}
    tempo, _ = beat_track(onset_envelope=onsets, sr=RATE)
    return result | {"tempo": np.ravel(tempo)[0]}


def assert_as_plain_librosa(sound: np.ndarray) -> None:
    ours, plain = extract(sound, RATE), plain_librosa(sound)
    assert list(ours) == ["length", *FEATURE_COLUMNS]
    for column, value in ours.items():
        # The second term is rounding in the mean of samples whose sum is almost nothing.
        assert value == pytest.approx(plain[column], rel=1e-5, abs=1e-9), column


@pytest.mark.parametrize("hops", [4, 40, 400])
def test_sharing_the_stft_gives_what_separate_librosa_calls_give(hops: int) -> None:
    # In whole hops: behind them the older librosa left silence, see the test with Kaggle's table.
    assert_as_plain_librosa(music(20)[: 512 * hops])


def test_sharing_the_stft_gives_what_separate_librosa_calls_give_on_a_real_track(real_data: Path) -> None:
    sound = load_audio(real_data / "gtzan_mini" / "reggae" / "reggae.00000.wav", RATE)
    assert_as_plain_librosa(sound[: 512 * 500])


def test_real_tracks_have_the_numbers_of_kaggles_table(real_data: Path) -> None:
    tracks = load_tracks(real_data / "gtzan_mini")
    chosen = tracks.groupby("genre", sort=False).head(1)[:6]
    ours = feature_table(chosen, jobs=1, progress=False).set_index("filename")
    kaggle = pd.read_csv(real_data / "features_30_sec.csv").set_index("filename").loc[ours.index]
    assert list(ours) == list(kaggle)
    assert ours["label"].tolist() == kaggle["label"].tolist()
    for column in ("length", *FEATURE_COLUMNS):
        error = (ours[column] - kaggle[column]).abs()
        # harmony_mean and perceptr_mean are sums of +-0.1 that come to some 1e-5: rounding shows.
        assert (error <= 1e-4 * kaggle[column].abs() + 1e-8).all(), f"{column}\n{error}"


def test_tempo_of_clicks_is_their_rate() -> None:
    assert extract(music(20), RATE)["tempo"] == pytest.approx(120, rel=0.03)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_sound_at_another_rate_is_resampled(rate: int) -> None:
    there, here = (np.sin(2 * np.pi * 1000 * np.arange(r * 2) / r) for r in (rate, RATE))
    resampled, expected = extract(there, rate), extract(here, RATE)
    assert resampled["length"] == expected["length"]
    for column in ("chroma_stft_mean", "rms_mean", "spectral_centroid_mean", "zero_crossing_rate_mean"):
        assert resampled[column] == pytest.approx(expected[column], rel=0.01), column


@pytest.mark.parametrize(
    "sound",
    [np.zeros(RATE * 3), np.ones(RATE), np.eye(1, RATE)[0], music(1)[:2048], np.zeros(2048)],
    ids=["silence", "constant", "one click", "one frame", "one silent frame"],
)
def test_sound_without_pitch_or_beat_has_finite_features(sound: np.ndarray) -> None:
    assert np.isfinite(list(extract(sound, RATE).values())).all()


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (np.zeros(2047), RATE, "audio of 2047 samples at 22050 Hz is too short; features need at least 2048"),
        (np.zeros(0), RATE, "audio of 0 samples"),
        (np.zeros(4000), 44100, "audio of 2000 samples at 22050 Hz is too short"),
        (np.zeros((2, 30000)), RATE, r"audio of shape \(2, 30000\): expected mono"),
        (np.full(30000, np.nan), RATE, "NaN or infinite"),
        (np.zeros(30000), 0, "sample_rate is 0; expected a number above 0"),
    ],
)
def test_sound_that_has_no_features_is_refused(sound: np.ndarray, rate: int, message: str) -> None:
    with pytest.raises(GtzanKerasError, match=message):
        extract(sound, rate)


# The table


def test_the_columns_are_kaggles(real_data: Path) -> None:
    assert list(TABLE_COLUMNS) == list(pd.read_csv(real_data / "features_30_sec.csv", nrows=0))
    assert (len(TABLE_COLUMNS), len(FEATURE_COLUMNS)) == (60, 57)
    assert (len(MFCC_COLUMNS), len(NON_MFCC_COLUMNS)) == (40, 17)


def test_a_table_has_a_row_a_track_in_their_order(root: Path) -> None:
    table = feature_table(load_tracks(root), jobs=1)
    assert list(table) == list(TABLE_COLUMNS)
    assert table["filename"].tolist() == ["jazz/one.wav", "jazz/two.wav", "rock/three.wav"]
    assert table["label"].tolist() == ["jazz", "jazz", "rock"]
    expected = extract(load_audio(root / "jazz" / "two.wav", RATE), RATE)
    assert table[list(expected)].iloc[1].to_dict() == expected
    assert table.attrs["refused"] == {}


def test_segments_are_whole_ones_and_numbered_from_0(root: Path) -> None:
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


def test_two_jobs_give_the_table_of_one(root: Path) -> None:
    tracks = load_tracks(root)
    alone, together = feature_table(tracks, segment=1, jobs=1), feature_table(tracks, segment=1, jobs=2)
    pd.testing.assert_frame_equal(alone, together)


def test_broken_files_are_left_out_and_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "jazz" / "two.wav").write_text("not music")
    soundfile.write(root / "rock" / "three.wav", music(1.2), RATE)
    with caplog.at_level(logging.WARNING):
        table = feature_table(load_tracks(root), segment=2, jobs=1)
    assert table["filename"].tolist() == ["jazz/one#0.wav"]
    assert table.attrs["refused"] == {
        "jazz/two": "not readable as sound (Format not recognised)",
        "rock/three": "too short: 1.20 s of sound, a segment has 2 s",
    }
    logged = [record.getMessage().split(":")[0] for record in caplog.records]
    assert logged == ["left out jazz/two", "left out rock/three"]


def test_a_table_of_nothing_is_refused(root: Path, tmp_path: Path) -> None:
    tracks = load_tracks(root)
    with pytest.raises(GtzanKerasError, match=r"not one of 3 tracks could be read .*too short: 2.50 s"):
        feature_table(tracks, segment=30, jobs=1, path=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("segment", [0, -3, 0.5, float("nan"), float("inf")])
def test_a_segment_too_short_to_hear_is_refused(root: Path, segment: float) -> None:
    with pytest.raises(GtzanKerasError, match=f"segment is {segment}; expected at least 1 second, or None"):
        feature_table(load_tracks(root), segment=segment)


def test_tracks_without_paths_are_refused() -> None:
    with pytest.raises(GtzanKerasError, match="no column genre, path"):
        feature_table(pd.DataFrame({"track_id": ["blues.00000"]}))


# Files: written, killed, read back


def test_a_written_table_reads_back_the_same(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "features.csv"
    table = feature_table(load_tracks(root), segment=1, jobs=1, path=path)
    pd.testing.assert_frame_equal(load_feature_table(path), table, rtol=1e-15)
    assert [file.name for file in path.parent.iterdir()] == ["features.csv"]


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files read so far; the second one read kills the run."""
    read: list[str] = []
    real = features_module._extract_file

    def counting(file: str, segment: float | None) -> list[list[float]] | str:
        read.append(Path(file).name)
        if len(read) == 2:
            raise KeyboardInterrupt
        return real(file, segment)

    monkeypatch.setattr(features_module, "_extract_file", counting)
    return read


def test_a_killed_run_goes_on_where_it_stopped(root: Path, tmp_path: Path, read_files: list[str]) -> None:
    path, tracks = tmp_path / "features.csv", load_tracks(root)
    path.write_text("an older table")
    with pytest.raises(KeyboardInterrupt):
        feature_table(tracks, jobs=1, path=path)
    assert path.read_text() == "an older table"
    assert (tmp_path / "features.csv.partial").is_file()
    table = feature_table(tracks, jobs=1, path=path)
    assert read_files == ["one.wav", "two.wav", "two.wav", "three.wav"]
    pd.testing.assert_frame_equal(table, feature_table(tracks, jobs=1))
    pd.testing.assert_frame_equal(table, load_feature_table(path), rtol=1e-15)
    assert not (tmp_path / "features.csv.partial").exists()


@pytest.mark.parametrize("tail", ["half a line", "half a header"])
def test_a_line_cut_short_does_not_count(
    root: Path, tmp_path: Path, read_files: list[str], tail: str
) -> None:
    path, tracks = tmp_path / "features.csv", load_tracks(root)
    with pytest.raises(KeyboardInterrupt):
        feature_table(tracks, jobs=1, path=path)
    partial = tmp_path / "features.csv.partial"
    keep = -100 if tail == "half a line" else 9
    partial.write_bytes(partial.read_bytes()[:keep])
    table = feature_table(tracks, jobs=1, path=path)
    assert read_files == ["one.wav", "two.wav", "one.wav", "two.wav", "three.wav"]
    assert table["filename"].tolist() == ["jazz/one.wav", "jazz/two.wav", "rock/three.wav"]


def test_the_journal_has_a_line_a_track(root: Path, tmp_path: Path, read_files: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        feature_table(load_tracks(root), segment=1, jobs=1, path=tmp_path / "features.csv")
    lines = (tmp_path / "features.csv.partial").read_text().splitlines()
    record = json.loads(lines[1])
    assert len(lines) == 2
    assert record["path"].endswith("one.wav")
    assert [len(row) for row in record["rows"]] == [58, 58]


def test_what_another_run_left_is_refused_and_kept(root: Path, tmp_path: Path, read_files: list[str]) -> None:
    path, tracks = tmp_path / "features.csv", load_tracks(root)
    with pytest.raises(KeyboardInterrupt):
        feature_table(tracks, jobs=1, path=path)
    before = (tmp_path / "features.csv.partial").read_bytes()
    with pytest.raises(GtzanKerasError, match=r"features.csv.partial is left from another run.*delete it"):
        feature_table(tracks, segment=1, jobs=1, path=path)
    assert (tmp_path / "features.csv.partial").read_bytes() == before


def test_a_folder_in_the_place_of_the_table_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(GtzanKerasError, match="is a folder; name the CSV file to write"):
        feature_table(load_tracks(root), path=tmp_path)


# Reading tables


def test_kaggles_table_loads(real_data: Path) -> None:
    table = load_feature_table(real_data / "features_30_sec.csv")
    assert table.shape == (1000, 60)
    assert table["label"].value_counts().eq(100).all()
    assert table.loc[0, "tempo"] == 123.046875
    assert (table[list(FEATURE_COLUMNS)].dtypes == "float64").all()


def test_columns_in_another_order_or_too_many_do_not_matter(tmp_path: Path) -> None:
    table = table_like_kaggle()
    table[table.columns[::-1]].to_csv(tmp_path / "table.csv")  # with the index as a nameless column
    pd.testing.assert_frame_equal(load_feature_table(tmp_path / "table.csv"), table, rtol=1e-15)


def test_labels_of_ones_own_are_taken_when_named(tmp_path: Path) -> None:
    table_like_kaggle().assign(label="fado").to_csv(tmp_path / "table.csv", index=False)
    assert set(load_feature_table(tmp_path / "table.csv", genres=["fado"])["label"]) == {"fado"}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("rms_mean", np.nan, r"column 'rms_mean', row 'blues.00002.wav' \(line 4\): nan; expected a finite"),
        ("rms_mean", "NA", r"column 'rms_mean', row 'blues.00002.wav' \(line 4\): 'NA'; expected a finite"),
        ("mfcc20_var", "loud", r"column 'mfcc20_var', row .*: 'loud'; expected a finite number"),
        ("tempo", np.inf, r"column 'tempo', row .*: inf; expected a finite number"),
        ("length", np.nan, r"column 'length', row .*: nan"),
        ("label", np.nan, r"column 'label', row .* \(line 4\): nan; expected a genre"),
        ("filename", "blues.00001.wav", r"column 'filename', row 'blues.00001.wav' \(line 4\).*once"),
        ("filename", np.nan, r"column 'filename', row nan \(line 4\): nan; expected a file name"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, column: str, value: Any, message: str) -> None:
    table = table_like_kaggle().astype(object)
    table.loc[2, column] = value
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(GtzanKerasError, match=f"table.csv: {message}"):
        load_feature_table(tmp_path / "table.csv")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    table_like_kaggle().drop(columns=["tempo", "label"]).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(GtzanKerasError, match=r"table.csv: column\(s\) tempo, label missing"):
        load_feature_table(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "not a CSV table"),
        ("a,b\n1,2\n3,4,5\n", "not a CSV table"),
        ("a,b\n1,2,3\n", "not a CSV table"),
        (b"\xff\xfe\x00\x01", "not a CSV table"),
        (",".join(TABLE_COLUMNS), "holds no rows"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    if content is not None:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / "table.csv").write_bytes(data)
    with pytest.raises(GtzanKerasError, match=f"table.csv: {message}"):
        load_feature_table(tmp_path / "table.csv")


# The correlation filter


def test_the_filter_drops_the_reports_six_and_keeps_51(real_data: Path) -> None:
    kept, dropped = correlation_filter(load_feature_table(real_data / "features_30_sec.csv"))
    assert dropped == [
        "spectral_bandwidth_mean",
        "rolloff_mean",
        "rolloff_var",
        "zero_crossing_rate_mean",
        "zero_crossing_rate_var",
        "harmony_var",
    ]
    assert len(kept) == 51
    assert sorted(kept + dropped) == sorted(FEATURE_COLUMNS)
    assert set(MFCC_COLUMNS) <= set(kept)


def vectors(*angles: float) -> pd.DataFrame:
    """Columns whose correlations are the cosines of the angles [degrees] between them."""
    base = np.array([[1, -1, 1, -1], [1, 1, -1, -1]]) / 2
    turned = [np.cos(np.radians(a)) * base[0] + np.sin(np.radians(a)) * base[1] for a in angles]
    return pd.DataFrame(dict(zip(NON_MFCC_COLUMNS, turned, strict=False)))


def test_the_later_of_two_correlated_features_goes_whether_or_not_the_earlier_stays() -> None:
    # 0 and 30 degrees: r = 0.87; 30 and 60: 0.87; 0 and 60: 0.5. A search that skipped what is
    # dropped already would keep the third.
    table = vectors(0, 30, 60, 120)
    a, b, c, d = table.columns
    assert correlation_filter(table) == ([a, d], [b, c])


def test_a_negative_correlation_counts() -> None:
    table = vectors(0, 160)
    assert correlation_filter(table) == ([table.columns[0]], [table.columns[1]])


@pytest.mark.parametrize(("threshold", "count"), [(0.86, 1), (0.87, 0)])
def test_the_threshold_decides(threshold: float, count: int) -> None:
    assert len(correlation_filter(vectors(0, 30), threshold)[1]) == count  # r = 0.866


def test_a_correlation_equal_to_the_threshold_drops() -> None:
    table = pd.DataFrame({"tempo": [1, 1, -1, -1], "rms_mean": [1, 0, 0, -1]})
    exact = table["tempo"].corr(table["rms_mean"])
    assert exact == pytest.approx(0.5**0.5)
    assert correlation_filter(table, threshold=exact)[1] == ["rms_mean"]


def test_mfccs_length_and_constants_are_left_alone() -> None:
    table = vectors(0).assign(filename="x", length=[1, 2, 3, 5], mfcc1_mean=0.0, tempo=7.0, label="pop")
    table["mfcc1_mean"] = table["mfcc2_mean"] = table.iloc[:, 0]
    assert correlation_filter(table) == ([NON_MFCC_COLUMNS[0], "mfcc1_mean", "tempo", "mfcc2_mean"], [])


@pytest.mark.parametrize("threshold", [0, -0.5, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(GtzanKerasError, match=f"threshold is {threshold}; expected a number above 0"):
        correlation_filter(vectors(0, 30), threshold)


def test_a_single_row_has_no_correlations() -> None:
    with pytest.raises(GtzanKerasError, match=r"a table of 1 row\(s\) has no correlations"):
        correlation_filter(vectors(0, 30)[:1])


def test_column_groups_do_not_overlap() -> None:
    for one, other in itertools.pairwise((NON_MFCC_COLUMNS, MFCC_COLUMNS, ("filename", "length", "label"))):
        assert not set(one) & set(other)
