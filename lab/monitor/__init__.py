"""The stability of a training run: signals as pure functions, a monitor that observes each step, its verdict."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
