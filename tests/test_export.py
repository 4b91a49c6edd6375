"""Exported models run in their own runtimes and agree with predict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from gtzan_keras.audio.spectrogram import SPECTROGRAM_SPECS, SpectrogramSpec, mel_image
from gtzan_keras.cli import app
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.export import export, sound_model
from gtzan_keras.inference.predict import predict
from gtzan_keras.models.saving import SavedModel, save_model

ROOT = Path(__file__).resolve().parent.parent
ODD = SpectrogramSpec(
    name="odd",
    n_fft=1000,
    window_length=900,
    hop_length=300,
    n_mels=40,
    height=30,
    width=50,
    clip_seconds=5.0,
)
NAMES = {"litert": "genres.tflite", "onnx": "genres.onnx", "tf_saved_model": "genres"}
Runtime = Callable[[np.ndarray], np.ndarray]

pytestmark = pytest.mark.filterwarnings(
    "ignore:In the future `np.object` will be defined:FutureWarning"  # Keras looks for it when it writes ONNX
)


def music(seconds: float, rate: int = 22050) -> np.ndarray:
    """Noise over a rising tone, louder towards the end: no two windows are alike."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(size=t.size)
    return ((0.3 * np.sin(2 * np.pi * (200 + 40 * t) * t) + 0.02 * noise) * (0.3 + t / t.max() / 2)).astype(
        "float32"
    )


def runtime(path: Path, format: str) -> Runtime:
    """Open an exported file in the runtime it was made for."""
    if format == "litert":
        interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
        run = interpreter.get_signature_runner()
        return lambda sound: next(iter(run(sound=sound).values()))
    if format == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
        return lambda sound: session.run(None, {"sound": sound})[0]
    import tensorflow as tf

    served = tf.saved_model.load(str(path))
    return lambda sound: served.serve(sound).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packaged model in all formats."""
    return {format: export(None, tmp_path_factory.mktemp(format) / NAMES[format], format) for format in NAMES}


@pytest.mark.parametrize("spec", [*SPECTROGRAM_SPECS.values(), ODD], ids=lambda spec: spec.name)
def test_the_front_end_in_the_graph_makes_the_images_of_mel_image(spec):
    identity = keras.Sequential([keras.Input(spec.shape), keras.layers.Identity()])
    model = sound_model(SavedModel(identity, spec, []))
    sound = music(model.input_shape[1] / spec.sample_rate, spec.sample_rate)
    levels = 255 * np.asarray(model(sound[None]))[0]
    difference = np.abs(levels - mel_image(sound, spec))
    assert difference.max() < 1.01  # one step where a value is at the border of two
    assert (difference > 0.01).mean() < 1e-3


@pytest.mark.parametrize("format", NAMES)
def test_the_exported_model_agrees_with_predict(format, exported):
    sound = music(15)
    windows = sound[None, :220500], sound[None, -220500:]
    expected = predict(sound, sample_rate=22050).window_probabilities
    run = runtime(exported[format], format)
    np.testing.assert_allclose([run(window)[0] for window in windows], expected, atol=1e-3)


@pytest.mark.parametrize("format", NAMES)
def test_on_real_clips_the_exported_model_agrees_with_predict(format, exported, real_data):
    run = runtime(exported[format], format)
    for path in sorted((real_data / "gtzan_mini").glob("*/*.wav"))[::25]:
        sound = soundfile.read(path, dtype="float32")[0][:220500]
        np.testing.assert_allclose(run(sound[None])[0], predict(path).window_probabilities[0], atol=1e-3)


def test_the_file_next_to_it_describes_the_interface(exported):
    about = json.loads((exported["onnx"].parent / "genres.onnx.json").read_text())
    assert (about["sample_rate"], about["samples"], len(about["genres"])) == (22050, 220500, 10)
    assert SpectrogramSpec.from_dict(about["spec"]).clip_seconds == 10


def test_the_command_names_the_description_of_a_window_as_long_as_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "export", lambda model, path, **_: Path(path).touch())
    done = CliRunner().invoke(app, ["export", str(tmp_path / "genres.tflite"), "--window", "5"])
    described = Path(done.stdout.strip().rpartition("described in ")[2])
    assert json.loads(described.read_text())["samples"] == 5 * 22050


def test_a_model_file_with_colours_is_exported_for_its_whole_clip(tmp_path):
    shape = {"n_mels": 16, "height": 16, "width": 32, "channels": 3}
    spec = SpectrogramSpec(name="colours", **shape, colour_map="viridis", clip_seconds=3.0)
    keras.utils.set_random_seed(0)
    layers = [keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    file = save_model(keras.Sequential(layers), tmp_path / "model.keras", spec, ["jazz", "rock"])
    sound = music(3)
    run = runtime(export(file, tmp_path / "genres.tflite"), "litert")
    expected = predict(sound, file, sample_rate=22050).window_probabilities
    np.testing.assert_allclose(run(sound[None]), expected, atol=1e-3)


def test_the_script_of_the_docs_runs_without_this_package(exported):
    pytest.importorskip("ai_edge_litert")
    script = re.search(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text("utf-8"), re.DOTALL)
    assert script
    assert len(script[1].split("\n\n", 1)[1].splitlines()) <= 15
    folder, sound = exported["litert"].parent, music(20)
    soundfile.write(folder / "song.wav", sound, 22050, subtype="FLOAT")
    alone = "import sys; sys.modules['gtzan_keras'] = sys.modules['keras'] = None\n" + script[1]
    command = [sys.executable, "-c", alone, "song.wav"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shares = predict(sound, sample_rate=22050).probabilities
    about = json.loads((folder / "genres.tflite.json").read_text())
    assert done.stdout.startswith(f"{about['genres'][shares.argmax()]} {shares.max():.0%}")


@pytest.mark.parametrize(
    ("path", "format", "message"),
    [
        ("taken.tflite", "litert", "taken.tflite exists"),
        ("other.tflite", "litert", "other.tflite.json exists"),
        ("gone/genres.onnx", "onnx", "does not exist; make it first"),
        ("genres.lite", "litert", "expected a file name that ends in .tflite"),
        ("genres.json", "onnx", "expected a file name that ends in .onnx"),
        (".", "tf_saved_model", "exists; remove it"),
        ("genres.pb", "pb", "format='pb': expected litert, onnx, tf_saved_model"),
    ],
)
def test_a_bad_target_is_refused_before_the_model_is_read(path, format, message, tmp_path):
    (tmp_path / "taken.tflite").touch()
    (tmp_path / "other.tflite.json").touch()
    with pytest.raises(GtzanKerasError, match=re.escape(message)):
        export("no-such.keras", tmp_path / path, format)  # type: ignore[arg-type]


def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "tf2onnx" else name)
    with pytest.raises(GtzanKerasError, match=re.escape("tf2onnx: pip install 'gtzan-keras[export]'")):
        export(None, tmp_path / "genres.onnx", "onnx")


def test_nothing_is_left_when_the_conversion_fails(tmp_path, monkeypatch):
    def half(model: keras.Model, path: Path, *_: object, **__: object) -> None:
        Path(path).mkdir()
        raise ZeroDivisionError

    monkeypatch.setattr(keras.Model, "export", half)
    with pytest.raises(ZeroDivisionError):
        export(None, tmp_path / "genres", "tf_saved_model")
    assert not list(tmp_path.iterdir())
