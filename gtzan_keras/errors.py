"""The one family of errors this package raises for bad input."""

from __future__ import annotations

__all__ = ["GtzanKerasError"]


class GtzanKerasError(ValueError):
    """Raised for bad input.

    The message names the file, the field and its value, and what to do about it; the command line
    prints it as it is and exits with status 1. Any other exception is a bug in this package.

    Examples
    --------
    >>> from gtzan_keras.errors import GtzanKerasError
    >>> isinstance(GtzanKerasError("data/x.h5: not a store"), ValueError)
    True
    """
