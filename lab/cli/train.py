"""`lab train RECIPE`: the recipe, its options, and what `--describe` lists.

Help pages and --describe do not import torch; `lab.cli.training` trains.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from lab.base import ConfigError, ReportTable
from lab.cli.parse import HELP, parse
from lab.cli.recipes import (
    COMMON,
    RECIPES,
    DataFlags,
    PlannedRunFlags,
    RecordFlags,
    SentenceFlags,
    homes,
    run_config,
)
from lab.cli.renamed import say_renamed
from lab.cli.studied import over_study, studied_config
from lab.cli.suggest import unknown
from lab.datasets import describe, describe_multitask, describe_sentences
from lab.device import list_devices
from lab.space import SPACES

SEARCH = "aso-se"
"""The recipe where none is named."""
FORMER = {"hybrid": "multitask"}
"""Former name of a recipe -> its name."""
OVERVIEW = """Train a network by one of five recipes:

{recipes}

lab train RECIPE --help lists a recipe's usual options, --help-all every one. The default recipe is aso-se.

Ctrl-C ends the run after the current step and writes a checkpoint; --resume continues from it, bit-identical to an
uninterrupted run. lab dashboard shows the run from another process. Several GPUs or machines: torchrun
--nproc-per-node N -m lab.cli train ...; every rank takes its share of each batch.
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    words = list(arguments)
    named = words.pop(0) if words and not words[0].startswith("-") else None
    flagged, words = take_recipe_flag(words)
    recipe = agreed_recipe(named, flagged)
    if flagged is not None or named in FORMER:
        was = named if flagged is None else f"--recipe {flagged}"
        say_renamed(f"lab train {was}", f"lab train {recipe}")
    return train(recipe, words)


def train(recipe: str | None, words: Sequence[str]) -> int:
    """Train as `recipe` with the options `words`; where it is None, as the run that is resumed, or as the search."""
    resumed = None
    if value_of(words, "--resume") and not HELP & set(words):
        # Torch takes seconds to import.
        from lab.cli.training import find_resumed

        resumed = find_resumed(value_of(words, "--resume"), value_of(words, "--save-dir"))
    studied = None
    if (study := value_of(words, "--from-study")) and not HELP & set(words):
        if resumed:
            raise ConfigError("--resume or --from-study", "both", "remove one of the two")
        studied = studied_config(study)
    source = resumed.config if resumed else studied
    meant = recipe or (source.recipe if source else SEARCH)
    page = RECIPES[meant]
    command: Any = parse(
        page.flags,
        words,
        prog=f"lab train {recipe}" if recipe else "lab train",
        text=page.flags.__doc__ or "" if recipe else _overview(),
        examples=[f"lab train {line}" for each in ([page] if recipe else RECIPES.values()) for line in each.examples],
        homes=homes,
        common=COMMON,
    )
    if command.run.describe:
        return _describe(getattr(command.data, "data_dir", "data"), as_json=command.run.json)
    given, plain = run_config(meant, command), run_config(meant, page.flags())
    if studied:
        given = over_study(studied, given, plain)
    from lab.cli.training import execute

    return execute(given, plain, command, resumed)


