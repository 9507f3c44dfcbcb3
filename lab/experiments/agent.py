"""The agent against the true optimum: the walk of a Q-learner through tables, beside searches and beside no learning.

Environments are NAS-Bench-Macro, as growth from the network without any block, and NAS-Bench-201, from random cells. A
search sees one column and is judged by the network that was best in it. S seeds, N networks, Q evaluations.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from lab.agent import CellSearch, CellSearchConfig
from lab.base import DataError, ReportTable, derive_seed
from lab.experiments.table_settings import AgentBench
from lab.experiments.tabular import (
    STRATEGIES,
    Floats,
    Ints,
    Landscape,
    Strategy,
    best_so_far,
    copied_prior,
    greedy_growth,
)
from lab.results import machine
from lab.results.record import Bar, Records, progress_bar
from lab.space import MACRO, NB125, NB201, Genotype, Space, find_table
from lab.space import Table as Truth


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A table and how a search in it is judged."""

    space: Space
    folds: tuple[tuple[str, tuple[str, ...]], ...]
    """(Column that a search sees, columns whose mean judges it); the seeds are dealt to the folds in turn."""
    prior: str | None = None
    """Column that the copied prior knows: of another data set, or a size; None leaves that search out."""
    lesson: str | None = None
    """Column of another data set from which the taught agent comes; None leaves that search out."""
    growth: bool = False
    """Whether the agent begins at the network of all first choices; else at random ones."""


SEEN_AND_JUDGED = tuple((f"seed{one}", tuple(f"seed{other}" for other in range(3) if other != one)) for one in range(3))
ENVIRONMENTS: Mapping[str, Environment] = MappingProxyType(
    {
        "CIFAR-10": Environment(
            space=NB201, folds=(("c10_val12", ("c10_test200",)),), prior="in16_val12", lesson="in16_val12"
        ),
        "CIFAR-100": Environment(
            space=NB201, folds=(("c100_val12", ("c100_test200",)),), prior="in16_val12", lesson="in16_val12"
        ),
        "Macro": Environment(space=MACRO, folds=(("mean", ("mean",)),), prior="flops", growth=True),
        "Macro, one seed": Environment(space=MACRO, folds=SEEN_AND_JUDGED, prior="flops", growth=True),
        "digits": Environment(space=NB125, folds=(("digits_validation_half", ("digits_test",)),)),
    }
)
"""Every environment by name; `digits` has the lab's own table."""
BARS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"CIFAR-10": {"100": 93.95}, "CIFAR-100": {"100": 71.84}, "Macro": {"50": 93.00, "100": 93.06}}
)
"""Accuracy that the agent is to reach: regularised evolution's on NAS-Bench-201, greedy growth's on Macro."""
AGENTS: Mapping[str, Callable[[CellSearchConfig], CellSearchConfig]] = MappingProxyType(
    {
        "agent": lambda config: config,
        "agent_without_learning": lambda config: replace(config, updates=0),
        "uniform_walk": lambda config: replace(
            config, updates=0, learner=replace(config.learner, epsilon_start=1.0, epsilon_end=1.0)
        ),
    }
)
"""The agent, the same walk by a network that stays as it was drawn, and the same walk with uniform actions."""
TAUGHT = "taught_agent"
"""The same walk by networks that an agent learned on another data set; they learn nothing more."""
LESSON = CellSearchConfig(
    starts=200,
    every=1,
    hindsight=32,
    updates=2,
    learner=replace(CellSearchConfig().learner, lr=1e-2, batch_size=32, buffer_size=4096),
)
"""How an agent learns where it may measure much."""
Weights = Mapping[str, torch.Tensor]
"""A policy network's state dict."""


def search_config(config: AgentBench) -> CellSearchConfig:
    """The agent's walk and learner."""
    return CellSearchConfig(every=config.every, hindsight=config.hindsight, updates=config.updates)


def run(config: AgentBench) -> dict[str, Any]:
    """Every search in every environment.

    Raises:
        DataError: a table is not there, or is of another form.
    """
    truths = {name: _table(ENVIRONMENTS[name]) for name in config.environments}
    walked = {"search": asdict(search_config(config)), "teaching": asdict(LESSON)}
    settings = {key: value for key, value in asdict(config).items() if key not in ("folder", "environments")} | walked
    records = Records(config.folder, settings)
    found: dict[str, Any] = {}
    total = sum(len(_methods(ENVIRONMENTS[name])) for name in config.environments)
    with progress_bar(total) as bar:
        for name in config.environments:
            found[name] = _environment(name, truths[name], config, records, bar)
    return {
        "bench": "agent",
        "config": {**asdict(config), **walked, "folder": str(config.folder)},
        "machine": machine(),
        "results": found,
    }


