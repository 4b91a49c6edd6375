"""Model builders: each returns an uncompiled `keras.Model` and needs nothing else from this package.

Names resolve on first use; they are listed in ``__init__.pyi``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
