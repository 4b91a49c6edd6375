"""The published experiments as named recipes, and what runs them."""

from gtzan_keras.experiments.catalogue import RECIPES, changes, find
from gtzan_keras.experiments.recipe import Published, Recipe
from gtzan_keras.experiments.runner import PROTOCOLS, run

__all__ = ["PROTOCOLS", "RECIPES", "Published", "Recipe", "changes", "find", "run"]
