"""Sound as arrays: decoding and spectrograms."""
