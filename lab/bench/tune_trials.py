"""The evaluations of `lab bench tune` that sleep: they need no torch."""

import time
from collections.abc import Mapping
from pathlib import Path
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


def sleep_to_the_end(task: Any, link: Any) -> Mapping[str, float]:
    """As `sleep`, but a pruner's verdict ends nothing; what it slept is added to the file `base["slept"]`."""
    reports, slept = int(task.base["reports"]), 0.0
    for step in range(reports):
        if task.base["seconds"]:
            began = time.monotonic()
            time.sleep(task.base["seconds"] / reports)
            slept += time.monotonic() - began
        link.tell(step, _value(task.params))
    with Path(task.base["slept"]).open("a", encoding="utf-8") as file:
        file.write(f"{slept}\n")
    return {"score": _value(task.params)}


def _value(params: Mapping[str, float]) -> float:
    return (params["x"] - 1.0) ** 2 + (params["y"] + 2.0) ** 2
