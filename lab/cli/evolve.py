"""`lab evolve`: `lab train --recipe agent`, with the model in front."""

from collections.abc import Sequence

from lab.cli.train import execute

DESCRIPTION = """The evolution agent changes a live network while it trains, and keeps what proves itself.

lab evolve MODULE:FACTORY | --model seed_cnn|resnet18|mobilenet_v2|vit_b_16|... [options of lab train]. Every change is
a trial: the changed network against its control copy on held-out samples; what is taken back is taken back bit for
bit. --policy random, schedule or none are the baselines. Ctrl-C leaves a checkpoint; --resume goes on with the same
bits. Several GPUs or machines: torchrun --nproc-per-node N -m lab.cli evolve ...
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    rest = list(arguments)
    if rest and not rest[0].startswith("-"):
        rest[0:1] = ["--model", rest[0]]
    if not any(word.split("=")[0] == "--resume" for word in rest):
        rest = ["--recipe", "agent", *rest]
    return execute(rest, prog="lab evolve", description=DESCRIPTION)
