"""`--budget TEXT` as a `Budget`: seconds with s, m or h, or operations with MF, GF, TF or PF."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from lab.base import ConfigError
from lab.runs import Budget

SECONDS: Mapping[str, float] = MappingProxyType({"s": 1.0, "m": 60.0, "h": 3600.0})
OPERATIONS: Mapping[str, float] = MappingProxyType({"MF": 1e6, "GF": 1e9, "TF": 1e12, "PF": 1e15})
WANTED = "a budget such as 90s, 5m, 2h (time of training) or 447GF, 2TF (operations)"


def parse_budget(text: str) -> Budget:
    """The budget that `text` names.

    Raises:
        ConfigError: another form, or nothing to spend.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]+)\s*", text)
    unit = "" if found is None else found[2]
    if found is None or unit not in SECONDS.keys() | OPERATIONS.keys():
        raise ConfigError(WANTED, repr(text), "give a number and a unit")
    number = float(found[1])
    if unit in SECONDS:
        return Budget(seconds=number * SECONDS[unit])
    return Budget(operations=number * OPERATIONS[unit])
