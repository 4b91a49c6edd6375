"""Training on two devices gives what one gives, on TensorFlow and on JAX; and memory between steps."""

import json
import os
import platform
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from gtzan_keras.store.batches import EvenBatches

# 27 training and 13 validation samples in batches of 9, which two devices do not share evenly.
SCRIPT = """
    import contextlib, json, sys, tempfile

    if sys.argv[1] == "tensorflow":
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
    import keras
    import numpy as np

    from gtzan_keras import SpectrogramSpec, SpectrogramStore, TrainingSettings, metrics, models, train
    from gtzan_keras.tracks.splits import Split

    spec = SpectrogramSpec(name="tiny", n_mels=8, height=8, width=8)
    ids = [f"{('pop', 'rock')[number % 2]}/{number}" for number in range(43)]
    images = np.random.default_rng(0).integers(0, 150, size=(43, 8, 8), dtype=np.uint8)
    images[1::2, :4] += 60
    folder = tempfile.mkdtemp()
    genres = [track_id.split("/")[0] for track_id in ids]
    store = SpectrogramStore.from_arrays(f"{folder}/s.h5", images, ids, spec, genres)
    split = Split("by hand", tuple(ids[:27]), tuple(ids[27:40]), tuple(ids[40:]))
    settings = TrainingSettings(epochs=2, batch_size=9, learning_rate=1e-2, precision="float32")

    def trained(name, building, training):
        with building:
            keras.utils.set_random_seed(0)
            model = models.dense(spec.shape, 2, units=(8,), dropout=0.0)
        with training:
            run = train(model, store, split, settings, out=f"{folder}/{name}", verbose=0)
        return {
            "history": run.history.to_dict("list"),
            "weights": [weight.ravel().tolist() for weight in run.model.get_weights()],
            "predictions": run.model.predict(store.batches(split.test), verbose=0).tolist(),
        }

    def counted():  # 33 samples in batches of 8: the last one leaves a second device without any
        model = keras.Sequential([keras.Input((5,)), keras.layers.Activation("linear")])
        model.compile(weighted_metrics=[metrics.MacroPrecision(5), metrics.MacroF1(5)], loss="mse")
        random = np.random.default_rng(0)
        labels, scores = np.eye(5)[random.integers(5, size=33)], random.random((33, 5))
        return model.evaluate(scores, labels, 8, sample_weight=random.random(33), verbose=0)[1:]

    nothing = contextlib.nullcontext
    one = trained("one", nothing(), nothing())
    if sys.argv[1] == "tensorflow":  # a model is trained where it was built
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        two = trained("two", strategy.scope(), nothing())
        one["scores"] = counted()
        with strategy.scope():
            two["scores"] = counted()
    else:
        devices = keras.distribution.DataParallel(devices=keras.distribution.list_devices())
        assert devices.device_mesh.devices.size == 2
        two = trained("two", devices.scope(), devices.scope())
    print(json.dumps([one, two]))
"""


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.nightly)])
def test_two_devices_train_what_one_trains(backend):
    if backend == "jax":
        pytest.importorskip("jax")
    two_devices = {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), backend]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **two_devices})
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout.splitlines()[-1])
    for weight, other in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)
    np.testing.assert_allclose(one["predictions"], two["predictions"], atol=1e-5)
    np.testing.assert_allclose(one.get("scores", ()), two.get("scores", ()), rtol=1e-5)
    for name, values in one["history"].items():
        # the last training batch of an epoch is filled up, and weighs a little more
        close = 1e-5 if name.startswith("val_") or name in ("epoch", "learning_rate") else 0.01
        np.testing.assert_allclose(values, two["history"][name], atol=close)


@pytest.mark.parametrize("batch_size", [7, 8, 40])
@pytest.mark.parametrize("devices", [2, 3])
def test_filled_batches_have_the_means_of_those_that_are_not(separable, batch_size, devices):
    def sums(shuffle):
        plain = separable.batches(list(separable.track_id), batch_size, shuffle=shuffle)
        filled = EvenBatches(plain, devices)
        assert len(plain) == len(filled)
        found = []
        for index in range(len(plain)):
            (images, _), (more, _, weights) = plain[index], filled[index]
            assert len(more) % devices == 0
            assert len(more) - len(images) < devices
            value, weighted = images.mean(axis=(1, 2, 3)), weights * more.mean(axis=(1, 2, 3))
            found.append((value.mean(), weighted.mean(), value.sum(), weighted.sum(), len(more)))
        return found

    for mean, filled, *_ in sums(shuffle=True):  # each batch's, as the optimizer sees it
        assert filled == pytest.approx(mean, rel=1e-5)
    totals = np.sum(sums(shuffle=False), axis=0)  # over all batches, as an epoch's validation is
    assert totals[3] / totals[4] == pytest.approx(totals[2] / len(separable), rel=1e-5)


def test_class_weights_come_on_top(separable):
    ids = [f"{genre}.00000" for genre in separable.genres]
    batches = separable.batches(ids, 3, shuffle=True)
    _, labels, weights = EvenBatches(batches, 2, {0: 1.0, 1: 2.0, 2: 3.0})[0]
    expected = (labels[:3].argmax(axis=1) + 1) * 4 / 3
    np.testing.assert_allclose(weights, [*expected, 0])


MEMORY = """
    import ctypes, os, resource

    from gtzan_keras.models.device import freed_memory_kept

    def faults(blocks=50):
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(blocks):
            bytes(1 << 20).translate(None)
        pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin
        return pages * resource.getpagesize() / 2**20 / blocks

    ctypes.CDLL(None).mallopt(-1, 128 << 10)  # M_TRIM_THRESHOLD, as TensorFlow sets it
    with freed_memory_kept():
        faults(1)
        print(faults())
    print(faults())
    os.environ["MALLOC_TOP_PAD_"] = "131072"
    with freed_memory_kept():
        print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose memory it is about")
def test_freed_memory_is_used_again_inside_and_returned_outside():
    """MB that Linux gave anew for each block of 1 MB that was taken, filled and freed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", textwrap.dedent(MEMORY)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    inside, outside, of_ones_own = map(float, done.stdout.split())
    assert inside < 0.1
    assert outside > 0.9
    assert of_ones_own > 0.9
