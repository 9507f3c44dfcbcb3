"""`lab experiment`: research questions, answered by resumable measurements of minutes to hours."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lab import experiments
from lab.cli.measure import Measurement, run_measurement

EXPERIMENTS: Mapping[str, Measurement] = MappingProxyType(
    {
        "table": Measurement(
            settings=experiments.TableBench,
            text="every cell of a small space trained on digits: the lab's own tabular benchmark",
        ),
        "search": Measurement(
            settings=experiments.SearchBench,
            module="search_methods",
            text="searches on a CPU proxy at equal budget, evaluated on a tabular benchmark",
        ),
        "remedies": Measurement(
            settings=experiments.RemediesBench,
            text="options against skip collapse on 125 cells, evaluated on the lab's own table",
        ),
        "strategies": Measurement(
            settings=experiments.StrategiesBench,
            text="search strategies on a tabular benchmark, hundreds of seeds in seconds",
        ),
        "agent": Measurement(
            settings=experiments.AgentBench,
            text="the agent on tabular benchmarks, compared with searches and with no learning",
        ),
        "ablation": Measurement(
            settings=experiments.AblationBench,
            text="ablation: the search without one phase, or without the transition, at equal time",
        ),
        "growth": Measurement(
            settings=experiments.GrowthBench,
            text="a network that grows while it trains, against the final network trained from scratch",
        ),
        "evolved": Measurement(
            settings=experiments.EvolvedBench,
            text="ASO-SE against fixed networks, at equal operations and at equal CPU seconds",
        ),
        "evolve": Measurement(
            settings=experiments.EvolveBench,
            module="policies",
            text="the agent on a live network, against random actions, a schedule and no change",
        ),
        "scores": Measurement(
            settings=experiments.ScoresBench,
            text="whether information scores predict where a change helps, compared with trivial scores",
        ),
        "trials": Measurement(
            settings=experiments.TrialBench,
            text="whether trials of changes agree over two batch orders, and whether deciding by them pays",
        ),
    }
)
"""Module of `lab.experiments` -> its settings, and what it asks."""
NOTES = "Finished pieces are kept in --folder; a repeated call continues. Speed and memory: lab bench."


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    return run_measurement(arguments, command="experiment", part="lab.experiments", table=EXPERIMENTS, notes=NOTES)
