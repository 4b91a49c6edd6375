"""What every notebook begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from gtzan_keras import datasets as study_module
from gtzan_keras.datasets import Study, open_study
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store import preprocess as preprocess_module
from gtzan_keras.tracks.catalogue import describe


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GTZAN_KERAS_DATA", raising=False)
        patch.setenv("GTZAN_KERAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(study_module, "DEMO_TRACKS_PER_GENRE", 3)
        return open_study()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two tracks of two genres that are none of GTZAN's, named by the environment."""
    root = tmp_path / "music"
    for number, genre in enumerate(("fado", "polka")):
        (root / genre).mkdir(parents=True)
        noise = np.random.default_rng(number).normal(scale=0.1, size=2 * 22050)
        soundfile.write(root / genre / "one.wav", noise, 22050)
    monkeypatch.setenv("GTZAN_KERAS_DATA", str(root))
    monkeypatch.setenv("GTZAN_KERAS_CACHE", str(tmp_path / "cache"))
    return root


def test_without_a_folder_a_demo_set_is_opened_in_the_quick_profile_and_says_that_it_is_none_of_gtzan(
    demo: Study,
) -> None:
    assert (demo.data, demo.profile, len(demo.tracks)) == ("demo set", "quick", 30)
    assert "Synthesised, not GTZAN" in str(demo)
    assert demo.epochs(50) == study_module.QUICK_EPOCHS
    assert demo.epochs(2) == 2
    assert demo.choose(quick="small", full="large") == "small"


def test_the_demo_set_is_split_by_its_own_fault_filtered_parts(demo: Study) -> None:
    assert demo.split().name == "fault-filtered"
    demo.split().check(demo.tracks)


def test_a_named_folder_is_opened_in_the_full_profile(own: Path) -> None:
    study = open_study()
    assert (study.profile, study.tracks["track_id"].tolist()) == ("full", ["fado/one", "polka/one"])
    assert str(study) == "own collection of 2 tracks, full profile: 2 tracks"
    assert study.epochs(50) == 50
    assert study.choose(quick="small", full="large") == "large"


def test_a_folder_that_is_not_there_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTZAN_KERAS_DATA", str(own / "nowhere"))
    with pytest.raises(GtzanKerasError, match="no such folder"):
        open_study()


def test_two_folders_of_one_name_keep_their_work_apart(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_study()
    other = own.parent / "elsewhere" / own.name
    other.parent.mkdir()
    own.rename(other)
    monkeypatch.setenv("GTZAN_KERAS_DATA", str(other))
    assert open_study().folder != first.folder


def test_without_fault_filtered_parts_whole_tracks_are_dealt(own: Path, tmp_path: Path) -> None:
    ids = [f"{genre}/{number}" for genre in ("fado", "polka") for number in range(10)]
    tracks = pd.DataFrame({"track_id": ids, "genre": [i.split("/")[0] for i in ids], "fault_filtered": ""})
    tracks["duplicates"] = [()] * len(tracks)
    assert Study(tracks, "own", "full", tmp_path).split().name == "70/15/15"


def test_near_duplicates_of_gtzan_are_dealt_together(tmp_path: Path) -> None:
    tracks = describe({f"jazz.{number:05}": "jazz" for number in range(100)}).assign(fault_filtered="")
    split = Study(tracks, "GTZAN's jazz", "full", tmp_path).split()
    parts = {track_id: part for part, ids in split.parts().items() for track_id in ids}
    for pair in ((33, 51), (34, 53), (35, 55)):
        assert len({parts[f"jazz.{number:05}"] for number in pair}) == 1


def test_a_store_is_made_once_and_again_when_the_tracks_change(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = preprocess_module.preprocess

    def noted(tracks: pd.DataFrame, path: Path, spec: str) -> preprocess_module.PreprocessReport:
        made.append(spec)
        return real(tracks, path, spec, jobs=1)

    monkeypatch.setattr(preprocess_module, "preprocess", noted)
    for _ in range(2):
        with open_study().store("zhang-128") as store:
            assert store.shape == (2, 128, 128, 1)
    assert made == ["zhang-128"]
    soundfile.write(own / "fado" / "two.wav", np.random.default_rng(2).normal(size=22050), 22050)
    with open_study().store("zhang-128") as store:
        assert len(store) == 3


def test_features_are_kept_and_genres_need_not_be_those_of_gtzan(own: Path) -> None:
    study = open_study()
    table = study.features(segment=1)
    segments = ["fado/one.0.wav", "fado/one.1.wav", "polka/one.0.wav", "polka/one.1.wav"]
    assert table["filename"].tolist() == segments
    kept = study.folder / "features_1_sec.csv"
    before = kept.stat().st_mtime_ns
    pd.testing.assert_frame_equal(study.features(segment=1), table)
    assert kept.stat().st_mtime_ns == before


def test_in_a_notebook_figures_without_pyplot_are_pictures_and_what_c_code_prints_is_kept_out(
    tmp_path: Path,
) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    cells = [
        "from gtzan_keras.datasets import _prepare_notebook as prepare",
        "prepare()",
        "from gtzan_keras.report import plots",
        "import os",
        "os.write(2, b'greetings')",
        "plots.confusion_matrix([[1, 0], [0, 1]], ['jazz', 'rock'])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\n".join(cells))])
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    (output,) = notebook.cells[0].outputs
    assert sorted(output.data) == ["image/png", "text/plain"]
