"""Search strategies on a table alone, hundreds of seeds in seconds: is one search better than another, and by enough?

A strategy sees validation accuracies after a short training and is judged by the test accuracy after a long one. The
published rows for NAS-Bench-201 (Dong and Yang 2020, table 5) show whether the harness is honest.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from lab.base import DataError, ReportTable, derive_seed
from lab.experiments.table_settings import DATASETS, StrategiesBench
from lab.experiments.tabular import STRATEGIES, Floats, Landscape, best_so_far, noise_floor
from lab.results import machine
from lab.results.figure import PlotLine, line_figure
from lab.results.record import Records, progress_bar
from lab.space import SPACES, Genotype, find_table
from lab.space import Table as Truth

PUBLISHED: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"random": (93.70, 0.36), "regularised_evolution": (93.92, 0.30), "reinforce": (93.85, 0.37)}
)
"""CIFAR-10 test accuracy and standard deviation of NAS-Bench-201's own runs, about a hundred evaluations each."""


def run(config: StrategiesBench) -> dict[str, Any]:
    """Every strategy on every data set of the table.

    Raises:
        DataError: there is no such table, or one of another form.
    """
    truth = _open(config)
    columns = {name: _column(truth, name) for pair in DATASETS[config.space].values() for name in pair}
    settings = {"space": config.space, "evaluations": config.evaluations, "seeds": config.seeds, "seed": config.seed}
    records = Records(config.folder / config.space, settings)
    methods = {}
    with progress_bar(len(STRATEGIES)) as bar:
        for method in STRATEGIES:
            found = records.read(method)
            if found is None:
                found = _measure(method, columns, config)
                records.write(method, found)
            methods[method] = _brief(found)
            bar.step(method)
    datasets = {
        name: {
            "optimum": float(columns[test].max()),
            "best_by_validation": float(columns[test][columns[validation].argmax()]),
            "noise_floor": noise_floor(truth.space, columns[test]),
        }
        for name, (validation, test) in DATASETS[config.space].items()
    }
    result = {
        "bench": "strategies",
        "config": {
            **asdict(config),
            "folder": str(config.folder),
            "table": _name(config.table),
            "figure": _name(config.figure),
        },
        "machine": machine(),
        "results": {"methods": methods, "datasets": datasets},
    }
    if config.figure is not None:
        config.figure.parent.mkdir(parents=True, exist_ok=True)
        config.figure.write_text(_draw(result), encoding="utf-8")
    return result


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _open(config: StrategiesBench) -> Truth:
    space = SPACES[config.space]
    truth = find_table(space) if config.table is None else Truth.load(config.table)
    if truth is None or truth.space != space:
        got = "none" if truth is None else f"one of {truth.space.name}"
        raise DataError(f"a table of space {space.name}", got, "point LAB_NAS_TABLES at its folder, or give --table")
    needed = {column for pair in DATASETS[config.space].values() for column in pair}
    if not needed <= set(truth.columns):
        raise DataError(f"columns {', '.join(sorted(needed))}", ", ".join(truth.columns), "give another --table")
    return truth


def _column(truth: Truth, column: str) -> Floats:
    kinds = truth.space.primitives
    cells = product(kinds, repeat=len(truth.space.edges))
    return np.array([truth.query(Genotype(truth.space, cell), column) for cell in cells])


def _measure(method: str, columns: Mapping[str, Floats], config: StrategiesBench) -> dict[str, Any]:
    began = time.process_time()
    found: dict[str, Any] = {}
    for name, (validation, test) in DATASETS[config.space].items():
        landscape = Landscape(space=SPACES[config.space], validation_N=columns[validation])
        rng = np.random.default_rng(derive_seed(config.seed, method, name))
        asked_SQ = STRATEGIES[method](landscape, config.seeds, max(config.evaluations), rng)
        best_SQ = best_so_far(landscape, asked_SQ)
        found[name] = {
            str(count): [round(value, 3) for value in columns[test][best_SQ[:, count - 1]].tolist()]
            for count in config.evaluations
        }
    return {"accuracies": found, "cpu_seconds": round(time.process_time() - began, 3)}


def _brief(found: dict[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds in the place of every seed's accuracy."""
    accuracies = {
        name: {
            count: {"mean": round(float(np.mean(values)), 3), "deviation": round(float(np.std(values, ddof=1)), 3)}
            for count, values in counts.items()
        }
        for name, counts in found["accuracies"].items()
    }
    return {**found, "accuracies": accuracies}


def _draw(result: dict[str, Any]) -> str:
    name = next(iter(result["results"]["datasets"]))
    facts = result["results"]["datasets"][name]
    series = []
    for method, figures in result["results"]["methods"].items():
        counts = figures["accuracies"][name].items()
        points = [(float(count), value["mean"], value["deviation"]) for count, value in counts]
        series.append(PlotLine(name=method.replace("_", " "), points=tuple(points)))
    floor, optimum = facts["noise_floor"], facts["optimum"]
    return line_figure(
        series,
        title=f"{name}: test accuracy of the cell with the best validation accuracy so far, mean of "
        f"{result['config']['seeds']} seeds",
        x_title="evaluations",
        y_title="percent",
        band=(optimum - floor, optimum),
        band_title=f"within the noise floor ({floor:.2f} points) of the optimum ({optimum:.2f})",
    )


def summary(result: dict[str, Any]) -> ReportTable:
    """Mean and standard deviation after each number of evaluations; differences below the noise floor say nothing."""
    figures, config = result["results"], result["config"]
    rows = []
    for name in figures["datasets"]:
        for method, found in figures["methods"].items():
            cells = [found["accuracies"][name][str(count)] for count in config["evaluations"]]
            rows.append((name, method, *(f"{cell['mean']:.2f} +- {cell['deviation']:.2f}" for cell in cells)))
    notes = [
        f"{name}: optimum {facts['optimum']:.2f}, best by validation {facts['best_by_validation']:.2f}, noise floor "
        f"{facts['noise_floor']:.2f} points"
        for name, facts in figures["datasets"].items()
    ]
    seconds = sum(found["cpu_seconds"] for found in figures["methods"].values())
    notes.append(f"{config['seeds']} seeds of each, {seconds:.1f} CPU seconds in all")
    columns = ("data set", "strategy", *(f"{count} evaluations" for count in config["evaluations"]))
    return ReportTable(
        title=f"strategies on the table of {config['space']}", columns=columns, rows=tuple(rows), notes=(*notes,)
    )
