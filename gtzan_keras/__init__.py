"""Music genre classification on GTZAN with Keras: real audio in, honest figures out.

Names resolve on first use (PEP 562), so that importing the package costs nothing. The public
names are in ``__init__.pyi``.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
