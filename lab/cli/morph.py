"""`lab morph`."""

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lab.base import ConfigError, MorphError, Report, ReportTable, require_choice
from lab.base.user_code import UserCode
from lab.cli.options import POSITIONAL
from lab.cli.parse import parse

if TYPE_CHECKING:
    from torch import nn

    from lab.cli.user_model import UserModel
    from lab.morph import Morph, MorphPlan

NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "widen": ("width",),
        "prune": ("width",),
        "deepen": (),
        "residual": (),
        "attention": (),
        "branch": (),
        "kernel": ("kernel",),
        "groups": ("groups",),
        "dilation": ("dilation",),
        "heads": ("heads",),
    }
)
"""Operation by its name on the command line -> the options that it cannot do without."""
LISTED = ("widen", "prune", "deepen", "residual", "attention", "branch")
"""Operations that --where looks for."""


@dataclass(frozen=True, kw_only=True)
class MorphCommand:
    """Change the structure of your own model, and see the proof that it stays the same function.

    lab morph MODULE:FACTORY --op OP --layer NAME calls FACTORY() and make_batch() from MODULE, works the change out,
    tries it on a copy in float64, carries it out, measures again on the batch, and takes it back bit by bit. It prints
    the plan, the proof and the difference of the module tree. No file of yours is changed.

    --op is one of widen, prune (to --width units), deepen, residual, attention, branch, kernel, groups, dilation,
    heads. --where lists the places of each operation, and why the others are refused.
    """

    target: str = field(metadata={POSITIONAL: True})
    """MODULE:FACTORY, as in my_package.my_module:make_model."""
    op: str = ""
    """The change: widen, prune, deepen, residual, attention, branch, kernel, groups, dilation or heads."""
    layer: str = ""
    """Name of the module, as in named_modules()."""
    to: str = ""
    """For residual: the last of consecutive siblings; --layer is the first."""
    width: int | None = None
    """For widen and prune: units after the change."""
    kernel: int | None = None
    """For kernel: its side after the change, odd."""
    groups: int | None = None
    """For groups: how many."""
    dilation: int | None = None
    """For dilation: the distance of the kernel's taps."""
    heads: int | None = None
    """For heads and attention: how many."""
    seed: int = 0
    """Of all that is drawn."""
    dry_run: bool = False
    """Plan only: nothing is carried out on the model."""
    where: bool = False
    """List the places of each operation and the refusals, worked out without the trial on a copy."""
    plan: Path | None = None
    """Write the plan as JSON, for lab.morph.rebuild."""
    json: bool = False
    """Print as JSON."""


@dataclass(frozen=True, kw_only=True)
class MorphProof(Report):
    """A plan, what its execution measured, and how the module tree changed."""

    plan: "MorphPlan"
    measured: dict[str, Any]
    """What was measured -> the figure; empty for a dry run."""
    tree: tuple[str, ...]
    """Lines of the module tree that went (-) and came (+), with one line around them."""

    taken_back: bool = True
    """Whether structure and weights are again what they were; True for a dry run, which takes a copy."""

    @property
    def ok(self) -> bool:
        """The model is as before."""
        return self.taken_back

    def to_dict(self) -> dict[str, Any]:
        """Plan, figures and lines."""
        return {"plan": self.plan.to_dict(), "measured": self.measured, "tree": list(self.tree)}

    def tables(self) -> tuple[ReportTable, ...]:
        """The plan, the proof, the difference."""
        proof = ReportTable(title="Proof", columns=("what", "measured"), rows=tuple(_shown(self.measured)))
        tree = ReportTable(title="Module tree", columns=("difference",), rows=tuple((line,) for line in self.tree))
        return (*self.plan.tables(), *([proof] if self.measured else []), tree)


