"""The published experiments as named recipes, and the function that runs them."""

from gtzan_keras.experiments.catalogue import RECIPES, changes, find
from gtzan_keras.experiments.recipe import Published, Recipe, SecondStage
from gtzan_keras.experiments.runner import PROTOCOLS, run

__all__ = ["PROTOCOLS", "RECIPES", "Published", "Recipe", "SecondStage", "changes", "find", "run"]
