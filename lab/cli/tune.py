"""`lab tune`: a study of a recipe's settings; `lab tune show` prints one.

Every option of `lab train RECIPE` that describes the run is taken here too, for what all trials have in common.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lab.base import ConfigError, StudyError, require, require_extra
from lab.cli import tune_show
from lab.cli.options import groups_of
from lab.cli.parse import parse
from lab.cli.progress import StudyProgress
from lab.cli.recipes import RECIPES, RunFlags, run_config
from lab.cli.suggest import unknown
from lab.cli.train import value_of
from lab.runs import RunConfig
from lab.store import RunReader, check_new_run, holds_study, list_runs, new_run_name
from lab.tune import (
    OBJECTIVES,
    StudyConfig,
    WorkConfig,
    check_dimensions,
    field_types,
    parse_space,
    read_space,
)
from lab.tune.config import STUDIES_ROOT

DEFAULT_RECIPE = "fixed"
DEFAULT_TRIALS = 20
AGENTS: Mapping[str, str] = MappingProxyType(dict.fromkeys(("criteria", "evidence", "share", "joint"), "text"))
"""Value of --agent, the task of a text model -> the recipe that trains it."""
COMMON = frozenset(
    {
        *("recipe", "agent", "study", "n_trials", "parallel", "outdir", "storage", "search", "space_file"),
        *("objectives", "sampler", "pruner", "resume", "epochs", "seed"),
        *("dataset", "init_channels", "encoder", "label_column", "batch_size", "device"),
    }
)
"""Options of the short help page."""
KEPT = frozenset({"resume", "study", "n_trials", "parallel", "outdir", "storage", "trial_timeout", "json"})
"""Options that may stand beside --resume where the study itself is not described again."""


@dataclass(frozen=True, kw_only=True)
class TuneFlags:
    """The study."""

    recipe: str = DEFAULT_RECIPE
    """The recipe of lab train whose settings are searched."""
    agent: str = ""
    """criteria, evidence, share or joint: recipe text with that task."""
    study: str = ""
    """Name of the study; default: date and time, with --resume the latest one in --outdir."""
    search: tuple[str, ...] = ()
    """Searched fields: FIELD=low:high, FIELD=low:high:log (whole numbers where the field has them) or FIELD=a,b,c."""
    space_file: str = ""
    """A JSON file of searched fields: {"weight_lr": "1e-3:1e-1:log", "batch_size": [16, 32]}."""
    objectives: tuple[str, ...] = ("accuracy",)
    """What is optimized: accuracy, loss (of the selection split), parameters, flops, latency, seconds; several give the
    trials that none beats."""
    n_trials: int | None = None
    """Trials that the study is to have, earlier calls and failed trials counted; a retry is no further trial. Default:
    20, with --resume as many as it was to have."""
    parallel: int = 1
    """Trials that run at once, each in a process of its own."""
    outdir: Path = STUDIES_ROOT
    """Folder of studies: events, runs and logs of a study lie in OUTDIR/STUDY."""
    storage: str = ""
    """journal:FILE, sqlite:FILE or postgresql://USER@HOST/DATABASE (several machines); default: journal.log in
    OUTDIR/STUDY."""
    sampler: str = "tpe"
    """tpe, nsga2, random, grid or gp."""
    grid_points: int = 3
    """With --sampler grid, values that are taken of a range."""
    pruner: str = ""
    """hyperband or none; default: hyperband for one objective of accuracy or loss, none for others."""
    patience: int = 0
    """Epochs without improvement that a trial may have before the pruner is asked; 0 asks it always."""
    retries: int = 1
    """Further attempts of a trial whose process was killed or had no memory; each has the parameters of the first."""
    trial_timeout: float = 0.0
    """Seconds that a trial may take; 0 for no limit."""
    resume: bool = False
    """Go on with a study: trials of a dead process are given back, finished ones stay. Options may be repeated or left
    out, but not changed."""
    epochs: int = 10
    """Epochs of a trial, and the largest budget of Hyperband."""
    seed: int = 0
    """Seed of the sampler and of every run."""
    threads: int = 0
    """CPU threads of a trial; 0 for one."""
    json: bool = False
    """Print the report as JSON."""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    if arguments[:1] == ["show"]:
        return tune_show.run(arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        raise unknown("an action", arguments[0], ("show",), "lab tune --help")
    recipe = _recipe(arguments)
    options = _options(recipe)
    command: Any = parse(
        options,
        arguments,
        prog="lab tune",
        text=_overview(recipe),
        examples=(
            "lab tune --search weight_lr=1e-3:1e-1:log batch_size=16,32,64 --n-trials 20 --parallel 2",
            "lab tune --recipe agent --search evolve_every=1:6 policy=learned,random --objectives accuracy parameters",
            "lab tune --resume --study NAME --n-trials 40",
            "lab tune show NAME",
            "lab train fixed --from-study studies/NAME",
        ),
        common=COMMON,
    )
    require_extra("tune", "studies", ("optuna",))
    flags: TuneFlags = command.run
    name = flags.study or _default_name(flags)
    study = _saved(arguments, flags, name) or _described(recipe, command, options(), name)
    if not flags.resume:
        check_new_run(flags.outdir, name)
    work = WorkConfig(
        outdir=flags.outdir,
        storage=flags.storage or _saved_setting(flags, name, "storage", ""),
        n_trials=_saved_setting(flags, name, "n_trials", DEFAULT_TRIALS) if flags.n_trials is None else flags.n_trials,
        parallel=flags.parallel,
        trial_timeout=flags.trial_timeout,
        resume=flags.resume,
    )
    # Only here: Optuna takes a second to import.
    from lab.tune import run_study

    folder = flags.outdir / name
    place = f"study {name}; see its trials with lab dashboard --save-dir {folder / 'trials'}"
    with StudyProgress(place) as progress:
        try:
            report = run_study(study, work, progress)
        except KeyboardInterrupt:
            progress.on_text(f"go on with: lab tune --resume --study {name} --outdir {flags.outdir}")
            raise
    sys.stdout.write((report.to_json() if flags.json else str(report)) + "\n")
    return 0


def _recipe(words: Sequence[str]) -> str:
    """The recipe that the command line names, by --recipe or --agent.

    Raises:
        ConfigError: an unknown one, or two different ones.
    """
    agent, named = value_of(words, "--agent"), value_of(words, "--recipe")
    if agent and agent not in AGENTS:
        raise unknown("an agent", agent, AGENTS, "lab tune --help")
    meant = AGENTS[agent] if agent else named or DEFAULT_RECIPE
    if named and named != meant:
        raise ConfigError(f"recipe {meant} with --agent {agent}", f"--recipe {named}", "remove one of the two")
    if meant not in RECIPES:
        raise unknown("a recipe", meant, RECIPES, "lab tune --help")
    return meant


def _options(recipe: str) -> type:
    """The options of a study of `recipe` as one command: its own, and those of the recipe that describe a run."""
    flags = RECIPES[recipe].flags
    parts: list[tuple[str, Any]] = [(item.name, item.type) for item in dataclasses.fields(flags) if item.name != "run"]
    parts = [("run", TuneFlags), *parts]
    fields = [(name, part, dataclasses.field(default_factory=part)) for name, part in parts]
    namespace = {"__doc__": TuneFlags.__doc__, "__module__": __name__}
    return dataclasses.make_dataclass("TuneOptions", fields, frozen=True, kw_only=True, namespace=namespace)


def _overview(recipe: str) -> str:
    searched = ", ".join(sorted(_searchable(recipe)))
    return (
        "Search the settings of a recipe: trials with other values run in parallel, each a run of lab train.\n\n"
        "--n-trials N gives exactly N trials. One that is killed is tried again with the same values; Ctrl-C, a killed "
        "child and a killed lab tune lose none: --resume goes on.\n\n"
        f"Fields of recipe {recipe} that can be searched: {searched}.\n\n"
        "lab tune show STUDY prints a study; optuna-dashboard opens its storage."
    )


def _searchable(recipe: str) -> dict[str, Any]:
    """Field of the recipe -> its type."""
    parts = [item.type for item in dataclasses.fields(RECIPES[recipe].flags) if item.name != "run"]
    taken = {option.field for part in parts for group in groups_of(part) for option in group.options}  # type: ignore[arg-type]
    # Where a run computes and what it keeps are no settings that are better or worse.
    left_out = {"device", "memory_fraction", "save_checkpoints", "checkpoint_frequency", "max_checkpoints", "workers"}
    kinds = field_types()
    return {name: kinds[name] for name in sorted((taken | {"seed"}) & kinds.keys() - left_out)}


def _described(recipe: str, command: Any, plain: Any, name: str) -> StudyConfig:
    """The study that the command line describes.

    Raises:
        ConfigError: as `parse_space`, or a value that no run of the recipe accepts.
    """
    flags: TuneFlags = command.run
    kinds = _searchable(recipe)
    require(
        not (flags.search and flags.space_file),
        expected="--search or --space-file",
        got="both",
        hint="remove one of the two",
    )
    dimensions = read_space(Path(flags.space_file), kinds) if flags.space_file else parse_space(flags.search, kinds)
    for objective in flags.objectives:
        if objective not in OBJECTIVES:
            raise unknown("an objective", objective, OBJECTIVES, "lab tune --help")
    base = _base(recipe, command, plain)
    check_dimensions(base, dimensions)
    return StudyConfig(
        name=name,
        dimensions=dimensions,
        base=base.to_json(),
        objectives=flags.objectives,
        directions=tuple(OBJECTIVES[each] for each in flags.objectives),
        sampler=flags.sampler,
        grid_points=flags.grid_points,
        pruner=flags.pruner,
        patience=flags.patience,
        epochs=flags.epochs,
        retries=flags.retries,
        seed=flags.seed,
    )


def _base(recipe: str, command: Any, plain: Any) -> RunConfig:
    """What all trials have in common."""
    if command.run.agent:
        command = dataclasses.replace(command, text=dataclasses.replace(command.text, task=command.run.agent))
    flags = command.run
    # What the study's own options say of a run; --search is the name of a record of a run as well.
    length = RunFlags(epochs=flags.epochs, seed=flags.seed, threads=flags.threads)
    config = run_config(recipe, dataclasses.replace(command, run=length))
    # Phases that were left alone fit the length, as in lab train.
    if recipe == "aso-se" and config.search == run_config(recipe, dataclasses.replace(plain, run=length)).search:
        config = dataclasses.replace(config, search=config.search.fitted(config.epochs or 1))
    return config


def _default_name(flags: TuneFlags) -> str:
    if not flags.resume:
        return new_run_name(flags.outdir, "study")
    found = [summary for summary in list_runs(flags.outdir) if holds_study(summary.path)]
    require(bool(found), expected=f"a study in {flags.outdir} with --resume", got="none", hint="give --outdir")
    return found[0].name


def _saved(words: Sequence[str], flags: TuneFlags, name: str) -> StudyConfig | None:
    """The study of a --resume that does not describe it again; None where the command line describes it.

    Raises:
        StudyError: it has begun on another machine, and nothing of it is here.
        ConfigError: options that would change it.
    """
    if not flags.resume or flags.search or flags.space_file:
        return None
    given = [word.split("=")[0][2:].replace("-", "_") for word in words if word.startswith("--")]
    changed = [f"--{each.replace('_', '-')}" for each in given if each not in KEPT]
    require(
        not changed,
        expected="the whole study described again, or nothing of it, with --resume",
        got=", ".join(changed),
        hint="remove these, or give --search as well",
    )
    folder = flags.outdir / name
    if not (folder / "events.db").is_file():
        hint = "give --outdir, or the study's own --search and other options"
        raise StudyError(f"study {name} in {flags.outdir}", "none", hint)
    return StudyConfig.from_json(RunReader(folder).config()["study"])


def _saved_setting(flags: TuneFlags, name: str, key: str, default: Any) -> Any:
    """What the study was told when it last ran, with --resume; else `default`."""
    folder = flags.outdir / name
    if flags.resume and (folder / "events.db").is_file():
        return RunReader(folder).config()[key]
    return default
