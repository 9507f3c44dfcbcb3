"""Training of the architecture parameters on their own split, the weights frozen.

B batch, C channels, H height, W width, E edges, K primitives.
"""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from lab.asose.config import ASOSEConfig
from lab.asose.prior import find_prior, scored_images
from lab.asose.remedies import Remedies
from lab.asose.selection import perturbation_importance, sampled_importance
from lab.base import derive_seed
from lab.explore import NONE, SCHEDULES, GumbelExplorer, Prior, best_genotype
from lab.nn import Sample, SuperNet, train_mode
from lab.space import Genotype
from lab.train import Criterion, EpochData, Group, SingleProcess, Split

BETAS = (0.5, 0.999)
TRAVEL = 5.0
"""How far alpha can go in a run whose rate follows from its steps: far enough to turn any choice of the prior."""
RATES = (3e-4, 0.3)
"""Lowest and highest rate that follows from a number of steps."""
SELECTION_BATCHES = 8
"""Batches of the selection split that measure what a primitive is worth."""


class ArchitectureTrainer:
    """The explorer, its Adam optimizer, and the accuracy of the cells drawn in the present epoch."""

    def __init__(
        self,
        supernet: SuperNet,
        config: ASOSEConfig,
        *,
        seed: int,
        grad_accum_steps: int = 1,
        group: Group | None = None,
    ) -> None:
        self.supernet = supernet
        self.config = config
        self.criterion = Criterion()
        self.micro_batches = grad_accum_steps
        self.group: Group = group or SingleProcess()
        schedule = SCHEDULES[config.temperature_schedule](
            initial_temp=config.initial_temp,
            min_temp=config.min_temp,
            epochs=max(config.arch_training_epochs * config.exploration_phases, 1),
            anneal_rate=config.anneal_rate,
        )
        self.explorer = GumbelExplorer(
            supernet.space,
            schedule,
            seed=derive_seed(seed, "explorer"),
            sampling=config.sampling,
            exploration_factor=config.exploration_factor,
            allow_none=config.allow_none or NONE in supernet.space.excluded,
            device=next(supernet.parameters()).device,
        )
        self.optimizer = torch.optim.Adam(
            self.explorer.parameters(),
            lr=config.arch_lr or RATES[0],
            betas=BETAS,
            weight_decay=config.arch_weight_decay,
        )
        self.scores: list[float] = []
        self.remedies = Remedies(self.explorer, config)
        self.selection = config.selection
        self.seed = seed
        self.prior: Prior | None = None
        """What gave alpha its start; None without one, or before the first epoch."""
        self.worth_EK: Tensor | None = None

    def take_prior(self, data: EpochData) -> None:
        """Start alpha from what scores of untrained networks say of the space, once, where the settings ask for it."""
        if self.config.prior == "none" or self.prior is not None:
            return
        found = find_prior(
            self.explorer.space,
            scored_images(data),
            num_classes=self.supernet.num_classes,
            seed=self.seed,
            evaluations=self.config.prior_evaluations,
        )
        self.adopt(Prior.from_json(self.group.broadcast(found.to_json())))

    def adopt(self, prior: Prior) -> None:
        """Start alpha from `prior`, see `GumbelExplorer.start_from`; before the first epoch."""
        self.prior = prior
        self.explorer.start_from(prior.preferences, self.config.prior_strength)

    @property
    def rate(self) -> float:
        """Learning rate of alpha."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_rate(self, data: EpochData) -> None:
        """The rate that lets alpha travel `TRAVEL` in the planned steps (Adam moves it by about the rate a step)."""
        if self.config.arch_lr is not None:
            return
        epochs = max(self.config.exploration_phases, 1) * max(self.config.arch_training_epochs, 1)
        rate = TRAVEL / (epochs * data.length(Split.SEARCH))
        self.optimizer.param_groups[0]["lr"] = min(max(rate, RATES[0]), RATES[1])

    def draw_uniform(self) -> Sample:
        """What a warm-up step runs: a uniform draw, or the uniform mixture where the sampling is one."""
        return self.remedies.apply(self.explorer.sample_uniform(hard=self.explorer.sampling != "mixture"))

    def select(self, data: EpochData) -> Genotype:
        """The first live cell; under perturbation the selection split measures what each primitive is worth."""
        if self.config.begins_with_cell and self.prior is not None:
            return self.prior.genotype
        if self.selection == "argmax":
            return self.explorer.argmax_genotype
        images = list(itertools.islice(data.selection(), SELECTION_BATCHES))
        if self.explorer.sampling == "mixture":
            self.worth_EK = perturbation_importance(self.supernet, self.explorer.probabilities(), images)
        else:
            self.worth_EK = sampled_importance(self.supernet, self.explorer.sample_uniform, images)
        return best_genotype(self.explorer.space, self.worth_EK)

    def guide(self) -> list[list[float]]:
        """Probabilities that guide a mutation, (E, K): of alpha, or of the measured worth over its deviation.

        Those of an alpha that began with a prior are taken at temperature 1, which is what the prior was scaled for.
        """
        if self.worth_EK is None and self.prior is not None:
            return (self.explorer.logits().detach() * self.explorer.temperature).softmax(-1).tolist()
        if self.worth_EK is None:
            return self.explorer.probabilities().tolist()
        scale = self.worth_EK[torch.isfinite(self.worth_EK)].std().clamp_min(1e-12)
        return (self.worth_EK.clamp_max(1e6) / scale).softmax(-1).tolist()

    def step(self, x_BCHW: Tensor, y_B: Tensor) -> tuple[float, float, float]:
        """One Adam step on a drawn cell's loss; (loss, accuracy, gradient norm). Not finite: nothing changes."""
        train_mode(self.supernet)
        sample, alpha = self.remedies.apply(self.explorer.sample()), self.explorer.alpha
        gradient_EK, loss, hits = torch.zeros_like(alpha), torch.zeros_like(alpha[0, 0]), torch.zeros_like(alpha[0, 0])
        with self.group.merged_statistics(self.supernet):
            for x, y in zip(x_BCHW.tensor_split(self.micro_batches), y_B.tensor_split(self.micro_batches), strict=True):
                logits_BN = self.supernet(x, sample)
                part = self.criterion.mean(logits_BN, y) * (len(y) / len(y_B))
                # The gradient is taken for alpha alone: the weights are frozen without a switch that could be left set.
                # The draw's own graph serves every part.
                gradient_EK += torch.autograd.grad(part, [alpha], retain_graph=True)[0]
                loss, hits = loss + part.detach(), hits + (logits_BN.detach().argmax(-1) == y).sum()
        gradient_EK = self.group.mean(gradient_EK) + self.remedies.gradient()
        read = self.group.mean(torch.stack([loss.detach(), hits / len(y_B), gradient_EK.norm()]))
        numbers: tuple[float, float, float] = tuple(read.tolist())
        if math.isfinite(numbers[0]) and math.isfinite(numbers[2]):
            self.explorer.alpha.grad = gradient_EK
            self.optimizer.step()
        self.scores.append(numbers[1])
        return numbers

    def end_epoch(self) -> None:
        """Take the schedule's next temperature, given the epoch's mean accuracy."""
        self.explorer.update_temperature(sum(self.scores) / max(len(self.scores), 1))
        self.remedies.end_epoch()

    def values(self) -> dict[str, Any]:
        """What was learnt: alpha and the optimizer's moments; a restore point holds it."""
        return {"alpha": self.explorer.alpha.detach(), "optimizer": self.optimizer.state_dict()}

    def restore(self, values: dict[str, Any]) -> None:
        """Give `values` back; the explorer's own draws go on, they are not repeated."""
        with torch.no_grad():
            self.explorer.alpha.copy_(values["alpha"])
        self.optimizer.load_state_dict(values["optimizer"])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "explorer": self.explorer.search_state(),
            "optimizer": self.optimizer.state_dict(),
            "scores": list(self.scores),
            "remedies": self.remedies.state_dict(),
            "worth": self.worth_EK,
            "prior": None if self.prior is None else self.prior.to_json(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.explorer.load_search_state(state["explorer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scores = list(state["scores"])
        self.remedies.load_state_dict(state["remedies"])
        self.worth_EK = state["worth"]
        # Checkpoints of before there was a prior have none.
        told = state.get("prior")
        self.prior = None if told is None else Prior.from_json(told)
