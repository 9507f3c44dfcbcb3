"""`lab experiment`: research questions, answered by resumable measurements of minutes to hours."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lab import experiments
from lab.cli.measure import Measurement, run_measurement

EXPERIMENTS: Mapping[str, Measurement] = MappingProxyType(
    {
        "table": Measurement(settings=experiments.TableBench),
        "search": Measurement(settings=experiments.SearchBench, module="search_methods"),
        "remedies": Measurement(settings=experiments.RemediesBench),
        "strategies": Measurement(settings=experiments.StrategiesBench),
        "agent": Measurement(settings=experiments.AgentBench),
        "ablation": Measurement(settings=experiments.AblationBench),
        "growth": Measurement(settings=experiments.GrowthBench),
        "evolved": Measurement(settings=experiments.EvolvedBench),
        "decided": Measurement(settings=experiments.DecidedBench),
        "ladder": Measurement(settings=experiments.LadderBench),
        "anytime": Measurement(settings=experiments.AnytimeBench),
        "evolve": Measurement(settings=experiments.EvolveBench, module="policies"),
        "scores": Measurement(settings=experiments.ScoresBench),
        "trials": Measurement(settings=experiments.TrialBench),
        "text": Measurement(settings=experiments.TextBench),
        "samplers": Measurement(settings=experiments.SamplersBench),
    }
)
"""Module of `lab.experiments` -> its settings, and what it asks."""
NOTES = "Finished pieces are kept in --folder; a repeated call continues. Speed and memory: lab bench."


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    return run_measurement(arguments, command="experiment", part="lab.experiments", table=EXPERIMENTS, notes=NOTES)
