"""Studies: trials of other settings, evaluated in parallel by child processes, none lost and none counted twice."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
