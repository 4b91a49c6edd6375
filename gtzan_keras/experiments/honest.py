"""Our own models: nothing pretrained, chosen on the fault-filtered validation part."""

from gtzan_keras.experiments.recipe import Recipe

RECIPES: tuple[Recipe, ...] = ()
