"""The one family of errors this package raises for bad input."""

from __future__ import annotations

__all__ = ["GtzanKerasError"]


class GtzanKerasError(ValueError):
    """Bad input, met at the edge.

    The message names the file, the field and its value, and what to do about it; the command line
    prints it as it is and exits with status 1. Everything else that escapes is a bug of ours.

    Examples
    --------
    >>> from gtzan_keras.errors import GtzanKerasError
    >>> isinstance(GtzanKerasError("data/x.h5: not a store"), ValueError)
    True
    """
