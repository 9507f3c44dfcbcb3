"""Tasks of the lessons, each an `Exercise`: its hints, its checks, and what is wrong with typical answers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
