"""Function-preserving surgery on any module: plan, apply, verify, roll back, the optimizer carried along."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
