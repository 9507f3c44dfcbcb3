"""Checkpoints: what one holds, the atomic write, the verified read, the folder that keeps them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
