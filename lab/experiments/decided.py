"""Does ASO-SE decide? Its final entropy on several data sets and spaces, and the rank of its final cell.

Every run has the defaults of `lab train aso-se`, with phases for a given number of epochs. The entropy is the mean over
the edges at the end, as a share of ln(primitives that can be drawn). Where a space has a table of true accuracies, the
final cell and the prior's are looked up when all runs have ended.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.base import ReportTable
from lab.experiments.compute_settings import DECIDED, DecidedBench
from lab.experiments.images import IMAGES, image_config, standard_error
from lab.experiments.table_settings import JUDGES
from lab.results import machine
from lab.results.record import Records, progress_bar
from lab.runs import RunConfig, build
from lab.space import SPACES, Genotype, find_table
from lab.store import GenotypeEvent, Record
from lab.train import DeviceConfig, NullSink, OptimizerConfig, TrainingLoop


def run(config: DecidedBench) -> dict[str, Any]:
    """Every setting and seed, then the tables; what is there already is not trained again.

    Raises:
        DataError: a data set cannot be read.
    """
    records = Records(config.folder, config.protocol)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in config.settings}
    counts = {name: config.ranked_seeds if DECIDED[name].ranked else config.seeds for name in config.settings}
    with progress_bar(sum(counts.values())) as bar:
        for name, count in counts.items():
            for seed in range(config.first_seed, config.first_seed + count):
                row = records.read(f"{name}-{seed}")
                if row is None:
                    row = decide(config, name, seed)
                    records.write(f"{name}-{seed}", row)
                rows[name].append(row)
                bar.step(f"{name}, seed {seed}: entropy {row['entropy']:.3f}")
    return {
        "bench": "decided",
        "config": {**asdict(config), "cifar": config.cifar and config.cifar.name, "folder": str(config.folder)},
        "machine": machine(),
        "results": {name: _figures(name, found) for name, found in rows.items()},
    }


def decide(config: DecidedBench, name: str, seed: int) -> dict[str, Any]:
    """One run; the test split is read once, at its end."""
    setting = DECIDED[name]
    data = image_config(
        setting.images, data_dir=config.data_dir, cifar=config.cifar, folder=config.folder / "images", seed=seed
    )
    parts = build(
        RunConfig(
            data=data,
            space=setting.space,
            init_channels=config.channels,
            batch_size=config.batch_size,
            seed=seed,
            threads=config.threads,
            search=ASOSEConfig().fitted(config.epochs),
            optimizer=OptimizerConfig(weight_lr=config.weight_lr),
            devices=DeviceConfig(device="cpu"),
            epochs=config.epochs,
        )
    )
    strategy, sink = parts.strategy, _Entropies()
    assert isinstance(strategy, ASOSEStrategy)
    loop = TrainingLoop(
        strategy,
        parts.data,
        parts.monitor,
        sink,
        epochs=config.epochs,
    )
    began = time.process_time()
    loop.run()
    assert strategy.architecture.prior is not None
    return {
        "entropy": strategy.explorer.sample_stats.strength,
        "entropies": sink.entropies,
        "prior": list(strategy.architecture.prior.genotype.indices),
        "cell": list(strategy.controller.child.genotype.indices),
        "argmax": list(strategy.explorer.argmax_genotype.indices),
        "mutations": strategy.mutator.counts,
        "trial_share": strategy.controller.trials.ledger.spent / max(strategy.compute.spent, 1.0),
        "cpu_seconds": round(time.process_time() - began, 2),
    }


class _Entropies(NullSink):
    """Keeps the entropy whenever the search tells what it believes."""

    def __init__(self) -> None:
        self.entropies: list[float] = []

    def record(self, step: int, record: Record) -> None:
        """Keep the entropy of what the search believes."""
        if isinstance(record, GenotypeEvent) and record.strength is not None:
            self.entropies.append(round(record.strength, 4))


def _figures(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean entropy, how often the cell is not the prior's, and ranks of both where there is a table."""
    entropies = [row["entropy"] for row in rows]
    found: dict[str, Any] = {
        "runs": rows,
        "mean": statistics.mean(entropies),
        "error": standard_error(entropies),
        "largest": max(entropies),
        "changed": sum(row["cell"] != row["prior"] for row in rows),
        "turned": sum(row["argmax"] != row["prior"] for row in rows),
    }
    space = SPACES[DECIDED[name].space]
    table = find_table(space) if DECIDED[name].ranked else None
    if table is not None:
        columns: Mapping[str, str] = JUDGES[space.name]
        for text, column in columns.items():
            for which in ("prior", "cell", "argmax"):
                cells = [Genotype.from_indices(space, row[which]) for row in rows]
                found[f"{text} {which} rank"] = statistics.mean(table.rank(cell, column) for cell in cells)
                found[f"{text} {which}"] = statistics.mean(table.query(cell, column) for cell in cells)
    return found


def summary(result: dict[str, Any]) -> ReportTable:
    """Entropy on each setting, and ranks."""
    rows = []
    for name, own in result["results"].items():
        setting = DECIDED[name]
        ranks = ", ".join(
            f"{text}: prior {own[f'{text} prior rank']:.1f}, final {own[f'{text} cell rank']:.1f}"
            for text in JUDGES.get(setting.space, {})
            if f"{text} prior rank" in own
        )
        error = "" if own["error"] is None else f" +- {own['error']:.3f}"
        rows.append(
            (
                f"{IMAGES[setting.images].text}, {setting.space}",
                str(len(own["runs"])),
                f"{own['mean']:.3f}{error}",
                f"{own['largest']:.3f}",
                f"{own['changed']}",
                ranks or "-",
            )
        )
    columns = ("data and space", "seeds", "final entropy", "largest", "other cell than the prior's", "mean true rank")
    notes = ("entropy: mean over the edges, as a share of ln(primitives that can be drawn); 1 decides nothing",)
    return ReportTable(title="does the search decide", columns=columns, rows=tuple(rows), notes=notes)
