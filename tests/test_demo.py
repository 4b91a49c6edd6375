"""The demo set: the same bytes for the same arguments, facts that fit the files, and hard enough."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gtzan_keras.audio.decode import AudioError, load_audio
from gtzan_keras.audio.spectrogram import SpectrogramSpec, log_mel
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.tracks import demo
from gtzan_keras.tracks.catalogue import GENRES, facts

TRACKS, SECONDS = 10, 6.0
BROKEN = ["jazz/demo.00009", "reggae/demo.00009"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.make(tmp_path_factory.mktemp("demo") / "set", TRACKS, SECONDS, seed=0, jobs=2)


@pytest.fixture(scope="module")
def table(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "tracks.csv", keep_default_na=False).set_index("track_id")


def checksums(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


def test_layout_is_ten_genre_folders_with_a_table_and_a_readme(root, table):
    assert sorted(path.name for path in root.iterdir()) == sorted([*GENRES, "README.txt", "tracks.csv"])
    assert list(table.columns) == list(facts().columns)
    assert list(table["genre"].unique()) == list(GENRES)
    found = {name: md5 for name, md5 in checksums(root).items() if name.endswith(".wav")}
    assert {f"{track}.wav": md5 for track, md5 in table["wav_md5"].items()} == found
    assert "It is not GTZAN" in (root / "README.txt").read_text()


@pytest.mark.parametrize(("count", "smallest"), [(100, 2), (6, 2), (3, 1)])
def test_artists_have_two_to_five_tracks_in_one_part_and_all_parts_are_filled(count, smallest):
    plan = pd.DataFrame(demo._plan(count, seed=3))
    for _, rows in plan[~plan["genre"].isin(["jazz", "reggae", "rock"])].groupby("genre"):
        assert len(rows) == count
        assert rows["artist"].value_counts().between(smallest, 5).all()
        assert set(rows["fault_filtered"]) == {"train", "valid", "test"}
        assert rows.groupby("artist")["fault_filtered"].nunique().max() == 1


def test_broken_files_are_refused_with_the_reason(root, table):
    truncated, empty = (root / f"{track}.wav" for track in BROKEN)
    with pytest.raises(AudioError, match=r"damaged: ends at 0\.40 s"):
        load_audio(truncated, demo.SAMPLE_RATE)
    with pytest.raises(AudioError, match="empty"):
        load_audio(empty, demo.SAMPLE_RATE)
    assert (table.loc[BROKEN, "fault_filtered"] == "excluded").all()


def test_one_exact_duplicate_crosses_genres(table):
    metal, rock = "metal/demo.00009", "rock/demo.00009"
    assert table.index[table["wav_md5"].duplicated(keep=False)].tolist() == [metal, rock]
    named = table["exact_duplicate_of"]
    assert named[named != ""].to_dict() == {metal: rock, rock: metal}
    assert table["artist"].loc[[metal, rock]].nunique() == 1
    assert (table["fault_filtered"].loc[[metal, rock]] == "excluded").tolist() == [False, True]


def test_same_arguments_give_the_same_bytes_with_any_number_of_jobs_and_another_seed_others(tmp_path):
    one, two, other = (
        checksums(demo.make(tmp_path / str((seed, jobs)), 3, 1.0, seed, jobs))
        for seed, jobs in ((4, 1), (4, 2), (5, 2))
    )
    assert one == two
    assert {name for name in one if one[name] == other[name]} == {"reggae/demo.00002.wav"}  # the empty file


def test_second_call_leaves_everything_as_it_is(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert demo.make(root, TRACKS, SECONDS, seed=0) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_folder_of_something_else_is_refused_and_kept(tmp_path, root):
    with pytest.raises(GtzanKerasError, match="a demo set made with other arguments"):
        demo.make(root, TRACKS, SECONDS, seed=1)
    (tmp_path / "thesis.txt").write_text("all I have")
    with pytest.raises(GtzanKerasError, match="holds something else"):
        demo.make(tmp_path, 3, 1.0, jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tracks_per_genre", 2),
        ("seconds", 0.5),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("seed", -1),
        ("jobs", 0),
    ],
)
def test_argument_out_of_range_is_named(tmp_path, name, value):
    with pytest.raises(GtzanKerasError, match=f"{name}={value}"):
        demo.make(tmp_path / "set", **{name: value})


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GtzanKerasError, match="the current folder cannot be replaced"):
        demo.make(".", 3, 1.0, jobs=1)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo, "_write", full)
    with pytest.raises(GtzanKerasError, match=r"cannot be written \(disk full"):
        demo.make(tmp_path / "set", 3, 1.0, jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_a_linear_model_learns_something_and_one_that_hears_time_more(root, table):
    """Share right over five plain folds, of a linear model on band means and of a forest on rhythm too."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    spec = SpectrogramSpec(name="bands", n_mels=64, height=64, clip_seconds=None)
    used = table[table["fault_filtered"] != "excluded"]
    means, times = [], []
    for track in used.index:
        bands = log_mel(load_audio(root / f"{track}.wav", demo.SAMPLE_RATE), spec)
        rises = np.maximum(np.diff(bands, axis=1), 0)
        pulses = [band.mean(axis=0) - band.mean() for band in (rises[:8], rises[8:24], rises[24:])]
        rhythm = [np.correlate(pulse, pulse, "full")[len(pulse) - 1 :][:130] for pulse in pulses]
        means.append(bands.mean(axis=1))
        times.append(np.concatenate([bands.std(axis=1), rises.std(axis=1), *(r / r[0] for r in rhythm)]))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    forest = RandomForestClassifier(100, random_state=0)
    on_means = cross_val_score(linear, np.array(means), used["genre"], cv=folds).mean()
    on_time = cross_val_score(forest, np.hstack([means, times]), used["genre"], cv=folds).mean()
    assert 0.30 < on_means < min(0.90, on_time)


def test_two_at_once_make_one_set(tmp_path, monkeypatch):
    both, plan = threading.Barrier(2), demo._plan

    def plan_together(*arguments: Any) -> Any:
        both.wait(60)  # by now both have seen that there is none
        return plan(*arguments)

    monkeypatch.setattr(demo, "_plan", plan_together)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: demo.make(tmp_path / "set", 3, 1.0, jobs=1), range(2)))
    assert made == [tmp_path / "set"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(checksums(tmp_path / "set")) == 3 * len(GENRES) + 2  # tracks.csv and README.txt
