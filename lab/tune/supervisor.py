"""The supervisor: on its machine the only client of a study's storage. It asks, reports and tells; children evaluate.

One thread waits on the pipes of all children, so that a death is noticed when it happens: the pipe of a dead child
ends. What becomes of a trial that did not end well is looked up in `retry.POLICY`.
"""

import contextlib
import itertools
import json
import math
import os
import signal
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from lab.base import StudyError
from lab.tune.child import EvaluationTask
from lab.tune.children import Child, ForkServer
from lab.tune.config import StudyConfig, WorkConfig
from lab.tune.engine import check_grid
from lab.tune.interrupt import interruptible
from lab.tune.journal import TRIALS, StudyJournal, TrialFacts, log_file, trial_name
from lab.tune.report import StudyReport
from lab.tune.storage import StorageAddress, open_storage
from lab.tune.study import AskedTrial, StoredStudy

STATUS_SECONDS = 1.0
"""A child whose pipe has ended has this long until its exit status is told."""
STOP_SECONDS = 10.0
"""A child that was asked to end has this long until it is killed."""
POLL_SECONDS = 1.0
"""Between two looks at what other supervisors have done."""
SERVER_RESTARTS = 3


class StudyObserver(Protocol):
    """Follows a study inside the supervisor's process, for a progress bar."""

    def on_trials(self, ended: int, total: int, running: int, best: float | None) -> None:
        """Some trial began or ended."""

    def on_text(self, text: str) -> None:
        """Something that a person should read."""


class SilentStudy:
    """Shows nothing."""

    def on_trials(self, ended: int, total: int, running: int, best: float | None) -> None:
        """Nothing."""

    def on_text(self, text: str) -> None:
        """Nothing."""


def run_study(config: StudyConfig, work: WorkConfig, observer: StudyObserver | None = None) -> StudyReport:
    """Work on a study until every logical trial is decided.

    Args:
        config: the study.
        work: how this machine works on it.
        observer: shown what happens.

    Raises:
        LabError: it cannot begin; nothing was written then.
        KeyboardInterrupt: a person ended it; its trials were given back, and `resume` goes on.
    """
    folder = work.outdir / config.name
    address = StorageAddress.parse(work.storage, folder / "journal.log")
    check_grid(config, work.n_trials)
    address.check()
    # Before anything is written: it says whether a trial of this study can be composed at all.
    server = ForkServer(config.target, config.base, itertools.count(1))
    with contextlib.ExitStack() as stack:
        # The one that there is at the end: it may have been begun anew.
        servers = [server]
        stack.callback(lambda: servers[-1].close())
        place = stack.enter_context(open_storage(address))
        study = StoredStudy(place, config, work)
        journal = stack.enter_context(StudyJournal(config, work))
        journal.begin(str(address), study.ordinal, work)
        supervisor = Supervisor(study, servers, journal, observer or SilentStudy())
        for text in place.repairs:
            supervisor.alert("Repaired", text)
        supervisor.run()
    return StudyReport.read(folder)


