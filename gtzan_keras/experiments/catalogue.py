"""All recipes by name, from the files of the sources, and what a recipe changes in another.

A file has one table per recipe, with the fields of `Recipe`. A recipe with a ``base`` inherits that recipe's
fields; ``like`` inherits another recipe's fields without being based on it. All others inherit the file's
``defaults``. Tables are merged key by key. "none" is None; ``arguments`` may name some of `CNN_ARGUMENTS`.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments.recipe import Published, Recipe, SecondStage
from gtzan_keras.models.cnn_arguments import CNN_ARGUMENTS
from gtzan_keras.store.augmentation import FeatureAugmentation
from gtzan_keras.training.settings import TrainingSettings

__all__ = ["RECIPES", "changes", "find", "plain", "read"]

SOURCES = ("malvezzi", "zhang", "feature_cnn", "uncu", "arrigo", "baseline")


def read(path: Path) -> dict[str, Recipe]:
    """Return the recipes of a source's file by name, in its order.

    Parameters
    ----------
    path : Path
        A TOML file, as described at the top of this module.

    Returns
    -------
    dict of str to Recipe

    Raises
    ------
    GtzanKerasError
        The file is not TOML, or a table in it is no recipe.

    Examples
    --------
    >>> from pathlib import Path
    >>> from gtzan_keras.experiments import catalogue
    >>> next(iter(catalogue.read(Path(catalogue.__file__).parent / "sources/zhang.toml")))
    'zhang/cnn'
    """

    def whole(name: str) -> dict[str, Any]:
        own = dict(tables[name])
        below = own.pop("like", own.get("base", "defaults"))
        return own if name == "defaults" else _over({**whole(below), "base": ""}, own)

    name, found = "", {}
    try:
        tables = {"defaults": {}, **plain(tomllib.loads(path.read_text("utf-8")))}
        for name in tables:
            if name != "defaults":
                found[name] = _recipe(name, **whole(name))
    except (KeyError, TypeError, ValueError) as error:  # of TOML, too
        raise GtzanKerasError(f"{path}: {name} {error!r}; expected tables of a Recipe's fields") from error
    return found


def plain(value: Any) -> Any:
    """Return a value of TOML or JSON as recipes have it."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return tuple(map(plain, value))
    return None if value == "none" else value


def _over(below: Any, own: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(own, dict)):
        return own
    return below | {name: _over(below.get(name), value) for name, value in own.items()}


def _recipe(
    name: str, settings: Any = None, fine_tune: Any = None, arguments: Any = (), ours: Any = (), **fields: Any
) -> Recipe:
    if fine_tune and "augmentation" in fine_tune:
        fine_tune = {**fine_tune, "augmentation": FeatureAugmentation(**fine_tune["augmentation"])}
    return Recipe(
        name=name,
        settings=settings and TrainingSettings.from_dict(settings),
        fine_tune=fine_tune and SecondStage(**fine_tune),
        arguments=dict(CNN_ARGUMENTS[arguments] if isinstance(arguments, str) else arguments),
        ours=tuple(filter(None, ours.values() if isinstance(ours, dict) else ours)),
        published=tuple(Published(**figure) for figure in fields.pop("published", ())),
        **fields,
    )


RECIPES: Mapping[str, Recipe] = {
    name: recipe
    for source in SOURCES
    for name, recipe in read(Path(__file__).parent / f"sources/{source}.toml").items()
}
"""Every recipe by its name, in the order of the sources."""

DESCRIPTIONS = ("name", "title", "source", "published", "base", "ours", "note", "members")
"""The fields of a recipe that do not change what is computed; an ensemble's members have their own runs."""


def find(name: str) -> Recipe:
    """Return the recipe of this name.

    Parameters
    ----------
    name : str
        A name such as ``arrigo/18``; see `RECIPES`.

    Returns
    -------
    Recipe

    Raises
    ------
    GtzanKerasError
        There is no such recipe; the message gives the nearest names.

    Examples
    --------
    >>> from gtzan_keras import experiments
    >>> print(experiments.find("arrigo/18").published[0])
    macro precision 80.3 % (test)
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`gtzan-keras recipes` lists them"
    raise GtzanKerasError(f"recipe {name!r} is not known; {hint}")


def changes(recipe: Recipe) -> list[str]:
    """Return what a recipe changes in the one it is based on.

    Parameters
    ----------
    recipe : Recipe
        A recipe with a ``base``; without one nothing is changed.

    Returns
    -------
    list of str
        ``"field: before -> after"``.

    Examples
    --------
    >>> from gtzan_keras import experiments
    >>> experiments.changes(experiments.find("arrigo/15"))
    ['norm: batch -> layer']
    """
    if not recipe.base:
        return []
    before, after = _facts(find(recipe.base)), _facts(recipe)
    return [
        f"{name}: {in_words(before.get(name))} -> {in_words(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _facts(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's fields by name, with those of its arguments, settings, ... one by one."""
    found: dict[str, Any] = {}
    for name, value in vars(recipe).items():
        if dataclasses.is_dataclass(value):
            value = vars(value)
        if name == "fine_tune" and value:
            value = {f"fine_tune {inner}": of_stage for inner, of_stage in value.items()}
        if name not in DESCRIPTIONS:
            found |= value if isinstance(value, Mapping) else {name: value}
    return found


def in_words(value: Any) -> str:
    """Return a value of a recipe as tables show it."""
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(inner)}" for key, inner in value.items())
    if isinstance(value, tuple):
        return (", " if isinstance(value[0], str) else "-").join(map(str, value))
    return str(value)
