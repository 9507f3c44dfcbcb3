"""`ASOSEFramework`: the four phases on a user's loaders, one epoch a call; `ASOSETrainer`: a whole run by name.

Both compose the parts that `lab train` composes; there is no second training loop.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.asose import ASOSEConfig, ASOSEStrategy
from lab.base import CheckpointError, Report, ReportTable, TrainingError
from lab.checkpoint import Checkpoint, load_checkpoint, prune_checkpoints, save_checkpoint
from lab.device import DeviceManager
from lab.mahia import PrecisionManager
from lab.monitor import StabilityMonitor
from lab.nn import EvolvableNetwork, SuperNet
from lab.runs.config import RunConfig
from lab.runs.environment import read_environment
from lab.runs.report import RunReport
from lab.runs.resume import find_checkpoint, saved_config
from lab.runs.run import Run
from lab.space import Genotype, find_table
from lab.train import (
    CheckpointConfig,
    Criterion,
    DeviceConfig,
    EpochReport,
    LoaderData,
    Mutate,
    NullSink,
    OptimizerConfig,
    Sink,
    StepOptions,
    TrainingLoop,
    divide_loader,
)

HINT = "use .network, or make a framework with more cycles"


class TrainingReport(Report):
    """What a framework has done so far."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def to_dict(self) -> dict[str, Any]:
        """Phase, cycle, temperature, genotype, parameters, mutations, and one record for each epoch."""
        return dict(self._data)

    def tables(self) -> tuple[ReportTable, ...]:
        """The figures, then the epochs."""
        rows = tuple((name, str(value)) for name, value in self._data.items() if name != "history")
        epochs = tuple(
            (str(row["epoch"]), row["phase"], f"{row['loss']:.4f}", f"{row['accuracy']:.2%}")
            for row in self._data["history"]
        )
        return (
            ReportTable(title="ASO-SE", columns=("what", "value"), rows=rows),
            ReportTable(title="epochs", columns=("epoch", "phase", "loss", "accuracy"), rows=epochs),
        )


