"""Search spaces as data: primitives, genotypes, edits, sampling, tables of known accuracies."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
