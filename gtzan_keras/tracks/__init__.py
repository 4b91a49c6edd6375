"""Which recordings there are, and which stands in which part."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["catalogue", "demo", "download", "near_duplicates", "splits"]
)
