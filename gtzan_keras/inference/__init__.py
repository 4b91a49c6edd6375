"""Networks run over recordings."""
