"""Which recordings there are, and which stands in which part."""