def _table(environment: Environment) -> Truth:
    truth = find_table(environment.space)
    if truth is None:
        raise DataError(f"a table of space {environment.space.name}", "none", "point LAB_NAS_TABLES at its folder")
    needed = {column for seen, judged in environment.folds for column in (seen, *judged)}
    needed |= {column for column in (environment.prior, environment.lesson) if column is not None}
    if not needed <= set(truth.columns):
        raise DataError(f"columns {', '.join(sorted(needed))}", ", ".join(truth.columns), "give another table")
    return truth


def _methods(environment: Environment) -> tuple[str, ...]:
    growth = ("greedy_growth",) if environment.growth else ()
    prior = ("copied_prior",) if environment.prior is not None else ()
    taught = (TAUGHT,) if environment.lesson is not None else ()
    return (*AGENTS, *taught, *STRATEGIES, *growth, *prior)


def _environment(name: str, truth: Truth, config: AgentBench, records: Records, bar: Bar) -> dict[str, Any]:
    environment = ENVIRONMENTS[name]
    columns = {column: _column(truth, column) for column in truth.columns}
    judges = [np.mean([columns[column] for column in judged], axis=0) for _, judged in environment.folds]
    methods = {}
    for method in _methods(environment):
        piece = f"{name.lower().replace(', ', '-').replace(' ', '-')}-{method}"
        pieces = records.read(piece)
        if pieces is None:
            pieces = _measure(method, name, columns, judges, config)
            records.write(piece, pieces)
        methods[method] = _brief(pieces)
        bar.step(f"{name}: {method}")
    return {
        "optimum": float(np.mean([judge.max() for judge in judges])),
        "best_by_what_is_seen": float(
            np.mean([judge[columns[seen].argmax()] for judge, (seen, _) in zip(judges, environment.folds, strict=True)])
        ),
        "methods": methods,
    }


def _column(truth: Truth, column: str) -> Floats:
    networks = product(range(len(truth.space.primitives)), repeat=len(truth.space.edges))
    return np.array([truth.query(Genotype.from_indices(truth.space, digits), column) for digits in networks])


def _measure(
    method: str, name: str, columns: Mapping[str, Floats], judges: list[Floats], config: AgentBench
) -> dict[str, Any]:
    """Accuracies of all seeds after each number of evaluations, fold after fold."""
    began = time.process_time()
    environment = ENVIRONMENTS[name]
    found: dict[str, list[float]] = {str(count): [] for count in config.evaluations}
    share, more = divmod(config.seeds, len(environment.folds))
    for fold, (seen, _) in enumerate(environment.folds):
        landscape = Landscape(space=environment.space, validation_N=columns[seen])
        # A stream of its own for each search: one more search moves no draw of the others.
        rng = np.random.default_rng(derive_seed(config.seed, method, name, seen))
        strategy = _strategy(method, environment, columns, config)
        asked_SQ = strategy(landscape, share + (fold < more), max(config.evaluations), rng)
        best_SQ = best_so_far(landscape, asked_SQ)
        for count in config.evaluations:
            found[str(count)] += [round(value, 3) for value in judges[fold][best_SQ[:, count - 1]].tolist()]
    return {"accuracies": found, "cpu_seconds": round(time.process_time() - began, 3)}


def _strategy(method: str, environment: Environment, columns: Mapping[str, Floats], config: AgentBench) -> Strategy:
    if method in AGENTS:
        return partial(walks, config=AGENTS[method](search_config(config)), growth=environment.growth)
    if method == TAUGHT:
        assert environment.lesson is not None
        lesson = Landscape(space=environment.space, validation_N=columns[environment.lesson])
        weights = teach(lesson, config)
        silent = replace(search_config(config), updates=0)
        return partial(walks, config=silent, growth=environment.growth, weights=weights)
    if method == "greedy_growth":
        return greedy_growth
    if method == "copied_prior":
        assert environment.prior is not None
        return partial(copied_prior, prior_N=columns[environment.prior])
    return STRATEGIES[method]


