"""A change on trial: the changed copies against unchanged control copies, on the same batches, in several orders."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
