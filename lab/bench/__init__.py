"""What `lab bench NAME` runs: each module has a frozen configuration, `run(config)` and `summary(result)`."""

from lab.bench.machine import machine

__all__ = ["machine"]
