"""The one training loop: epochs, steps, the monitor's advice, people's commands, checkpoints.

A strategy says what a step is; the loop does everything else, the same for all of them. Its state is what a
checkpoint holds; no decision reads the clock.
"""

import time
from collections.abc import Callable
from typing import Any

import torch

from lab.base import LabError
from lab.monitor import StabilityMonitor, Verdict
from lab.state import rng_state, set_rng_state
from lab.store import Command, ImagesEvent, translate_loop_state
from lab.train.commands import Mutate, Outcome, Request, RequestContext, advised, requested, serve
from lab.train.group import Group, SingleProcess
from lab.train.journal import Journal
from lab.train.sink import Observer, SilentObserver, Sink
from lab.train.strategy import EpochData, EpochReport, Evaluation, Split, Strategy, StrategyState

PAUSE_SECONDS = 0.05


class Stopped(Exception):
    """A person asked the run to end; its state is whole."""


class TrainingLoop:
    """Drives `strategy` through epochs of `data`.

    Args:
        strategy: what a step is.
        data: where batches come from.
        monitor: observed every step; its advice is acted on.
        sink: told everything; asked for commands every step.
        epochs: epochs of the run.
        save: `save(reason)` writes a checkpoint; default: none is written.
        save_every: epochs between regular checkpoints.
        device: where the run computes; its allocator is read where it is CUDA.
        observer: shown every step.
        group: the processes that train together; they are interrupted together.
        on_epoch: called with the report of each epoch, before its checkpoint is written.
        images: the fixed samples whose predictions are told; None tells neither them nor predictions.
    """

    def __init__(
        self,
        strategy: Strategy,
        data: EpochData,
        monitor: StabilityMonitor,
        sink: Sink,
        *,
        epochs: int,
        save: Callable[[str], None] = lambda reason: None,
        save_every: int = 1,
        device: torch.device | None = None,
        observer: Observer | None = None,
        group: Group | None = None,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
        images: ImagesEvent | None = None,
    ) -> None:
        self.on_epoch = on_epoch
        self.group: Group = group or SingleProcess()
        self.strategy = strategy
        self.data = data
        self.monitor = monitor
        self.sink = sink
        self.epochs = epochs
        self.save = save
        self.save_every = save_every
        self.observer = observer or SilentObserver()
        self.journal = Journal(sink, self.observer, device, images)
        self.epoch = self.batch = self.global_step = 0
        self.history: list[dict[str, Any]] = []
        self.sums = [0.0, 0.0]
        self.quiet_until = 0
        self.best_loss = float("inf")
        self.interrupted = False
        self._split = Split.TRAIN
        self._segment = ""
        self._begun = self.ended = False
        self._verdict: Verdict | None = None

    def interrupt(self) -> None:
        """End the run at the next step; safe to call from a signal handler."""
        self.interrupted = True

    def run(self) -> None:
        """Train to the end.

        Raises:
            Stopped: a person asked for it; a checkpoint holds the state.
            TrainingError: the run cannot go on.
        """
        while self.epoch < self.epochs and (self.ended or self.strategy.phase != "finished"):
            self.ended = False
            self.run_epoch()
        if not self.ended:
            self.strategy.finish(self.epoch, self.data)
            self._publish()
            self.ended = True

    def run_epoch(self) -> EpochReport | None:
        """Train one epoch, or the rest of one that was interrupted; None where the strategy had none left."""
        if not self._begun and not self._begin_epoch():
            return None
        phase = self.strategy.phase
        length = self.data.length(self._split)
        for inputs, targets in self.data.batches(self._split, self.epoch, self.batch):
            self._serve()
            if self._step(inputs, targets, length):
                break
        return self._end_epoch(phase)

    def _begin_epoch(self) -> bool:
        """Let the strategy prepare the epoch; whether there is one."""
        self.journal.tell_images(self.global_step)
        plan = self.strategy.begin_epoch(self.epoch, self.global_step, self.data)
        self.sums = [0.0, 0.0]
        if plan is not None:
            self._split = plan.split
            if self._segment != plan.segment:
                self._segment = plan.segment
                self.monitor.begin(self.strategy.phase)
        self._publish()
        self._begun = plan is not None
        return self._begun

    def _step(self, inputs: Any, targets: Any, length: int) -> bool:
        due = self.global_step >= self.journal.layers_due
        probe = self.journal.layer_probe(self.global_step, self.strategy, self._split) if due else None
        report = self.strategy.step(inputs, targets)
        if probe is not None:
            self.journal.tell(self.global_step, probe.read())
        verdict = self._verdict = self.monitor.observe(
            step=self.global_step, loss=report.loss, accuracy=report.accuracy, grad_norm=report.grad_norm
        )
        self.sink.scalars(self.global_step, {**report.scalars(), "health": verdict.health})
        self.sums = [self.sums[0] + report.loss, self.sums[1] + report.accuracy]
        self.batch, self.global_step = self.batch + 1, self.global_step + 1
        self.observer.on_step(self.epoch, self.epochs, self.strategy.phase, self.batch, length, report.loss)
        return (verdict.advice != "none" and self._act(verdict)) or report.ends_epoch

    def _act(self, verdict: Verdict) -> bool:
        """Do what the monitor advises; whether the network was rolled back."""
        if verdict.advice == "rollback":
            return self._roll_back(verdict)
        if self.global_step < self.quiet_until:
            return False
        self.quiet_until = self.global_step + self.data.length(self._split)  # an epoch to take effect
        offers = self.strategy.offers
        for request in advised(verdict, offers):
            outcome = serve(offers, request, self.moment)
            if outcome is not None:
                self.journal.stability(self._last_step, verdict, offers)
                reason = "; ".join(verdict.reasons) or verdict.state
                self.journal.intervention(self._last_step, request, reason, outcome)
                break
        return False

    def _roll_back(self, verdict: Verdict) -> bool:
        self.journal.stability(self._last_step, verdict, self.strategy.offers)
        (request,) = advised(verdict, self.strategy.offers)
        outcome = serve(self.strategy.offers, request, self.moment) or Outcome()
        self.journal.intervention(self._last_step, request, outcome.text, outcome)
        self._segment = f"after the rollback at step {self.global_step}"  # of no plan: the monitor begins anew
        self.monitor.begin(self.strategy.phase)
        self._publish(self._last_step)
        return True

    @property
    def moment(self) -> RequestContext:
        """Where the run is, for a request."""
        return RequestContext(epoch=self.epoch, step=self.global_step, data=self.data)

    def _end_epoch(self, phase: str) -> EpochReport:
        evaluation = self.strategy.end_epoch(self.epoch, self.data)
        report = EpochReport.of(self.epoch, phase, self.batch, self.sums, evaluation)
        self.history.append(report.to_dict())
        self._publish(self._last_step)
        self.journal.epoch(self._last_step, report, evaluation, self.strategy.state().roots)
        if self._verdict is not None:
            self.journal.stability(self._last_step, self._verdict, self.strategy.offers)
        self.on_epoch(report)
        self.epoch, self.batch, self._begun = self.epoch + 1, 0, False
        self._save_where_due(evaluation)
        return report

    def _save_where_due(self, evaluation: Evaluation | None) -> None:
        # The best one first: the checkpoints behind it know its loss.
        if evaluation is not None and evaluation.loss < self.best_loss:
            self.best_loss = evaluation.loss
            self.save("best")
        if self.strategy.phase == "mutation":
            self.save("pre_mutation")
        elif self.epoch % self.save_every == 0:
            self.save("epoch")

    @property
    def _last_step(self) -> int:
        """The step done last. What a step or an epoch brought about is told there: a run that is resumed from the
        checkpoint behind it tells anew what came from the next step on."""
        return max(self.global_step - 1, 0)

    def _publish(self, step: int | None = None) -> None:
        self.journal.records(self.global_step if step is None else step, self.strategy.records, self.strategy.offers)
        self.strategy.records.clear()  # in place: the steps of the strategy append to this list

    def _serve(self) -> None:
        """Carry out what people asked since the last step; a pause is waited out here."""
        paused = False
        while True:
            for command in self.sink.commands():
                paused = self._obey(command, paused)
            if self.group.size > 1:
                self.interrupted = self.group.any(self.interrupted)
            if self.interrupted:
                self.save("interrupt")
                raise Stopped("interrupted")
            if not paused:
                return
            time.sleep(PAUSE_SECONDS)

    def _obey(self, command: Command, paused: bool) -> bool:
        """Carry out one command and answer it; whether the run pauses from now on."""
        done, text = True, command.name
        try:
            if command.name == "pause":
                paused, text = True, "paused"
            elif command.name == "resume":
                paused, text = False, "resumed"
            elif command.name == "stop":
                self.interrupted, text = True, "stopping; a checkpoint holds the state"
            elif command.name == "checkpoint":
                self.save("control")
                text = "checkpoint written"
            elif (request := requested(command)) is not None:
                text = self._ask(request)
            else:
                done, text = False, f"not a command: {command.arguments.get('reason', '')}"
        except LabError as error:
            done, text = False, str(error)
        self._publish()
        self.journal.answer(self.global_step, command, done=done, text=text)
        return paused

    def _ask(self, request: Request) -> str:
        """Serve a person's request; what was done.

        Raises:
            TrainingError: the strategy does not offer it now, or cannot do it.
        """
        if isinstance(request, Mutate) and Mutate in self.strategy.offers:
            self.save("pre_mutation")
        outcome = serve(self.strategy.offers, request, self.moment)
        return "nothing changed" if outcome is None else outcome.text

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, as a tree for a checkpoint."""
        return {
            "strategy": self.strategy.state().tensors,
            "monitor": self.monitor.state_dict(),
            "rng": rng_state(),
            "split": str(self._split),
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
            "sums": list(self.sums),
            "events": self.journal.state_dict(self.global_step),
        }

    def load_state_dict(
        self,
        state: dict[str, Any],
        history: tuple[dict[str, Any], ...],
        plans: tuple[dict[str, Any], ...] = (),
    ) -> None:
        """Go on exactly where `state_dict` was taken.

        Args:
            history: the epochs' reports.
            plans: the changes of structure that the strategy had made.

        Raises:
            CheckpointError: the state belongs to another architecture.
            MorphError: the plans do not fit the network.
        """
        state = translate_loop_state(state)
        self.strategy.restore(StrategyState.saved(state["strategy"], plans))
        self.monitor.load_state_dict(state["monitor"])
        set_rng_state(state["rng"])
        self._split = Split(state["split"])
        for name in _NUMBERS:
            setattr(self, name, state["numbers"][name])
        self.sums = list(state["sums"])
        self.history = list(history)
        self.journal.load_state_dict(state["events"], self.global_step)


_NUMBERS = ("epoch", "batch", "global_step", "quiet_until", "best_loss", "_segment", "_begun", "ended")
