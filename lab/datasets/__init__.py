"""Data sets whole in memory, divided four ways, and streamed in batches that depend on seed and epoch alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
