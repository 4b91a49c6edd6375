"""The recipes, one file a source."""
