"""A stand-in for a training program: it writes made-up numbers through the store and obeys its commands."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

PROGRAM = """
import argparse, signal, sys, time
from lab.store import GenotypeEvent, MutationEvent, PhaseEvent, RunWriter, control

parser = argparse.ArgumentParser()
parser.add_argument("--save-dir")
parser.add_argument("--name")
parser.add_argument("--steps", type=int, default=100000)
parser.add_argument("--deaf", action="store_true")
parser.add_argument("--late", type=int, default=0)
parser.add_argument("--stubborn", action="store_true")
parser.add_argument("--fail", action="store_true")
args = parser.parse_args()
if args.fail:
    sys.exit("expected an apple, got a pear. Peel it")
if args.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    args.deaf = True


def cell(primitive):
    edges = [[1, 0], [2, 0], [2, 1], [3, 0], [3, 1], [3, 2]]
    return {"space": "nb201", "cells": {"cell": [[*edge, primitive] for edge in edges]}}


def genotype(primitive):
    edges = [["cell", 1, 0], ["cell", 2, 0], ["cell", 2, 1], ["cell", 3, 0], ["cell", 3, 1], ["cell", 3, 2]]
    return GenotypeEvent(genotype=cell(primitive), argmax_genotype=cell(primitive), edges=edges,
        primitives=["skip_connect", "nor_conv_3x3"], probabilities=[[0.5, 0.5]] * 6, entropy=[0.69] * 6,
        skip_share=1.0, dominance=0.0, reason="epoch")


with RunWriter(args.save_dir, args.name, {"dataset": "made up"}) as writer:
    writer.record(0, PhaseEvent(phase="warmup", epoch=0, epochs=1, cycle=0))
    writer.record(0, genotype("skip_connect"))
    print("writing", flush=True)
    number = 0
    for step in range(args.steps):
        writer.scalars(step, {"loss": 2.0 / (1 + 0.1 * step), "accuracy": step / (step + 10.0)})
        time.sleep(0.01)
        for command in () if args.deaf else control.poll(writer.run_dir):
            if command.name == "stop":
                args.late -= 1
                if args.late < 0:
                    sys.exit(0)
            if command.name == "mutate":
                number += 1
                writer.record(step, MutationEvent(number=number, status="applied", old=cell("skip_connect"),
                    new=cell("nor_conv_3x3"), edits=[["cell", 1, 0, "skip_connect", "nor_conv_3x3"]],
                    difference=0.0, requested="control", reason="asked"))
                writer.record(step, genotype("nor_conv_3x3"))
"""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The number of threads belongs to the process: leave it as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def program(tmp_path: Path) -> tuple[str, ...]:
    """A command line that `start_run` can start in place of `lab train`."""
    path = tmp_path / "stand_in.py"
    path.write_text(PROGRAM)
    return (sys.executable, str(path))
