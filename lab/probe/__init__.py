"""What a network says of the same few samples throughout a run, and how much each of its layers moves in a step."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
