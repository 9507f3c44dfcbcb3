"""What the notebooks stand on: expected errors, live checks, exercises, a run that trains in another process."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
