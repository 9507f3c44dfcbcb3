"""Research questions that `lab experiment NAME` answers: each module has a frozen configuration."""

__all__ = []
