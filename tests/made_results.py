"""Results as `gtzan_keras.training.evaluate`, `experiments.run` and `predict` give them, made by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gtzan_keras.inference.predict import Prediction
from gtzan_keras.training.evaluate import score_tracks
from gtzan_keras.training.results import write_result

HISTORY = pd.DataFrame(
    {"epoch": [1, 2, 3], "loss": [2.3, 1.9, 1.5], "val_loss": [2.31, 2.01, 2.2], "accuracy": [0.1, 0.3, 0.5]}
)


def answers(
    right: int = 7, count: int = 10, genres: Sequence[str] = ("jazz", "rock"), artists: int = 5
) -> pd.DataFrame:
    """The table of `count` test tracks, of which the first `right` are predicted correctly."""
    rows = []
    for number in range(count):
        genre = genres[number % len(genres)]
        predicted = genre if number < right else genres[(number + 1) % len(genres)]
        rows.append(
            {
                "track_id": f"{genre}.9{number:04}",
                "fold": 1,
                "genre": genre,
                "predicted": predicted,
                "artist": f"Artist {number % artists}" if artists else "",
                "title": f"Song {number} <b>",
                **{name: round(0.9 if name == predicted else 0.1 / (len(genres) - 1), 4) for name in genres},
            }
        )
    return pd.DataFrame(rows, columns=["track_id", "fold", "genre", "predicted", "artist", "title", *genres])


def put(
    folder: Path,
    tracks: pd.DataFrame | None = None,
    genres: Sequence[str] = ("jazz", "rock"),
    history: pd.DataFrame | None = HISTORY,
    **changes: Any,
) -> Path:
    """Write a result; `data__name="x"` changes the field `data.name`."""
    tracks = answers(genres=genres) if tracks is None else tracks
    result: dict[str, Any] = {
        "name": "a run",
        "data": {
            "name": "GTZAN",
            "tracks": 999,
            "genres": list(genres),
            "refused": [{"track_id": "jazz.00054", "reason": "not a <sound> file"}],
            "duplicates": [["pop.00015", "pop.00022"]],
        },
        "spec": {"name": "zhang-128", "sample_rate": 22050},
        "split": {
            "name": "70/15/15", "leaky": False, "train": 68, "validation": 20, "test": 10,
            "missing": ["x.00001"],
        },
        "model": {"builder": "cnn", "arguments": {"dropout": 0.4}, "parameters": 1234567},
        "settings": {"learning_rate": 1e-4, "keep_best": True, "augmentation": None},
        "outcome": {"epochs": 3, "best_epoch": 2, "seconds": 12.5},
        "environment": {"python": "3.11.2"},
        "date": "2026-11-21",
        "command": "gtzan-keras run zhang --note '<b>'",
        "scores": {"validation": None, "test": score_tracks(tracks, genres) if len(tracks) else None},
    }  # fmt: skip
    for field, value in changes.items():
        *outer, last = field.split("__")
        inner = result
        for key in outer:
            inner = inner[key]
        inner[last] = value
    write_result(folder, result, tracks, history)
    return folder


def put_recipe(root: Path, recipe: str, protocol: str, right: int = 7, seed: int = 0, **changes: Any) -> Path:
    """Write a result of a recipe where `experiments.run` does."""
    facts = {"recipe": recipe, "protocol": protocol, "seed": seed, "departures": [], **changes}
    return put(root / recipe / protocol / f"seed{seed}", facts.pop("tracks", answers(right)), **facts)


def prediction_of(
    times: list[list[float]], rows: list[list[float]], duration: float, **changes: Any
) -> Prediction:
    """A prediction with these windows and their probabilities."""
    genres = ["disco", "metal", "rock"][: len(rows[0])]
    overview = np.linspace(-80, 0, 64 * 100, dtype=np.float32).reshape(64, 100)
    made = Prediction("x/song.mp3", duration, genres, np.array(times), np.array(rows), False, overview, 22050)
    return dataclasses.replace(made, **changes)
