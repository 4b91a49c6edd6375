"""What a recipe is run on: stores and tables, given or made from audio."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gtzan_keras import datasets
from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments.recipe import FEATURES, VGGISH, Recipe

if TYPE_CHECKING:
    from gtzan_keras.store.base import Store

__all__ = ["Sources", "deviations", "find_sources"]


@dataclass(frozen=True)
class Sources:
    """What a recipe's data turned out to be."""

    store: Store | None = None
    table: pd.DataFrame | None = None
    name: str = ""

    @property
    def tracks(self) -> pd.DataFrame:
        """One row a track, as `gtzan_keras.load_tracks` gives them."""
        if self.store is not None:
            return self.store.tracks
        from gtzan_keras.training.cross_validate import tracks_of

        assert self.table is not None
        return tracks_of(self.table)


def find_sources(
    recipe: Recipe, paths: Sequence[Path], stores: Path, jobs: int, weights: str | None
) -> Sources:
    """Open the files given, or make them from audio; the packaged data when nothing is given."""
    kinds = recipe.data.split("+")
    store, table, name = None, None, ""
    for path in paths or (datasets.FEATURES, datasets.THUMBNAILS):
        if path.is_dir():
            store, table, name = _from_audio(recipe, kinds, path, stores, jobs, weights)
        elif ".csv" in path.suffixes:
            from gtzan_keras.store.feature_table import load_feature_table

            table, name = load_feature_table(path), path.name.removesuffix(".gz")
        else:
            from gtzan_keras.store.open import open_store

            store = open_store(path)
    needs_store = kinds != [FEATURES]
    if (FEATURES in kinds and table is None) or (needs_store and store is None):
        needed = {
            FEATURES: "a table of features (.csv, from `gtzan-keras features`)",
            VGGISH: "a store of embeddings (.h5, from `gtzan-keras embed`)",
        }
        lacking = " and ".join(needed.get(kind, f"a store of pictures ({kind}, .h5)") for kind in kinds)
        given = ", ".join(map(str, paths)) or "nothing"
        raise GtzanKerasError(
            f"recipe {recipe.name}: --data is {given}; it needs a folder of tracks, or {lacking}"
        )
    if store is not None and needs_store and FEATURES not in kinds:
        from gtzan_keras.tracks.catalogue import data_name

        table, name = None, data_name(store.tracks)
    if kinds == [FEATURES]:
        store = None
    if store is not None and len(store.spec.shape) != (2 if VGGISH in kinds else 3):
        raise GtzanKerasError(
            f"recipe {recipe.name}: {store.path} holds samples of shape {store.spec.shape}; it needs "
            f"{'VGGish embeddings' if VGGISH in kinds else 'pictures'}"
        )
    return Sources(store, table, name)


def _from_audio(
    recipe: Recipe, kinds: Sequence[str], folder: Path, stores: Path, jobs: int, weights: str | None
) -> tuple[Store | None, pd.DataFrame | None, str]:
    """Make what is not there yet from the tracks of a folder."""
    from gtzan_keras.store.open import open_store
    from gtzan_keras.tracks.catalogue import data_name, load_tracks

    tracks = load_tracks(folder)
    stores.mkdir(parents=True, exist_ok=True)
    # Two folders of one name, or one that has grown, are not to share a table.
    ids = ",".join(sorted(tracks["track_id"]))
    stem, store, table = f"{folder.resolve().name}-{zlib.crc32(ids.encode()):08x}", None, None
    for kind in kinds:
        if kind == FEATURES:
            from gtzan_keras.store.feature_table import feature_table, load_feature_table

            path = stores / f"{stem}-features-30-sec.csv"
            if not path.is_file():
                feature_table(tracks, jobs=jobs, path=path)
            table = load_feature_table(path)
        elif kind == VGGISH:
            from gtzan_keras.inference.embed import embed, embeddings_current

            path = stores / f"{stem}-vggish-{zlib.crc32((weights or 'hub').encode()):08x}.h5"
            source: Any = weights or "hub"
            if weights == "none" or (weights and Path(weights).is_file()):
                import keras

                from gtzan_keras.models.vggish_network import vggish

                keras.utils.set_random_seed(0)
                source = vggish(None if weights == "none" else weights)
            if not embeddings_current(path, tracks, source, trim=True):
                embed(tracks, path, source=source, trim=True, jobs=jobs)
            store = open_store(path)
        else:
            from gtzan_keras.store.preprocess import preprocess

            path = stores / f"{folder.resolve().name}-{kind}.h5"  # which checks its tracks itself
            preprocess(tracks, path, kind, jobs=jobs)
            store = open_store(path)
    return store, table, data_name(tracks)


def deviations(recipe: Recipe, sources: Sources, weights: str | None) -> list[str]:
    """Where this run is not what the recipe says."""
    found = []
    kinds = recipe.data.split("+")
    if sources.store is not None and VGGISH not in kinds and sources.store.spec.name not in kinds:
        wanted = next(kind for kind in kinds if kind != FEATURES)
        found.append(f"pictures of {sources.store.spec.name} in place of {wanted}")
    if VGGISH in kinds and sources.store is not None:
        from gtzan_keras.store.embeddings import HUB_HANDLE

        network = getattr(sources.store.spec, "source", "")
        if HUB_HANDLE not in network:
            found.append(f"embeddings of {network} in place of {HUB_HANDLE}")
    elif recipe.pretrained and weights == "none":
        found.append(f"random weights: no pretrained ones ({recipe.pretrained}) were available")
    elif recipe.pretrained and weights is not None:
        found.append(f"weights of {Path(weights).name} in place of {recipe.pretrained}")
    return found
