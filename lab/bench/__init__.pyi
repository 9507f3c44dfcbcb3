"""What `lab bench NAME` runs: each module has a frozen configuration, `run(config)` and `summary(result)`."""

from .settings import (
    DashboardBench,
    DoctorBench,
    LoadingBench,
    LongRunBench,
    MoeBench,
    MorphBench,
    OverheadBench,
    StoreBench,
    SupernetBench,
    TuneBench,
)

__all__ = [
    "DashboardBench",
    "DoctorBench",
    "LoadingBench",
    "LongRunBench",
    "MoeBench",
    "MorphBench",
    "OverheadBench",
    "StoreBench",
    "SupernetBench",
    "TuneBench",
]
