"""One slider over the whole run: genotype, heat map, curves, numbers and sentences go together; Now goes back."""

import time
from functools import partial
from typing import Any

import streamlit as st

from components.controls import command_by_key
from components.feed import Snapshot
from components.language import later, say
from components.moment import SPEEDS, ShownMoment, go_to
from components.scripts import part
from components.words import shown_state

_SLIDER = part("slider")
KEY, HEARD, SPEED = "slider", "slider_heard", "slider_speed"
KEY_NAMES = (later("Space: pause"), later("← →: look back"), later("M: mutate"), later("F: full screen"))
"""The keys of the wall, as its foot tells them."""
TEXTS = {
    "group": later("Moment of the run"),
    "range": later("Step of the run"),
    "speed": later("Speed of the replay"),
    "now": later("Now"),
    "now_label": later("Now: show the latest step"),
    "step": later("step {step} of {last}"),
    "pause": later("Pause the replay"),
    "replay": later("Replay from the start"),
    "play": later("Play on from here"),
}
"""What the script says, by its own names."""
MOST_MARKS = 200
"""Changes that are marked above the slider, the latest ones."""


def draw_slider(
    whole: Snapshot, moment: ShownMoment, step: int | None, *, known: Snapshot | None = None, wall: bool = False
) -> None:
    """Draw the slider at `step`; None stands at the end.

    Args:
        whole: the run as it is now.
        moment: what the page shows; a replay changes it.
        known: whose changes are marked, where the page holds some of them back.
        wall: at the foot of the wall, where it listens to keys.
    """
    if moment.speed is not None:
        # One that the address began: it stays chosen while the replay stands still.
        st.session_state[SPEED] = moment.speed
    data = {
        "last": whole.last_step,
        "step": whole.last_step if step is None else step,
        "now": step is None,
        "playing": moment.speed is not None,
        "speed": moment.speed or st.session_state.get(SPEED, SPEEDS[1]),
        "speeds": list(SPEEDS),
        "marks": [[mark["step"], mark["text"]] for mark in change_marks(known or whole)],
        "wall": wall,
        "keys": " · ".join(map(say, KEY_NAMES)) if wall else "",
        "live": whole.summary.state == "running",
        "heard": st.session_state.get(HEARD, 0),
        "texts": {name: say(text) for name, text in TEXTS.items()},
    }
    _SLIDER(
        key=KEY,
        data=data,
        on_move_change=partial(_moved, whole),
        on_press_change=partial(_pressed, whole),
        height="content",
    )


def change_marks(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Steps at which the network changed, in order, with a name: mutations that were made, and growth."""
    found = [{"step": mark.step, "text": mark.text} for mark in snapshot.history.mutation_marks[-MOST_MARKS:]]
    for event in snapshot.of("growth"):
        found.append({"step": event.step, "text": say("grew in {what}", what=say(str(event.payload["what"])))})
    return sorted(found, key=lambda mark: int(mark["step"]))[-MOST_MARKS:]


def _moved(whole: Snapshot) -> None:
    told = st.session_state[KEY].move
    step, speed = told["step"], told["speed"]
    st.session_state[HEARD] = int(told["number"])
    if speed is not None:
        st.session_state[SPEED] = speed
    moment = ShownMoment(step=step, speed=speed, since=time.time())
    go_to(whole.summary.path, moment, tell=bool(told["final"]))


def _pressed(whole: Snapshot) -> None:
    command = str(st.session_state[KEY].press["command"])
    if command == "pause" and shown_state(whole) == "paused":
        command = "resume"
    command_by_key(whole, command)
