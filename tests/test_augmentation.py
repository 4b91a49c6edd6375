"""Augmentation: each change is what its parameter says, drawn anew for each sample."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.stats

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.store.augmentation import STRONG_AUGMENTATION, Augmentation, FeatureAugmentation


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time_stretch", 1.0),
        ("time_shift", 1),
        ("crop", 1.5),
        ("masks", True),
        ("noise", float("nan")),
        ("band_shift", -1),
        ("mask_share", 1.1),
    ],
)
def test_augmentation_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(GtzanKerasError, match=re.escape(f"augmentation: {field}={value!r}: expected")):
        Augmentation(**{field: value})


@pytest.mark.parametrize("changes", [{"crop": 4}, {"tone": 0.2}, {"noise": 0.1}])
def test_what_is_for_spectrograms_only_is_refused_for_features(changes):
    assert getattr(Augmentation(**changes), *changes) == changes[next(iter(changes))]
    with pytest.raises(GtzanKerasError, match=r"augmentation: \w+=\S+: only for spectrograms, .* omit it in"):
        FeatureAugmentation(**changes)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """(16, 20, 40, 3), no two values alike."""
    random = np.random.default_rng(0)
    return random.permutation(16 * 20 * 40 * 3).reshape(16, 20, 40, 3).astype(np.float32) / 38400


def augmented(augmentation: Augmentation, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels; the labels were the identity matrix."""
    return augmentation(images, np.eye(len(images), dtype=np.float32), np.random.default_rng(0))


def test_time_shift_rotates_each_spectrogram_by_its_own_amount(noise):
    images, labels = augmented(Augmentation(time_shift=True), noise)
    shifts = [
        [shift for shift in range(40) if (np.roll(before, shift, axis=1) == after).all()]
        for before, after in zip(noise, images, strict=True)
    ]
    assert all(len(found) == 1 for found in shifts)
    assert len({found[0] for found in shifts}) > 8
    np.testing.assert_array_equal(labels, np.eye(16))


def test_time_stretch_plays_each_spectrogram_a_little_faster_or_slower():
    ramp = np.broadcast_to(np.arange(50, dtype=np.float32)[:, None], (100, 2, 50, 1))
    images, _ = augmented(Augmentation(time_stretch=0.2), ramp)
    np.testing.assert_array_equal(images[:, 0], images[:, 1])
    taken = np.unwrap(images[:, 0, :, 0], period=50)  # the frame of the spectrogram that stands at each place
    steps = np.arange(50)
    assert (np.diff(taken) >= 0).all()
    assert (taken >= np.floor(0.8 * steps)).all()
    assert (taken <= 1.2 * steps).all()
    speeds = taken[:, -1] / 49
    assert speeds.min() < 0.85
    assert speeds.max() > 1.15


def test_band_shift_moves_each_spectrogram_up_or_down(noise):
    images, _ = augmented(Augmentation(band_shift=3), noise)
    found = []
    for before, after in zip(noise, images, strict=True):
        padded = np.pad(before, ((3, 3), (0, 0), (0, 0)), mode="edge")
        found.append([shift for shift in range(7) if (padded[shift : shift + 20] == after).all()])
    assert all(len(shifts) == 1 for shifts in found)
    assert {shifts[0] for shifts in found} >= {0, 3, 6}


