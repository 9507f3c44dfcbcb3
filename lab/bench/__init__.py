"""What `lab bench NAME` runs: each module has a frozen configuration, `run(config)` and `summary(result)`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
