"""A study in Optuna's storage, as its supervisor uses it: ask, report, tell, and who is at work.

The one place that touches Optuna's study. A trial is created RUNNING together with its owner in one write, so that it
is reserved and owned, or not there: between two writes a process can die.
"""

import contextlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from lab.base import StudyError
from lab.store import ProcessIdentity
from lab.tune.config import StudyConfig, WorkConfig, check_fingerprint
from lab.tune.engine import grid, importances, make_pruner, make_sampler, suggest
from lab.tune.ledger import FIXED_PARAMS, Ledger, NextAttempt, TrialRow
from lab.tune.storage import OpenStorage

FINGERPRINT, SETTINGS, SUPERVISOR = "lab:fingerprint", "lab:settings", "lab:supervisor:"


@dataclass(frozen=True, kw_only=True)
class AskedTrial:
    """A trial that this supervisor has asked for."""

    trial: Trial
    number: int
    root: int
    attempt: int
    params: dict[str, Any]


@dataclass(kw_only=True)
class _Heart:
    """The last beat that was seen of another supervisor, by this machine's own clock."""

    beat: int = -1
    seen: float = field(default_factory=time.monotonic)


class StoredStudy:
    """The study `config` in an open storage, begun or taken up.

    Args:
        place: the storage; this process may write it.
        config: the study.
        work: how this machine works on it.

    Raises:
        StudyError: a study of that name is there already (without `resume`), is of another kind, or is not there.
    """

    def __init__(self, place: OpenStorage, config: StudyConfig, work: WorkConfig) -> None:
        self.place = place
        self.config = config
        self.work = work
        self.identity = ProcessIdentity.current()
        with place.alone():
            self.study = self._open()
            self.ordinal = sum(key.startswith(SUPERVISOR) for key in self.study.user_attrs)
            self._beats = 0
            self.beat()
        self.study.sampler = make_sampler(config, self.ordinal)
        self._grid = grid(config)
        self._hearts: dict[int, _Heart] = {}
        self._storage = place.storage
        self._id = self._storage.get_study_id_from_name(config.name)
        self.ledger = self._read()
        """The logical trials, as this process last read or wrote them; of a storage that is its own, as they are."""

    def _open(self) -> optuna.Study:
        name = self.config.name
        names = set(optuna.get_all_study_names(storage=self.place.storage))
        where = str(self.place.address)
        if name not in names and self.work.resume:
            found = f"studies there: {', '.join(sorted(names))}" if names else "none"
            raise StudyError(f"study {name} in {where}", found, "leave --resume out to begin it")
        if name in names and not self.work.resume:
            raise StudyError(f"no study {name} yet in {where}", "one", "give --resume to go on, or another --study")
        pruner = make_pruner(self.config)
        if name in names:
            study = optuna.load_study(study_name=name, storage=self.place.storage, pruner=pruner)
            stored = study.user_attrs.get(FINGERPRINT)
            if stored is None:
                raise StudyError(f"a study of lab tune named {name}", "one of another program", "give another --study")
            check_fingerprint(stored, self.config.fingerprint(), name)
            return study
        study = optuna.create_study(
            study_name=name,
            storage=self.place.storage,
            directions=[StudyDirection[each.upper()] for each in self.config.directions],
            pruner=pruner,
        )
        study.set_user_attr(SETTINGS, json.dumps(self.config.to_json()))
        study.set_user_attr(FINGERPRINT, self.config.fingerprint())
        return study

    def rows(self) -> list[TrialRow]:
        """Every trial of the study."""
        return [_row_of(trial) for trial in self.study.get_trials(deepcopy=False)]

    def _read(self) -> Ledger:
        return Ledger.of(self.rows(), self.work.n_trials, self.config.retries)

    def _refresh(self) -> Ledger:
        """The ledger with what other supervisors have done; a storage of our own is not read again."""
        if self.place.address.shared:
            self.ledger = self._read()
        return self.ledger

    def ask(self) -> AskedTrial | None:
        """Reserve the next attempt and give it its parameters; None where nothing is left to reserve now."""
        with self.place.alone():
            ledger = self._refresh()
            due = ledger.due()
            if not due and not ledger.unreserved:
                return None
            attempt = due[0] if due else self._first(len(ledger.chains))
            attrs: dict[str, Any] = {"owner": self.ordinal, "attempt": attempt.number}
            if attempt.root is not None:
                attrs["root"] = attempt.root
            system = {FIXED_PARAMS: dict(attempt.params)} if attempt.params else {}
            template = create_trial(state=TrialState.RUNNING, user_attrs=attrs, system_attrs=system)
            trial_id = self._storage.create_new_trial(self._id, template_trial=template)
            number = self._storage.get_trial_number_from_id(trial_id)
            self.ledger.put(TrialRow(number=number, state="RUNNING", attrs=attrs, fixed=dict(attempt.params)))
        # As `Study.ask` does: the sampler must see the trials that were begun since it last looked.
        self.study._thread_local.cached_all_trials = None
        trial = Trial(self.study, trial_id)
        params = suggest(trial, self.config.dimensions)
        self.ledger.put(TrialRow(number=number, state="RUNNING", attrs=attrs, params=params))
        root = number if attempt.root is None else attempt.root
        return AskedTrial(trial=trial, number=number, root=root, attempt=attempt.number, params=params)

    def _first(self, place: int) -> NextAttempt:
        return NextAttempt(root=None, number=0, params=self._grid[place] if self._grid else {})

    def report(self, asked: AskedTrial, step: int, value: float) -> bool:
        """Keep the value after a step; whether the trial should be pruned. False where another has ended it."""
        if not self.config.prunes or not math.isfinite(value):
            return False
        try:
            asked.trial.report(value, step)
            return asked.trial.should_prune()
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def tell(self, asked: AskedTrial, state: str, values: Sequence[float] = ()) -> bool:
        """End a trial as COMPLETE or PRUNED; whether the result was taken: False where it was given up before."""
        wanted = TrialState[state]
        try:
            told = self.study.tell(asked.trial, list(values) or None, state=wanted, skip_if_finished=True)
        except optuna.exceptions.UpdateFinishedTrialError:
            # Another supervisor has ended it since `tell` looked.
            return False
        self.ledger.put(_row_of(told))
        return told.state == wanted and told.user_attrs.get("cause") is None

    def fail(self, asked: AskedTrial, cause: str, reason: str) -> bool:
        """End a trial as failed; whether that was taken."""
        return self._fail(asked.trial._trial_id, cause, reason)

    def _fail(self, trial_id: int, cause: str, reason: str) -> bool:
        try:
            # The cause first: a trial that has failed without one would never be tried again.
            self._storage.set_trial_user_attr(trial_id, "cause", cause)
            self._storage.set_trial_user_attr(trial_id, "reason", reason)
            taken = self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            taken = False
        self.ledger.put(_row_of(self._storage.get_trial(trial_id)))
        return taken

    def reconcile(self) -> list[TrialRow]:
        """Give back the running trials whose supervisor is dead; those that were."""
        with self.place.alone():
            found = []
            for row in self._refresh().running():
                if row.owner == self.ordinal or not (why := self._why_dead(row.owner)):
                    continue
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, row.number)
                if self._fail(trial_id, "supervisor died", why):
                    found.append(row)
        return found

    def _why_dead(self, owner: int | None) -> str:
        """Why the supervisor `owner` cannot be at work any more; empty where it may be."""
        attrs = self.study.user_attrs.get(f"{SUPERVISOR}{owner}")
        if attrs is None:
            return f"supervisor {owner} is unknown"
        identity = ProcessIdentity(**{key: attrs[key] for key in ("pid", "created", "host")})
        if not self.place.address.shared:
            # The storage is ours alone, and was its own alone before.
            return f"{identity} is gone"
        alive = identity.alive()
        if alive is not None:
            return "" if alive else f"{identity} is gone"
        # Clocks of two machines differ: only whether the beat goes on is asked, by our own clock.
        heart = self._hearts.setdefault(int(owner or 0), _Heart())
        if attrs["beat"] != heart.beat:
            heart.beat, heart.seen = attrs["beat"], time.monotonic()
        silent = time.monotonic() - heart.seen
        return f"no beat of {identity} for {silent:.0f} s" if silent > self.work.grace else ""

    def beat(self) -> None:
        """Say that this supervisor is at work."""
        self._beats += 1
        self.study.set_user_attr(f"{SUPERVISOR}{self.ordinal}", {**asdict(self.identity), "beat": self._beats})

    def importances(self) -> dict[str, dict[str, float]]:
        """Objective -> share of each searched field, where enough trials are complete."""
        pairs = zip(self.config.objectives, self.config.directions, strict=True)
        found = {name: importances(self.study, place, way) for place, (name, way) in enumerate(pairs)}
        return {name: shares for name, shares in found.items() if shares}


def _row_of(trial: FrozenTrial) -> TrialRow:
    return TrialRow(
        number=trial.number,
        state=trial.state.name,
        params=trial.params,
        attrs=trial.user_attrs,
        fixed=trial.system_attrs.get(FIXED_PARAMS, {}),
        values=tuple(trial.values or ()),
    )


def stored_settings(place: OpenStorage, name: str) -> StudyConfig:
    """The settings with which a study was begun.

    Raises:
        StudyError: there is no such study of `lab tune`.
    """
    with contextlib.suppress(KeyError):
        study = optuna.load_study(study_name=name, storage=place.storage)
        text = study.user_attrs.get(SETTINGS)
        if text is not None:
            return StudyConfig.from_json(json.loads(text))
    raise StudyError(f"a study of lab tune named {name} in {place.address}", "none", "correct --study or --storage")
