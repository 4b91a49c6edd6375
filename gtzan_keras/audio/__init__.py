"""Sound as arrays: decoding, spectrograms, features, patches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["decode", "features", "spectrogram"])
