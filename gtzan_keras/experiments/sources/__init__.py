"""The recipes, one file per source."""
