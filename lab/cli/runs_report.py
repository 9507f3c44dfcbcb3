"""`lab runs report`: a run as one HTML file with its figures inside, which any browser shows without a network."""

import html
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.base import ConfigError, require_extra
from lab.cli.options import POSITIONAL
from lab.cli.parse import parse
from lab.cli.runs import find_run
from lab.cli.runs_show import describe_run
from lab.store import RUNS_ROOT, EventRow, RunReader

POINTS = 2000
"""Largest number of points of a curve; of a longer one the lowest and highest of each piece are drawn."""
CONFIG = {"responsive": True, "displaylogo": False, "showSendToCloud": False}
"""Of each figure: it takes the width of the window, and has no button that sends it to a server."""
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; color: #1d232b; }
section { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-size: 14px; }
td, th { padding: 2px 12px 2px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #dde2e8; }
"""


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write a run as one HTML file: what it was, what became of it, its curves, its cell or its actions.

    The file holds everything that it shows, Plotly's script too (some 5 MB), and asks nothing of the network.
    """

    run: str = field(metadata={POSITIONAL: True})
    """The run: its folder, or its name inside --save-dir."""
    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    out: Path | None = None
    """File to write; default: report.html in the run's folder. One that is there is replaced only by --force."""
    force: bool = False
    """Replace a file that is there."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    examples = ("lab runs report NAME", "lab runs report NAME --out homework.html")
    command = parse(ReportCommand, arguments, prog="lab runs report", examples=examples)
    require_extra("page", "lab runs report", ("plotly",))
    run_dir = find_run(command.run, command.save_dir)
    path = command.out or run_dir / "report.html"
    if path.exists() and not command.force:
        raise ConfigError("a file that is not there yet", str(path), "give another --out, or --force")
    if not path.parent.is_dir():
        raise ConfigError("a folder for the report", str(path.parent), "make it first, or give another --out")
    path.write_text(render(run_dir), encoding="utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


def render(run_dir: Path) -> str:
    """The page of a run; the run may be going on.

    Raises:
        StoreError: its store cannot be read.
    """
    from plotly.offline import get_plotlyjs

    description = describe_run(run_dir)
    drawn = []
    for name, figure in figures(RunReader(run_dir)):
        picture = figure.to_html(config=CONFIG, full_html=False, include_plotlyjs=False)
        drawn.append(f"<section><h2>{html.escape(name)}</h2>{picture}</section>")
    tables = "".join(f"<section>{table._repr_html_()}</section>" for table in description.tables())
    config = RunReader(run_dir).config()
    data = str(config.get("dataset_title", "")) + (" (synthetic data)" if config.get("synthetic") else "")
    title = html.escape(f"{run_dir.name}: {description.recipe or 'run'}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head>\n"
        f"<body><h1>{title}</h1><p>{html.escape(data)}</p>\n{''.join(drawn)}\n{tables}</body></html>\n"
    )


def figures(reader: RunReader) -> Iterator[tuple[str, Any]]:
    """Title and Plotly figure of everything that the run has something to show of."""
    from lab import charts

    last, step, _ = reader.extent()
    names = reader.names()
    events: tuple[EventRow, ...] = reader.events(limit=1_000_000).events
    actions = charts.agent_actions(events)
    marks = (*charts.mutation_marks(events), *charts.action_marks(events))

    def series(name: str) -> charts.Series:
        found = reader.thinned(name, before=step + 1, until=last, points=POINTS)
        return charts.make_series(name, found.step, found.value)

    if any(event.kind == "phase" for event in events):
        yield "Phases", charts.timeline_figure(events, step)
    for measure, unit in (("loss", "loss (nats)"), ("accuracy", "accuracy")):
        curves = list(_curves(names, series, measure))
        if curves:
            yield (
                measure.capitalize(),
                charts.curve_figure(curves, y_title=unit, marks=marks, percent=measure == "accuracy"),
            )
    if "temperature" in names:
        entropy = charts.entropy_series(events)
        yield "Temperature and entropy", charts.temperature_figure(series("temperature"), entropy, marks=marks)
    if "health" in names:
        yield "Stability", charts.stability_figure(series("health"), events, marks=marks)
    genotypes = [event.payload for event in events if event.kind == "genotype"]
    if genotypes:
        yield "The cell", charts.genotype_figure(charts.cell_edges(genotypes[-1]["genotype"], genotypes[-1]))
        yield "Probabilities", charts.probability_figure(genotypes[-1])
    if actions:
        yield "Actions of the agent", charts.action_figure(actions)
    if "agent/parameters" in names:
        yield "Parameters", charts.parameter_figure(series("agent/parameters"), marks=marks)


def _curves(names: Sequence[str], series: Callable[[str], Any], measure: str) -> Iterator[Any]:
    """Batches, selection split, test split of `measure`, those that the run has."""
    from lab import charts

    if measure in names:
        yield charts.Curve(series=series(measure), style=charts.series_style("batches", 0))
    for place, (part, label) in enumerate((("decision", "selection split"), ("test", "test split, read once")), 1):
        name = f"{part}/{measure}"
        if name in names:
            style = charts.series_style(label, place)
            yield charts.Curve(series=series(name), style=style, dense=False, joined=part == "decision")
