"""A writing process for page tests: clearly synthetic rows through the real writer, obeying the real commands.

    python write_run.py ROOT NAME [--steps N] [--seconds S] [--nan STEP] [--die STEP] [--fail STEP]

Nothing is trained here: every number is a formula of the step. `--die` leaves without ending the run, `--fail` ends it
with an error.
"""

import argparse
import math
import os
import random
import time
from dataclasses import dataclass, field

from lab.space import NB201, Genotype, mutate, sample
from lab.store import (
    AlertEvent,
    CheckpointEvent,
    Command,
    ControlEvent,
    GenotypeEvent,
    InterventionEvent,
    MutationEvent,
    PhaseEvent,
    RunWriter,
    StabilityEvent,
    control,
)

EPOCH = 20
"""Steps."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="write a synthetic run")
    parser.add_argument("root")
    parser.add_argument("name")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=0.02, help="pause after each step")
    parser.add_argument("--nan", type=int, default=-1)
    parser.add_argument("--die", type=int, default=-1)
    parser.add_argument("--fail", type=int, default=-1)
    return parser.parse_args()


@dataclass
class Script:
    """The made-up run: what each step writes."""

    run: RunWriter
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    genotype: Genotype = field(init=False)
    mutations: int = 0
    temperature: float = 5.0
    paused: bool = False
    stopped: bool = False

    def __post_init__(self) -> None:
        self.genotype = sample(NB201, self.rng)

    def probabilities(self, step: int) -> list[list[float]]:
        sharp = 1.0 + step / 60
        rows = []
        for row, name in enumerate(self.genotype.primitives):
            weights = [
                math.exp(sharp * (1.0 if name == p else 0.2 * math.sin(row + k)))
                for k, p in enumerate(NB201.primitives)
            ]
            rows.append([weight / sum(weights) for weight in weights])
        return rows

    def snapshot(self, step: int, reason: str) -> None:
        rows = self.probabilities(step)
        entropy = [-sum(p * math.log(p) for p in row) for row in rows]
        best = Genotype(NB201, tuple(NB201.primitives[row.index(max(row))] for row in rows))
        cell = self.genotype.to_json()
        self.run.record(
            step,
            GenotypeEvent(
                genotype=cell,
                argmax_genotype=best.to_json(),
                edges=[list(edge) for edge in NB201.edges],
                primitives=list(NB201.primitives),
                probabilities=rows,
                entropy=entropy,
                skip_share=best.primitives.count("skip_connect") / 6,
                dominance=0.5,
                reason=reason,
            ),
        )

    def change(self, step: int, requested: str) -> None:
        old, self.genotype = self.genotype, mutate(self.genotype, 0.2, "random", self.rng)
        self.mutations += 1
        edits = [[*edit.edge, edit.old, edit.new] for edit in old.diff(self.genotype)]
        for status, after in (("applied", None), ("accepted", 0.4)):
            self.run.record(
                step,
                MutationEvent(
                    number=self.mutations,
                    status=status,
                    old=old.to_json(),
                    new=self.genotype.to_json(),
                    edits=edits,
                    difference=2e-7,
                    requested=requested,
                    reason="synthetic: every change is accepted at once",
                    loss_before=0.5,
                    loss_after=after,
                ),
            )
        self.snapshot(step, "mutation")

    def obey(self, step: int, command: Command) -> None:
        text = "synthetic run"
        if command.name == "mutate":
            self.change(step, "control")
        elif command.name == "set_temperature":
            self.temperature = float(command.arguments["temperature"])
        elif command.name == "checkpoint":
            self.run.record(step, CheckpointEvent(path=f"{step}.pt", reason="control", epoch=step // EPOCH, bytes=0))
        elif command.name in ("pause", "resume"):
            self.paused = command.name == "pause"
        elif command.name == "stop":
            self.stopped = True
        event = ControlEvent(command=command.name, arguments=command.arguments, done=True, text=text)
        self.run.record(step, event)

    def phase(self, step: int) -> None:
        epoch = step // EPOCH
        if epoch == 0:
            name, epochs = "warmup", 2
        elif epoch % 6 == 2:
            name, epochs = "arch_training", 3
        elif epoch % 6 == 5:
            self.run.record(step, PhaseEvent(phase="mutation", epoch=epoch, epochs=0, cycle=epoch // 6))
            self.change(step, "schedule")
            name, epochs = "weight_retraining", 3
        else:
            return
        self.run.record(step, PhaseEvent(phase=name, epoch=epoch, epochs=epochs, cycle=epoch // 6))

    def step(self, step: int, broken: bool) -> None:
        epoch = step // EPOCH
        loss = 2.3 * math.exp(-step / 120) + 0.2 + self.rng.gauss(0, 0.05)
        self.temperature *= 0.995
        health = 0.85 + 0.14 * math.sin(step / 40)
        self.run.scalars(
            step,
            {
                "loss": math.nan if broken else loss,
                "accuracy": min(1.0, max(0.0, 1 - loss / 2.6)),
                "grad_norm": 1.0,
                "health": 0.0 if broken else health,
                "lr": 0.1,
                "temperature": self.temperature,
                "beta": min(1.0, step % 60 / 30),
            },
        )
        if broken:
            self.run.record(step, AlertEvent(level="error", title="loss is NaN", text="synthetic alert"))
        if step % EPOCH == 0:
            self.epoch(step, epoch, health)

    def epoch(self, step: int, epoch: int, health: float) -> None:
        self.phase(step)
        self.snapshot(step, "epoch")
        decision = 2.3 * math.exp(-step / 110) + 0.25
        self.run.scalars(
            step,
            {
                "epoch": epoch,
                "decision/loss": decision,
                "decision/accuracy": 1 - decision / 2.6,
                "arch/loss": decision + 0.05,
                "arch/accuracy": 1 - (decision + 0.05) / 2.6,
                "memory/rss": 4e8 + 1e5 * step,
                "memory/tensors": 3e7,
            },
        )
        shaky = health < 0.8
        self.run.record(
            step,
            StabilityEvent(
                health=health,
                state="oscillating" if shaky else "improving",
                oscillation=0.3 if shaky else 0.0,
                degradation=0.0,
                trend=-0.1,
                reasons=["the loss swings by 20 % of its level"] if shaky else [],
                advice="reduce_lr" if shaky else "none",
            ),
        )
        if shaky:
            reason = "the loss swings"
            self.run.record(step, InterventionEvent(action="reduce_lr", reason=reason, before=0.1, after=0.05))


def main() -> None:
    """Write the run, obeying commands between the steps."""
    options = parse()
    config = {"dataset_title": "waves", "synthetic": True, "note": "a formula of the step; nothing is trained"}
    with RunWriter(options.root, options.name, config) as run:
        script = Script(run)
        for step in range(options.steps):
            script.step(step, broken=step == options.nan)
            if step == options.die:
                run.flush()
                os._exit(9)
            if step == options.fail:
                raise RuntimeError("synthetic failure: the writer was told to fail")
            time.sleep(options.seconds)
            commands = control.poll(run.run_dir)
            while commands or script.paused:
                for command in commands:
                    script.obey(step, command)
                if script.stopped or not script.paused:
                    break
                time.sleep(0.02)
                commands = control.poll(run.run_dir)
            if script.stopped:
                break


if __name__ == "__main__":
    main()