class ASOSEFramework:
    """Drives warmup, arch_training, mutation and weight_retraining, one epoch for each `train_cycle`.

    Args:
        search_model: moved to the device that `devices` asks for.
        config: phases, exploration, mutation.
        optimizer: optimizer of the weights.
        checkpoints: when checkpoints are written.
        devices: where it computes.
        seed: of every draw.
        checkpoint_dir: where regular, pre-mutation and best checkpoints go as `checkpoints` says; None writes none.
        precision: float32, bf16 or fp16.
        grad_accum_steps: parts of a batch, >= 1.
        adaptive_batch: repeat a step that runs out of memory in smaller parts.
        sink: told everything, asked for commands; default: nobody.

    Raises:
        LabError: a device or setting that cannot be had.
    """

    def __init__(
        self,
        search_model: SuperNet,
        config: ASOSEConfig,
        *,
        optimizer: OptimizerConfig | None = None,
        checkpoints: CheckpointConfig | None = None,
        devices: DeviceConfig | None = None,
        seed: int = 0,
        checkpoint_dir: str | Path | None = None,
        precision: str = "float32",
        grad_accum_steps: int = 1,
        adaptive_batch: bool = True,
        sink: Sink | None = None,
    ) -> None:
        self.config = config
        self.seed = seed
        self.checkpoints = checkpoints or CheckpointConfig()
        where = devices or DeviceConfig()
        self.devices = DeviceManager(where.device, where.memory_fraction)
        self.device = self.devices.device
        self.search_model = self.devices.register_model("search_model", search_model)
        self.checkpoint_dir = None if checkpoint_dir is None else Path(checkpoint_dir)
        self.strategy = ASOSEStrategy(
            self.search_model,
            config,
            optimizer,
            seed=seed,
            epochs=config.planned_epochs,
            table=find_table(search_model.space),
            options=StepOptions(
                precision=PrecisionManager(precision, self.device),
                grad_accum_steps=grad_accum_steps,
                adaptive=adaptive_batch,
            ),
        )
        self.loop = TrainingLoop(
            self.strategy,
            LoaderData((), (), (), self.devices),  # until the first call brings loaders
            StabilityMonitor(),
            sink or NullSink(),
            epochs=config.planned_epochs,
            save=self._save,
            save_every=self.checkpoints.checkpoint_frequency,
            device=self.device,
        )

    def train_cycle(
        self,
        train_loader: Any,
        valid_loader: Any,
        criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
        epoch: int | None = None,
        decision_loader: Any = None,
    ) -> EpochReport:
        """Train one epoch of the phase that is due; a mutation that is due comes before it.

        Args:
            train_loader: (images, labels) batches that train weights.
            valid_loader: batches that train architecture parameters; without `decision_loader` a fixed half of its
                samples decides about mutations instead, and never trains anything.
            criterion: mean loss of logits and labels; default: cross-entropy.
            epoch: its number, which must be the next one; None for the next one.
            decision_loader: batches that decide about mutations.

        Raises:
            TrainingError: another epoch is due, or the plan has ended.
            DataError: batches of another form.
        """
        if epoch is not None and epoch != self.loop.epoch:
            raise TrainingError(f"epoch {self.loop.epoch}, which is due", f"{epoch}", "call the epochs in order")
        if self.strategy.phase == "finished":
            raise TrainingError("an epoch left to train", "training plan already finished", HINT)
        if decision_loader is None:
            valid_loader, decision_loader = divide_loader(valid_loader)
        self.strategy.set_criterion(Criterion(criterion))
        # The loaders of this call alone: the next one may bring others.
        self.loop.data = LoaderData(train_loader, valid_loader, decision_loader, self.devices)
        report = self.loop.run_epoch()
        if report is None:
            raise TrainingError("an epoch left to train", "training plan already finished", HINT)
        # After the last epoch nobody calls again; the network is left as it is evaluated.
        if self.strategy.phase == "finished":
            self.strategy.finish(self.loop.epoch, self.loop.data)
        return report

    @property
    def genotype(self) -> Genotype:
        """The live cell; before the first mutation phase the most probable one."""
        child = self.network
        return self._gumbel_sample_architecture(hard=False) if child is None else child.genotype

    @property
    def network(self) -> EvolvableNetwork | None:
        """The live network; None before the first mutation phase. Its average is `strategy.state().averaged`."""
        return self.strategy.live.child

    def _gumbel_sample_architecture(self, hard: bool = True) -> Genotype:
        """A cell drawn from softmax(alpha / tau) on each edge; the most probable one with `hard` False."""
        if not hard:
            return self.strategy.explorer.argmax_genotype
        with torch.no_grad():
            return self.strategy.explorer.sample().genotype(self.strategy.explorer.space)

    def _mutation_phase(self, train_loader: Any, decision_loader: Any) -> None:
        """Take or change the live network now, whatever phase is due; the change is decided as any other.

        Raises:
            TrainingError: no candidate cell is left.
        """
        self.loop.data = LoaderData(train_loader, train_loader, decision_loader, self.devices)
        if self.strategy.live.child is None:
            self.strategy.controller.extract_child(self.loop.epoch, self.loop.data)
        else:
            self.strategy.mutate(Mutate(), self.loop.moment)

    def should_early_stop(self) -> bool:
        """Whether the plan has ended, early or not."""
        return self.strategy.phase == "finished"

    def get_training_report(self) -> TrainingReport:
        """What was done so far."""
        explorer = self.strategy.explorer
        return TrainingReport(
            {
                "phase": self.strategy.phase,
                "cycle": self.strategy.cycle,
                "epochs": self.loop.epoch,
                "temperature": explorer.temperature,
                "cell": str(self.genotype),
                **self.strategy.summary(),
                "device": str(self.device),
                "history": list(self.loop.history),
            }
        )

    def save_checkpoint(self, path: str | Path) -> Path:
        """Write everything that the next epoch depends on, as `PATH.pt` and a readable `PATH.json`; the `.pt` file.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        path = Path(path)
        return save_checkpoint(path.parent, self._checkpoint("control"), name=path.stem).path

    def load_checkpoint(self, path: str | Path) -> None:
        """Go on exactly where `save_checkpoint` was called: weights, live network, optimizers, temperature, streams.

        Raises:
            CheckpointError: a damaged file, or one of another architecture.
        """
        checkpoint = load_checkpoint(path)
        if checkpoint.base.get("framework") is None:
            raise CheckpointError("a checkpoint of ASOSEFramework", str(path), "use lab train --resume for a run's")
        self.loop.load_state_dict(checkpoint.state, checkpoint.training_history, checkpoint.plans)

    def _checkpoint(self, reason: str) -> Checkpoint:
        strategy = self.strategy.state()
        return Checkpoint(
            base={"framework": True, "seed": self.seed, **strategy.summary},
            plans=strategy.plans,
            state=self.loop.state_dict(),
            epoch=self.loop.epoch,
            step=self.loop.global_step,
            reason=reason,
            training_history=tuple(self.loop.history),
            environment=read_environment(self.device),
        )

    def _save(self, reason: str) -> None:
        if self.checkpoint_dir is not None and self.checkpoints.save_checkpoints:
            save_checkpoint(self.checkpoint_dir, self._checkpoint(reason))
            prune_checkpoints(self.checkpoint_dir, self.checkpoints.max_checkpoints)


class ASOSETrainer:
    """Whole runs: data set by name, store, checkpoints, the one reading of the test split.

    Args:
        config: phases, exploration, mutation.
        save_dir: folder of runs.
    """

    def __init__(self, config: ASOSEConfig, save_dir: str | Path) -> None:
        self.config = config
        self.save_dir = Path(save_dir)

    def train(self, dataset: str, epochs: int | None = None, *, resume: str = "", **overrides: Any) -> RunReport:
        """Train on `dataset`; the end of the run.

        Args:
            dataset: a name that `lab train --describe` lists, a `.npz` file or a folder of images.
            epochs: end after so many; None for the whole plan.
            resume: latest, best, a run's folder or a checkpoint: go on from it, with its settings.
            overrides: fields of `RunConfig` and of its records (batch_size, seed, precision, train_limit, weight_lr,
                device ...).

        Raises:
            ConfigError: an unknown field.
            LabError: the run cannot begin or go on.
        """
        if resume:
            path = find_checkpoint(resume, self.save_dir)
            return Run(saved_config(path), save_dir=self.save_dir, resume=path).execute()
        config = RunConfig.from_fields(name=dataset, search=self.config, epochs=epochs, **overrides)
        return Run(config, save_dir=self.save_dir).execute()
