"""The baseline: one network of a fixed cell, trained for the same epochs on the same weights split."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from lab.base import CheckpointError, ConfigError, TrainingError
from lab.mahia import PrecisionManager
from lab.nn import EvolvableNetwork, train_mode
from lab.space import DARTS, NB125, NB201, Genotype, Space, parse_genotype
from lab.state import clone_tree
from lab.store import AlertEvent, PhaseEvent, Record
from lab.train.compile import Compiler
from lab.train.evaluate import evaluate
from lab.train.group import Group
from lab.train.optimizer import LearningRate, make_weight_optimizer
from lab.train.restore import RollbackLimit
from lab.train.settings import OptimizerConfig
from lab.train.step import WeightStep
from lab.train.strategy import EpochData, Evaluation, StepReport


def six_convolutions() -> Genotype:
    """The cell of six 3x3 convolutions: strong, and found by nobody."""
    return Genotype(NB201, ("nor_conv_3x3",) * len(NB201.edges))


BASELINES: Mapping[Space, Genotype] = MappingProxyType(
    {
        NB201: six_convolutions(),
        NB125: Genotype(NB125, ("nor_conv_3x3",) * len(NB125.edges)),
        DARTS: parse_genotype(
            "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
            "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
            "normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
            "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), "
            "('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
        ),
    }
)
"""The fixed cell of each space; for DARTS the one that its authors found on CIFAR-10 (Liu, Simonyan, Yang 2019, figures
4 and 5, second order)."""


def channels_for(genotype: Genotype, parameters: int, *, layers: int, num_classes: int, in_channels: int) -> int:
    """The number of first-stage channels whose network of `genotype` is nearest to `parameters` in size."""

    def size(channels: int) -> int:
        net = EvolvableNetwork(
            genotype, channels=channels, layers=layers, num_classes=num_classes, in_channels=in_channels
        )
        return sum(p.numel() for p in net.parameters())

    channels = 1
    while size(channels + 1) <= parameters:
        channels += 1
    return min((channels, channels + 1), key=lambda count: abs(size(count) - parameters))


class FixedStrategy:
    """Trains `network` alone, one phase, no architecture search; how a step is taken: see `WeightStep`."""

    def __init__(
        self,
        network: nn.Module,
        config: OptimizerConfig,
        *,
        epochs: int,
        precision: PrecisionManager | None = None,
        accumulation: int = 1,
        adaptive_batch: bool = False,
        compiler: Compiler | None = None,
        group: Group | None = None,
    ) -> None:
        self._network = network
        self.config = config
        self.epochs = epochs
        self.optimizer = make_weight_optimizer(
            network.parameters(),
            lr=config.weight_lr,
            momentum=config.weight_momentum,
            weight_decay=config.weight_decay,
        )
        self.records: list[Record] = []
        self._phase = "weight_retraining"
        self._fresh = True
        self.rate = LearningRate(
            self.optimizer,
            config.weight_lr,
            epochs,
            schedule=config.weight_schedule,
            patience=config.rate_patience,
        )
        self.weight_step = WeightStep(
            self.optimizer,
            grad_clip=config.grad_clip,
            precision=precision,
            accumulation=accumulation,
            adaptive=adaptive_batch,
            group=group,
            compiler=compiler,
        )
        self.weight_step.records = self.records
        self.rollbacks = RollbackLimit(config.max_rollbacks)
        self.restore_point: dict[str, Any] | None = None
        self.share: float | None = None
        """Share of the run that is done, for the learning-rate schedule phase; None for that of its epochs."""

    @property
    def phase(self) -> str:
        """weight_retraining, then finished."""
        return self._phase

    @property
    def segment(self) -> str:
        """The phase."""
        return self._phase

    @property
    def network(self) -> nn.Module:
        """The network."""
        return self._network

    def begin_epoch(self, epoch: int, step: int, data: EpochData) -> str:
        """Set the epoch's learning rate; the weights part."""
        if self._fresh:
            self._fresh = False
            self.records.append(PhaseEvent(phase=self._phase, epoch=epoch, epochs=self.epochs, cycle=0))
        self.set_restore_point()
        self.rate.begin(epoch, epoch / max(self.epochs, 1) if self.share is None else self.share)
        return "weights"

    def set_restore_point(self) -> None:
        """Keep the present state for `rollback`."""
        self.restore_point = clone_tree(self._tensors())

    def step(self, x_BCHW: Tensor, y_B: Tensor) -> StepReport:
        """One clipped SGD step."""
        train_mode(self._network)
        numbers = self.weight_step(self._network, x_BCHW, y_B, compiled=True)
        return StepReport(loss=numbers.loss, accuracy=numbers.accuracy, grad_norm=numbers.grad_norm, lr=self.rate.value)

    def end_epoch(self, epoch: int, data: EpochData) -> Evaluation:
        """Read the decision split."""
        self.rollbacks.end_epoch()
        evaluation = evaluate(self._network, data.decisions())
        self.rate.observe(evaluation.loss)
        return evaluation

    def finish(self, epoch: int, data: EpochData) -> None:
        """The network is what it is."""
        self._phase = "finished"
        self.records.append(PhaseEvent(phase="finished", epoch=epoch, epochs=0, cycle=0))

    def lower_rate(self, factor: float) -> tuple[float, float] | None:
        """Multiply the learning rate by `factor`."""
        return self.rate.lower(factor)

    def gentler_mutation(self, factor: float) -> None:
        """A fixed network does not mutate."""
        return

    def rollback(self, reason: str) -> None:
        """Restore the beginning of the epoch.

        Raises:
            TrainingError: `max_rollbacks` in a row.
        """
        self.rollbacks.add(reason)
        assert self.restore_point is not None
        self._load_tensors(clone_tree(self.restore_point))
        self.rate.lower(0.5)
        self.records.append(AlertEvent(level="warning", title="Rolled back", text=reason))

    def mutate_now(self, epoch: int, step: int, data: EpochData) -> str:
        """Refused: this network is the fixed baseline."""
        raise TrainingError("a run of recipe aso-se", "the fixed baseline", "start lab train without --recipe fixed")

    def set_temperature(self, temperature: float) -> None:
        """Refused: nothing is sampled."""
        raise TrainingError("a run of recipe aso-se", "the fixed baseline", "start lab train without --recipe fixed")

    @property
    def morphs(self) -> tuple[dict[str, Any], ...]:
        """None: the network is what it is."""
        return ()

    def rebuild(self, morphs: tuple[dict[str, Any], ...]) -> None:
        """Nothing to rebuild.

        Raises:
            CheckpointError: the checkpoint's network had grown.
        """
        if morphs:
            raise CheckpointError("a checkpoint of the fixed network", "one that has grown", "resume its own recipe")

    def modules(self) -> tuple[object, ...]:
        """Network and optimizer."""
        return self._network, self.optimizer

    def _tensors(self) -> dict[str, Any]:
        return {"network": self._network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def _load_tensors(self, state: dict[str, Any]) -> None:
        try:
            self._network.load_state_dict(state["network"])
        except RuntimeError as error:
            raise CheckpointError(
                "a checkpoint of this architecture",
                str(error).splitlines()[1].strip() if "\n" in str(error) else str(error),
                "use the cell, channels and layers that it was saved with",
            ) from error
        self.optimizer.load_state_dict(state["optimizer"])

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            **self._tensors(),
            "step": self.weight_step.state_dict(),
            "rate": self.rate.state_dict(),
            "restore_point": self.restore_point,
            "phase": self._phase,
            "fresh": self._fresh,
            "rollbacks": self.rollbacks.count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken.

        Raises:
            CheckpointError: the state belongs to another architecture.
        """
        if "network" not in state:
            raise CheckpointError("a checkpoint of recipe fixed", "one of another recipe", "resume with its recipe")
        state = clone_tree(state)
        self._load_tensors(state)
        self.restore_point = state["restore_point"]
        self._phase, self._fresh, self.rollbacks.count = state["phase"], state["fresh"], state["rollbacks"]
        self.weight_step.load_state_dict(state["step"])
        self.rate.load_state_dict(state["rate"])

    def summary(self) -> dict[str, Any]:
        """Parameters, and the genotype where the network has one."""
        genotype = getattr(self._network, "genotype", None)
        return {
            **({"genotype": genotype.to_json()} if isinstance(genotype, Genotype) else {}),
            "parameters": sum(p.numel() for p in self._network.parameters()),
        }


def parse_cell(text: str, space: Space) -> Genotype:
    """The genotype of `RunConfig.fixed_cell`; the space's baseline where it is empty.

    Raises:
        ConfigError: another notation, or a cell of another space.
    """
    try:
        genotype = parse_genotype(text) if text else BASELINES[space]
    except ConfigError as error:
        raise ConfigError(f"--fixed-cell as {error.expected}", error.came, error.todo) from error
    if genotype.space != space:
        raise ConfigError(f"--fixed-cell of space {space.name}", genotype.space.name, "set --space accordingly")
    return genotype
