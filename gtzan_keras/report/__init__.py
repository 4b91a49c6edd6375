"""Results made visible: every figure, a page per run, and the table of all runs."""