def test_tone_changes_contrast_loudness_and_balance_within_bounds(noise):
    images, _ = augmented(Augmentation(tone=0.2), noise)
    middle = noise.mean(axis=(1, 2, 3), keepdims=True)
    assert (np.abs(images - noise) <= 0.2 * (np.abs(noise - middle) + 0.4 + 0.5) + 1e-6).all()
    assert images.min() >= 0
    assert images.max() <= 1
    # What three numbers explain: a straight line in level and in band, where nothing is cut off.
    bands = np.broadcast_to(np.linspace(-1, 1, 20)[:, None, None], noise[0].shape)
    for before, after in zip(noise, images, strict=True):
        inside = (after > 0) & (after < 1)
        causes = np.stack([before[inside], bands[inside], np.ones(inside.sum())], axis=1)
        (contrast, tilt, _), residual, *_ = np.linalg.lstsq(causes, after[inside])
        assert residual.item() < 1e-6
        assert abs(contrast - 1) <= 0.2
        assert abs(tilt) <= 0.1


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_one_mask_is_a_block_of_bands_and_one_of_frames_with_the_spectrograms_mean(noise, share):
    images, _ = augmented(Augmentation(masks=1, mask_share=share), noise)
    for before, after in zip(noise, images, strict=True):
        changed = (before != after).all(axis=2)
        bands, frames = changed.all(axis=1), changed.all(axis=0)
        np.testing.assert_array_equal(changed, bands[:, None] | frames[None])
        if not changed.all():  # else there is no telling which block did it
            for block, size in ((bands, 20), (frames, 40)):
                assert block.sum() <= share * size
                assert not block.any() or block[block.argmax() :][: block.sum()].all()  # in one piece
        mean = np.broadcast_to(before.mean(axis=(0, 1)), before.shape)
        np.testing.assert_allclose(after[changed], mean[changed], rtol=1e-5)


def test_masks_take_about_half_of_their_share_on_average():
    images = np.random.default_rng(1).random((2000, 20, 1, 1), dtype=np.float32)
    masked, _ = augmented(Augmentation(masks=1, mask_share=0.5), images)
    # 0 to 10 of 20 bands, each as likely: 5 on average (the one frame is too narrow to be masked).
    assert (images != masked).sum() / 2000 == pytest.approx(5, abs=0.25)


def test_mixup_mixes_spectrograms_and_labels_by_the_same_share():
    levels = np.random.default_rng(1).random(16, dtype=np.float32)
    mixed, labels = augmented(Augmentation(mixup=0.4), np.tile(levels[:, None, None, None], (1, 4, 6, 1)))
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    assert set((labels > 0).sum(axis=1)) == {1, 2}
    expected = np.tile((labels @ levels)[:, None, None, None], (1, 4, 6, 1))
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)


def test_mixup_draws_its_shares_from_the_beta_distribution():
    _, mixed = augmented(Augmentation(mixup=0.3), np.zeros((1000, 1, 1, 1), np.float32))
    shares = np.diagonal(mixed)[np.diagonal(mixed) < 1]
    assert scipy.stats.kstest(shares, scipy.stats.beta(0.3, 0.3).cdf).pvalue > 0.01


def test_without_changes_images_stay_and_the_input_always_stays(noise):
    before = noise.copy()
    images, labels = augmented(Augmentation(), noise)
    np.testing.assert_array_equal(images, noise)
    np.testing.assert_array_equal(labels, np.eye(16))
    images, labels = augmented(STRONG_AUGMENTATION, noise)
    assert images.dtype == labels.dtype == np.float32
    assert (images.min() >= 0, images.max() <= 1) == (True, True)
    np.testing.assert_array_equal(noise, before)


def test_a_crop_is_a_piece_of_the_spectrogram_of_the_width_asked_for():
    ramp = np.tile(np.arange(10, dtype=np.float32)[:, None], (50, 4, 1, 1))
    cropped, labels = augmented(Augmentation(crop=6), ramp)
    starts = cropped[:, 0, 0, 0]
    assert set(starts) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(cropped[..., 0] - starts[:, None, None], np.tile(np.arange(6), (50, 4, 1)))
    np.testing.assert_array_equal(labels, np.eye(50))


def test_noise_has_the_standard_deviation_asked_for():
    images = np.full((4, 64, 64, 1), 0.5, "float32")
    noisy, _ = augmented(Augmentation(noise=0.02), images)
    assert np.std(noisy - images) == pytest.approx(0.02, rel=0.03)
    assert np.mean(noisy - images) == pytest.approx(0, abs=1e-3)
