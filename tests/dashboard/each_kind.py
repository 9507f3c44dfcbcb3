"""A run of each recipe that has panels of its own and a study, beside the recorded run: made-up numbers."""

import shutil
from pathlib import Path
from typing import Any

from lab.cli.replay import recorded_runs
from lab.store import ActionEvent, AlertEvent, ImportanceEvent, RunWriter, StudyEvent, TrialEvent

SPACE = [{"field": "weight_lr", "low": 0.001, "high": 0.1, "log": True, "whole": False, "choices": []}]
OBJECTIVES = {"decision/loss": "minimize", "decision/accuracy": "maximize"}


def action(name: str, *, accepted: bool, change: float | None) -> ActionEvent:
    """A change of the agent; made-up numbers, None for one that was refused."""
    info = {
        "changes": ["widen {'layer': 'features.conv3'}"],
        "measured": change is not None,
        "loss_change": change,
        "loss_error": 0.002,
        "exact": accepted,
        "max_difference": 2.4e-16,
        "probe_steps": 12,
        "parameters": [1000, 1500],
        "regret": 0.0,
        "reason": "stored reason",
        "reward_parts": {"accuracy": 0.5},
        "state": {"experiences": 9, "updates": 4, "probe_steps": 1056},
        "masked": {"branch": "stored limit"},
    }
    applied = change is not None
    return ActionEvent(action=name, applied=applied, accepted=accepted, reward=0.1 if applied else None, info=info)


def write_runs(root: Path, recorder: Any) -> list[Any]:
    """A run of each recipe that has panels of its own, and a study; the recorded run has the rest."""
    shutil.copytree(recorded_runs() / "digits", root / "digits")
    evolving = recorder(root, "evolving", recipe="agent", evolve={"policy": "random"})
    agent = {"agent/accept_rate": 0.5, "agent/epsilon": 0.8, "agent/regret": 0.25, "agent/parameters": 1000.0}
    evolving.phase(0, "weight_retraining")
    evolving.steps(0, 9, **agent)
    evolving.epoch(9, 0)
    for event in (
        action("expand", accepted=True, change=-0.01),
        action("prune", accepted=False, change=0.3),
        action("branch", accepted=False, change=None),
        AlertEvent(level="warning", title="stored title", text="stored text"),
    ):
        evolving.record(9, event)
    tasks = recorder(root, "tasks", recipe="multitask", multitask={"weighting": "gradnorm"})
    values = {"router/load/0": 0.75, "router/load/1": 0.25, "conflict": 0.5, "loss/kind": 0.5, "weight/kind": 1.25}
    sizes = {f"component/{name}/{kind}": 64.0 for name in ("memory", "(whole model)") for kind in ("peak", "kept")}
    sizes |= {name.replace("/kept", kind): 32.0 for name in sizes for kind in ("/parameters", "/state")}
    tasks.run.scalars(0, sizes)
    tasks.steps(0, 5, **values)
    sentences = recorder(root, "sentences", recipe="text", text={"task": "share", "encoder": "tiny"})
    sentences.steps(0, 5)
    sentences.run.scalars(4, {"decision/loss/criteria": 0.6, "loss": float("nan")})
    sentences.run.finish("failed", "stored failure")
    return [evolving.run, tasks.run, write_study(root)]


def write_study(root: Path) -> RunWriter:
    names, directions = list(OBJECTIVES), list(OBJECTIVES.values())
    study = {"objectives": names, "directions": directions, "dimensions": SPACE, "sampler": "tpe"}
    run = RunWriter(root, "study", {"study": study, "n_trials": 4, "storage": ""})
    told = StudyEvent(
        study="study",
        storage="journal:j.log",
        supervisor=0,
        n_trials=4,
        parallel=2,
        objectives=names,
        directions=directions,
        space=SPACE,
        sampler="tpe",
        pruner="none",
        policy=[["killed", "FAIL", "counted", "stored meaning"]],
    )
    run.record(0, told)
    for number, state in enumerate(("complete", "complete", "failed", "running")):
        complete = {"values": {"decision/loss": 0.5 + number, "decision/accuracy": 0.75}, "seconds": 2.0}
        fields = complete if state == "complete" else {"cause": "killed", "reason": "stored signal", "retried": True}
        trial = TrialEvent(
            number=number,
            root=number,
            attempt=0,
            state=state,
            params={"weight_lr": 0.01},
            run=f"trials/trial-{number:04d}",
            **fields,
        )
        run.record(1 + number, trial)
    run.record(5, ImportanceEvent(objective="decision/loss", method="M", trials=2, importances={"weight_lr": 1.0}))
    run.flush()
    return run
