import math

import pytest

from lab.base import ConfigError
from lab.monitor import MonitorConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window", 31),
        ("every", 0),
        ("memory", 7),
        ("floor", -0.1),
        ("oscillating_at", 0.0),
        ("degraded_at", 1.1),
        ("rollback_at", 0.1),
        ("diverging_at", 0.0),
        ("floor", math.nan),
    ],
)
def test_a_setting_outside_its_range_is_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        MonitorConfig(**{field: value})
