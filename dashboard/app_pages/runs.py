"""Runs page: every run with its state, and two or more of them side by side; both are drawn anew while it is open."""

from collections.abc import Callable, Mapping
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st
from components.charted import charted
from components.clock import repeat
from components.compare import (
    MOST_POINTS,
    MOST_RUNS,
    RunFilter,
    best_rows,
    common_scalars,
    config_rows,
    run_rows,
)
from components.coordinates import draw_coordinates
from components.feed import Snapshot
from components.figures import scale_of
from components.labels import label_panel, labels_of
from components.language import later, say, say_error
from components.plot import draw
from components.resources import drawing_cache, feed_of, root_of_page
from components.scripts import load_scripts
from components.sidebar import pick_axis
from components.start import start_panel
from components.studies import runs_and_studies
from components.words import STATE_SIGNS, plain

from lab.base import LabError
from lab.charts import CurveView, compare_figure, rescale_runs
from lab.store import RunLabel, RunSummary

# Between two looks at the folder of runs. (A text of its own would be shown on the page.)
LIVE_SECONDS, STILL_SECONDS = 2.0, 5.0
LEFT_OUT = later("Left out, since no {axis} has passed there: {runs}.")
OVER_STEPS = later("Steps are drawn, since no {axis} has passed yet: {runs}.")


def run_table(runs: tuple[RunSummary, ...], labels: Mapping[str, RunLabel]) -> None:
    """The table of runs; each row has a link to the run's live page."""
    live, accuracy = say("live"), say("accuracy")
    columns = {
        live: st.column_config.LinkColumn(live, display_text=say("Open"), help=say("Opens the live page of this run.")),
        accuracy: st.column_config.TextColumn(accuracy, help=say("Latest on the selection split.")),
    }
    text = say("Runs with a link, state, start, last heartbeat, accuracy and reason")
    if not runs:
        st.info(say("No run matches this filter."), icon=":material/search_off:")
        return
    st.dataframe(run_rows(runs, labels), hide_index=True, column_config=columns, alt=text)


def pick_filter() -> RunFilter:
    """Which runs to list; the address has it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            say("Filter"),
            key="filter",
            bind="query-params",
            placeholder=say("part of a name, note or reason"),
            width=320,
        )
        known = [state for state in STATE_SIGNS if state != "paused"]
        states = st.pills(
            say("State"), known, selection_mode="multi", key="state", bind="query-params", format_func=say
        )
        archived = st.toggle(say("Archived too"), key="archived", bind="query-params")
    return RunFilter(text=text, states=tuple(states), archived=archived)


def open_run(runs: tuple[RunSummary, ...], labels: Mapping[str, RunLabel]) -> None:
    """The way to a run's live page in this tab, by keyboard too, and what a person says of the run."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(say("Run"), [run.name for run in runs], key="open_name")
        if st.button(say("Open"), icon=":material/visibility:", key="open"):
            st.switch_page("app_pages/live.py", query_params={"run": chosen})
    label_panel(next(run for run in runs if run.name == chosen), labels[chosen])


def read(names: list[str], runs: dict[str, RunSummary]) -> dict[str, Snapshot]:
    """Snapshots of the named runs; one that cannot be read is said and left out."""
    found = {}
    for name in names:
        try:
            found[name] = feed_of(str(runs[name].path)).refresh()
        except LabError as error:
            text = say("{name} cannot be read: {error}", name=name, error=say_error(error))
            st.warning(plain(text), icon=":material/folder_off:")
    return found


