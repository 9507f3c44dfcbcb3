"""Rows of a run as Plotly figures, DOT texts, tables and sentences: pure functions, used by page and notebook alike."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
