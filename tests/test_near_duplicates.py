from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile

from gtzan_keras.audio.spectrogram import SpectrogramSpec
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.preprocess import preprocess
from gtzan_keras.store.spectrograms import SpectrogramStore
from gtzan_keras.tracks.catalogue import describe, duplicate_groups, facts, known_near_duplicates, load_tracks
from gtzan_keras.tracks.near_duplicates import find_near_duplicates, near_duplicates, with_near_duplicates

RNG = np.random.default_rng
TONE = 120 - np.arange(64)[:, None]  # louder below, as music is


def music(seed: int, frames: int = 120) -> np.ndarray:
    """A spectrogram (64, frames) with its own time structure, and the tonal balance of all others."""
    return TONE + RNG(seed).normal(scale=20, size=(64, frames))


def found(images: list[np.ndarray], frame_seconds: float = 0.25, **options: float) -> list[tuple]:
    ids = [f"t{number}" for number in range(len(images))]
    return pairs(near_duplicates(images, ids, frame_seconds, **options))


def pairs(table: pd.DataFrame) -> list[tuple[str, str, float]]:
    return list(zip(table["first"], table["second"], table["shift"], strict=True))


def overlap_correlation(x: np.ndarray, y: np.ndarray, shift: int) -> float:
    """Of two spectrograms, y later by `shift` frames, with loops in place of Fourier transforms."""
    x, y = (np.diff(image, axis=0) for image in (x, y))
    x, y = (image - image.mean(axis=1, keepdims=True) for image in (x, y))
    pairs = [(t, t + shift) for t in range(x.shape[1]) if 0 <= t + shift < y.shape[1]]
    a, b = np.array([x[:, t] for t, _ in pairs]), np.array([y[:, u] for _, u in pairs])
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


# --- what is found


def test_a_copy_cut_later_is_found_with_its_shift():
    recording = music(0, 160)
    assert found([music(1), recording[:, :120], recording[:, 30:150]]) == [("t1", "t2", -7.5)]


def test_noise_gain_and_another_tone_do_not_hide_a_copy():
    recording = music(0)
    copy = 0.4 * recording + np.linspace(0, 90, 64)[:, None] + RNG(9).normal(scale=4, size=(64, 120))
    assert found([recording, music(1), copy]) == [("t0", "t2", 0.0)]


def test_tracks_of_one_tonal_balance_are_not_copies():
    assert found([music(seed) for seed in range(30)]) == []


def test_no_other_shift_correlates_more():
    x, y = music(0, 60), music(1, 50)
    best = near_duplicates([x, y], ["x", "y"], 0.25, threshold=0.01, min_overlap=5).iloc[0]
    by_loops = {shift: overlap_correlation(x, y, shift) for shift in range(-40, 31)}
    shift = max(by_loops, key=by_loops.__getitem__)
    assert best["shift"] == shift / 4
    assert best["correlation"] == pytest.approx(by_loops[shift], abs=1e-5)


def test_less_overlap_than_the_minimum_is_not_a_pair():
    recording = music(0, 200)
    images = [recording[:, :120], recording[:, 75:195]]  # 45 frames, 11.25 s, in common
    assert found(images, min_overlap=11) == [("t0", "t1", -18.75)]
    assert found(images, min_overlap=11.5) == []


def test_silence_is_not_a_recording_and_nothing_is_none():
    silent = np.zeros((64, 120), dtype=np.uint8)
    almost = music(0)
    almost[:, 5:] = 0  # the same silence follows a short sound
    other = music(1)
    other[:, 5:] = 0
    assert found([silent, silent, almost, other]) == []
    assert found([]) == []


def test_finer_frames_and_more_bands_are_averaged():
    fine = RNG(0).normal(size=(128, 1200))  # frames of 0.025 s
    later = fine[:, 100:]
    averaged = fine.reshape(64, 2, 120, 10).mean(axis=(1, 3))
    assert found([fine, later], frame_seconds=0.025) == [("t0", "t1", -2.5)]
    assert near_duplicates([fine, fine[:, :1000]], ["x", "y"], 0.025)["correlation"][0] > 0.99
    noisy = RNG(1).normal(scale=0.1, size=averaged.shape)
    mixed = near_duplicates([fine, np.kron(averaged + noisy, np.ones((2, 10)))], ["x", "y"], 0.025)
    assert mixed["correlation"][0] == pytest.approx(
        overlap_correlation(averaged, averaged + noisy, 0), abs=1e-5
    )


def test_of_three_copies_all_three_pairs_are_found_the_best_first():
    recording = music(0)
    noise = RNG(5).normal(scale=10, size=recording.shape)
    pairs = found([recording + noise, recording, recording])
    assert pairs == [("t1", "t2", 0.0), ("t0", "t1", 0.0), ("t0", "t2", 0.0)]


