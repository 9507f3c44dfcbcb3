"""The evaluations of `lab bench tune`: they sleep, and need no torch."""

import time
from collections.abc import Mapping
from typing import Any


def sleep(task: Any, link: Any) -> Mapping[str, float]:
    """A trial of `base["seconds"]`, with `base["reports"]` reports at equal distances."""
    reports = int(task.base["reports"])
    for step in range(reports):
        time.sleep(task.base["seconds"] / reports)
        link.report(step, _value(task.params))
    if not reports:
        time.sleep(task.base["seconds"])
    return {"score": _value(task.params)}


def _value(params: Mapping[str, float]) -> float:
    return (params["x"] - 1.0) ** 2 + (params["y"] + 2.0) ** 2