def walks(
    landscape: Landscape,
    seeds: int,
    evaluations: int,
    rng: np.random.Generator,
    *,
    config: CellSearchConfig,
    growth: bool,
    weights: Sequence[Weights] = (),
) -> Ints:
    """A fresh agent for each seed: the numbers of the networks that it measured, in order (S, Q).

    It has nothing of another seed's; where there are `weights` its policy begins with these, one after the other.
    """
    first = Genotype.from_indices(landscape.space, (0,) * landscape.shape[0]) if growth else None
    rows = []
    with _one_thread():
        for row, seed in enumerate(rng.integers(2**31, size=seeds).tolist()):
            search = CellSearch(landscape.space, landscape.measure, config, first=first, seed=seed)
            if weights:
                search.learner.policy_net.load_state_dict(weights[row % len(weights)])
            order = np.array([landscape.number(genotype) for genotype, _ in search.run(evaluations)])
            # A walk that has measured all that it can reach stays with what it has.
            rows.append(np.pad(order, (0, evaluations - len(order)), mode="edge"))
    return np.stack(rows)


def teach(lesson: Landscape, config: AgentBench) -> tuple[Weights, ...]:
    """Policies of `config.teachers` agents after `config.lesson` evaluations of `lesson`."""
    found = []
    with _one_thread():
        for teacher in range(config.teachers):
            seed = derive_seed(config.seed, "teacher", teacher)
            search = CellSearch(lesson.space, lesson.measure, LESSON, seed=seed)
            search.run(config.lesson)
            found.append(search.learner.policy_net.state_dict())
    return tuple(found)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread inside: the agent's tensors are too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _brief(piece: dict[str, Any]) -> dict[str, Any]:
    """Mean, deviation and standard error over the seeds in the place of every seed's accuracy."""
    accuracies = {}
    for count, values in piece["accuracies"].items():
        deviation = float(np.std(values, ddof=1))
        accuracies[count] = {
            "mean": round(float(np.mean(values)), 3),
            "deviation": round(deviation, 3),
            "error": round(deviation / len(values) ** 0.5, 3),
        }
    return {**piece, "accuracies": accuracies}


def summary(result: dict[str, Any]) -> ReportTable:
    """Mean and standard deviation after each number of evaluations, and whether the agent reached its bars."""
    counts = [str(count) for count in result["config"]["evaluations"]]
    rows, notes = [], []
    for name, facts in result["results"].items():
        for method, found in facts["methods"].items():
            cells = [found["accuracies"][count] for count in counts]
            rows.append((name, method, *(f"{cell['mean']:.2f} +- {cell['deviation']:.2f}" for cell in cells)))
        notes.append(
            f"{name}: optimum {facts['optimum']:.2f}, best by what a search sees {facts['best_by_what_is_seen']:.2f}"
        )
        notes += [_gain(name, facts["methods"], other, counts) for other in AGENTS if other != "agent"]
        for count, bar in BARS.get(name, {}).items():
            if count in counts:
                reached = facts["methods"]["agent"]["accuracies"][count]["mean"]
                verdict = "reached" if reached >= bar else "not reached"
                notes.append(f"{name} after {count}: agent {reached:.2f}, bar {bar:.2f}: {verdict}")
    seconds = sum(found["cpu_seconds"] for facts in result["results"].values() for found in facts["methods"].values())
    notes.append(f"{result['config']['seeds']} seeds of each, {seconds:.0f} CPU seconds in all")
    notes.append("random, evolution and reinforce may ask for a network twice, as published; the walks never do")
    columns = ("environment", "search", *(f"{count} evaluations" for count in counts))
    return ReportTable(
        title="the agent on tables of known accuracies", columns=columns, rows=tuple(rows), notes=(*notes,)
    )


def _gain(name: str, methods: Mapping[str, Any], other: str, counts: Sequence[str]) -> str:
    """What the agent finds above another walk, with the standard error of the difference of two means."""
    gains = []
    for count in counts:
        one, two = methods["agent"]["accuracies"][count], methods[other]["accuracies"][count]
        error = (one["error"] ** 2 + two["error"] ** 2) ** 0.5
        gains.append(f"{one['mean'] - two['mean']:+.2f} +- {error:.2f}")
    return f"{name}: agent above {other.replace('_', ' ')} by {', '.join(gains)} (standard errors)"
