"""`Search`: the prior over a space, then short trainings where the budget pays for them; resumable."""

import dataclasses
import json
import math
import os
import time
from pathlib import Path
from random import Random
from typing import Any, Protocol

from lab.base import ConfigError, derive_seed
from lab.explore import Prior, ScoredCell, ScoreSearch
from lab.explore.evolution import largest, total
from lab.nn import BASELINES
from lab.search.config import SearchConfig
from lab.search.halving import SEEDS, EvidencePlan, Rung, judge, plan_evidence, ranked, shortlist
from lab.search.problem import SearchProblem
from lab.search.report import SearchReport
from lab.space import DARTS, NB201, Genotype, genotype_text, sample

PRIOR_SHARE = 0.5
"""Share of the budget that scores may take at most."""
SAVED_EVERY = 20
"""Cells that are scored from one writing of the state to the next."""
SCORED_PART = 0.2
"""Of the bar, for scores; trainings have the rest."""
SHOWN_EDITS = 3
"""Edges that are told one by one where two cells differ."""
FILE = "search.json"
"""The state in a search's folder."""


class SearchObserver(Protocol):
    """Is told how far a search is."""

    def on_part(self, share: float, text: str) -> None:
        """`share` of the search is done, in [0, 1]; `text` says what it does."""


class SilentSearch:
    """Tells nobody."""

    def on_part(self, share: float, text: str) -> None:
        """Nothing."""


