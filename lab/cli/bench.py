"""`lab bench`: speed and memory, as ratios within one run."""

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lab import bench
from lab.cli import experiment
from lab.cli.measure import Measurement, run_measurement

BENCHES: Mapping[str, Measurement] = MappingProxyType(
    {
        "supernet": Measurement(
            settings=bench.SupernetBench, text="supernet step: chosen primitives alone against the full mixture"
        ),
        "overhead": Measurement(
            settings=bench.OverheadBench, text="training with store and monitor against the bare loop"
        ),
        "store": Measurement(
            settings=bench.StoreBench,
            text="rows a second, reading beside a writing trainer, reading after a kill",
        ),
        "doctor": Measurement(
            settings=bench.DoctorBench,
            text="training steps under explain_backward and anomaly mode, against bare ones",
        ),
        "morph": Measurement(
            settings=bench.MorphBench,
            text="surgery: plan, apply, roll back, in training steps of the same model",
        ),
        "moe": Measurement(
            settings=bench.MoeBench, text="a mixture of experts against Mixtral's block in transformers"
        ),
        "loading": Measurement(
            settings=bench.LoadingBench, text="batches from the training process or from worker processes"
        ),
        "dashboard": Measurement(
            settings=bench.DashboardBench, text="from the trainer to the page, and from the button to the trainer"
        ),
    }
)
"""Module of `lab.bench` -> its settings, and what it measures."""
NOTES = "A figure is a ratio within one run where it can be: machines are noisy. Research questions: lab experiment."


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    if arguments and arguments[0] in experiment.EXPERIMENTS:
        sys.stderr.write(f"lab: lab bench {arguments[0]} is spelled now: lab experiment {arguments[0]}\n")
        return experiment.run(arguments)
    others = {name: f"lab experiment {name}" for name in experiment.EXPERIMENTS}
    return run_measurement(arguments, command="bench", part="lab.bench", table=BENCHES, notes=NOTES, others=others)
