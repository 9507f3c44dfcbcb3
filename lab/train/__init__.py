"""Training: one loop, the strategies that plug into it, and whole runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
