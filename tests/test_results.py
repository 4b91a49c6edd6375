"""Results on disk: what is written comes back, and a folder that is not one is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.training.results import read_result, write_result

GENRES = ["NA", "metal", "rock"]  # a genre may have a name that pandas takes for a missing value


def a_result():
    rows = [
        ("metal.00058", 1, "metal", "rock", 0.25, 0.333333, 0.416667, "Queen", "Tie Your Mother Down"),
        ("NA/my song", 2, "NA", "NA", 0.5, 0.25, 0.25, "Ülle, with a comma", ""),
    ]
    tracks = pd.DataFrame(
        rows, columns=["track_id", "fold", "genre", "predicted", *GENRES, "artist", "title"]
    )
    result = {
        "name": "one",
        "data": {"genres": GENRES},
        "split": {"name": "by hand", "leaky": False},
        "model": {"builder": "cnn"},
        "scores": {"validation": None, "test": {"count": 2, "loss": 0.1 + 0.2}},
    }
    return result, tracks


def test_a_result_comes_back_with_probabilities_to_four_digits(tmp_path):
    result, tracks = a_result()
    history = pd.DataFrame({"epoch": [1], "loss": [0.5]})
    write_result(tmp_path / "run", result, tracks, history)
    read, table = read_result(tmp_path / "run")
    assert read == {"format": 2, **result}
    pd.testing.assert_frame_equal(table, tracks.round(dict.fromkeys(GENRES, 4)), check_dtype=False)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "history.csv", "result.json", "tracks.csv",
    ]  # fmt: skip


def test_artists_of_gtzan_are_read_from_the_packaged_facts(tmp_path):
    result, tracks = a_result()
    result["scores"]["test"]["count"] = 1
    write_result(tmp_path, result, tracks[:1])
    assert "artist" not in (tmp_path / "tracks.csv").read_text("utf-8")
    assert read_result(tmp_path)[1]["artist"].tolist() == ["Queen"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    write_result(tmp_path, *a_result())
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_result(tmp_path, {**a_result()[0], "date": float("nan")}, a_result()[1])
    assert (tmp_path / "result.json").read_bytes() == before
    assert len(read_result(tmp_path)[1]) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_genre_with_the_name_of_a_column_is_refused(tmp_path):
    result, tracks = a_result()
    with pytest.raises(GtzanKerasError, match="genre 'fold'"):
        write_result(tmp_path, {**result, "data": {"genres": ["fold", "rock"]}}, tracks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "result.json: no such file; name the folder of a run"),
        ("{", "not readable as JSON"),
        ('{"format": 1}', "not a result of format 2"),
        ("[]", "not a result of format 2"),
        ('{"format": 2}', "result.json: no field 'data'; run the experiment again"),
    ],
)
def test_a_file_that_is_not_a_result_is_named(content, message, tmp_path):
    if content is not None:
        (tmp_path / "result.json").write_text(content, "utf-8")
    with pytest.raises(GtzanKerasError, match=message):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (".3333", "", "probabilities of metal.00058"),
        (".3333", "1.5", "probabilities of metal.00058"),
        ("metal,rock,.", "metal,polka,.", "genre 'polka': expected one of NA, metal, rock"),
        ("predicted", "guess", r"column\(s\) predicted missing"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(old, new, message, tmp_path):
    write_result(tmp_path, *a_result())
    path = tmp_path / "tracks.csv"
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(GtzanKerasError, match=message):
        read_result(tmp_path)


def test_files_of_two_runs_and_a_missing_table_are_refused(tmp_path):
    write_result(tmp_path, *a_result())
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    result["scores"]["test"]["count"] = np.pi
    (tmp_path / "result.json").write_text(json.dumps(result), "utf-8")
    with pytest.raises(GtzanKerasError, match="the files belong to different runs"):
        read_result(tmp_path)
    (tmp_path / "tracks.csv").unlink()
    with pytest.raises(GtzanKerasError, match=r"tracks\.csv: not readable"):
        read_result(tmp_path)
