"""What `lab bench NAME` runs: each module has a frozen configuration, `run(config)` and `summary(result)`."""

__all__ = []
