"""What a recipe is run on: stores and tables, given or made from audio."""

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

if TYPE_CHECKING:
    from gtzan_keras.store.base import Store

__all__ = ["Inputs", "departures", "digest_of_weights", "find_inputs"]


@dataclass(frozen=True)
class Inputs:
    """A recipe's data, opened: a store, a table of features, or both.

    ``departure`` says in words where a frozen network, or what it was run on, is not the recipe's.
    """

    store: Store | None = None
    table: pd.DataFrame | None = None
    name: str = ""
    departure: str = ""

    @property
    def tracks(self) -> pd.DataFrame:
        """One row a track, as `gtzan_keras.load_tracks` returns them."""
        if self.store is not None:
            return self.store.tracks
        from gtzan_keras.training.cross_validate import tracks_of

        assert self.table is not None
        return tracks_of(self.table)

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
        Folder for what is made from audio.
    jobs : int
        Worker processes; -1 uses every core.
    weights : str, optional
        Of the network that makes embeddings, in place of the recipe's.

    Raises
    ------
    GtzanKerasError
        The paths are not of the kind that the recipe needs, or as the function that opens or makes them.
    """
    from gtzan_keras.store.feature_table import load_feature_table
    from gtzan_keras.store.open import open_store
    from gtzan_keras.tracks.catalogue import data_name

    store, table, name = None, None, ""
    for path in paths or (datasets.FEATURES, datasets.THUMBNAILS):
        if path.is_dir():
            store, table, name = _from_audio(recipe, path, stores, jobs, weights)
        elif ".csv" in path.suffixes:
            table, name = load_feature_table(path), path.name.removesuffix(".gz")
        else:
            store = open_store(path)
    if recipe.data in EMBEDDINGS:
        if store is None or (len(store.spec.shape) != 2 and EMBEDDINGS[recipe.data] is None):
            given = ", ".join(map(str, paths)) or "nothing"
            raise GtzanKerasError(
                f"recipe {recipe.name}: --data is {given}; expected a folder of tracks, or "
                f"{_described(recipe.data)}"
            )
        departure = _other_network(recipe.data, store)
        if len(store.spec.shape) == 3:
            store = _image_embeddings(store, stores, weights)
        return Inputs(None, _embedding_table(store), name or data_name(store.tracks), departure)
    uses_table = any(kind in FEATURES for kind in recipe.kinds)
    uses_store = any(kind not in FEATURES for kind in recipe.kinds)
    if (uses_table and table is None) or (uses_store and store is None):
        needed = " and ".join(map(_described, recipe.kinds))
        given = ", ".join(map(str, paths)) or "nothing"
        raise GtzanKerasError(
            f"recipe {recipe.name}: --data is {given}; expected a folder of tracks, or {needed}"
        )
    if not uses_store or store is None:
        return Inputs(None, table, name)
    if len(store.spec.shape) != (2 if VGGISH in recipe.kinds else 3):
        raise GtzanKerasError(
            f"recipe {recipe.name}: {store.path} has samples of shape {store.spec.shape}; expected "
            f"{'VGGish embeddings' if VGGISH in recipe.kinds else 'spectrograms'}"
        )
    return Inputs(store, table, name) if uses_table else Inputs(store, None, data_name(store.tracks))


def _described(kind: str) -> str:
    if kind in FEATURES:
        seconds = FEATURES[kind]
        cut = f" --segment {seconds:g}" if seconds else ""
        return f"a table of features (.csv, from `gtzan-keras features{cut}`)"
    if EMBEDDINGS.get(kind):
        return f"a store of spectrograms (.h5, from `gtzan-keras preprocess --spec {EMBEDDINGS[kind]}`)"
    if kind in EMBEDDINGS:
        return f"a store of embeddings (.h5, from `gtzan-keras embed --source {kind}`)"
    if kind == VGGISH:
        return "a store of embeddings (.h5, from `gtzan-keras embed`)"
    return f"a store of spectrograms (.h5, from `gtzan-keras preprocess --spec {kind}`)"


def _from_audio(
    recipe: Recipe, folder: Path, stores: Path, jobs: int, weights: str | None
) -> tuple[Store | None, pd.DataFrame | None, str]:
    """Make what does not exist yet from the tracks of a folder."""
    from gtzan_keras.store.feature_table import feature_table, load_feature_table
    from gtzan_keras.store.open import open_store
    from gtzan_keras.store.preprocess import preprocess
    from gtzan_keras.tracks.catalogue import data_name, load_tracks

    tracks = load_tracks(folder)
    stores.mkdir(parents=True, exist_ok=True)
    # Two folders of one name, or one that has grown, must not share a table.
    ids = ",".join(sorted(tracks["track_id"]))
    stem, store, table = f"{folder.resolve().name}-{zlib.crc32(ids.encode()):08x}", None, None
    for kind in recipe.kinds:
        if kind in FEATURES:
            seconds = FEATURES[kind]
            path = stores / f"{stem}-features-{seconds or 30:g}-sec.csv"
            if not path.is_file():
                feature_table(tracks, segment=seconds, jobs=jobs, path=path)
            table = load_feature_table(path)
        elif kind in EMBEDDINGS and EMBEDDINGS[kind] is None:
            from gtzan_keras.inference.embed import embed

            path = stores / f"{stem}-{kind}.h5"
            embed(tracks, path, kind, jobs=jobs)
            store = open_store(path)
        elif kind == VGGISH:
            path = stores / f"{stem}-vggish-{digest_of_weights(weights) or 'hub'}.h5"
            store = _embeddings(tracks, path, weights, jobs)
        else:
            kind = EMBEDDINGS.get(kind) or kind
            path = stores / f"{folder.resolve().name}-{kind}.h5"  # which checks its tracks itself
            preprocess(tracks, path, kind, jobs=jobs)
            store = open_store(path)
    return store, table, data_name(tracks)


def _image_embeddings(store: Any, stores: Path, weights: str | None) -> Store:
    """Return MobileNetV2's statistics of three inner layers, chosen in artist-grouped folds."""
    import keras

    from gtzan_keras.inference.embed import embed_images
    from gtzan_keras.models.image_bases import image_features

    layers = [f"block_{number}_expand_relu" for number in (10, 13, 16)]
    given = {None: "imagenet", "none": None}.get(weights, weights)
    keras.utils.set_random_seed(0)
    shape = store.spec.shape
    network = image_features(
        "mobilenet_v2", shape, layers, weights=given, size=(224, 672), name="mobilenet-v2"
    )
    stores.mkdir(parents=True, exist_ok=True)
    return embed_images(store, stores / f"{store.path.stem}-mobilenet-v2.h5", network)


