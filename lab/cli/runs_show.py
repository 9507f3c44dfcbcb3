"""`lab runs show`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.base import Report, ReportTable
from lab.charts import COMPONENT, Action, action_counts, agent_actions, component_bytes, component_table
from lab.checkpoint import CheckpointFile, examine_checkpoints, list_checkpoints
from lab.cli.options import POSITIONAL
from lab.cli.parse import parse
from lab.cli.runs import find_run
from lab.runs import RunConfig
from lab.space import Genotype
from lab.store import RUNS_ROOT, RunReader

KINDS = ("phase", "mutation", "growth", "rollback", "intervention", "genotype", "oom", "action")
ACTION_COLUMNS = ("step", "action", "became", "what", "where", "loss change", "reward", "parameters", "difference")
"""What the table of actions holds; the JSON form holds all."""


@dataclass(frozen=True, kw_only=True)
class ShowCommand:
    """Tell of one run: settings, phases, checkpoints, cell, mutations, actions, interventions, last figures."""

    run: str = field(metadata={POSITIONAL: True})
    """The run: its folder, or its name inside --save-dir."""
    save_dir: Path = RUNS_ROOT
    """Folder of runs."""
    json: bool = False
    """Print as JSON."""


@dataclass(frozen=True, kw_only=True)
class RunDescription(Report):
    """A run as its store and its checkpoints tell it."""

    run: str
    """Folder."""
    recipe: str
    """What was trained how; empty where the settings do not say."""
    state: str
    reason: str
    """Why it is stale, or what ended it."""
    attempts: int
    last_step: int | None
    settings: dict[str, Any]
    """Settings that differ from the defaults, by dotted name."""
    phases: list[dict[str, Any]]
    """Phase, epoch of its beginning, planned epochs, cycle."""
    checkpoints: list[dict[str, Any]]
    """Name, reason, epoch, step, bytes, and what is wrong with it (empty: it reads whole)."""
    parent: str | None
    """Checkpoint of another run that this one came from: a path, or its digest where it is not found."""
    genotype: str | None
    """The live network's cell now."""
    mutations: dict[str, int]
    """Applied, accepted, rejected."""
    actions: tuple[Action, ...]
    """What the evolution agent did, in order."""
    growths: list[dict[str, Any]]
    interventions: list[dict[str, Any]]
    """What the monitor did, and memory that ran out, with reasons."""
    figures: dict[str, float]
    """Last value of each figure of an epoch."""

    def to_dict(self) -> dict[str, Any]:
        """The description as JSON data."""
        return asdict(self)

    def tables(self) -> tuple[ReportTable, ...]:
        """One table for each side of the run that has something to tell."""
        facts = [
            ("state", self.state + (f": {self.reason}" if self.reason else "")),
            ("attempts", f"{self.attempts}"),
            ("last step", "-" if self.last_step is None else f"{self.last_step:,}"),
            ("came from", self.parent or "nothing: it began here"),
            *(self._agent_facts() if self.recipe == "agent" else self._cell_facts()),
        ]
        tables = [ReportTable(title=self.run, columns=("what", "figure"), rows=tuple(facts))]
        settings = tuple((name, f"{value}") for name, value in self.settings.items())
        tables.append(_table("settings other than the defaults", ("setting", "value"), settings))
        columns = ("phase", "epoch", "epochs", "cycle")
        tables.append(_table("phases", columns, [tuple(f"{row[name]}" for name in columns) for row in self.phases]))
        tables.append(_table("actions of the agent", ACTION_COLUMNS, self._action_rows()))
        growths = [(f"{row['step']}", row["what"], row["where"]) for row in self.growths]
        tables.append(_table("growths", ("step", "what", "where"), growths))
        rows = [(f"{row['step']}", row["action"], row["reason"]) for row in self.interventions]
        tables.append(_table("interventions", ("step", "what", "why"), rows))
        tables.append(_table("checkpoints", ("name", "reason", "epoch", "size", "reads"), self._checkpoint_rows()))
        sizes = [row.values() for row in component_table(component_bytes(self.figures))]
        titles = ("component", "parameters", "state", "kept for backward", "peak")
        tables.append(_table("memory of the components", titles, [tuple(row) for row in sizes]))
        shown = {name: value for name, value in self.figures.items() if not name.startswith(COMPONENT)}
        figures = [(name, f"{value:.4g}") for name, value in shown.items()]
        tables.append(_table("last figures", ("figure", "value"), figures))
        return tuple(table for table in tables if table.rows)

    def _cell_facts(self) -> list[tuple[str, str]]:
        if self.recipe == "multitask":
            return [("cell now", "none: recipe multitask trains a model of text and a table")]
        if self.recipe == "text":
            return [("cell now", "none: recipe text trains a classifier of sentences")]
        counts = ", ".join(f"{count} {status}" for status, count in self.mutations.items())
        return [("cell now", self.genotype or "none yet"), ("mutations", counts)]

    def _agent_facts(self) -> list[tuple[str, str]]:
        facts = [
            ("cell now", "none: recipe agent changes the layers of a live network"),
            ("actions", ", ".join(f"{count} {outcome}" for outcome, count in action_counts(self.actions).items())),
        ]
        if self.actions:
            masked = self.actions[-1].masked.items()
            facts.append(("not possible now", "; ".join(f"{name}: {why}" for name, why in masked) or "nothing"))
        return facts

    def _action_rows(self) -> list[tuple[str, ...]]:
        return [_action_row(action) for action in self.actions]

    def _checkpoint_rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for row in self.checkpoints:
            size = "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f} MB"
            epoch = "-" if row["epoch"] is None else f"{row['epoch']}"
            rows.append((row["name"], row["reason"] or "-", epoch, size, row["fault"] or "whole"))
        return rows


