"""`TextStrategy`: a text model trains on labelled sentences inside the one training loop."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lab.base import CheckpointError
from lab.store import AlertEvent, Record
from lab.text.config import TextConfig
from lab.text.data import TextData
from lab.text.encoder import LoadReport
from lab.text.losses import TextLoss
from lab.train import (
    EpochData,
    EpochPlan,
    Evaluation,
    Offers,
    OptimizerConfig,
    StepOptions,
    StepReport,
    StrategyState,
    WeightTrainer,
)

SECOND_BETA = 0.999


def make_adamw(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW on the weights of `model` that train; biases, norms and other vectors do not decay.

    `weight_momentum` is its first beta, `weight_lr` its rate (Loshchilov and Hutter 2019).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [each for each in trained if each.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.weight_lr, betas=(config.weight_momentum, SECOND_BETA))


class TextStrategy:
    """Trains the text model `network` on its task's loss: one phase, no change of its structure.

    Args:
        network: a model of `make_text_model`, on the device that the batches come on.
        config: optimizer of the weights, AdamW.
        text: the task.
        data: what it trains on.
        reports: the proof of each encoder that was loaded.
        epochs: of the run.
        options: how a step is taken, with the task's loss.
    """

    def __init__(
        self,
        network: nn.Module,
        config: OptimizerConfig,
        text: TextConfig,
        data: TextData,
        *,
        reports: Sequence[LoadReport] = (),
        epochs: int,
        options: StepOptions,
    ) -> None:
        self.text = text
        self.criterion = TextLoss(text.task, text.criteria_weight)
        self.trainer = WeightTrainer(
            network, config, epochs=epochs, options=options, optimizer=make_adamw(network, config)
        )
        self.records: list[Record] = self.trainer.records
        self.reports = tuple(reports)
        self._data_digest = data.digest
        self._facts = data.facts()
        for report in self.reports:
            text_of = f"{len(report.hashes)} tensors of {', '.join(report.files)}, each with the file's hash"
            self.records.append(AlertEvent(level="info", title="Encoder proven", text=text_of))
        if data.tokens.cut:
            cut = f"{data.tokens.cut} sentences are longer than {text.max_length} tokens; the rest of them is cut off"
            self.records.append(AlertEvent(level="warning", title="Sentences cut off", text=cut))

    @property
    def phase(self) -> str:
        """training, then finished."""
        return self.trainer.phase

    @property
    def network(self) -> nn.Module:
        """The model."""
        return self.trainer.network

    @property
    def offers(self) -> Offers:
        """A lower learning rate, and a rollback to the beginning of the epoch."""
        return self.trainer.offers()

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> EpochPlan:
        """Set the epoch's learning rate; the train split."""
        return self.trainer.begin_epoch(epoch, data)

    def step(self, x_B2L: Tensor, y_B3: Tensor) -> StepReport:
        """One clipped step on the task's loss."""
        return self.trainer.step(x_B2L, y_B3)

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation:
        """Evaluate on the selection split."""
        return self.trainer.end_epoch(data, self.criterion)

    def finish(self, epoch: int, data: EpochData) -> None:
        """The network is what it is."""
        self.trainer.finish(epoch)

    def state(self) -> StrategyState:
        """Network, optimizer, learning rate, restore point, and which sentences they belong to."""
        return StrategyState(
            read_tensors=lambda: {**self.trainer.state_dict(), "sentences": self._data_digest},
            read_summary=self.summary,
            roots=self.trainer.roots,
            averaged=self.trainer.averaged,
        )

    def restore(self, state: StrategyState) -> None:
        """Go on exactly where `state` was taken.

        Raises:
            CheckpointError: the state belongs to another recipe, architecture, table or tokenizer.
        """
        if "sentences" not in state.tensors or state.plans:
            raise CheckpointError("a checkpoint of recipe text", "one of another recipe", "resume with its recipe")
        if state.tensors["sentences"] != self._data_digest:
            expected = "the table and the tokenizer that the run was started with"
            raise CheckpointError(expected, "others", "put the files back as they were, or start a new run")
        self.trainer.load_state_dict(state.tensors)

    def summary(self) -> dict[str, Any]:
        """Parameters, task, data, and the digest of each encoder that was loaded."""
        return {
            **self.trainer.summary(),
            "model": type(self.network).__name__,
            "task": self.text.task,
            "encoder": self.text.encoder,
            "encoder_digests": [report.digest for report in self.reports],
            **self._facts,
        }
