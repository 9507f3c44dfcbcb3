"""The entry: one visible table of commands; only the chosen one's module is imported, so `lab --help` is quick.

Exit codes: 0 done, 1 the run failed, 2 bad usage.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lab import __version__
from lab.base import LabError, StudyError, TrainingError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "a network grows on real data, live in your browser (--headless: in the terminal)",
        "train": "train and evolve a network; --resume goes on where a run was cut off",
        "evolve": "the evolution agent changes a live network, yours or a known one, while it trains",
        "dashboard": "open the live page over the runs of a folder",
        "runs": "list the runs of a folder and their states",
        "export": "write the evolved network of a run: torch's exported form, ONNX, or plain source with its weights",
        "doctor": "find what is wrong with a model of yours (MODULE:FACTORY), or with this machine",
        "bench": "measure the lab's own speed, as ratios within one run",
    }
)
FAILED = (TrainingError, StudyError)


def overview() -> str:
    """What `lab --help` prints."""
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name.ljust(width)}  {text}" for name, text in COMMANDS.items())
    return (
        f"lab {__version__}: networks that change their own architecture while they train\n\n"
        f"usage: lab COMMAND [options]      lab COMMAND --help explains each option\n\n{rows}\n\n"
        "begin with:  lab demo\n"
        "then:        lab train --dataset digits --save-dir runs   and, beside it, lab dashboard\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"{__version__}\n")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        return error_exit(f"expected a command among {', '.join(COMMANDS)}, got {name!r}. See lab --help.")
    module = importlib.import_module(f"lab.cli.{name}")
    try:
        code: int = module.run(arguments[1:])
    except LabError as error:
        error_exit(str(error))
        return 1 if isinstance(error, FAILED) else 2
    except KeyboardInterrupt:
        error_exit("interrupted")
        return 130
    return code


def error_exit(text: str) -> int:
    """Write one line to the error stream; the exit code of bad usage."""
    sys.stderr.write(f"lab: {' '.join(text.split())}\n")
    return 2
