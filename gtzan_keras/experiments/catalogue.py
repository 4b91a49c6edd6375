"""All recipes by name, and what one changes in another."""

from __future__ import annotations

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
"""Every recipe by its name, source by source."""

_COMPARED = (
    "data", "builder", "arguments", "split", "training", "inputs", "without", "pretrained", "fine_tune",
    "kfold", "grid", "leaky", "trains_on_validation",
)  # fmt: skip


def find(name: str) -> Recipe:
    """Look a recipe up.

    Parameters
    ----------
    name : str
        Such as ``arrigo/18``; see `RECIPES`.

    Returns
    -------
    Recipe

    Raises
    ------
    GtzanKerasError
        There is none of that name; the nearest names are given.

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
    """What a recipe changes in the one it is based on.

    Parameters
    ----------
    recipe : Recipe
        With a ``base``; without one nothing is changed.

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
    base, found = find(recipe.base), []
    for field in _COMPARED:
        before, after = getattr(base, field), getattr(recipe, field)
        if isinstance(before, Mapping):
            names = [*before, *(name for name in after if name not in before)]
            pairs = [(name, before.get(name), after.get(name)) for name in names]
        else:
            pairs = [(field, before, after)]
        found += [f"{name}: {_plain(old)} -> {_plain(new)}" for name, old, new in pairs if old != new]
    return found


def _plain(value: Any) -> str:
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