def test_more_tracks_than_one_block_give_the_same_pairs():
    images = [music(seed) for seed in range(40)]
    images[37], images[20] = images[3], images[17][:, 4:]
    assert set(found(images)) == {("t3", "t37", 0.0), ("t17", "t20", -1.0)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0}, "threshold=0, .*: expected 0 < threshold <= 1"),
        ({"frame_seconds": 0}, "frame_seconds=0, .*: expected 0 < threshold <= 1 and seconds above 0"),
        ({"min_overlap": -1}, "min_overlap=-1: expected"),
        ({"frame_seconds": np.inf}, "frame_seconds=inf, .*: expected"),
        ({"spectrograms": [music(0), music(1)[:32]]}, "numbers of bands differ; expected the same in all"),
        ({"track_ids": ["a"]}, "2 spectrograms, 1 track ids"),
        ({"min_overlap": 31}, r"longest recording lasts 30 s, less than min_overlap=31"),
        ({"spectrograms": [music(0), music(0)[0]]}, r"of shape \(120,\); expected \(bands, frames\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    good = {"spectrograms": [music(0), music(1)], "track_ids": ["a", "b"], "frame_seconds": 0.25}
    with pytest.raises(GtzanKerasError, match=message):
        near_duplicates(**{**good, **arguments})


# --- files


def test_a_copy_among_sound_files_is_found_and_kept_by_a_store_and_a_broken_file_left_out(tmp_path, caplog):
    """Two pieces of notes and noise; one of them a second time, later, quieter, 8-bit mu-law."""
    folder, times = tmp_path / "pop", np.arange(22050 // 4) / 22050
    folder.mkdir()
    notes = [np.sin(2 * np.pi * f * times) for f in RNG(0).uniform(100, 3000, size=240)]
    one, other = 0.3 * np.concatenate(notes).reshape(2, -1) + RNG(1).normal(scale=0.01, size=(2, 30 * 22048))
    soundfile.write(folder / "pop.00001.wav", one, 22050)
    soundfile.write(folder / "pop.00002.wav", other, 22050)
    soundfile.write(folder / "pop.00003.au", 0.3 * one[4 * 22050 :], 22050, subtype="ULAW")
    (folder / "pop.00004.wav").write_text("not music")
    tracks = load_tracks(tmp_path)
    table = find_near_duplicates(tracks, jobs=1)
    assert pairs(table) == [("pop.00001", "pop.00003", -4.0)]
    assert "left out pop.00004: not readable as sound" in caplog.text
    spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
    preprocess(with_near_duplicates(tracks, table), tmp_path / "x.h5", spec, jobs=1, progress=False)
    with SpectrogramStore(tmp_path / "x.h5") as store:
        assert duplicate_groups(store.tracks) == [("pop.00001", "pop.00003")]


# --- splits


def test_pairs_that_share_a_track_become_one_group_with_the_exact_copies():
    ids = ["rock.00000", "rock.00001", "rock.00016", "rock.00017"]
    tracks = describe({"metal.00058": "metal", **dict.fromkeys(ids, "rock")})  # a copy of rock.00016
    found = pd.DataFrame({"first": ["rock.00016", "rock.00001"], "second": ["rock.00000"] * 2})
    linked = with_near_duplicates(tracks, found)
    assert duplicate_groups(linked) == [("metal.00058", "rock.00000", "rock.00001", "rock.00016")]
    assert linked.set_index("track_id").loc["rock.00017", "duplicates"] == ()


# --- GTZAN


def exact_pairs() -> set[frozenset[str]]:
    copies = facts()["exact_duplicate_of"]
    return {frozenset((track_id, other)) for track_id, other in copies[copies != ""].items()}


def near_pairs() -> set[frozenset[str]]:
    known = known_near_duplicates()
    return {frozenset(pair) for pair in zip(known["first"], known["second"], strict=True)}


def test_known_near_duplicates_are_44_pairs_of_gtzan_none_of_them_exact():
    assert len(known_near_duplicates()) == len(near_pairs()) == 44
    assert set().union(*near_pairs()) <= set(facts().index)
    assert len(exact_pairs()) == 14
    assert not near_pairs() & exact_pairs()


def test_one_of_each_known_pair_is_among_the_tracks_that_the_fault_filter_leaves_out():
    """Kereliuk, Sturm and Larsen left repetitions out: an account of them that is not ours."""
    part = facts()["fault_filtered"]
    assert all("excluded" in part[list(pair)].tolist() for pair in near_pairs())


def test_among_real_spectrograms_exactly_the_known_pairs_are_found(real_data):
    """All tracks of known pairs and 120 others."""
    import h5py

    wanted = set().union(*near_pairs(), *exact_pairs())
    with h5py.File(real_data / "gtzan_mel_128x387.h5") as file:
        ids = list(file["track_id"].asstr())
        others = [track_id for track_id in ids if track_id not in wanted]
        wanted |= set(RNG(0).choice(others, 120, replace=False))
        chosen = [track_id for track_id in ids if track_id in wanted]
        table = near_duplicates((file["mel"][ids.index(track_id)] for track_id in chosen), chosen, 30 / 387)
    correlation = {frozenset((row.first, row.second)): row.correlation for row in table.itertuples()}
    assert set(correlation) == near_pairs() | exact_pairs()
    assert [correlation[pair] for pair in exact_pairs()] == pytest.approx([1] * 14, abs=1e-4)