def _other_network(kind: str, store: Any) -> str:
    """Return in words where a store does not hold what a recipe on a frozen network is run on."""
    if len(store.spec.shape) == 3:
        spec = EMBEDDINGS[kind]
        return "" if store.spec.name == spec else f"spectrograms of {store.spec.name} in place of {spec}"
    return "" if kind in store.spec.source else f"embeddings of {store.spec.source} in place of {kind}"


def _embedding_table(store: Any) -> pd.DataFrame:
    """Return a row a track: the mean over its patches, in columns ``e0``, ``e1``, ..."""
    from gtzan_keras.tracks.catalogue import row_name

    numbers = np.stack(
        [patches[mask].mean(axis=0) for patches, mask in zip(store.read(), store.mask, strict=True)]
    )
    columns = [f"e{number}" for number in range(numbers.shape[1])]
    names = [row_name(track_id, ".wav") for track_id in store.track_id]
    facts = pd.DataFrame({"filename": names, "label": store.genre})
    return pd.concat([facts, pd.DataFrame(numbers, columns=columns)], axis=1)


def _embeddings(tracks: pd.DataFrame, path: Path, weights: str | None, jobs: int) -> Store:
    from gtzan_keras.inference.embed import embed
    from gtzan_keras.store.open import open_store

    source: Any = weights or "hub"
    if weights == "none" or (weights and Path(weights).is_file()):
        import keras

        from gtzan_keras.models.vggish_network import vggish

        keras.utils.set_random_seed(0)
        source = vggish(None if weights == "none" else weights)
    embed(tracks, path, source=source, trim=True, jobs=jobs)
    return open_store(path)


def digest_of_weights(weights: str | None) -> str:
    """Return what identifies the weights: a digest of the files' content, or the word that was given."""
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
    """Return in words where data and weights are not those of the recipe."""
    from gtzan_keras.store.embeddings import HUB_HANDLE, EmbeddingsStore

    found, store, table = [inputs.departure] if inputs.departure else [], inputs.store, inputs.table
    for kind in recipe.kinds:
        seconds = FEATURES.get(kind)
        if kind in FEATURES and table is not None and "length" in table:
            rows = float(table["length"].median()) / 22050
            if abs(rows - (seconds or 30)) > 1:
                found.append(f"features of {rows:.3g} s in place of {seconds or 30:g} s")
        elif isinstance(store, EmbeddingsStore) and HUB_HANDLE not in store.spec.source:
            found.append(f"embeddings of {store.spec.source} in place of {HUB_HANDLE}")
        elif kind not in FEATURES and kind != VGGISH and store is not None and store.spec.name != kind:
            found.append(f"spectrograms of {store.spec.name} in place of {kind}")
    if recipe.pretrained and VGGISH not in recipe.kinds and weights is not None:
        started = "random weights" if weights == "none" else f"weights of {Path(weights).name}"
        found.append(f"{started} in place of pretrained ones ({recipe.pretrained})")
    return found
