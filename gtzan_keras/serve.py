"""A local page for one model: drop a song or record one, see what the model hears, play from any moment."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gtzan_keras.audio.decode import AudioError, stream_audio
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.inference.explain import explain
from gtzan_keras.inference.predict import predict
from gtzan_keras.report.page import embedded, render
from gtzan_keras.report.timeline import clock, explanation_figure, taggram, timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gtzan_keras.models.saving import SavedModel
    from gtzan_keras.training.run import Run

__all__ = ["serve"]

MEGABYTES, MINUTES = 100, 20
"""The most that the page accepts."""

_RATE = 22050  # Hz, at which a recording is measured
_FORGET = (60, 900)  # every minute, files older than 15: of visitors who left before their answer
_SCRIPT, _STYLE = (Path(__file__).with_name(f"serve.{kind}") for kind in ("js", "css"))


def serve(
    model: str | os.PathLike[str] | SavedModel | Run | None = None, host: str = "127.0.0.1", port: int = 7860
) -> None:
    """Serve a local page for a model, until it is interrupted.

    A recording is kept in a temporary folder until it is answered. Nothing is loaded from elsewhere.

    Parameters
    ----------
    model : str, os.PathLike, SavedModel or Run, optional
        As for `gtzan_keras.explain`; the packaged model by default.
    host : str
        Address to listen on. By default only this machine can open the page.
    port : int
        Port to listen on.

    Raises
    ------
    GtzanKerasError
        Gradio is not installed, the address cannot be listened on, or `predict` refuses the model.

    Examples
    --------
    >>> from gtzan_keras.serve import serve
    >>> serve(port=8000)  # doctest: +SKIP
    http://127.0.0.1:8000 (press Ctrl-C to stop)
    """
    try:
        version = importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    if int(version.partition(".")[0]) < 6:
        raise GtzanKerasError("serve needs Gradio 6 or later: pip install 'gtzan-keras[serve]'")
    try:
        socket.create_server((host, port)).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise GtzanKerasError(f"cannot listen on {host}, port {port}: {why}; choose another") from None
    with tempfile.TemporaryDirectory(prefix="gtzan-keras-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        _warm_up(model, Path(folder))
        page = _page(model)
        page.launch(**_options(), server_name=host, server_port=port, prevent_thread_lock=True, quiet=True)
        print(f"http://{host}:{port} (press Ctrl-C to stop)", flush=True)
        for end in (signal.SIGTERM, signal.SIGINT):  # a shell's background jobs ignore the second
            signal.signal(end, signal.default_int_handler)  # so that the folder is removed, too
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            page.close(verbose=False)


def answer(song: str | os.PathLike[str], model: Any = None) -> Iterator[str]:
    """Yield what the page shows for a recording, as HTML: first what is heard, then also why.

    Parameters
    ----------
    song : str or os.PathLike
        A sound file.
    model
        As for `serve`.

    Raises
    ------
    AudioError
        As `predict`, or the recording is longer than `MINUTES`.
    """
    samples = 0
    for block in stream_audio(song, _RATE):
        samples += len(block)
        if samples > MINUTES * 60 * _RATE:
            raise AudioError(song, f"longer than {MINUTES} minutes; `gtzan-keras predict` has no limit")
    heard = predict(song, model, progress=False)
    figure = _clickable((taggram if heard.tags else timeline)(heard), heard.duration, "heard")
    yield _content(heard=heard, figure=figure)
    try:
        found = explain(song, model, progress=False)
    except GtzanKerasError as error:  # a model without a spectrogram
        yield _content(heard=heard, figure=figure, problem=str(error))
        return
    why = {
        "genre": found.genre,
        "figure": _clickable(explanation_figure(found), found.duration, "why"),
        "parts": found.parts().to_dict("records"),
        "nearest": found.nearest.to_dict("records"),
    }
    yield _content(heard=heard, figure=figure, why=why)


def _content(**known: Any) -> str:
    return render("song.html.j2", **{"clock": clock, "heard": None, "why": None, "problem": ""} | known)


def _clickable(figure: Figure, duration: float, name: str) -> dict[str, Any]:
    """Return a figure as SVG, with the ends of its time axis as shares of its width."""
    svg = embedded(figure, name)
    left, right = figure.axes[1].get_position().intervalx
    return {"svg": svg, "left": float(left), "right": float(right), "duration": duration}


def _warm_up(model: Any, folder: Path) -> None:
    """Answer noise once, so that everything is compiled and loaded, and a bad model is found."""
    import soundfile

    noise = folder / "noise.wav"
    soundfile.write(noise, np.random.default_rng(0).uniform(-0.5, 0.5, 3 * _RATE), _RATE)
    for _ in answer(noise, model):
        pass
    noise.unlink()


def _options() -> dict[str, Any]:
    """Return how Gradio shows the page: no fonts from elsewhere, no history, nothing but the page itself."""
    from gradio.themes import Default

    return {
        "theme": Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        "css_paths": _STYLE,
        "max_file_size": f"{MEGABYTES}mb",
        "footer_links": [],
        **dict.fromkeys(("inline", "share", "run_history", "ssr_mode", "mcp_server"), False),
    }


def _page(model: Any) -> Any:
    import gradio as gr

    waiting: list[str] = []  # equal recordings of two visitors are one file

    def arrive(recording: dict[str, Any]) -> Any:
        waiting.append(recording["path"])
        return gr.Row(elem_classes="busy"), ""

    def hear(recording: dict[str, Any]) -> Iterator[str]:
        path = recording["path"]
        try:
            yield from answer(path, model)
        except AudioError as error:
            yield _content(problem=f"{Path(path).name}: {error.reason}")
        except GtzanKerasError as error:
            yield _content(problem=str(error))
        finally:
            waiting.remove(path)
            if path not in waiting:
                with suppress(OSError):
                    os.remove(path)
                    os.rmdir(os.path.dirname(path))

    limits = (
        f"At most {MINUTES} minutes and {MEGABYTES} MB. Recordings are sent nowhere else and are not kept."
    )
    with gr.Blocks(title="gtzan-keras", analytics_enabled=False, delete_cache=_FORGET) as page:
        gr.Markdown(f"# What does the model hear?\n\n{limits}")
        with gr.Row(elem_id="sources", equal_height=True) as sources:
            file = gr.File(label="Song", scale=2, height=200)
            spoken = gr.Audio(label="Record", sources="microphone", min_width=240, editable=False)
        gr.HTML("<audio controls hidden></audio>", elem_id="player")
        result = gr.HTML(elem_id="result")
        raw = {"preprocess": False, "show_progress": "minimal"}  # preprocessing leaves empty files behind
        for source, given in ((file, file.upload), (spoken, spoken.stop_recording)):
            arrived = given(arrive, source, [sources, result], queue=False, **raw)
            loaded = arrived.then(None, source, None, js=_SCRIPT.read_text("utf-8"))
            heard = loaded.then(hear, source, result, **raw)
            heard.then(lambda: (None, gr.Row(elem_classes="")), None, [source, sources], queue=False)
    return page
