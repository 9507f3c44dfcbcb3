"""Checks of configuration fields: name, bound and value in one ConfigError."""

import inspect
import math
from collections.abc import Callable, Collection

from lab.base.errors import ConfigError


def require(condition: bool, *, expected: str, got: object, hint: str) -> None:
    """Raise `ConfigError` unless `condition` holds."""
    if not condition:
        raise ConfigError(expected, str(got), hint)


def require_range(
    name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> None:
    """Raise `ConfigError` unless `low <= value <= high` (`<` at an end that is open); NaN is refused."""
    # Asks what must hold, not what must not: no comparison holds for NaN, which is so refused.
    if (value > low if open_low else value >= low) and (value < high if open_high else value <= high):
        return
    sign, other = ">" if open_low else ">=", "<" if open_high else "<="
    bounds = f"{name} {sign} {low:g}" + ("" if math.isinf(high) else f" and {other} {high:g}")
    raise ConfigError(bounds, f"{name} = {value}", "choose a value in range")


def require_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise `ConfigError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{name} to be one of {', '.join(choices)}", f"{value!r}", f"choose {name} from that list")


def takes(function: Callable[..., object], *args: object, **kwargs: object) -> bool:
    """Whether a call with these arguments fits the signature; true where Python does not know it."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # Some functions that are written in C have none.
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True
