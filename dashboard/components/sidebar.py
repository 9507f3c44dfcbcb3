"""The sidebar: which run or study, how fast, how drawn. Every choice stands in the address, to be shared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from components.language import later, say
from components.words import plain
from lab.charts import CurveView

INTERVALS = {"0.5 s": 0.5, "1 s": 1.0, "2 s": 2.0, "5 s": 5.0, "10 s": 10.0}
WINDOWS = {
    later("all"): 0,
    later("last 200 steps"): 200,
    later("last 1,000 steps"): 1_000,
    later("last 5,000 steps"): 5_000,
}
POINTS = (500, 1_000, 2_000, 5_000)
"""Points of a line that a chart may draw."""
AXES = (later("step"), later("epoch"), later("time"), later("log step"))
"""What the horizontal axis of the curves may measure; time is that of training, in seconds."""

REMEMBERED = "watched_run"


@dataclass(frozen=True, kw_only=True)
class Follow:
    """Whether and how often the page looks for new rows."""

    on: bool
    interval: float
    """Seconds."""

    @property
    def run_every(self) -> float | None:
        """What a live fragment takes: None stops its clock."""
        return self.interval if self.on else None


@dataclass(frozen=True, kw_only=True)
class PageView:
    """How the page draws the curves."""

    curves: CurveView
    x: str
    """One of `AXES`."""
    metrics: str
    """A part of the names of the metrics to list, or a regular expression."""


def asked_run() -> str:
    """The run that the address asks for, else the one of before; empty where there is none."""
    return str(st.query_params.get("run") or st.session_state.get(REMEMBERED) or "")


def on_wall() -> bool:
    """Whether the address asks for the wall."""
    return st.query_params.get("view") == "wall"


def pick_run(root: Path, names: Sequence[str]) -> str | None:
    """The chosen run, which the address then names.

    At first that of the address, else the one of before, else the newest; a name that is not there is said, never
    replaced.
    """
    return _pick("run", names, REMEMBERED, str(root))


def pick_study(root: Path, names: Sequence[str]) -> str | None:
    """The chosen study, by the same rules as a run."""
    before = st.query_params.get("study")
    chosen = _pick("study", names, "watched_study", str(root))
    if before not in (None, chosen):
        # Another study has other objectives.
        st.query_params.pop("objective", None)
    return chosen


def pick_objective(study: str, names: Sequence[str]) -> str | None:
    """The objective that the page shows of a study; there is nothing to choose of one alone."""
    if len(names) == 1 and st.query_params.get("objective") is None:
        return names[0]
    return _pick("objective", names, f"watched_objective {study}", study)


_PICKS = {
    "run": (
        later("Run"),
        later("Choose a run"),
        later("The newest run is first."),
        later("No run named {name} in {place}. Choose one in the sidebar."),
    ),
    "study": (
        later("Study"),
        later("Choose a study"),
        later("The newest study is first."),
        later("No study named {name} in {place}. Choose one in the sidebar."),
    ),
    "objective": (
        later("Objective"),
        later("Choose an objective"),
        later("What figures and best trial are of."),
        later("No objective named {name} in {place}. Choose one in the sidebar."),
    ),
}
"""What is chosen -> label, placeholder, help, and what is said of a name that is not there."""


def _pick(what: str, names: Sequence[str], remembered: str, place: str) -> str | None:
    label, placeholder, help, missing = _PICKS[what]
    asked = st.query_params.get(what) or st.session_state.get(remembered) or names[0]
    if asked not in names:
        st.warning(plain(say(missing, name=asked, place=place)), icon=":material/search_off:")
    chosen: str | None = st.sidebar.selectbox(
        say(label),
        list(names),
        index=names.index(asked) if asked in names else None,
        key=what,
        placeholder=say(placeholder),
        help=say(help),
    )
    if chosen is not None:
        st.session_state[remembered] = st.query_params[what] = chosen
    return chosen


def pick_follow() -> Follow:
    """The follow toggle and the interval."""
    with st.sidebar:
        on = st.toggle(
            say("Follow"),
            value=True,
            key="follow",
            bind="query-params",
            help=say("Off: the page stands still, so that you can read."),
        )
        interval = st.select_slider(
            say("Refresh interval"), list(INTERVALS), value="1 s", key="interval", bind="query-params", disabled=not on
        )
    return Follow(on=on, interval=INTERVALS[interval])


def pick_axis(key: str) -> str:
    """What the horizontal axis of curves measures, one of `AXES`; `key` has it in the address."""
    chosen: str = st.selectbox(
        say("Horizontal axis"),
        AXES,
        key=key,
        bind="query-params",
        format_func=say,
        help=say("Steps, epochs, seconds of training, in which pauses do not count, or steps on a logarithmic axis."),
    )
    return chosen


def pick_view() -> PageView:
    """Window, horizontal axis, smoothing, value axis and points of the curves, and which metrics are listed."""
    with st.sidebar:
        window = st.selectbox(
            say("Steps shown"),
            list(WINDOWS),
            key="window",
            bind="query-params",
            format_func=say,
            help=say("How far back the curves reach."),
        )
        x = pick_axis("x")
        smoothing = st.slider(
            say("Smoothing"),
            0.0,
            0.99,
            0.6,
            0.01,
            key="smoothing",
            bind="query-params",
            help=say("Weight of the past in the moving average of the training curves; the pale line is the raw one."),
        )
        log_y = st.toggle(say("Logarithmic loss"), key="log", bind="query-params")
        robust_y = st.toggle(
            say("Robust value axis"),
            key="robust",
            bind="query-params",
            help=say(
                "The axis leaves out the few values far from all others, so that one spike does not flatten a curve; "
                "the chart tells how many."
            ),
        )
        limit = st.selectbox(
            say("Points of a line"),
            POINTS,
            index=POINTS.index(CurveView().limit),
            key="points",
            bind="query-params",
            help=say(
                "A longer curve is drawn by the lowest and the highest value of each piece; the chart tells of how "
                "many points."
            ),
        )
        metrics = st.text_input(
            say("Metrics"),
            key="metrics",
            bind="query-params",
            placeholder=say("decision, or loss|accuracy"),
            help=say("Finds metrics under *All metrics* by a part of their name, or by a regular expression."),
        )
    view = CurveView(smoothing=smoothing, log_y=log_y, robust_y=robust_y, last=WINDOWS[window], limit=limit)
    return PageView(curves=view, x=x, metrics=metrics)
