"""A trial that is a run of `lab train`: any recipe, through the same door, its folder open to the live page."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import torch

from lab.base import StudyError
from lab.device import load_guard
from lab.nn import measure_flops
from lab.nn.modes import eval_mode
from lab.runs import Run, RunConfig, RunReport, build
from lab.store import control
from lab.train import EpochReport, StreamData
from lab.tune.child import EvaluationTask, TrialLink, TrialStopped
from lab.tune.config import REPORTED
from lab.tune.dimension import with_settings

LATENCY_ROUNDS = 20
"""Forwards of one sample, of which the median is taken."""


class TrialText:
    """Writes what a run says to the trial's log, where there is one."""

    def __init__(self, path: str) -> None:
        self._path = path

    def on_step(self, epoch: int, epochs: int, phase: str, batch: int, batches: int, loss: float) -> None:
        """Nothing: the run's store has the steps."""

    def on_text(self, text: str) -> None:
        """One line."""
        if self._path:
            with Path(self._path).open("a", encoding="utf-8") as log:
                log.write(f"{text}\n")


def evaluate_run(task: EvaluationTask, link: TrialLink) -> dict[str, float]:
    """Train the task's run, and read its objectives on the selection split.

    Raises:
        TrialStopped: the supervisor stopped it; its run is whole and can be resumed.
        LabError: the run refuses its settings, or could not go on.
    """
    config = with_settings(RunConfig.from_json(dict(task.base)), task.params)
    reported = next((name for name in task.objectives if name in REPORTED), None)

    def tell(report: EpochReport) -> None:
        value = None if reported is None else getattr(report, f"decision_{reported}")
        if value is not None:
            link.tell(report.epoch, value)

    # Composing a run loads models; a thread of the child may be loading one as well.
    with load_guard():
        training = Run(config, save_dir=task.folder, name=task.name, observer=TrialText(task.log), on_epoch=tell)
    link.on_stop(lambda: _stop(training.run_dir))
    report = training.execute()
    if report.state != "finished":
        raise TrialStopped
    return {name: READERS[name](training, report) for name in task.objectives}


def prepare(base: Mapping[str, Any]) -> None:
    """The one real load of the fork server: the study's run composed under the guard, on the CPU.

    Raises:
        LabError: it cannot be composed; so no trial could be.
    """
    torch.set_num_threads(1)
    config = RunConfig.from_json(dict(base))
    # A context on a GPU does not survive a fork: each child makes its own.
    devices = replace(config.devices, device="cpu", memory_fraction=None)
    with load_guard():
        build(replace(config, devices=devices, threads=1))


evaluate_run.prepare = prepare  # type: ignore[attr-defined]


def _stop(run_dir: Path) -> None:
    # Before its store is there, a run has made no report by which it could be stopped; it then runs out of time.
    if (run_dir / "events.db").exists():
        control.send(run_dir, "stop")


def _read_field(name: str) -> Callable[[Run, RunReport], float]:
    def read(training: Run, report: RunReport) -> float:
        value = getattr(report, name)
        if value is None:
            raise StudyError(f"{name} of the run", "none", "choose another objective")
        return float(value)

    return read


def _parameters(training: Run, report: RunReport) -> float:
    return float(report.network["parameters"])


def _flops(training: Run, report: RunReport) -> float:
    network, example = _network(training)
    return float(measure_flops(network, example))


def _latency(training: Run, report: RunReport) -> float:
    network, example = _network(training)
    seconds = []
    with eval_mode(network), torch.no_grad():
        for _ in range(LATENCY_ROUNDS + 1):
            began = time.perf_counter()
            network(example)
            if example.is_cuda:
                torch.cuda.synchronize(example.device)
            seconds.append(time.perf_counter() - began)
    # The first one warms up.
    return median(seconds[1:])


def _network(training: Run) -> tuple[torch.nn.Module, torch.Tensor]:
    """The network at the end, and one sample on its device.

    Raises:
        StudyError: the recipe is not one on images.
    """
    network, data = training.parts.strategy.network, training.parts.data
    if network is None or not isinstance(data, StreamData):
        raise StudyError("a run on images for flops and latency", data.title, "choose another objective")
    return network, torch.zeros(1, *data.streams.bundle.shape, device=training.parts.device)


READERS: Mapping[str, Callable[[Run, RunReport], float]] = MappingProxyType(
    {
        "accuracy": _read_field("decision_accuracy"),
        "loss": _read_field("decision_loss"),
        "parameters": _parameters,
        "flops": _flops,
        "latency": _latency,
        "seconds": _read_field("seconds"),
    }
)
"""Objective -> how it is read at the end of a run; those of `lab.tune.config.OBJECTIVES`."""