class Search:
    """One search; what it has measured is in its folder, so that the same call goes on bit-equal.

    Args:
        config: everything that the result depends on.
        folder: where the state is written, whole or not at all; None keeps it in memory.
        observer: is told how far the search is.

    Raises:
        ConfigError: the folder holds a search with other settings, a damaged one, or cannot be written.
        DataError: the data cannot be read.
    """

    def __init__(
        self, config: SearchConfig, folder: Path | None = None, observer: SearchObserver | None = None
    ) -> None:
        self.config = config
        self.folder = folder
        self.observer = observer or SilentSearch()
        self.settings = _plain(config)
        self.kept: dict[str, Any] = self._read()
        """What was measured so far, as JSON data."""
        self._began = time.process_time()
        self.problem = SearchProblem(config)
        self.scores = ScoreSearch(
            self.problem.space, self.problem.scores, seed=config.seed, allowed=self.problem.allowed
        )
        if "scores" in self.kept:
            self.scores.restore(self.kept["scores"])

    @property
    def finished(self) -> bool:
        """Whether the report is there already."""
        return "report" in self.kept

    @property
    def seconds(self) -> float:
        """CPU seconds that the search took, those of earlier calls included."""
        return float(self.kept["seconds"]) + time.process_time() - self._began

    def run(self) -> SearchReport:
        """Search to the end of the plan; a finished search measures nothing more."""
        if self.finished:
            return SearchReport(**self.kept["report"])
        prior = self._prior() if self.config.prior else None
        known = self._candidates(prior)
        plan = self._evidence_plan(known, prior)
        rungs = self._rungs(plan, known, prior)
        self.kept["report"] = self._facts(prior, plan, rungs)
        self._save()
        self.observer.on_part(1.0, "done")
        return SearchReport(**self.kept["report"])

    def _prior(self) -> Prior:
        if "evaluations" not in self.kept:
            self.kept["evaluations"] = self._affordable()
        most = self.kept["evaluations"]
        end = SCORED_PART if self.config.evidence else 1.0
        saved = self.scores.evaluations

        def told(count: int) -> None:
            nonlocal saved
            self.observer.on_part(end * min(count / most, 1.0), f"scored {count} of {most} cells")
            if count >= saved + SAVED_EVERY:
                saved = count
                self._save_scores()

        if self.scores.evaluations < most and not self.scores.exhausted:
            self.scores.run(most, told)
            self._save_scores()
        return self.scores.prior()

    def _affordable(self) -> int:
        """Cells that `PRIOR_SHARE` of the budget pays for, judged by the first population; at most those asked for."""
        # The first cell also pays for what torch makes once.
        self.scores.step()
        spent, began = self.seconds, time.process_time()
        while self.scores.evaluations < self.scores.config.population and not self.scores.exhausted:
            self.scores.step()
            self.observer.on_part(0.0, f"scored {self.scores.evaluations} cells of the first population")
        each = (time.process_time() - began) / max(self.scores.evaluations - 1, 1)
        left = PRIOR_SHARE * self.config.budget - spent
        return max(1, min(self.config.evaluations, int(left / max(each, 1e-9))))

    def _save_scores(self) -> None:
        self.kept["scores"] = self.scores.state()
        self._save()

    def _candidates(self, prior: Prior | None) -> list[Genotype]:
        """Cells that could be trained, the prior's best first; without a prior drawn uniformly."""
        if prior is not None:
            return [cell.genotype for cell in prior.cells if cell.value > -math.inf]
        rng = Random(derive_seed(self.config.seed, "search", "evidence alone"))
        found: dict[Genotype, None] = {}
        for _ in range(50 * self.config.evaluations):
            genotype = sample(self.problem.space, rng)
            if self.problem.allowed(genotype):
                found[genotype] = None
            if len(found) == min(self.config.evaluations, self.problem.space.size):
                break
        return list(found)

    def _evidence_plan(self, known: list[Genotype], prior: Prior | None) -> EvidencePlan:
        if not self.config.evidence:
            return EvidencePlan(shortlist=0, reason="no evidence was asked for")
        if "plan" not in self.kept:
            # The best cell and one of the middle: cells differ in cost.
            timed = (known[0], known[len(known) // 2])
            epoch_seconds = sum(map(self.problem.epoch_seconds, timed)) / len(timed)
            plan = plan_evidence(self.config.budget - self.seconds, epoch_seconds, len(known))
            if prior is None and not plan.shortlist:
                raise ConfigError("a budget that pays for evidence", plan.reason.split(":")[0], "raise --budget")
            self.kept["plan"] = dataclasses.asdict(plan)
            self._save()
        return EvidencePlan(**self.kept["plan"])

    def _rungs(self, plan: EvidencePlan, known: list[Genotype], prior: Prior | None) -> list[Rung]:
        if not plan.shortlist:
            return []
        cells = known[: plan.shortlist] if prior is None else shortlist(known, plan.shortlist)
        beliefs = None if prior is None else self._readings(known, cells)
        rungs: list[Rung] = []
        parts = sum(count * SEEDS for count, _ in plan.rungs())
        done = 0
        for count, epochs in plan.rungs():
            if rungs:
                values = rungs[-1].values
                cells = ranked(values, known)[:count]
                # One belief, not two readings: the noise of both is in the evidence of this rung.
                beliefs = {cell: (values[cell], values[cell]) for cell in known}
            losses = {}
            for cell in cells:
                pair = []
                for seed in range(SEEDS):
                    pair.append(self._loss(cell, epochs, seed))
                    done += 1
                    said = f"trained {done} of {parts}: {count} cells, {epochs} epochs"
                    self.observer.on_part(SCORED_PART + (1 - SCORED_PART) * done / parts, said)
                losses[cell] = (pair[0], pair[1])
            rungs.append(judge(epochs, losses, beliefs, known))
        return rungs

    def _readings(self, known: list[Genotype], cells: list[Genotype]) -> dict[Genotype, tuple[float, float]]:
        """Both readings of the prior; the second, with other weights and another batch, of `cells` alone."""
        scale = largest(self.scores.values.values())
        second = self.kept.setdefault("second", {})
        for cell in cells:
            if _key(cell) not in second:
                second[_key(cell)] = dict(self.problem.scores(cell, repeat=1))
        pairs = {}
        for cell in known:
            one = total(self.scores.values[cell], scale)
            two = total(second[_key(cell)], scale) if _key(cell) in second else one
            pairs[cell] = (one, two if two > -math.inf else one)
        return pairs

    def _loss(self, cell: Genotype, epochs: int, seed: int) -> float:
        losses = self.kept.setdefault("losses", {})
        key = f"{_key(cell)} epochs {epochs} seed {seed}"
        if key not in losses:
            losses[key] = self.problem.loss(cell, epochs=epochs, repeat=seed)
            self._save()
        return float(losses[key])

    def _facts(self, prior: Prior | None, plan: EvidencePlan, rungs: list[Rung]) -> dict[str, Any]:
        """The fields of the report."""
        believed = self._believed(prior, rungs)
        best = believed.genotype
        losses = {cell: pair for rung in rungs for cell, pair in zip(rung.trained, rung.losses, strict=True)}

        def row(cell: Genotype, why: str) -> dict[str, Any]:
            scores = self.scores.values.get(cell) or dict(self.problem.scores(cell))
            pair = losses.get(cell)
            edits = best.diff(cell)
            return {
                "cell": cell.to_json(),
                "text": genotype_text(cell) if cell.space in (NB201, DARTS) else str(cell),
                "differs": "; ".join(map(str, edits)) if len(edits) <= SHOWN_EDITS else f"{len(edits)} edges",
                "why": why,
                "score": None if prior is None else total(scores, largest(self.scores.values.values())),
                "scores": scores,
                "loss": None if pair is None else sum(pair) / len(pair),
            }

        others = [each.genotype for each in believed.cells[1:6]]
        preferred = [row(cell, f"runner-up {number}") for number, cell in enumerate(others, start=1)]
        if prior is not None and prior.genotype != best:
            preferred.append(row(prior.genotype, "best by the prior alone"))
        baseline = BASELINES.get(self.problem.space)
        if baseline is not None and baseline != best:
            preferred.append(row(baseline, "the fixed baseline of the space"))
        return {
            "space": self.config.space,
            "data": self.problem.title,
            "seed": self.config.seed,
            "best": row(best, "found"),
            "preferred_to": preferred,
            "evaluations": self.scores.evaluations,
            "trainings": len(self.kept.get("losses", {})),
            "cpu_seconds": round(self.seconds, 2),
            "budget": self.config.budget,
            "evidence": plan.reason,
            "rungs": [rung.to_dict() for rung in rungs],
            "prior": believed.to_json(),
        }

    def _believed(self, prior: Prior | None, rungs: list[Rung]) -> Prior:
        """All cells by what is believed of them: those trained in the last rung, those of the one before, the others.

        Values of a rung are in its own deviations, so each group is set above the one that it came from.
        """
        if not rungs and prior is not None:
            return prior
        groups: list[list[ScoredCell]] = []
        seen: set[Genotype] = set()
        for rung in reversed(rungs):
            values = rung.values
            left = [cell for cell in ranked(values, rung.trained) if cell not in seen]
            groups.append([ScoredCell(genotype=cell, value=values[cell]) for cell in left])
            seen |= set(left)
        first = rungs[0].values if rungs else {}
        rest = [cell for cell in ranked(first, list(first)) if cell not in seen]
        groups.append([ScoredCell(genotype=cell, value=first[cell]) for cell in rest])
        if prior is not None:
            groups.append([cell for cell in prior.cells if cell.genotype not in first])
        placed: list[ScoredCell] = []
        floor = math.inf
        for group in groups:
            finite = [cell.value for cell in group if cell.value > -math.inf]
            # One deviation of a rung lies between two groups.
            shift = floor - 1.0 - max(finite) if finite and floor < math.inf else 0.0
            floor = min([value + shift for value in finite], default=floor)
            placed += [dataclasses.replace(cell, value=cell.value + shift) for cell in group]
        scores = self.scores.values
        return Prior.of(
            self.problem.space, [dataclasses.replace(each, scores=scores.get(each.genotype, {})) for each in placed]
        )

    def _read(self) -> dict[str, Any]:
        empty = {"seconds": 0.0}
        if self.folder is None or not (self.folder / FILE).is_file():
            return empty
        path = self.folder / FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            settings, kept = data["settings"], data["kept"]
            differing = sorted(key for key in self.settings if settings.get(key) != self.settings[key])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"a search in {path}", str(error), "remove that file") from error
        if differing:
            raise ConfigError(
                f"the search in {path} with these settings",
                f"another {', '.join(differing)}",
                "give another --folder, or the settings of that search",
            )
        return {**empty, **kept}

    def _save(self) -> None:
        if self.folder is None:
            return
        # Seconds are those of all calls; the clock of this one begins anew.
        now = time.process_time()
        self.kept["seconds"] = float(self.kept["seconds"]) + now - self._began
        self._began = now
        path = self.folder / FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps({"settings": self.settings, "kept": self.kept}) + "\n", encoding="utf-8")
            os.replace(temporary, path)
        except OSError as error:
            raise ConfigError("a folder that can be written", str(error), "give another --folder") from error


def search(
    config: SearchConfig | None = None, folder: Path | None = None, observer: SearchObserver | None = None
) -> SearchReport:
    """Search as `config` says; arguments and errors as for `Search`."""
    return Search(config or SearchConfig(), folder, observer).run()


def _key(genotype: Genotype) -> str:
    return ",".join(map(str, genotype.indices))


def _plain(config: SearchConfig) -> dict[str, Any]:
    """The settings as they come back from a file, where tuples are lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain
