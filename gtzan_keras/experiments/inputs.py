"""The data that a recipe is run on: stores and tables, given or made from audio."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gtzan_keras import datasets
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments.recipe import EMBEDDINGS, FEATURES, VGGISH, Recipe
from gtzan_keras.inference.embed import embed, embed_images
from gtzan_keras.store.embeddings import HUB_HANDLE
from gtzan_keras.store.feature_table import kept_feature_table, load_feature_table
from gtzan_keras.store.open import open_store
from gtzan_keras.store.preprocess import preprocess
from gtzan_keras.tracks.catalogue import data_name, load_tracks, row_name
from gtzan_keras.training.cross_validate import tracks_of, warn_of_unknown_tracks

if TYPE_CHECKING:
    from gtzan_keras.store.base import Store

__all__ = ["Inputs", "departures", "digest_of_weights", "find_inputs"]


@dataclass(frozen=True)
class Inputs:
    """A recipe's data, opened: a store, a table of features, or both.

    ``spec`` is that of the store that was given or made from audio, even if a table was made from it.
    ``known`` are the tracks with their facts, if a table was made from a folder or a store.
    """

    store: Store | None = None
    table: pd.DataFrame | None = None
    name: str = ""
    spec: Any = None
    known: pd.DataFrame | None = None

    @property
    def tracks(self) -> pd.DataFrame:
        """One row per track, as `gtzan_keras.load_tracks` returns them."""
        if self.store is not None:
            return self.store.tracks
        assert self.table is not None
        return tracks_of(self.table, self.known)

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the store and the table, shortened."""
        found = hashlib.sha256()
        if self.table is not None:
            found.update(pd.util.hash_pandas_object(self.table).to_numpy().tobytes())
        if self.store is not None:
            found.update(self.store.checksum.encode())
        return found.hexdigest()[:16]


def find_inputs(
    recipe: Recipe, paths: Sequence[Path], stores: Path, jobs: int, weights: str | None
) -> Inputs:
    """Open the given files, by default the packaged ones; make what is missing from a folder of tracks.

    Parameters
    ----------
    recipe : Recipe
        Its ``data`` says what is needed.
    paths : sequence of Path
        Folders of tracks, stores (``.h5``) and tables (``.csv``).
    stores : Path
        Folder for data made from audio.
    jobs : int
        Worker processes; -1 uses every core.
    weights : str, optional
        Weights of the network that makes embeddings, in place of the recipe's.

    Raises
    ------
    GtzanKerasError
        The paths are not of the kind that the recipe needs, or the data cannot be opened or made.
    """
    store: Any = None
    table, known, name = None, None, ""
    for path in paths or (datasets.FEATURES, datasets.THUMBNAILS):
        if path.is_dir():
            store, table, known = _from_audio(recipe, path, stores, jobs, weights)
            name = data_name(known)
        elif ".csv" in path.suffixes:
            table, name = load_feature_table(path), path.name.removesuffix(".gz")
            warn_of_unknown_tracks(path, table, "give the folder of its tracks in its place")
        else:
            store = open_store(path)
    for kind in recipe.kinds:
        wanted, ranks = _needed(kind)
        if table is None if kind in FEATURES else store is None or len(store.spec.shape) not in ranks:
            given = ", ".join(map(str, paths)) or "missing"
            raise GtzanKerasError(
                f"recipe {recipe.name}: --data is {given}; expected a folder of tracks, or {wanted}"
            )
    spec: Any = getattr(store, "spec", None)
    if recipe.data in EMBEDDINGS and len(spec.shape) == 3:
        store = _image_embeddings(store, stores, weights)
    if recipe.data in EMBEDDINGS and recipe.settings is None:  # a classical model
        if weights is not None and len(spec.shape) == 2:
            raise GtzanKerasError(
                f"weights={weights!r}: recipe {recipe.name} takes embeddings, which were made with their "
                "network's weights; omit weights"
            )
        return Inputs(None, _embedding_table(store), data_name(store.tracks), spec, store.tracks)
    if FEATURES.keys().isdisjoint(recipe.kinds):
        return Inputs(store, None, data_name(store.tracks), spec)
    return Inputs(None if recipe.data in FEATURES else store, table, name, spec, known)


def _needed(kind: str) -> tuple[str, tuple[int, ...]]:
    """Return in words the source of a kind of data, and how many dimensions a sample of a store has."""
    if kind in FEATURES:
        cut = f" --segment {FEATURES[kind]:g}" if FEATURES[kind] else ""
        return f"a table of features (.csv, from `gtzan-keras features{cut}`)", ()
    if _is_of_sound(kind):
        source = "hub" if kind == VGGISH else kind
        return f"a store of embeddings (.h5, from `gtzan-keras embed --source {source}`)", (2,)
    spec, ranks = (EMBEDDINGS[kind], (2, 3)) if kind in EMBEDDINGS else (kind, (3,))
    return f"a store of spectrograms (.h5, from `gtzan-keras preprocess --spec {spec}`)", ranks


