"""DropBlock2D against probability worked out by hand, a simulation of our own, and what the paper says."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.models.layers import DropBlock2D, FusedBatchNormalization, all_layers, clone, mish
from gtzan_keras.training import fit

# height, width, block side: square, both kinds of not square, single values, a block longer than one side
# or than both, the block the whole map.
MAPS = [(13, 13, 7), (6, 20, 3), (20, 6, 3), (9, 16, 1), (3, 24, 7), (2, 3, 7), (5, 5, 5)]


def drop(height, width, *, batch=64, channels=256, **arguments):
    """Maps of ones as they come out in training."""
    layer = DropBlock2D(**{"rate": 0.1, "seed": 7, **arguments})
    return np.asarray(layer(np.ones((batch, height, width, channels), "float32"), training=True))


def expected_drops(height, width, block, rate):
    """How likely each position is to lie in a block, by the paper's gamma: 1 - (1 - gamma)^blocks over it."""
    high, wide = min(block, height), min(block, width)
    over = np.zeros((height, width))
    for row in range(height - high + 1):
        for column in range(width - wide + 1):
            over[row : row + high, column : column + wide] += 1
    gamma = rate / (high * wide) * (height * width) / ((height - high + 1) * (width - wide + 1))
    return 1 - (1 - gamma) ** over


# ---- what is dropped


@pytest.mark.parametrize(("height", "width", "block"), MAPS)
def test_each_position_is_dropped_as_often_as_probability_says(height, width, block):
    dropped = drop(height, width, block_size=block) == 0
    expected = expected_drops(height, width, block, 0.1)
    error = np.sqrt(expected * (1 - expected) / (64 * 256))
    assert (np.abs(dropped.mean((0, 3)) - expected) < 4.5 * error).all()


@pytest.mark.parametrize(("height", "width", "block"), MAPS)
def test_blocks_are_whole_and_lie_inside_the_map(height, width, block):
    dropped = drop(height, width, block_size=block, batch=16, channels=8) == 0
    shape = np.ones((min(block, height), min(block, width)))
    assert dropped.any()
    for sample in dropped:
        for channel in np.moveaxis(sample, -1, 0):
            # Opening takes away whatever a block does not fit into.
            np.testing.assert_array_equal(scipy.ndimage.binary_opening(channel, shape), channel)


def test_channels_and_samples_are_dropped_independently():
    dropped = (drop(7, 9, block_size=3, rate=0.3) == 0)[:, 3, 4].astype(float)  # (64, 256)
    for rows in (dropped, dropped.T[:64]):
        off_diagonal = np.corrcoef(rows)[np.triu_indices(64, 1)]
        assert abs(off_diagonal.mean()) < 0.01
        assert off_diagonal.std() == pytest.approx(rows.shape[1] ** -0.5, rel=0.15)


# ---- what is kept


def test_what_is_kept_grows_by_size_over_number_kept():
    inputs = np.random.default_rng(0).normal(size=(8, 6, 9, 4)).astype("float32")
    outputs = np.asarray(DropBlock2D(0.3, 3, seed=1)(inputs, training=True))
    for before, after in zip(inputs, outputs, strict=True):
        kept = after != 0
        np.testing.assert_allclose(after[kept], before[kept] * kept.size / kept.sum(), rtol=1e-5)


@pytest.mark.parametrize("arguments", [{"training": False}, {}])
def test_outside_training_nothing_changes(arguments):
    inputs = np.random.default_rng(0).normal(size=(2, 6, 9, 4)).astype("float32")
    layer = DropBlock2D(0.5, 3, schedule_steps=1)
    np.testing.assert_array_equal(layer(inputs, **arguments), inputs)
    assert float(layer.steps) == 0


# ---- the schedule, the seed


@pytest.mark.parametrize("by_xla", [False, True])
def test_the_rate_rises_in_a_line_and_then_stays(by_xla):
    layer = DropBlock2D(0.4, 3, schedule_steps=4, seed=0)
    maps = tf.ones((16, 8, 12, 256))
    layer.build(maps.shape)
    step = tf.function(lambda x: layer(x, training=True), jit_compile=by_xla)
    shares = [(np.asarray(step(maps)) == 0).mean() for _ in range(6)]
    expected = [expected_drops(8, 12, 3, rate).mean() for rate in (0, 0.1, 0.2, 0.3, 0.4, 0.4)]
    np.testing.assert_allclose(shares, expected, atol=0.006)
    assert float(layer.steps) == 4
    assert not layer.trainable_weights


