"""The entry: one visible table of commands; only the chosen one's module is imported, so `lab --help` is quick.

Exit codes: 0 done, 1 the run failed (doctor: something was found), 2 bad usage or the user's own code raised,
3 something could not be checked (doctor), 130 interrupted, 141 nobody reads the output.
"""

import importlib
import os
import select
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TextIO

from lab import __version__
from lab.base import LabError, StudyError, TrainingError
from lab.cli.renamed import current_flags
from lab.cli.suggest import unknown

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "a network grows on real data, live in your browser (--replay: a recorded one, in seconds)",
        "train": "train a network: aso-se, fixed, agent, multitask or text; --resume resumes an interrupted run",
        "search": "search for a cell or a size: scores without training, short trainings where they pay",
        "tune": "search the settings of a recipe: parallel trials, none lost; lab tune show STUDY",
        "evolve": "the former spelling of: lab train agent",
        "dashboard": "open the live page on the runs of a folder",
        "runs": "list, show and restore runs",
        "export": "export the network of a run: torch.export, ONNX, or plain source with weights",
        "lessons": "open the lessons; a copy for students, their copies marked; lab lessons run NN",
        "doctor": "diagnose your own model (MODULE:FACTORY), or this machine",
        "morph": "change the structure of your own model (MODULE:FACTORY), with the proof",
        "bench": "measure the lab's speed and memory, as ratios within one run",
        "experiment": "run a long measurement that answers a research question; resumable",
    }
)
FAILED = (TrainingError, StudyError)
READER_GONE = 128 + 13
"""What the shell says of a program that SIGPIPE ended."""


def overview() -> str:
    """What `lab --help` prints."""
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name.ljust(width)}  {text}" for name, text in COMMANDS.items())
    return (
        f"lab {__version__}: networks that change their own architecture while they train\n\n"
        f"usage: lab COMMAND [options]      lab COMMAND --help explains each option\n\n{rows}\n\n"
        "quick start:  lab demo\n"
        "then:         lab train --dataset digits --save-dir runs   and, in another terminal, lab dashboard\n\n"
        "ASO-SE: alternating stable optimization with stochastic exploration, the search of lab train. It alternates\n"
        "training of weights and of architecture parameters with mutations that do not change the network's output.\n"
        "MAHIA-X: the model components of lab train multitask (expert router, memories, weighting of several losses).\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    try:
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            # Here and not at the end of Python, where a broken pipe can no longer be caught.
            sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return READER_GONE


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"{__version__}\n")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        return error_exit(str(unknown("a command", name, COMMANDS, "lab --help")))
    module = importlib.import_module(f"lab.cli.{name}")
    try:
        code: int = module.run(current_flags(arguments[1:]))
    except LabError as error:
        error_exit(str(error))
        return 1 if isinstance(error, FAILED) else 2
    except KeyboardInterrupt:
        error_exit("interrupted")
        return 130
    return code


def _reader_is_gone() -> bool:
    """Whether nobody reads the output any more, as after `lab runs | head -1`; if so, the rest of it goes nowhere.

    A pipe to a worker process can break as well; then the output still has its reader.
    """
    gone = [stream for stream in (sys.stdout, sys.stderr) if _is_broken(stream)]
    for stream in gone:
        # What is still in the stream's buffer is written when Python ends; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(gone)


def _is_broken(stream: TextIO) -> bool:
    try:
        stream.flush()
        place = stream.fileno()
    except BrokenPipeError:
        return True
    except OSError:
        return False  # No file behind it, as in a test or a notebook.
    # Nothing was left to write, so that only the pipe itself can tell; Windows has no way to ask it.
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(place, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def error_exit(text: str) -> int:
    """Write one line to the error stream; the exit code of bad usage."""
    sys.stderr.write(f"lab: {' '.join(text.split())}\n")
    return 2
