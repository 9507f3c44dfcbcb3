"""The evolution agent: what it measures, what it does to a network, how it judges that, how it learns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
