"""`lab doctor`."""

import importlib.metadata
import platform
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import lab.device
import lab.doctor
from lab import __version__
from lab.base import ConfigError, Report, ReportTable
from lab.base.user_code import UserCode
from lab.cli.dashboard import PORT
from lab.cli.options import POSITIONAL
from lab.cli.parse import parse
from lab.datasets import describe

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "streamlit", "plotly", "jupyterlab", "ipywidgets")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")


@dataclass(frozen=True, kw_only=True)
class DoctorCommand:
    """Diagnose your own model, or report what this machine has.

    lab doctor MODULE:FACTORY calls FACTORY() from MODULE and, if MODULE defines them, make_batch(), make_loss(),
    make_placement(), make_optimizer(model) and make_step(model, optimizer). It then runs the placement audit, the
    process check, the simulation on fake devices, the backward examination and the training check, and prints one
    report. Exit codes: 0 nothing was found and all was checked, 1 something was found, 2 the command was used wrongly
    or your own code raised, 3 nothing was found and something could not be checked.

    lab doctor without a model reports versions, devices, SQLite, browser, the dashboard's port and data sets.
    """

    target: str = field(default="", metadata={POSITIONAL: True})
    """MODULE:FACTORY, as in my_package.my_module:make_model."""
    simulate: str = ""
    """Devices on which to simulate the whole model, present or not, as in cuda:0,cuda:1. Without it and without
    make_placement(): one GPU, where there is a batch."""
    follow_data: bool = False
    """Simulate with real values, to follow data-dependent control flow."""
    data_dir: str = "data"
    """Folder of downloaded data sets."""
    port: int = PORT
    """Port to test for the dashboard."""
    json: bool = False
    """Print as JSON."""


@dataclass(frozen=True, kw_only=True)
class MachineReport(Report):
    """The machine and what was found on it."""

    facts: dict[str, str]
    """Name -> finding."""
    datasets: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {"facts": self.facts, "datasets": list(self.datasets)}

    def tables(self) -> tuple[ReportTable, ...]:
        """Facts, then data sets."""
        rows = tuple(
            (
                item["name"],
                "synthetic" if item["synthetic"] else "real",
                "found" if item["found"] else "not found (--download fetches it)",
                item["licence"],
            )
            for item in self.datasets
        )
        return (
            ReportTable(title="machine", columns=("what", "found"), rows=tuple(self.facts.items())),
            ReportTable(title="data sets", columns=("set", "kind", "here", "licence"), rows=rows),
        )


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    examples = ("lab doctor", "lab doctor my_package.networks:make_model --simulate cuda:0,cuda:1")
    command = parse(DoctorCommand, arguments, prog="lab doctor", examples=examples)
    if command.target:
        return examine_model(command)
    report = examine_machine(command)
    sys.stdout.write((report.to_json() if command.json else str(report)) + "\n")
    return 0


def examine_model(command: DoctorCommand) -> int:
    """Run all instruments on the model behind `command.target`; the exit code."""
    from lab.cli.user_model import load_user_model

    user_model = load_user_model(command.target)
    placements: list[lab.doctor.Placement] = [name.strip() for name in command.simulate.split(",") if name.strip()]
    if user_model.placement is not None:
        placements.append(user_model.placement)
    with UserCode(f"a step of {command.target}"):
        report = lab.doctor.examine(
            user_model.model,
            user_model.batch,
            user_model.loss,
            placements=placements or None,
            follow_data=command.follow_data,
            step=user_model.step,
            optimizer=user_model.optimizer,
        )
    sys.stdout.write((report.to_json() if command.json else str(report)) + "\n")
    return report.exit_code


def examine_machine(command: DoctorCommand) -> MachineReport:
    """Look at versions, devices, SQLite, browser, port and data sets."""
    # Torch takes seconds to import; the help page does without.
    import torch

    from lab.cli.serve import check_port

    facts = {"python": platform.python_version(), "system": platform.platform(), "lab": __version__}
    facts |= {package: _version(package) for package in PACKAGES}
    facts["threads"] = str(torch.get_num_threads())
    facts["device"] = str(lab.device.choose_device())
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        facts[f"cuda:{index}"] = (
            f"{torch.cuda.get_device_name(index)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        )
    facts["sqlite"] = sqlite3.sqlite_version
    browsers = [name for name in BROWSERS if shutil.which(name)]
    facts["browser"] = ", ".join(browsers) or "none on the PATH"
    try:
        check_port(command.port)
        facts[f"port {command.port}"] = "free"
    except ConfigError as error:
        facts[f"port {command.port}"] = error.got
    return MachineReport(facts=facts, datasets=tuple(describe(command.data_dir)))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
