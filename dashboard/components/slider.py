"""One slider over the whole run: genotype, heat map, curves, numbers and sentences go together; Now goes back."""

import time
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from components.controls import command_by_key
from components.feed import Snapshot
from components.history import History
from components.language import later, say
from components.moment import SPEEDS, ShownMoment, go_to
from components.plot import chart_data
from components.scripts import part
from components.words import shown_state
from lab.charts import Mark, shown_marks

if TYPE_CHECKING:
    from components.panels import PageFrame

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


def draw_slider(picture: "PageFrame", moment: ShownMoment, *, wall: bool = False) -> None:
    """Draw the slider at the step that the page shows; at the end where that is the latest.

    Args:
        moment: what the page shows; a replay changes it.
        wall: at the foot of the wall, where it listens to keys.
    """
    whole, step = picture.whole, picture.snapshot.cut
    # What the page holds back is not marked either.
    known = picture.snapshot if picture.asked is not None and picture.asked.until is not None else whole
    if moment.speed is not None:
        # One that the address began: it stays chosen while the replay stands still.
        st.session_state[SPEED] = moment.speed
    fixed = {
        "speeds": list(SPEEDS),
        "marks": [[mark.step, mark.text] for mark in change_marks(known)],
        "keys": " · ".join(map(say, KEY_NAMES)) if wall else "",
        "texts": {name: say(text) for name, text in TEXTS.items()},
    }
    shown = whole.last_step if step is None else step
    data = {
        **chart_data(picture.data("slider", fixed)),
        "last": whole.last_step,
        "step": shown,
        "now": step is None,
        "playing": moment.speed is not None,
        "speed": moment.speed or st.session_state.get(SPEED, SPEEDS[1]),
        "wall": wall,
        "live": whole.summary.state == "running",
        "heard": st.session_state.get(HEARD, 0),
    }
    with st.container(gap=None):
        # It reaches the browser's page with the numbers of the page, which a component's data does not.
        st.html(f'<span class="lab-step" data-step="{shown}" data-last="{whole.last_step}"></span>')
        _SLIDER(
            key=KEY,
            data=data,
            on_move_change=partial(_moved, whole),
            on_press_change=partial(_pressed, whole),
            height="content",
        )


def change_marks(snapshot: Snapshot) -> list[Mark]:
    """Steps at which the network changed, in order, with a name: mutations that were made, and growth.

    Of many mutations some stand for those near them, as in the charts.
    """
    marks = snapshot.history.once("mutations and growth", lambda: _change_marks(snapshot.history))
    return shown_marks(marks, 0, snapshot.last_step)[0]


def _change_marks(history: History) -> tuple[Mark, ...]:
    growth = [
        Mark(step=event.step, text=say("grew in {what}", what=say(str(event.payload["what"]))), color="", always=True)
        for event in history.of("growth")
    ]
    # Mutations are in order; to sort thousands anew with each of them would cost as much as a figure.
    return (
        tuple(sorted([*history.mutation_marks, *growth], key=lambda mark: mark.step))
        if growth
        else history.mutation_marks
    )


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