def take_recipe_flag(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of --recipe, which was how a recipe was chosen before, and the other words."""
    for place, word in enumerate(words):
        if word.split("=")[0] == "--recipe":
            used = 1 if "=" in word else 2
            return value_of(words, "--recipe"), [*words[:place], *words[place + used :]]
    return None, list(words)


def agreed_recipe(named: str | None, flagged: str | None) -> str | None:
    """The recipe that the command names, or else --recipe, by today's name; None where neither does.

    Raises:
        ConfigError: an unknown recipe, or two different ones.
    """
    for name in (named, flagged):
        if name is not None and FORMER.get(name, name) not in RECIPES:
            raise unknown("a recipe", name, RECIPES, "lab train --help")
    found = [FORMER.get(name, name) for name in (named, flagged) if name is not None]
    if len(set(found)) > 1:
        hint = f"start lab train {found[1]}, or remove --recipe"
        raise ConfigError("one recipe", f"{named} and --recipe {flagged}", hint)
    return found[0] if found else None


def value_of(words: Sequence[str], flag: str) -> str:
    """The value of a flag; empty where it is not given."""
    dashed = [word.partition("=")[0].replace("_", "-") + "".join(word.partition("=")[1:]) for word in words]
    for place, word in enumerate(dashed):
        if word == flag:
            return next(iter(words[place + 1 : place + 2]), "")
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return ""


def _overview() -> str:
    width = max(map(len, RECIPES))
    docs = {name: (recipe.flags.__doc__ or "").split("\n")[0] for name, recipe in RECIPES.items()}
    return OVERVIEW.format(recipes="\n".join(f"  {name.ljust(width)}  {text}" for name, text in docs.items()))


def _describe(data_dir: str, *, as_json: bool) -> int:
    devices = list_devices()
    sets = {
        DataFlags: describe(data_dir),
        RecordFlags: [describe_multitask()],
        SentenceFlags: [describe_sentences()],
    }
    payload: dict[str, Any] = {
        "recipes": list(RECIPES),
        "lengths": {name: _lengths(recipe.flags()) for name, recipe in RECIPES.items()},
        "spaces": list(SPACES),
        "datasets": [{**item, "recipes": _readers(flags)} for flags, items in sets.items() for item in items],
        "devices": list(devices),
        "device": "cuda" if len(devices) > 1 and devices[1] != "mps" else devices[-1],
    }
    if as_json:
        sys.stdout.write(json.dumps(payload, indent=2) + "\n")
        return 0
    default = f"default {payload['device']}"
    lines = [
        f"recipes  {', '.join(RECIPES)}",
        f"spaces   {', '.join(SPACES)}",
        f"devices  {', '.join(devices)} ({default})",
    ]
    tables = _data_tables(payload["datasets"])
    sys.stdout.write("\n\n".join(["\n".join(lines), *map(str, tables)]) + "\n")
    return 0


def _lengths(command: Any) -> dict[str, Any]:
    """How long a run of a recipe is: whether it can be planned for a budget, and its epochs where none are given."""
    return {"budget": isinstance(command.run, PlannedRunFlags), "epochs": command.run.epochs}


def _readers(flags: type) -> list[str]:
    """The recipes whose data sets are those of `flags`."""
    return [name for name, recipe in RECIPES.items() if type(recipe.flags().data) is flags]


def _data_tables(datasets: Sequence[dict[str, Any]]) -> tuple[ReportTable, ...]:
    """What can be trained on, and where it comes from."""
    forms = tuple(
        (
            item["name"],
            _form(item["shape"]),
            str(item["classes"]),
            f"{item['train']:,}",
            f"{item['test']:,}",
            "synthetic" if item["synthetic"] else "real",
            "yes" if item["found"] else "no: --download fetches it",
        )
        for item in datasets
    )
    columns = ("--dataset", "one sample", "classes", "training samples", "test samples", "kind", "here")
    # The longest cell stands last, where a narrow terminal may wrap it.
    origins = tuple((item["name"], item["licence"], f"{item['title']}; {item['source']}") for item in datasets)
    return (
        ReportTable(title="data sets", columns=columns, rows=forms),
        ReportTable(title="their origin", columns=("--dataset", "licence", "title and source"), rows=origins),
    )


def _form(shape: Sequence[int]) -> str:
    """The form of a sample in words: an image has channels, a record has a table and a text, a sentence has words."""
    if len(shape) == 3:
        channels, height, width = shape
        return f"{height}x{width} pixels, {channels} channel{'s' if channels > 1 else ''}"
    if len(shape) == 1:
        return f"a sentence of up to {shape[0]} words"
    numbers, tokens = shape
    return f"{numbers} numbers and a text of {tokens} tokens"
