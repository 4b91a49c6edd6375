"""Prediction: start-up, then a song of four minutes with the default CNN, once and once more.

python -m tests.benchmarks.bench_predict FOLDER [ROUNDS]

The song is tracks of FOLDER one after the other. The network's weights are random: the same arithmetic.
Each round is a process of its own; start-up is all from its beginning to the model in memory, as when
`gtzan-keras predict` is called.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.common import in_own_process, spread

SECONDS = 240
SPEC = "malvezzi-rgb224"
LIMITS = {"start-up": 6, "first song": 3, "second song": 3}


def prepare(folder: str, work: Path) -> None:
    import numpy as np
    import soundfile

    from gtzan_keras import SPECTROGRAM_SPECS, load_tracks, models
    from gtzan_keras.audio.decode import load_audio
    from gtzan_keras.models.saving import save_model

    rate = 44100
    paths = list(load_tracks(folder)["path"])
    pieces = [load_audio(path, rate) for path in paths[: -(-SECONDS // 30) + 1]]
    soundfile.write(work / "song.wav", np.concatenate(pieces)[: SECONDS * rate], rate)
    spec = SPECTROGRAM_SPECS[SPEC]
    genres = sorted(set(load_tracks(folder)["genre"]))
    save_model(models.cnn(spec.shape, len(genres)), work / "model.keras", spec, genres)


def one_round(work: Path, born: float) -> None:
    from gtzan_keras.inference.predict import predict_all
    from gtzan_keras.models.saving import load_model

    saved = load_model(work / "model.keras")
    times = [time.time()]
    for _ in range(2):
        (prediction,) = predict_all([work / "song.wav"], saved)
        assert abs(prediction.duration - SECONDS) < 1
        times.append(time.time())
    print(times[0] - born, *(after - before for before, after in pairwise(times)))


def main(folder: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        prepare(folder, Path(temporary))
        answers = [in_own_process(__file__, "--round", temporary, time.time()) for _ in range(rounds)]
    print(f"{SECONDS} s of sound, {SPEC}, {rounds} rounds")
    found = zip(*([float(number) for number in answer.split()] for answer in answers), strict=True)
    for (what, limit), values in zip(LIMITS.items(), found, strict=True):
        print(f"{what:>12}: {spread(values, 1)} s, at most {limit}")


if __name__ == "__main__":
    if sys.argv[1] == "--round":
        one_round(Path(sys.argv[2]), float(sys.argv[3]))
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