def compare(runs: tuple[RunSummary, ...]) -> Callable[[], None]:
    """Choose runs and a curve; what draws them over each other, with best values and the settings that differ."""
    st.subheader(say("Compare"))
    # An unreadable folder has no attempt, nor has a run that has not begun.
    names = [run.name for run in runs if run.attempt]
    by_name = {run.name: run for run in runs}
    gone = [name for name in st.query_params.get_all("compare") if name not in by_name]
    if gone:
        text = say("No run named {names} here to compare.", names=", ".join(gone))
        st.warning(plain(text), icon=":material/search_off:")
    chosen = st.multiselect(
        say("Runs to compare"),
        names,
        default=names[:2],
        key="compare",
        bind="query-params",
        max_selections=MOST_RUNS,
        placeholder=say("Choose runs"),
        help=say("At most {count}.", count=MOST_RUNS),
    )
    scalars = common_scalars(read(chosen, by_name))
    if scalars:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            scalar = st.selectbox(say("Curve"), scalars, key="scalar", bind="query-params")
            smoothing = st.slider(say("Smoothing"), 0.0, 0.99, 0.6, 0.01, key="compare_smoothing", bind="query-params")
            log_y = st.toggle(say("Logarithmic"), key="compare_log", bind="query-params")
            x = pick_axis("compare_x")
        load_scripts()

    def side_by_side() -> None:
        snapshots = read(chosen, by_name)
        if common_scalars(snapshots) != scalars:
            st.rerun()  # the choice of curves stands outside the live part
        if scalars:
            limit = min(CurveView().limit, MOST_POINTS // len(snapshots))
            draw_curves(snapshots, scalar, CurveView(smoothing=smoothing, log_y=log_y, limit=limit), x)
            draw_coordinates(snapshots, scalar)
        else:
            st.info(say("Choose at least one run that has values."), icon=":material/info:")

    return side_by_side


def draw_curves(snapshots: dict[str, Snapshot], scalar: str, view: CurveView, x: str) -> None:
    """One curve of several runs over each other, beside it the settings that differ; best values below.

    Over epochs or time each run has a scale of its own; one that has none yet is named below the chart.
    """
    found = {name: scale_of(snapshot, x) for name, snapshot in snapshots.items()}
    scales = {name: scale for name, scale in found.items() if scale is not None}
    curves = [(name, snapshot.series(scalar)) for name, snapshot in snapshots.items()]

    def build() -> go.Figure:
        figure = compare_figure(curves, y_title=scalar, view=view, dense="/" not in scalar)
        return rescale_runs(figure, scales) if scales else figure

    versions = [(str(each.summary.path), each.version) for each in snapshots.values()]
    drawing = drawing_cache().get(("compare", scalar, view, x, *versions), build, own_names=True)
    title = charted(next(iter(scales.values())).title) if scales else say("steps")
    left, right = st.columns([3, 2])
    with left:
        label = say("{curve} over {axis} for {runs}", curve=scalar, axis=title, runs=", ".join(snapshots))
        draw(drawing, key="compare_figure", label=label, view=f"{scalar} {view.log_y} {title}")
        if x != "step" and len(scales) < len(snapshots):
            without = ", ".join(name for name in snapshots if name not in scales)
            text = LEFT_OUT if scales else OVER_STEPS
            st.caption(plain(say(text, axis=say(x), runs=without)))
    with right:
        draw_settings(snapshots)
    alt = say("Smallest, largest and last {curve} of each run", curve=scalar)
    st.dataframe(best_rows(snapshots, scalar), hide_index=True, alt=alt)


def draw_settings(snapshots: dict[str, Snapshot]) -> None:
    """The settings that differ between the runs."""
    st.markdown(f"**{say('Settings that differ')}**")
    rows = config_rows({name: snapshot.config for name, snapshot in snapshots.items()})
    if rows:
        st.dataframe(rows, hide_index=True, alt=say("Settings in which the runs differ"))
    else:
        st.write(say("None: these runs have the same settings."))


def states(runs: tuple[RunSummary, ...]) -> dict[str, str]:
    """What choices and clock depend on: the names of the runs and their states."""
    return {run.name: run.state for run in runs}


def empty_store(root: Path) -> None:
    """What a person sees before the first run; the page looks for one by itself."""
    st.info(say("No run yet in {folder}.", folder=plain(str(root.absolute()))), icon=":material/hourglass_empty:")

    def wait() -> None:
        if runs_and_studies(root)[0]:
            st.rerun()

    repeat(wait, LIVE_SECONDS)


def page() -> None:
    """List, then compare."""
    root = root_of_page()
    try:
        runs, studies = runs_and_studies(root)
    except LabError as error:
        st.error(plain(say_error(error)), icon=":material/error:")
        return
    if studies:
        names = ", ".join(study.name for study in studies)
        st.caption(plain(say("Studies are not in this list; the Studies page shows them: {names}.", names=names)))
    start_panel(root, runs)
    if not runs:
        empty_store(root)
        return
    chosen = pick_filter()
    table = st.container()
    open_run(runs, labels_of(runs)[0])
    side_by_side = compare(runs)

    def live() -> None:
        try:
            now = runs_and_studies(root)[0]
        except LabError as error:
            st.error(plain(say_error(error)), icon=":material/error:")
            return
        if states(now) != states(runs):
            st.rerun()
        with table:
            labels, wrong = labels_of(now)
            for text in wrong:
                st.warning(plain(text), icon=":material/label_off:")
            shown = tuple(run for run in now if chosen.takes(run, labels[run.name]))
            if len(shown) < len(now):
                st.caption(say("{shown} of {count} runs", shown=len(shown), count=len(now)))
            run_table(shown, {run.name: labels[run.name] for run in shown})
        side_by_side()

    repeat(live, LIVE_SECONDS if any(run.state in ("starting", "running") for run in runs) else STILL_SECONDS)


page()
