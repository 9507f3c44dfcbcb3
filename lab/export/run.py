"""A run's evolved network, written in one of three forms and read back.

B batch, C channels, H height, W width.
"""

import json
import os
import runpy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import CheckpointError, ConfigError, TrainingError, require_choice
from lab.checkpoint import Checkpoint, CheckpointFile, latest_checkpoint, list_checkpoints, load_checkpoint
from lab.export.module import HEADER, plain_module
from lab.export.program import export_onnx, export_program, onnx_outputs, require_onnx
from lab.export.report import ExportReport
from lab.nn import Cell
from lab.probe import relative_difference
from lab.runs import NetworkInput, restore_network, under_hand_over

FORMATS = {"pt2": "network.pt2", "onnx": "network.onnx", "state": "network.pt"}
"""Form -> the name that its file has where none is given."""
TOLERANCE = {"pt2": 1e-6, "onnx": 1e-4, "state": 1e-6}
"""Largest relative output difference of a file that counts as the network."""
SAMPLES = 4
"""Samples that the file is tried on."""


def choose_checkpoint(run_dir: Path, request: str = "latest") -> CheckpointFile:
    """The checkpoint of a run behind `request`: latest, best, last, or the path of one.

    Raises:
        CheckpointError: no run, or none of its checkpoints is the one or reads whole.
    """
    folder = run_dir / "checkpoints"
    if request in ("latest", "best", "last"):
        return latest_checkpoint(folder, None if request == "latest" else (request,))[1]
    path = Path(request).with_suffix(".pt")
    for candidate in (path, run_dir / path, folder / path):
        for file in list_checkpoints(candidate.parent):
            if file.path.resolve() == candidate.resolve():
                return file
    raise CheckpointError(
        f"latest, best, last or a checkpoint of {run_dir}", f"{request}", f"lab runs show {run_dir} lists them"
    )


def export_run(run_dir: Path, to: str, *, checkpoint: str = "latest", out: Path | None = None) -> ExportReport:
    """Write the evolved network of the run at `run_dir`.

    Args:
        to: pt2, onnx or state.
        checkpoint: latest, best, last or a path.
        out: the file; default `export/network.*` in the run's folder. A description `.json`, and the source for
            state, come beside it.

    Raises:
        LabError: no such run or checkpoint, no network in it yet, or one that is in transition.
    """
    require_choice("to", to, FORMATS.keys())
    file = choose_checkpoint(run_dir, checkpoint)
    path = out or run_dir / "export" / FORMATS[to]
    return export_network(load_checkpoint(file.path), to, path, run=str(run_dir), checkpoint=file.path.name)


def export_network(checkpoint_data: Checkpoint, to: str, path: Path, *, run: str, checkpoint: str) -> ExportReport:
    """Write the network of a checkpoint to `path`, read it back, and describe it in a `.json` beside it.

    Raises:
        CheckpointError: the network is a mixture of old and new.
        ConfigError: it has no such form, a package is missing, or the folder cannot be written.
        TrainingError: what was read back computes something else.
    """
    require_choice("to", to, FORMATS.keys())
    if to == "onnx":
        require_onnx()
    network, stated = restore_network(checkpoint_data), NetworkInput.of(checkpoint_data)
    _settle(network, checkpoint)
    example_BCHW = torch.randn(SAMPLES, *stated.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected_BK: Tensor = network(example_BCHW)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files, found_BK = _write(network, stated, to, path, example_BCHW, title=f"The network of {Path(run).name}.")
    except OSError as error:
        raise ConfigError("a folder that can be written", str(error), "give another --out") from error
    difference = relative_difference(found_BK, expected_BK)
    if not difference <= TOLERANCE[to]:
        raise TrainingError(
            f"a file that computes what the network does within {TOLERANCE[to]:g}",
            f"a relative difference of {difference:g} in {path}",
            "report this: the export is at fault",
        )
    described = path.with_name(f"{path.name}.json")
    report = ExportReport(
        format=to,
        files=tuple(str(item) for item in (*files, described)),
        run=run,
        checkpoint=checkpoint,
        epoch=checkpoint_data.epoch,
        step=checkpoint_data.step,
        shape=stated.shape,
        num_classes=len(stated.classes),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        max_difference=difference,
    )
    genotype = checkpoint_data.base.get("genotype")
    payload: dict[str, Any] = {**report.to_dict(), "input": asdict(stated), "genotype": genotype}
    payload["input"]["pixels"] = "uint8 pixels / 255, float pixels as they are; then (pixel - mean) / deviation"
    described.write_text(json.dumps(payload, indent=1) + "\n", encoding="utf-8")
    return report


def _settle(network: nn.Module, checkpoint: str) -> None:
    """Refuse a mixture; a grown cell whose transition is complete becomes an ordinary one, which computes the same."""
    mixed = under_hand_over(network)
    if mixed:
        raise CheckpointError(
            "a network that is not in transition",
            f"{checkpoint}, where {'; '.join(mixed)}",
            "choose another checkpoint (lab runs show lists them), or resume the run until weight_retraining has ended",
        )
    for module in network.modules():
        if isinstance(module, Cell):
            module.beta = None


def _write(
    network: nn.Module, stated: NetworkInput, to: str, path: Path, example_BCHW: Tensor, *, title: str
) -> tuple[tuple[Path, ...], Tensor]:
    """The files, and what they compute when they are read back."""
    with torch.no_grad():
        if to == "pt2":
            export_program(network, example_BCHW, path)
            return (path,), torch.export.load(path).module()(example_BCHW)
        if to == "onnx":
            export_onnx(network, example_BCHW, path)
            return (path,), onnx_outputs(path, example_BCHW)
        source = path.with_suffix(".py")
        if source == path or not source.stem.isidentifier():
            raise ConfigError("--out as a name that can be imported, such as network.pt", path.name, "rename it")
        plain = plain_module(network)
        torch.save(plain.state, path)
        header = HEADER.format(
            title=title.replace('"', "'").replace("\\", "/"),
            channels=stated.shape[0],
            height=stated.shape[1],
            width=stated.shape[2],
            classes=len(stated.classes),
            stem=source.stem,
            weights=os.path.basename(path),
            mean=stated.mean,
            deviation=stated.deviation,
            names=stated.classes,
        )
        source.write_text(f"{header}\n{plain.classes}", encoding="utf-8")
        module: nn.Module = runpy.run_path(str(source))["Network"]()
        module.load_state_dict(torch.load(path, weights_only=True))
        return (path, source), module.eval()(example_BCHW)