def _action_row(action: Action) -> tuple[str, ...]:
    """An action in words that every terminal can write."""
    return (
        f"{action.step}",
        action.action,
        action.outcome,
        "; ".join(part.text for part in action.surgeries) or action.reason,
        "; ".join(dict.fromkeys(part.layer for part in action.surgeries)),
        action.loss_text.replace("±", "+-"),
        "" if action.reward is None else f"{action.reward:+.3f}",
        action.parameters_text.replace("→", "->"),
        "" if action.difference is None else f"{action.difference:.1e}",
    )


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> ReportTable:
    return ReportTable(title=title, columns=columns, rows=tuple(rows))


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    command = parse(
        ShowCommand, arguments, prog="lab runs show", examples=("lab runs show NAME", "lab runs show NAME --json")
    )
    description = describe_run(find_run(command.run, command.save_dir))
    sys.stdout.write((description.to_json() if command.json else str(description)) + "\n")
    return 0


def describe_run(run_dir: Path) -> RunDescription:
    """Read a run; it may be running.

    Raises:
        StoreError: its store cannot be read.
    """
    reader = RunReader(run_dir)
    summary = reader.summary()
    rows = reader.events(kinds=KINDS, limit=1_000_000).events
    events = [(row.step, row.kind, row.payload) for row in rows]
    config = reader.config()
    mutations = [payload["status"] for _, kind, payload in events if kind == "mutation"]
    genotypes = [payload["genotype"] for _, kind, payload in events if kind == "genotype"]
    examined = examine_checkpoints(run_dir / "checkpoints")
    return RunDescription(
        run=str(run_dir),
        recipe=str(config.get("recipe", "")),
        state=summary.state,
        reason=summary.reason,
        attempts=summary.attempt,
        last_step=summary.last_step,
        settings=dict(_different(config, RunConfig().to_json())),
        phases=[payload for _, kind, payload in events if kind == "phase"],
        checkpoints=[_checkpoint_row(path, file, fault) for path, file, fault in examined],
        parent=_parent(run_dir, [file for _, file, _ in examined if file is not None]),
        genotype=str(Genotype.from_json(genotypes[-1])) if genotypes else None,
        mutations={status: mutations.count(status) for status in ("applied", "accepted", "rejected")},
        actions=agent_actions(rows),
        growths=[{"step": step, **payload} for step, kind, payload in events if kind == "growth"],
        interventions=[_intervention(*event) for event in events if event[1] in ("rollback", "intervention", "oom")],
        figures=_last_figures(reader),
    )


def _different(config: dict[str, Any], default: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of each setting that the defaults have otherwise."""
    for name, usual in default.items():
        value = config.get(name, usual)
        if isinstance(usual, dict) and isinstance(value, dict):
            yield from _different(value, usual, f"{before}{name}.")
        # JSON has lists where the record has tuples.
        elif value != (list(usual) if isinstance(usual, tuple) else usual):
            yield f"{before}{name}", value


def _checkpoint_row(path: Path, file: CheckpointFile | None, fault: str) -> dict[str, Any]:
    return {
        "name": path.name,
        "reason": None if file is None else file.reason,
        "epoch": None if file is None else file.epoch,
        "step": None if file is None else file.step,
        "bytes": None if file is None else file.bytes,
        "fault": fault,
    }


def _parent(run_dir: Path, files: list[CheckpointFile]) -> str | None:
    """The checkpoint outside this run that its own ones descend from."""
    own = {file.digest for file in files}
    outside = [file.parent for file in files if file.parent and file.parent not in own]
    if not outside:
        return None
    # By digest and not by path: a folder may have been moved since.
    for folder in sorted(run_dir.resolve().parent.iterdir()):
        for file in list_checkpoints(folder / "checkpoints"):
            if file.digest == outside[0]:
                return str(file.path)
    return f"a checkpoint that is no longer there, digest {outside[0][:16]}"


def _intervention(step: int, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    if kind == "oom":
        return {"step": step, "action": f"memory: {payload['action']}", "reason": payload["text"]}
    if kind == "rollback":
        return {"step": step, "action": f"restored step {payload['to_step']}", "reason": payload["reason"]}
    change = "" if payload["before"] is None else f" {payload['before']:.3g} -> {payload['after']:.3g}"
    return {"step": step, "action": f"{payload['action']}{change}", "reason": payload["reason"]}


def _last_figures(reader: RunReader) -> dict[str, float]:
    """The last value of every scalar of an epoch: those have a part in their name, as in train/loss."""
    names = tuple(name for name in reader.names() if "/" in name)
    rows = reader.scalars(names=names) if names else None
    return {} if rows is None else dict(zip(rows.name, rows.value, strict=True))
