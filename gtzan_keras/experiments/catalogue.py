"""All recipes by name, and what a recipe changes in another."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from gtzan_keras.errors import GtzanKerasError
from gtzan_keras.experiments.recipe import Recipe
from gtzan_keras.experiments.sources import arrigo, baseline, feature_cnn, malvezzi, uncu, zhang

__all__ = ["RECIPES", "changes", "find"]

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for source in (malvezzi, zhang, feature_cnn, uncu, arrigo, baseline)
    for recipe in source.RECIPES
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