class Supervisor:
    """The loop of one supervisor.

    Args:
        study: in an open storage.
        servers: one that has made the load; a further one that takes its place is put behind it.
        journal: told everything.
        observer: shown everything.
    """

    def __init__(
        self, study: StoredStudy, servers: list[ForkServer], journal: StudyJournal, observer: StudyObserver
    ) -> None:
        self.study = study
        self.servers = servers
        self.journal = journal
        self.observer = observer
        self.config, self.work = study.config, study.work
        self.children: dict[int, Child] = {}
        self.asked: dict[int, AskedTrial] = {}
        self._restarts = 0
        self._interrupted = False
        self._exhausted = False
        """Whether nothing was left to reserve when last asked, and nothing has changed since."""
        now = time.monotonic()
        self._beaten = self._polled = now

    def run(self) -> None:
        """Work until the study is complete.

        Raises:
            KeyboardInterrupt: a person ended it; the running trials were given back.
            StudyError: the fork server ends again and again.
        """
        with interruptible(self.interrupt) as wake:
            self._reconcile()
            self.journal.catch_up(self.study.rows())
            try:
                while not self._interrupted:
                    self._fill()
                    if not self.children and self.study.ledger.complete:
                        break
                    self._wait(wake)
                    self._keep_time()
            finally:
                self._give_back()
        if self._interrupted:
            raise KeyboardInterrupt
        # At the end alone: what Optuna imports for it takes seconds, in which a death would go unnoticed.
        self._weigh()

    @property
    def server(self) -> ForkServer:
        """The fork server that lives."""
        return self.servers[-1]

    def interrupt(self) -> None:
        """Give the running trials back and end; safe to call from a signal handler."""
        self._interrupted = True

    def alert(self, title: str, text: str) -> None:
        """Tell a person."""
        self.journal.alert(title, text)
        self.observer.on_text(f"{title.lower()}: {text}")

    def _fill(self) -> None:
        """Begin trials until every child has one, or none is left to reserve."""
        while len(self.children) < self.work.parallel and not self._exhausted and not self._interrupted:
            asked = self.study.ask()
            if asked is None:
                self._exhausted = True
                break
            self._begin(asked)
        self._keep_ready()

    def _keep_ready(self) -> None:
        """Let children wait for the trials to come, so that none of these waits for its fork."""
        ledger = self.study.ledger
        try:
            self.server.keep_ready(min(self.work.parallel, ledger.unreserved + len(ledger.due())))
        except BrokenPipeError:
            self._restart_server()

    def _begin(self, asked: AskedTrial) -> None:
        folder = self.journal.folder
        task = EvaluationTask(
            number=asked.number,
            name=trial_name(asked.number),
            folder=str(folder / TRIALS),
            target=self.config.target,
            base=self.config.base,
            params=asked.params,
            objectives=self.config.objectives,
            log=str(log_file(folder, asked.number)),
        )
        try:
            child = self.server.begin(task)
        except BrokenPipeError:
            self._restart_server()
            child = self.server.begin(task)
        self.children[child.number], self.asked[child.number] = child, asked
        self.journal.trial(self._facts(child, ended=False), "running")
        self._show()

    def _wait(self, wake: int) -> None:
        """Sleep until a child or the server says something, at most `POLL_SECONDS`; then hear it."""
        pipes: dict[Connection, Child] = {c.pipe: c for c in self.children.values() if c.lost is None}
        ready = wait([*pipes, self.server.control, wake], timeout=self._pause())
        if self.server.control in ready:
            self._hear_server()
        if wake in ready:
            os.read(wake, 4096)
        for pipe in ready:
            if isinstance(pipe, Connection) and pipe in pipes:
                self._hear(pipes[pipe])
        self._bury()

    def _pause(self) -> float:
        lost = any(child.lost is not None for child in self.children.values())
        return 0.02 if lost else min(POLL_SECONDS, self.work.heartbeat)

    def _hear_server(self) -> None:
        try:
            self.server.hear()
        except BrokenPipeError:
            self._restart_server()

    def _hear(self, child: Child) -> None:
        """Read what a child has said, all of it: its outcome may stand behind many reports."""
        try:
            while child.number in self.children and child.pipe.poll():
                self._obey(child, decode(child.pipe.recv_bytes()))
        except (EOFError, OSError):
            child.lost = time.monotonic()

    def _obey(self, child: Child, message: Mapping[str, Any]) -> None:
        asked = self.asked[child.number]
        if message["kind"] == "report":
            child.reports[message["step"]] = message["value"]
            if self.study.report(asked, message["step"], message["value"]) and not child.stopping:
                child.stop("pruned")
        elif message["kind"] == "done":
            self._complete(child, message["values"])
        elif message["kind"] == "stopped":
            self._stopped(child)
        else:
            self._fail(child, message["cause"], message["reason"])

    def _complete(self, child: Child, found: Mapping[str, float]) -> None:
        missing = [name for name in self.config.objectives if name not in found]
        if missing:
            self._fail(child, "refused", f"the evaluation gave no {', '.join(missing)}")
            return
        values = {name: float(found[name]) for name in self.config.objectives}
        wrong = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            self._fail(child, "not finite", ", ".join(wrong))
        elif self.study.tell(self.asked[child.number], "COMPLETE", tuple(values.values())):
            self.journal.trial(self._facts(child), "complete", values=values)
            self._close(child)
        else:
            self._refuse_late(child)

    def _stopped(self, child: Child) -> None:
        if child.stopping == "pruned" and self.study.tell(self.asked[child.number], "PRUNED"):
            self.journal.trial(self._facts(child), "pruned", reason=f"after {len(child.reports)} reports")
            self._close(child)
        elif child.stopping == "pruned":
            self._refuse_late(child)
        elif child.stopping:
            self._fail(child, child.stopping, f"not done after {self.work.trial_timeout:g} s")
        else:
            # Somebody else asked its run to stop, on the live page for instance.
            self._fail(child, "refused", "its run was stopped by a person")

    def _fail(self, child: Child, cause: str, reason: str) -> None:
        asked = self.asked[child.number]
        if not self.study.fail(asked, cause, reason):
            self._refuse_late(child)
            return
        retried = self.study.ledger.is_due(asked.root)
        self.journal.trial(self._facts(child), "failed", cause=cause, reason=reason, retried=retried)
        self.observer.on_text(
            f"trial {asked.number} failed: {cause} ({reason}){', to be tried again' if retried else ''}"
        )
        self._close(child)

    def _refuse_late(self, child: Child) -> None:
        self.alert("Late result", f"trial {self.asked[child.number].number} had been given up before it was told")
        self._close(child)

    def _close(self, child: Child) -> None:
        child.close()
        del self.children[child.number], self.asked[child.number]
        self._exhausted = False
        self._show()

    def _bury(self) -> None:
        """End the trials of children that have died, once it is known of what."""
        for child in list(self.children.values()):
            if child.lost is None:
                continue
            if child.status is None and time.monotonic() - child.lost < STATUS_SECONDS:
                continue
            if child.stopping == "time-out":
                self._fail(child, "time-out", f"not done after {self.work.trial_timeout:g} s")
            elif child.status is not None and child.status < 0:
                self._fail(child, "killed", f"the child was ended by signal {signal.Signals(-child.status).name}")
            else:
                status = "an unknown status" if child.status is None else f"status {child.status}"
                self._fail(child, "exited", f"the child ended without a result, with {status}")

    def _keep_time(self) -> None:
        now = time.monotonic()
        for child in self.children.values():
            over = now - child.began - self.work.trial_timeout if self.work.trial_timeout else -1.0
            if over > 0 and not child.stopping:
                child.stop("time-out")
            if over > STOP_SECONDS:
                child.stopping = "time-out"
                child.kill()
        if not self.study.place.address.shared:
            return
        if now - self._beaten >= self.work.heartbeat:
            self._beaten = now
            self.study.beat()
        if now - self._polled >= POLL_SECONDS:
            self._polled = now
            self._reconcile()
            self._exhausted = False

    def _reconcile(self) -> None:
        for row in self.study.reconcile():
            facts = TrialFacts(
                number=row.number,
                root=row.root,
                attempt=int(row.attrs["attempt"]),
                params=row.params,
                supervisor=int(row.attrs["owner"]),
            )
            reason = "its supervisor is gone; it is tried again"
            self.journal.trial(facts, "failed", cause="supervisor died", reason=reason, retried=True)
            self.observer.on_text(f"trial {row.number} was given back: {reason}")
            self._exhausted = False

    def _restart_server(self) -> None:
        """Begin another fork server; the children of the dead one go on, and tell their outcomes themselves."""
        self._restarts += 1
        if self._restarts > SERVER_RESTARTS:
            raise StudyError(
                "a fork server that stays alive", f"its end for the {self._restarts}th time", "free memory"
            )
        self.alert("Fork server", "it has ended; another one makes the load again")
        self.server.close()
        self.servers.append(ForkServer(self.config.target, self.config.base, self.server.numbers))

    def _give_back(self) -> None:
        """End every child, and fail its trial so that a resumed study tries it again."""
        for child in list(self.children.values()):
            child.kill()
            self._fail(child, "interrupted", "the study was interrupted")

    def _weigh(self) -> None:
        found = self.study.importances()
        self.journal.importances(found, sum(row.state == "COMPLETE" for row in self.study.rows()))

    def _show(self) -> None:
        ended = self.study.ledger.decided
        self.observer.on_trials(ended, self.work.n_trials, len(self.children), self.journal.best)

    def _facts(self, child: Child, *, ended: bool = True) -> TrialFacts:
        asked = self.asked[child.number]
        return TrialFacts(
            number=asked.number,
            root=asked.root,
            attempt=asked.attempt,
            params=asked.params,
            supervisor=self.study.ordinal,
            reports=len(child.reports),
            seconds=time.monotonic() - child.began if ended else None,
        )


def decode(message: bytes) -> dict[str, Any]:
    """A message of a child."""
    found: dict[str, Any] = json.loads(message)
    return found
