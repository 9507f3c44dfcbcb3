"""`lab bench`: speed and memory, as ratios within one run."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lab import bench
from lab.cli import experiment
from lab.cli.measure import Measurement, run_measurement
from lab.cli.renamed import say_renamed

BENCHES: Mapping[str, Measurement] = MappingProxyType(
    {
        "supernet": Measurement(settings=bench.SupernetBench),
        "overhead": Measurement(settings=bench.OverheadBench),
        "store": Measurement(settings=bench.StoreBench),
        "doctor": Measurement(settings=bench.DoctorBench),
        "morph": Measurement(settings=bench.MorphBench),
        "moe": Measurement(settings=bench.MoeBench),
        "loading": Measurement(settings=bench.LoadingBench),
        "dashboard": Measurement(settings=bench.DashboardBench),
        "long_run": Measurement(settings=bench.LongRunBench),
        "tune": Measurement(settings=bench.TuneBench),
    }
)
"""Module of `lab.bench` -> its settings, and what it measures."""
NOTES = "Most figures are ratios within one run, because machines are noisy. Research questions: lab experiment."


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    if arguments and arguments[0] in experiment.EXPERIMENTS:
        say_renamed(f"lab bench {arguments[0]}", f"lab experiment {arguments[0]}")
        return experiment.run(arguments)
    others = {name: f"lab experiment {name}" for name in experiment.EXPERIMENTS}
    return run_measurement(arguments, command="bench", part="lab.bench", table=BENCHES, notes=NOTES, others=others)