def _is_of_sound(kind: str) -> bool:
    """Return whether a network makes this kind from sound; others take spectrograms, or nothing."""
    return EMBEDDINGS.get(kind, kind) is None


def _from_audio(
    recipe: Recipe, folder: Path, stores: Path, jobs: int, weights: str | None
) -> tuple[Store | None, pd.DataFrame | None, pd.DataFrame]:
    """Make missing data from the tracks of a folder; return these tracks too."""
    tracks = load_tracks(folder)
    # Two folders with the same name, or one that has grown, must not share a store.
    ids = ",".join(sorted(tracks["track_id"]))
    stem, store, table = f"{folder.resolve().name}-{zlib.crc32(ids.encode()):08x}", None, None
    for kind in recipe.kinds:
        if kind in FEATURES:
            table = kept_feature_table(tracks, stores, folder.resolve().name, FEATURES[kind], jobs)
        elif kind == VGGISH:
            path = stores / f"{stem}-{kind}-{digest_of_weights(weights) or 'hub'}.h5"
            store = open_store(embed(tracks, path, _vggish(weights), trim=True, jobs=jobs).path)
        elif _is_of_sound(kind):
            store = open_store(embed(tracks, stores / f"{stem}-{kind}.h5", kind, jobs=jobs).path)
        else:
            spec = EMBEDDINGS.get(kind) or kind
            path = stores / f"{folder.resolve().name}-{spec}.h5"  # which checks its tracks itself
            store = open_store(preprocess(tracks, path, spec, jobs=jobs).path)
    return store, table, tracks


def _vggish(weights: str | None) -> Any:
    """Return a source for `embed`: a model with random weights or those of a file, a folder, or a handle."""
    if weights != "none" and not (weights and Path(weights).is_file()):
        return weights or "hub"
    import keras

    from gtzan_keras.models.vggish_network import vggish

    keras.utils.set_random_seed(0)
    return vggish(None if weights == "none" else weights)


def _embedding_table(store: Any) -> pd.DataFrame:
    """Return one row per track: the mean over its patches, in columns ``e0``, ``e1``, ..."""
    patches = zip(store.read(), store.mask, strict=True)
    numbers = np.stack([patch[mask].mean(axis=0) for patch, mask in patches])
    table = pd.DataFrame(numbers, columns=[f"e{number}" for number in range(numbers.shape[1])])
    table.insert(0, "filename", [row_name(track_id, ".wav") for track_id in store.track_id])
    table.insert(1, "label", store.genre)
    return table


def _image_embeddings(store: Any, stores: Path, weights: str | None) -> Store:
    """Return MobileNetV2's statistics of three inner layers, chosen in artist-grouped folds."""
    import keras

    from gtzan_keras.models.image_bases import image_features

    layers = [f"block_{number}_expand_relu" for number in (10, 13, 16)]
    given = {None: "imagenet", "none": None}.get(weights, weights)
    keras.utils.set_random_seed(0)
    shape = store.spec.shape
    network = image_features(
        "mobilenet_v2", shape, layers, weights=given, size=(224, 672), name="mobilenet-v2"
    )
    return embed_images(store, stores / f"{store.path.stem}-mobilenet-v2.h5", network)


def digest_of_weights(weights: str | None) -> str:
    """Return an identifier of the weights: a digest of the files' content, or the word that was given."""
    path = Path(weights or "")
    if not weights or not path.exists():
        return weights or ""
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            found.update(file.relative_to(path).as_posix().encode())
            with open(file, "rb") as content:
                found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()[:16]


def departures(recipe: Recipe, inputs: Inputs, weights: str | None) -> list[str]:
    """Return in words how data and weights differ from the recipe's."""
    found, spec = [], inputs.spec
    for kind in recipe.kinds:
        if kind in FEATURES:
            assert inputs.table is not None
            wanted = FEATURES[kind] or 30
            rows = inputs.table.get("length", pd.Series([wanted * 22050])).median() / 22050
            if abs(rows - wanted) > 1:
                found.append(f"features of {rows:.3g} s in place of {wanted:g} s")
        elif len(spec.shape) == 2:
            network = HUB_HANDLE if kind == VGGISH else kind
            if network not in spec.source.split():
                random = "random weights: " if kind == VGGISH and weights == "none" else ""
                found.append(f"{random}embeddings of {spec.source} in place of {network}")
        elif spec.name != (EMBEDDINGS.get(kind) or kind):
            found.append(f"spectrograms of {spec.name} in place of {EMBEDDINGS.get(kind) or kind}")
    if recipe.pretrained and VGGISH not in recipe.kinds and weights is not None:
        started = "random weights" if weights == "none" else f"weights of {Path(weights).name}"
        found.append(f"{started} in place of pretrained ones ({recipe.pretrained})")
    return found
