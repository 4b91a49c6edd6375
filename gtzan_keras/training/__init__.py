"""A model and a split make a run; a run makes scores."""
