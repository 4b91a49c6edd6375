"""What a run looks like: every figure, a page a run, and the table of all runs."""
