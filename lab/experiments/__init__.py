"""Research questions that `lab experiment NAME` answers: each module has a frozen configuration."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