@dataclass(frozen=True, kw_only=True)
class MorphPlaces(Report):
    """Where each operation can be made."""

    places: dict[str, dict[str, str]]
    """Operation -> module -> why it is refused; empty where it is possible."""

    @property
    def ok(self) -> bool:
        """A list is no verdict."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """The places by operation."""
        return {"places": self.places}

    def tables(self) -> tuple[ReportTable, ...]:
        """A table of counts, and the refusals by reason."""
        counts = tuple(
            (op, str(sum(not reason for reason in found.values())), str(sum(map(bool, found.values()))))
            for op, found in self.places.items()
        )
        rows = [(op, name, reason or "possible") for op, found in self.places.items() for name, reason in found.items()]
        return (
            ReportTable(title="Places", columns=("operation", "possible", "refused"), rows=counts),
            ReportTable(title="Modules", columns=("operation", "module", "result"), rows=tuple(rows)),
        )


def _shown(measured: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(what, f"{value:.1e}" if isinstance(value, float) else str(value)) for what, value in measured.items()]


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    examples = (
        "lab morph my_package.networks:make_model --where",
        "lab morph my_package.networks:make_model --op widen --layer encoder.0 --width 128",
        "lab morph my_package.networks:make_model --op residual --layer body.0 --to body.2 --dry-run",
    )
    command = parse(MorphCommand, arguments, prog="lab morph", examples=examples)
    morph = None if command.where else change_of(command)
    from lab.cli.user_model import load_user_model

    user_model = load_user_model(command.target)
    if user_model.batch is None:
        module = command.target.partition(":")[0]
        raise ConfigError(f"make_batch() in {module}", "none", "define it: it gives the input of forward")
    report = find_places(user_model) if morph is None else prove(morph, user_model, command)
    sys.stdout.write((report.to_json() if command.json else str(report)) + "\n")
    return 0 if report.ok else 1


def change_of(command: MorphCommand) -> "Morph":
    """The change that the options ask for.

    Raises:
        ConfigError: an unknown operation, or an option that it needs is missing or that it does not take is given.
    """
    require_choice("--op", command.op, tuple(NEEDS))
    if not command.layer:
        raise ConfigError("--layer NAME, a name of named_modules()", "none", "--where lists them")
    for name in NEEDS[command.op]:
        if getattr(command, name) is None:
            raise ConfigError(f"--{name} with --op {command.op}", "none", f"say --{name} NUMBER")
    takes = {*NEEDS[command.op], *(("heads",) if command.op == "attention" else ())}
    for name in ("width", "kernel", "groups", "dilation", "heads"):
        if getattr(command, name) is not None and name not in takes:
            raise ConfigError(f"no --{name} with --op {command.op}", str(getattr(command, name)), "leave it out")
    if command.to and command.op != "residual":
        raise ConfigError(f"no --to with --op {command.op}", command.to, "leave it out")
    import lab.morph as morph

    layer = command.layer
    make: Mapping[str, Callable[[], Morph]] = {
        "widen": lambda: morph.Widen(layer, command.width or 0),
        "prune": lambda: morph.Prune(layer, command.width or 0),
        "deepen": lambda: morph.Deepen(layer),
        "residual": lambda: morph.InsertResidual((layer, command.to) if command.to else layer),
        "attention": lambda: morph.InsertAttention(layer, heads=command.heads or 0),
        "branch": lambda: morph.AddBranch(layer),
        "kernel": lambda: morph.SetKernel(layer, command.kernel or 0),
        "groups": lambda: morph.SetGroups(layer, command.groups or 0),
        "dilation": lambda: morph.SetDilation(layer, command.dilation or 0),
        "heads": lambda: morph.SetHeads(layer, command.heads or 0),
    }
    return make[command.op]()


def prove(morph: "Morph", user_model: "UserModel", command: MorphCommand) -> MorphProof:
    """Plan the change, carry it out, measure, take it back.

    Raises:
        MorphError: it is refused, with the reason.
    """
    from lab.morph import apply, rollback, verify
    from lab.morph.twins import copied
    from lab.state import structure_digest, weight_digest

    model, batch = user_model.model, user_model.batch
    with UserCode(f"a forward of {command.target}"):
        plan = morph.plan(model, batch, seed=command.seed)
        target = copied(model) if command.dry_run else model
        before, digests = str(target).splitlines(), (structure_digest(target), weight_digest(target))
        report = apply(plan, target)
        measured: dict[str, Any] = {}
        if not command.dry_run:
            measured["relative difference on the batch, with the weights as they are now"] = verify(report, batch)
        after = str(target).splitlines()
        rollback(report)
    back = (structure_digest(target), weight_digest(target)) == digests
    if not command.dry_run:
        measured["seconds"] = f"{report.seconds:.3f}"
        measured["taken back"] = "every bit" if back else "NOT as before: report this"
    if command.plan is not None:
        _write(command.plan, plan)
    lines = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
    return MorphProof(plan=plan, measured=measured, tree=tuple(lines), taken_back=back)


def _write(path: Path, plan: "MorphPlan") -> None:
    try:
        path.write_text(plan.to_json())
    except OSError as error:
        raise ConfigError("a file that can be written", f"{path}: {error.strerror}", "name another one") from error


def find_places(user_model: "UserModel") -> MorphPlaces:
    """For each operation of `LISTED`, the modules where it is possible and the reasons of the others."""
    import torch
    from rich.progress import track
    from torch import nn

    from lab.morph.trace import Traces, run
    from lab.morph.twins import copied

    model, batch, traces = user_model.model, user_model.batch, Traces()
    # Once, and not as the reason of every place.
    with UserCode("a forward on what make_batch() gives"), torch.no_grad():
        run(copied(model).eval(), batch)
    modules = [(name, module) for name, module in model.named_modules() if name]
    places: dict[str, dict[str, str]] = {op: {} for op in LISTED}
    shown = sys.stderr.isatty()
    for name, module in track(modules, description="modules", transient=True, disable=not shown):
        if isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict):
            continue
        for op in LISTED:
            width = _units(module)
            if op in ("widen", "prune") and not width:
                continue
            try:
                _of(op, name, width).check_steps(model, batch, traces=traces)
            except MorphError as error:
                places[op][name] = f"{error.expected}; got {error.got}"
            else:
                places[op][name] = ""
    return MorphPlaces(places=places)


def _of(op: str, name: str, width: int) -> "Morph":
    numbers = {"widen": 2 * width, "prune": max(width // 2, 1)}
    return change_of(MorphCommand(target="", op=op, layer=name, width=numbers.get(op)))


def _units(module: "nn.Module") -> int:
    """Units of a linear or convolution layer; 0 for anything else."""
    value = getattr(module, "out_features", None) or getattr(module, "out_channels", None)
    return value if isinstance(value, int) and value > 1 else 0
