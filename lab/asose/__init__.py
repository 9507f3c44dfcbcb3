"""ASO-SE: alternating, stable search of an architecture, with a live network that mutates without a jump."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
