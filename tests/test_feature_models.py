"""Networks on hand-crafted features: the 1-D CNN and the two-branch model."""

import keras
import numpy as np
import pytest

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.feature_networks import feature_cnn
from gtzan_keras.models.two_branch_network import two_branch


def conv1d(x, kernel, bias):
    """Convolution of (length, channels) with zeros beyond both ends, as loops."""
    padded = np.pad(x, ((1, 1), (0, 0)))
    return np.stack([np.einsum("kc,kcf->f", padded[i : i + 3], kernel) + bias for i in range(len(x))])


def pool(x):
    return x[: len(x) // 2 * 2].reshape(len(x) // 2, 2, -1).max(axis=1)


@pytest.fixture(scope="module")
def two():
    keras.utils.set_random_seed(0)
    sizes = {"filters": (4, 8), "spectrogram_filters": (4, 8), "dense_units": (16,)}
    return two_branch((11,), (16, 16, 1), 3, **sizes)


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    return {
        "features": rng.normal(size=(12, 11)).astype("float32"),
        "spectrogram": rng.random((12, 16, 16, 1)).astype("float32"),
    }


def test_feature_cnn_has_the_parameters_counted_by_hand():
    convolutions = (3 * 1 * 64 + 64) + (3 * 64 * 128 + 128)
    head = (12 * 128 * 128 + 128) + (128 * 10 + 10)  # 51 features pooled twice leave 12
    assert feature_cnn((51,)).count_params() == convolutions + head


def test_feature_cnn_computes_what_its_layers_say():
    keras.utils.set_random_seed(1)
    model = feature_cnn((9,), 3, filters=(2, 3), dense_units=(4,))
    weights = [np.asarray(weight) for weight in model.get_weights()]
    features = np.random.default_rng(0).normal(size=9)
    x = features[:, None]
    for kernel, bias in (weights[0:2], weights[2:4]):
        x = pool(np.maximum(conv1d(x, kernel, bias), 0))
    hidden = np.maximum(x.ravel() @ weights[4] + weights[5], 0)
    expected = np.exp(hidden @ weights[6] + weights[7])
    found = keras.ops.convert_to_numpy(model(features[None].astype("float32")))[0]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_shape": (51, 1)}, "expected one number"),
        ({"input_shape": (3,)}, "input of 3 is too small for 2 blocks"),
    ],
)
def test_feature_cnn_refuses_wrong_arguments(arguments, words):
    with pytest.raises(GtzanKerasError, match=words):
        feature_cnn(**arguments)


def test_two_branch_has_the_parameters_counted_by_hand(two):
    features = (3 * 4 + 4) + (3 * 4 * 8 + 8)
    spectrogram = (9 * 4 + 4) + (9 * 4 * 8 + 8)
    head = ((2 * 8 + 8) * 16 + 16) + (16 * 3 + 3)  # 11 features pooled twice leave 2; spectrograms 8 averages
    assert two.count_params() == features + spectrogram + head


@pytest.mark.parametrize("branch", ["features", "spectrogram"])
def test_two_branch_uses_both_inputs(two, samples, branch):
    other = {**samples, branch: 1 - samples[branch]}
    assert not np.allclose(two(samples), two(other), atol=1e-4)


def test_two_branch_refuses_a_spectrogram_that_is_pooled_away():
    with pytest.raises(GtzanKerasError, match="input of 4 x 128 is too small for 3 blocks"):
        two_branch((51,), (4, 128, 1))
