"""The moment of a run that a page shows: now, a step that a person chose, or one that a replay moves.

A replay goes by the times at which the run wrote its events: at speed 1 it takes as long as the training took. Time
between two attempts and time in which the run was paused does not count; between two events steps are evenly spread.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from components.feed import Snapshot
from components.language import say
from lab.base import ConfigError
from lab.charts import Series, make_series

SPEEDS = (1, 2, 5, 10, 20)
"""How many times as fast as the training a replay can go."""
STEPS_A_SECOND = 10.0
"""Steps that a replay takes a second at speed 1 where the run's events tell no time."""
STEP, PLAY = "step", "play"
"""What the address says: the step that is shown, the speed of a replay that begins there."""
_MOMENT, _ADDRESS, _LEFT = "moment", "moment_in_address", "moment_left"
LATE_SECONDS = 3.0
"""For so long after a change of the address a request may still come that the browser sent before it."""


@dataclass(frozen=True, kw_only=True)
class ShownMoment:
    """What a page shows of a run."""

    step: int | None = None
    """The step, or the one at which a replay began; None follows the run."""
    speed: int | None = None
    """One of `SPEEDS` while a replay goes on; None stands still."""
    since: float = 0.0
    """When the replay left `step`, seconds since 1970."""

    def shown(self, snapshot: Snapshot, now: float) -> int | None:
        """The step to show at the time `now`; None for the latest, also where a replay has reached it."""
        step = self.step
        if step is not None and self.speed is not None:
            passed = training_seconds(snapshot)
            begun = float(np.interp(step, passed.step, passed.value))
            reached = begun + self.speed * max(0.0, now - self.since)
            # A pause has many steps' worth of nothing: the replay never goes back for it.
            step = max(step, int(np.interp(reached, passed.value, passed.step)))
        return None if step is None or step >= snapshot.last_step else step


def training_seconds(snapshot: Snapshot) -> Series:
    """Seconds of training before the steps of the run's events, from step 0 to the latest one."""
    steps, seconds = [0], [0.0]
    passed, before, waits = 0.0, None, False
    for event in snapshot.events:
        if before is not None and before.attempt == event.attempt and not waits:
            passed += max(0.0, event.time - before.time)
        if event.step > steps[-1]:
            steps.append(event.step)
            seconds.append(passed)
        if event.kind == "control" and event.payload["done"] and event.payload["command"] in ("pause", "resume"):
            waits = event.payload["command"] == "pause"
        before = event
    last = snapshot.last_step
    if last > steps[-1]:
        rate = steps[-1] / seconds[-1] if seconds[-1] > 0 else STEPS_A_SECOND
        seconds.append(seconds[-1] + (last - steps[-1]) / rate)
        steps.append(last)
    return make_series("seconds", steps, np.maximum.accumulate(seconds))


def asked_moment(address: Mapping[str, str], now: float) -> ShownMoment:
    """The moment that an address asks for.

    Raises:
        ConfigError: a step that is no whole number, or a speed that no replay has.
    """
    step, play = address.get(STEP), address.get(PLAY)
    if step is None and play is None:
        return ShownMoment()
    if step is not None and not (step.isdecimal() and len(step) < 19):
        expected = say("a whole number as {name} in the address", name=STEP)
        raise ConfigError(expected, repr(step), say("remove {name} to see the latest", name=STEP))
    if play is not None and play not in map(str, SPEEDS):
        known = ", ".join(map(str, SPEEDS))
        expected = say("one of {known} as {name} in the address", known=known, name=PLAY)
        raise ConfigError(expected, repr(play), say("remove {name} to stand still", name=PLAY))
    return ShownMoment(step=int(step or 0), speed=None if play is None else int(play), since=now)


def moment_of(run_dir: Path) -> ShownMoment:
    """What this browser tab shows of the run; another address than the one before is asked anew.

    Raises:
        ConfigError: see `asked_moment`.
    """
    address = (run_dir, st.query_params.get(STEP), st.query_params.get(PLAY))
    left, since = st.session_state.get(_LEFT, (None, 0.0))
    # A tick that was under way when the address changed brings the former one: no wish of the person's.
    late = address == left and time.time() - since < LATE_SECONDS
    if st.session_state.get(_ADDRESS) != address and not late:
        st.session_state[_ADDRESS] = address
        st.session_state[_MOMENT] = ShownMoment()
        st.session_state[_MOMENT] = asked_moment(st.query_params.to_dict(), time.time())
    found: ShownMoment = st.session_state[_MOMENT]
    return found


def go_to(run_dir: Path, moment: ShownMoment, *, tell: bool = True) -> None:
    """Show another moment from now on.

    Args:
        tell: the address names it; False while a person still moves the slider, who would fill the browser's history.
    """
    st.session_state[_MOMENT] = moment
    if not tell:
        return
    st.session_state[_LEFT] = (st.session_state.get(_ADDRESS), time.time())
    for name, value in ((STEP, moment.step), (PLAY, moment.speed)):
        if value is not None:
            st.query_params[name] = str(value)
        elif name in st.query_params:
            del st.query_params[name]
    st.session_state[_ADDRESS] = (run_dir, st.query_params.get(STEP), st.query_params.get(PLAY))
