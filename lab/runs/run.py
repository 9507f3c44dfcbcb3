"""A whole run: store, checkpoints, loop, the one reading of the test split."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from lab.agent import AgentStrategy
from lab.asose import ASOSEStrategy
from lab.base import CheckpointError, StoreError, TrainingError, require
from lab.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from lab.runs.build import Parts, build
from lab.runs.config import RunConfig
from lab.runs.environment import check_environment, read_environment
from lab.runs.exporter import Exporter, check_exporters, exported
from lab.runs.images import describe_samples
from lab.runs.interrupt import end_undisturbed, interruptible
from lab.runs.network import describe_input
from lab.runs.planner import Planned
from lab.runs.report import RunReport
from lab.runs.resume import CHECKPOINTS, find_checkpoint, finished_report
from lab.state import state_digest
from lab.store import AlertEvent, CheckpointEvent, RunWriter, new_run_name
from lab.train import (
    EpochReport,
    Group,
    NullSink,
    Observer,
    RunData,
    SingleProcess,
    Sink,
    Stopped,
    StoreSink,
    StreamData,
    TrainingLoop,
    evaluate,
)
from lab.train.anomaly import anomaly_detection
from lab.train.group import lost_rank
from lab.train.sink import SharedSink


class Run:
    """One attempt at a run: a new one, or an old one taken up again.

    Args:
        config: what the run is.
        save_dir: folder of runs.
        name: the run's folder inside it; default: date and time.
        resume: the checkpoint to go on from; the run is then the one that the checkpoint lies in. A run that has
            finished is left as it is.
        extend: train so many epochs more than the finished run behind `resume` has.
        allow_different_bits: resume on another machine, torch build or thread count.
        planned: why the settings are as they are, for the store, and the prior that was found; of a new run.
        observer: shown every step.
        group: the processes that train together, see `open_group`; rank 0 alone reads and writes files.
        on_epoch: called with the report of each epoch when it has ended.
        exporters: other tools that are told what the run's store is told, on rank 0.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        save_dir: str | Path,
        name: str = "",
        resume: Path | None = None,
        extend: int | None = None,
        allow_different_bits: bool = False,
        planned: Planned | None = None,
        observer: Observer | None = None,
        group: Group | None = None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
        exporters: Sequence[Exporter] = (),
    ) -> None:
        check_exporters(exporters)
        self.exporters = tuple(exporters)
        self.observer = observer
        self.on_epoch = on_epoch
        self.group: Group = group or SingleProcess()
        self.checkpoint: Checkpoint | None = None
        self.finished: RunReport | None = None
        self.extend = extend
        if resume is None:
            require(
                extend is None,
                expected="extend together with resume",
                got=f"extend {extend} of a new run",
                hint="give --resume with the finished run",
            )
            # Rank 0 names it: the clocks of two machines may give two names.
            name = self.group.broadcast(name or new_run_name(save_dir))
            require(
                Path(name).name == name,
                expected="a run name without folders",
                got=repr(name),
                hint="give the folder with --save-dir",
            )
            self.run_dir = Path(save_dir) / name
        else:
            self.run_dir = resume.parent.parent
            if self.group.rank == 0:
                self.checkpoint = load_checkpoint(resume)
                self.finished = finished_report(self.run_dir, self.checkpoint)
            # One broadcast for both: the other ranks read no file.
            self.checkpoint, self.finished = self.group.broadcast((self.checkpoint, self.finished))
            if extend is not None:
                config = self._extended(config, extend)
        self.parts: Parts = build(config, self.group)
        self.config = self.parts.config
        if planned is not None and resume is None:
            self.parts.strategy.records.append(planned.plan.event())
            if planned.prior is not None and isinstance(self.parts.strategy, ASOSEStrategy):
                self.parts.strategy.architecture.adopt(planned.prior)
        if self.checkpoint is not None:
            recorded = self.checkpoint.environment
            if "threads" in recorded and not config.threads:
                # As many as then: another number changes the last bits.
                torch.set_num_threads(recorded["threads"])
            present = read_environment(self.parts.device)
            check_environment(recorded, present, allow_different_bits=allow_different_bits)
        elif isinstance(self.parts.strategy, AgentStrategy) and self.config.evolve.agent_from:
            source = find_checkpoint(self.config.evolve.agent_from, save_dir)
            self.parts.strategy.adopt(load_checkpoint(source).state["strategy"])

    def execute(self) -> RunReport:
        """Train to the end, or until a person stops it.

        Raises:
            LabError: the run cannot begin or cannot go on; the store says why.
        """
        if self.finished is not None:
            if self.observer is not None:
                self.observer.on_text(f"{self.run_dir} has finished; --extend EPOCHS goes on")
            return self.finished
        began = time.monotonic()
        with (
            self._open_store() as writer,
            self._open_sink(writer) as sink,
            anomaly_detection(self.config.detect_anomaly),
        ):
            loop = self._make_loop(writer, sink)
            if self.observer is not None:
                self.observer.on_text(f"{self.parts.intention(loop.epoch, loop.epochs)}; folder {self.run_dir}")
            try:
                with interruptible(loop), self._can_go_on():
                    if self.group.size > 1 and self.checkpoint is None:
                        self._save(loop, writer, "begin")
                    loop.run()
            except Stopped:
                report = self._report(loop, "stopped", time.monotonic() - began)
                if writer is not None:
                    self._flush(writer)
                    report.write()
                    writer.finish("finished", f"stopped at epoch {loop.epoch}; resume with --resume {self.run_dir}")
                return report
            with self._can_go_on():
                self._save(loop, writer, "last")
            report = self._report(loop, "finished", time.monotonic() - began)
            if writer is None:
                return report
            assert report.test_accuracy is not None
            assert report.test_loss is not None
            last = {"test/accuracy": report.test_accuracy, "test/loss": report.test_loss}
            last |= {f"test/loss/{name}": loss for name, loss in report.test_losses.items()}
            sink.scalars(loop.global_step, last)
            # The report says that the run has finished, and that it is never taken up again: it comes last.
            self._flush(writer)
            with self._can_go_on():
                report.write()
            return report

    def _extended(self, config: RunConfig, epochs: int) -> RunConfig:
        """The settings of the run behind the checkpoint, with more epochs.

        Raises:
            ConfigError: it has not finished, or the checkpoint is not its end.
        """
        assert self.checkpoint is not None
        at_end = self.finished is not None and self.checkpoint.step == self.finished.steps
        require(
            at_end and self.checkpoint.reason == "last",
            expected="the end of a finished run with --extend",
            got=f"its checkpoint {self.checkpoint.reason} at epoch {self.checkpoint.epoch}"
            if self.finished
            else f"{self.run_dir}, which has not finished",
            hint="give the run's folder" if self.finished else f"resume it first: --resume {self.run_dir}",
        )
        self.finished = None
        return config.extended(self.checkpoint.epoch, epochs)

    @contextlib.contextmanager
    def _open_store(self) -> Iterator[RunWriter | None]:
        """The run's store on rank 0; None on the others."""
        if self.group.rank > 0:
            yield None
            return
        config = {
            **self.config.to_json(),
            "dataset_title": self.parts.data.title,
            "synthetic": self.parts.data.synthetic,
            "environment": read_environment(self.parts.device),
        }
        if self.checkpoint is None and list_checkpoints(self.run_dir / CHECKPOINTS):
            hint = f"choose another --name, or lab runs restore {self.run_dir}"
            raise StoreError(f"no run in {self.run_dir} yet", "checkpoints of one", hint)
        step = None if self.checkpoint is None else self.checkpoint.step
        resume = self.checkpoint is not None
        with RunWriter(self.run_dir.parent, self.run_dir.name, config, resume=resume, step=step) as writer:
            yield writer

    @contextlib.contextmanager
    def _can_go_on(self) -> Iterator[None]:
        """Says in our words that another rank is gone, and of a file that cannot be written that the run has failed."""
        try:
            yield
        except (CheckpointError, StoreError) as error:
            hint = f"{error.hint}, then resume with --resume {self.run_dir}"
            raise TrainingError(error.expected, error.got, hint) from error
        except RuntimeError as error:
            if self.group.size == 1 or not lost_rank(error):
                raise
            end_undisturbed()
            raise TrainingError(
                f"all {self.group.size} ranks until the end",
                f"a rank that is gone ({str(error).splitlines()[0]:.200})",
                f"look at that rank's own error, then resume with --resume {self.run_dir}",
            ) from error

    @contextlib.contextmanager
    def _open_sink(self, writer: RunWriter | None) -> Iterator[Sink]:
        """Where the run is told: on rank 0 its store and the exporters, elsewhere nowhere."""
        if writer is None:
            yield NullSink()
            return
        step = None if self.checkpoint is None else self.checkpoint.step
        sink = StoreSink(writer, self.run_dir)
        with exported(sink, self.exporters, self.run_dir, self.config.to_json(), step) as told:
            yield told

    def _make_loop(self, writer: RunWriter | None, sink: Sink) -> TrainingLoop:
        loop = TrainingLoop(
            self.parts.strategy,
            self.parts.data,
            self.parts.monitor,
            sink if self.group.size == 1 else SharedSink(sink, self.group),
            epochs=self.config.total_epochs,
            save=lambda reason: self._save(loop, writer, reason),
            save_every=self.config.checkpoints.checkpoint_frequency,
            device=self.parts.device,
            observer=self.observer,
            group=self.group,
            on_epoch=self.on_epoch,
            images=describe_samples(self.parts.data),
        )
        if self.checkpoint is not None:
            saved = self.checkpoint
            loop.load_state_dict(saved.state, saved.training_history, saved.plans)
            loop.ended = loop.ended or saved.reason == "last"
            if loop.ended and self.extend is None:
                # Killed between its end and its report: there is nothing left to train.
                loop.epochs = loop.epoch
            elif self.extend is not None:
                text = f"{self.extend} epochs more, to {loop.epochs}; the test split is read once more at their end"
                sink.record(loop.global_step, AlertEvent(level="info", title="Extended", text=text))
        return loop

    def _save(self, loop: TrainingLoop, writer: RunWriter | None, reason: str) -> None:
        if not self.config.checkpoints.save_checkpoints or writer is None:
            return
        # A resumed run never tells again what came before its checkpoint.
        self._flush(writer)
        strategy = self.parts.strategy.state()
        checkpoint = Checkpoint(
            base={"config": self.config.to_json(), **_stated_input(self.parts.data), **strategy.summary},
            plans=strategy.plans,
            state=loop.state_dict(),
            epoch=loop.epoch,
            step=loop.global_step,
            reason=reason,
            training_history=tuple(loop.history),
            environment=read_environment(self.parts.device),
            parent="" if self.checkpoint is None else self.checkpoint.parent,
        )
        file = save_checkpoint(self.run_dir / CHECKPOINTS, checkpoint)
        prune_checkpoints(self.run_dir / CHECKPOINTS, self.config.checkpoints.max_checkpoints)
        path = str(file.path.relative_to(self.run_dir))
        event = CheckpointEvent(path=path, reason=reason, epoch=loop.epoch, bytes=file.bytes)
        writer.record(loop.global_step, event)

    def _flush(self, writer: RunWriter) -> None:
        """Write all rows to the disk.

        Raises:
            TrainingError: that cannot be done.
        """
        if not writer.flush():
            raise TrainingError(
                f"the run's rows in {self.run_dir} before a checkpoint",
                writer.last_error,
                f"free space or give rights there and resume {self.run_dir}; where its database is gone, "
                f"lab runs restore {self.run_dir} makes a new run from its checkpoints",
            )

    def _report(self, loop: TrainingLoop, state: str, seconds: float) -> RunReport:
        strategy = self.parts.strategy.state()
        network = self.parts.strategy.network if strategy.averaged is None else strategy.averaged
        facts: dict[str, Any] = {}
        if network is not None:
            decision = evaluate(network, self.parts.data.selection(), self.parts.criterion)
            facts = {"decision_loss": decision.loss, "decision_accuracy": decision.accuracy}
            if state == "finished":
                test = evaluate(network, self.parts.data.test(), self.parts.criterion)
                facts |= {"test_loss": test.loss, "test_accuracy": test.accuracy, "test_losses": dict(test.parts)}
        return RunReport(
            name=self.run_dir.name,
            run_dir=str(self.run_dir),
            recipe=self.config.recipe,
            dataset=self.parts.data.title,
            state=state,
            epochs=loop.epoch,
            steps=loop.global_step,
            seconds=seconds,
            seed=self.config.seed,
            network=strategy.summary,
            history=list(loop.history),
            digest=state_digest(_plain(strategy.tensors)),
            **facts,
        )


def _stated_input(data: RunData) -> dict[str, Any]:
    """What the network takes, where it takes images."""
    return {"input": describe_input(data.streams)} if isinstance(data, StreamData) else {}


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """The part of a strategy's state that says what it learnt; a restore point is not part of it."""
    return {name: value for name, value in state.items() if name != "restore_point"}
