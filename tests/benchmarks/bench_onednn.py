"""A training step and a prediction with oneDNN, which the command line switches on, and without.

python -m tests.benchmarks.bench_onednn [FOLDER] [recipe ...]

TensorFlow reads the setting when it starts, so each has a process of its own, and the processes take turns.
On a processor with VNNI, bfloat16 or AMX instructions oneDNN is on by default. FOLDER is not used.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from statistics import median

from tests.benchmarks.common import in_turns, machine, ratios

RECIPES = {
    "baseline/thumbnail-cnn": ((64, 64, 1), 32, {}),
    "malvezzi/basic-cnn": ((128, 387, 1), 32, {}),
    "malvezzi/vgg16-fine-tuned": ((96, 96, 3), 8, {"weights": None, "trainable_from": "block1_conv1"}),
    "arrigo/15": ((416, 416, 1), 8, {"size": "xs"}),
    "feature-cnn/all": ((57,), 32, {}),
}
"""Shape of a sample, batch size, and arguments in place of the recipe's."""

TURNS = 11


def work(pipe: Connection, name: str) -> None:
    """Do what the other side of the pipe asks for: one training step, or one prediction."""
    import keras
    import numpy as np

    from gtzan_keras import experiments, models
    from gtzan_keras.models.layers import clone
    from gtzan_keras.training.fit import make_state
    from gtzan_keras.training.precision import dtypes_in

    recipe, (shape, batch, arguments) = experiments.find(name), RECIPES[name]
    model = getattr(models, recipe.builder)(shape, 10, **{**recipe.arguments, **arguments})
    model = clone(model, dtypes_in(model, "float32"), fused=True)
    model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy")
    make_state(model)
    images = np.random.default_rng(0).random((batch, *shape), dtype="float32")
    labels = np.eye(10, dtype="float32")[np.arange(batch) % 10]
    ways = {
        "step": lambda: model.train_on_batch(images, labels),
        "predict": lambda: model.predict_on_batch(images),
    }
    with suppress(EOFError):  # the other side has gone
        while True:
            pipe.send(ways[pipe.recv()]())


def started(name: str, setting: str) -> Connection:
    """Start a process with or without the kernels, and return the pipe to it."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = setting  # which the new process inherits
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=work, args=(theirs, name), daemon=True).start()
    return ours


def asking(pipe: Connection, what: str) -> Callable[[], object]:
    def ask() -> object:
        pipe.send(what)
        return pipe.recv()

    return ask


def main(names: list[str]) -> None:
    print(machine())
    print("| recipe | | with oneDNN | without | without / with |\n| --- | --- | --- | --- | --- |")
    for name in names:
        pipes = {setting: started(name, setting) for setting in ("1", "0")}
        for what in ("step", "predict"):
            ways = {setting: asking(pipe, what) for setting, pipe in pipes.items()}
            seconds, _ = in_turns(ways, TURNS)
            times = " | ".join(f"{1000 * median(seconds[setting]):.0f} ms" for setting in ways)
            print(
                f"| {name} | {what} | {times} | {median(ratios(seconds['0'], seconds['1'])):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if name in RECIPES] or list(RECIPES))