def test_half_precision_counts_steps_beyond_256():
    layer = DropBlock2D(0.4, 3, schedule_steps=400, dtype="mixed_bfloat16")
    layer.build((1, 3, 3, 1))
    layer.steps.assign(300)
    layer(np.ones((1, 3, 3, 1), "float32"), training=True)
    assert (layer.steps.dtype, float(layer.steps)) == ("float32", 301)


def test_a_seed_repeats_its_draws_and_no_draw_is_like_the_one_before():
    maps = np.ones((2, 6, 9, 8), "float32")
    first, second = DropBlock2D(0.3, 3, seed=5), DropBlock2D(0.3, 3, seed=5)
    one, two = (np.asarray(first(maps, training=True)) for _ in range(2))
    np.testing.assert_array_equal(one, second(maps, training=True))
    assert not np.array_equal(one, two)


# ---- configuration


def test_a_saved_layer_goes_on_counting_where_it_stopped(tmp_path):
    inputs = keras.Input((6, 9, 4))
    model = keras.Model(inputs, DropBlock2D(0.2, 3, schedule_steps=10, name="block")(inputs))
    for _ in range(2):
        model(np.ones((1, 6, 9, 4)), training=True)
    model.save(tmp_path / "model.keras")
    layer = keras.saving.load_model(tmp_path / "model.keras").get_layer("block")
    assert isinstance(layer, DropBlock2D)
    assert layer.get_config() == model.get_layer("block").get_config()
    assert float(layer.steps) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 1.0}, r"rate=1\.0: expected 0 <= rate < 1"),
        ({"block_size": 2.5}, r"block_size=\(2\.5,\): expected whole numbers >= 1"),
        ({"schedule_steps": 0}, r"schedule_steps=\(0,\): expected whole numbers >= 1"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(arguments, message):
    with pytest.raises(GtzanKerasError, match=message):
        DropBlock2D(**{"rate": 0.1, **arguments})


def test_what_is_no_feature_map_is_refused():
    with pytest.raises(GtzanKerasError, match=r"input shape \(2, 3\): expected \(batch, height, width, chan"):
        DropBlock2D(0.1)(np.ones((2, 3), "float32"))
    with pytest.raises(
        GtzanKerasError, match=r"input shape \(None, None, 8, 3\): expected .* only batch unknown"
    ):
        DropBlock2D(0.1)(keras.Input((None, 8, 3)))


# ---- fused kernels: Keras' own layers and derivatives are the reference

SHAPE = (3, 5, 7, 4)


def normalizing(trainable=True, **options):
    """Batch normalization with weights that are not the initial ones."""
    layer = keras.layers.BatchNormalization(trainable=trainable, **options)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.5, 2, weights.shape) for weights in model.get_weights()])
    return model


def fused(model):
    return clone(model, lambda layer: layer.dtype_policy, fused=True)


