"""Networks that can be searched and changed: primitives, cells, the supernet, the evolvable child."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
