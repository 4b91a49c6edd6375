"""Which recordings exist, what is wrong with them, and which are in which part of a split."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["catalogue", "demo", "download", "near_duplicates", "splits"]
)