def step(model, training, dtype="float32"):
    """Output, derivatives by input and weights, and all weights after one call."""
    random = np.random.default_rng(2)
    images = tf.constant(random.normal(3, 2, SHAPE), dtype)
    weight = tf.constant(random.normal(0, 1, SHAPE), "float32")

    @tf.function
    def call():
        with tf.GradientTape() as tape:
            tape.watch(images)
            out = model(images, training=training)
            loss = tf.reduce_sum(tf.cast(out, "float32") * weight)
        return out, tape.gradient(loss, [images, *[v.value for v in model.trainable_variables]])

    out, slopes = call()
    return [np.asarray(tf.cast(value, "float32")) for value in (out, *slopes)] + model.get_weights()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": False, "center": False},
        {"momentum": 0.5, "epsilon": 0.1},
        {"trainable": False},
        {"axis": 1},
        {"renorm": True},
    ],
    ids=str,
)
def test_fused_batch_normalization_is_that_of_keras(training, options):
    if "renorm" in options and not hasattr(keras.layers.BatchNormalization(), "renorm"):
        pytest.skip("Keras < 3.14")
    model = normalizing(**options)
    copied = fused(model)
    assert type(copied.layers[0]) is FusedBatchNormalization
    for one, other in zip(step(copied, training), step(model, training), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_in_bfloat16_statistics_and_scale_are_not_rounded():
    expected = step(normalizing(), training=True)
    found = step(fused(normalizing()), training=True, dtype="bfloat16")
    np.testing.assert_allclose(found[0], expected[0], rtol=2**-7, atol=2**-7)  # the feature map is
    for one, other in zip(found[-2:], expected[-2:], strict=True):  # moving mean and variance
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_feature_maps_keep_their_precision():
    layer = FusedBatchNormalization()
    for dtype in ("bfloat16", "float32"):
        assert layer(tf.zeros(SHAPE, dtype), training=True).dtype == dtype
        assert layer(keras.KerasTensor(SHAPE, dtype=dtype)).dtype == dtype


def test_a_mask_is_left_to_keras():
    images = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    mask = np.random.default_rng(1).random(SHAPE[:3]) > 0.5
    model = normalizing()
    copied = fused(model)
    outs = [m.layers[0](images, training=True, mask=mask) for m in (copied, model)]
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(dtype="float64"),
        type("Own", (keras.layers.BatchNormalization,), {})(),
        keras.layers.Activation("relu"),
    ],
    ids=["float64", "subclass", "relu"],
)
def test_other_layers_are_not_exchanged(layer):
    copied = fused(keras.Sequential([keras.Input(SHAPE[1:]), layer])).layers[0]
    assert type(copied) is type(layer)
    assert getattr(copied, "activation", None) is getattr(layer, "activation", None)


def test_a_clone_has_the_same_output_and_seeds_and_leaves_the_model_alone():
    inner = keras.Sequential(
        [keras.layers.BatchNormalization(), keras.layers.Activation("mish", name="mish")]
    )
    model = keras.Sequential([keras.Input((8, 8, 2)), DropBlock2D(0.2, 3, schedule_steps=2), inner])
    copied = fused(model)
    images = np.random.default_rng(0).random((2, 8, 8, 2), dtype="float32")
    np.testing.assert_allclose(copied(images), model(images), rtol=1e-3, atol=1e-5)
    assert len(model.variables) > len(model.weights)  # random seeds are copied too
    for one, other in zip(copied.variables, model.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    for network, kind, activation in (
        (copied, FusedBatchNormalization, mish),
        (model, keras.layers.BatchNormalization, keras.activations.mish),
    ):
        layers = list(all_layers(network))
        assert [type(x) for x in layers if isinstance(x, keras.layers.BatchNormalization)] == [kind]
        assert [layer.activation for layer in layers if layer.name == "mish"] == [activation]


def test_mish_and_its_derivative_are_those_of_keras_in_float64():
    points = np.concatenate([np.linspace(-30, 30, 2001), [-1e4, -100, -88, 88, 100, 1e4]])
    values = {}
    for function, dtype in ((mish, "float32"), (keras.activations.mish, "float64")):
        x = tf.constant(points, dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        values[dtype] = np.asarray(y), np.asarray(tape.gradient(y, x))
    for one, other in zip(values["float32"], values["float64"], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)


def test_mish_of_bfloat16_is_rounded_once():
    x = tf.constant(np.linspace(-8, 8, 101), "bfloat16")
    exact = keras.activations.mish(tf.cast(x, "float64"))
    np.testing.assert_array_equal(mish(x), tf.cast(tf.cast(exact, "float32"), "bfloat16"))


@pytest.mark.parametrize(
    ("backend", "gpus", "expected"),
    [("tensorflow", 0, True), ("tensorflow", 1, False), ("jax", 0, False)],
)
def test_fused_kernels_are_for_tensorflow_on_a_processor(monkeypatch, backend, gpus, expected):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(fit, "count_gpus", lambda: gpus)
    assert fit._has_fused_kernels() is expected
