"""What is drawn anew again and again: a fragment with a clock, and a guard of that clock in the browser.

Streamlit's clock of a fragment hangs on one message of the latest full run. Where it is lost, the page stands still for
good and says nothing; so the guard asks for a full run when no tick came for long. A tab that nobody sees stands still:
thirty tabs of one window cost what the one in front does.
"""

import time
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from components.feed import Snapshot, SnapshotFeed
from components.root import run_folders
from lab.base import LabError

LOOK_SECONDS = 1.0
"""Between two looks for a run, or at one that cannot be read."""
ENDED = ("finished", "failed")
"""States in which a run or a study has no rows to come."""
LATE = 10.0
"""Seconds without a tick after which the page asks for a full run, at least; a busy machine may be slow."""
LATE_TICKS = 5
"""The same in ticks."""
TICK = """export default ({ data }) => {
if (window.labClock?.tick !== data.tick) window.labClock = { tick: data.tick, seen: performance.now(), patience: 1 };
};
"""
_TICK = st.components.v2.component("lab_tick", js=TICK, isolate_styles=False)
_CLOCK = st.components.v2.component(
    "lab_clock", js=Path(__file__).with_name("clock.js").read_text(encoding="utf-8"), isolate_styles=False
)


def repeat(draw: Callable[[], None], every: float | None) -> None:
    """Draw now, and every `every` seconds anew.

    Args:
        draw: draws in place of what it drew before; an error of it ends the tick, not the clock.
        every: seconds; None: once.
    """

    place, foot = st.container(), st.container()
    hidden = False
    if every is not None:
        late = 1000 * max(LATE, LATE_TICKS * every)
        with foot:
            told = _CLOCK(
                key="clock_guard",
                data={"late": late},
                default={"hidden": False},
                on_hidden_change=lambda: None,
                on_late_change=lambda: None,
                height=1,
            )
        hidden = bool(told.hidden)

    @st.fragment(run_every=None if hidden else every)
    def again() -> None:
        if every is not None:
            # Before anything else: a tick that ends early is one as well.
            with foot:
                _TICK(key="clock_tick", data={"tick": time.time()}, height=1)
        draw()

    with place:
        again()


def look_again(root: Path, feed: SnapshotFeed, snapshot: Snapshot, folders: frozenset[str]) -> None:
    """Draw the whole page where a run or a study that had ended goes on, or another one has begun."""
    try:
        now = feed.refresh()
    except LabError:
        st.rerun()
    if now.version != snapshot.version or now.summary.state != snapshot.summary.state or run_folders(root) != folders:
        st.rerun()
