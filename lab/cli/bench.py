"""`lab bench`: speed and memory, as ratios within one run."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lab import bench
from lab.cli import experiment
from lab.cli.measure import Measurement, run_measurement
from lab.cli.renamed import say_renamed

BENCHES: Mapping[str, Measurement] = MappingProxyType(
    {
        "supernet": Measurement(
            settings=bench.SupernetBench, text="supernet step: only the sampled primitives against the full mixture"
        ),
        "overhead": Measurement(
            settings=bench.OverheadBench, text="training with store and monitor against the plain loop"
        ),
        "store": Measurement(
            settings=bench.StoreBench,
            text="rows per second, reading while a trainer writes, reading after a kill",
        ),
        "doctor": Measurement(
            settings=bench.DoctorBench,
            text="training steps under explain_backward and under anomaly mode, against plain steps",
        ),
        "morph": Measurement(
            settings=bench.MorphBench,
            text="surgery: plan, apply, rollback, in training steps of the same model",
        ),
        "moe": Measurement(
            settings=bench.MoeBench, text="a mixture of experts against Mixtral's block in transformers"
        ),
        "loading": Measurement(
            settings=bench.LoadingBench, text="batches from the training process against worker processes"
        ),
        "dashboard": Measurement(
            settings=bench.DashboardBench, text="latency from the trainer to the page, and from a button to the trainer"
        ),
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
