"""The run store: one SQLite file for each run, written by its trainer alone and read live by everything else."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
