"""`lab experiment`: research questions, answered by measurements of minutes to hours that go on where they were."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lab import experiments
from lab.cli.measure import Measurement, run_measurement

EXPERIMENTS: Mapping[str, Measurement] = MappingProxyType(
    {
        "table": Measurement(
            settings=experiments.TableBench,
            text="every cell of a small space trained on digits: a true table of the lab's own",
        ),
        "search": Measurement(
            settings=experiments.SearchBench,
            module="search_methods",
            text="searches on a CPU proxy at one budget, the found cells looked up in the table",
        ),
        "remedies": Measurement(
            settings=experiments.RemediesBench,
            text="options of exploration on 125 cells, judged by the lab's own table",
        ),
        "strategies": Measurement(
            settings=experiments.StrategiesBench,
            text="search strategies on a table alone, hundreds of seeds in seconds",
        ),
        "agent": Measurement(
            settings=experiments.AgentBench,
            text="the agent on tables of known accuracies, beside searches and beside no learning",
        ),
        "ablation": Measurement(
            settings=experiments.AblationBench,
            text="the search without one of its phases, or without its transition, at equal time",
        ),
        "growth": Measurement(
            settings=experiments.GrowthBench,
            text="a network that grows while it trains against what came out, from scratch",
        ),
        "evolve": Measurement(
            settings=experiments.EvolveBench,
            module="policies",
            text="the agent on a live network against random actions, a schedule and no change",
        ),
        "scores": Measurement(
            settings=experiments.ScoresBench,
            text="do scores of information say where a change pays, beside trivial ones",
        ),
    }
)
"""Module of `lab.experiments` -> its settings, and what it asks."""
NOTES = "What is done already is kept in --folder; a repeated call goes on. Speed and memory: lab bench."


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    return run_measurement(arguments, command="experiment", part="lab.experiments", table=EXPERIMENTS, notes=NOTES)
