"""Text classifiers on pretrained encoders: the class of a sentence, and the span that is the evidence for it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
