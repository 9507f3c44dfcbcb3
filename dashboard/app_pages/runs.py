"""Runs page: every run with its state, and two or more of them side by side."""

import streamlit as st
from components.compare import best_rows, common_scalars, config_rows, run_rows
from components.feed import Snapshot
from components.figures import Drawing
from components.plot import draw, load_plotly
from components.resources import feed_of, root_of_page
from components.studies import runs_and_studies
from components.words import plain

from lab.base import LabError
from lab.charts import CurveView, compare_figure
from lab.store import RunSummary


def run_list(runs: tuple[RunSummary, ...]) -> None:
    """The table of runs, and the way from a run to its live page."""
    st.dataframe(run_rows(runs), hide_index=True, alt="Runs with state, start, last heartbeat and reason")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Run", [run.name for run in runs], key="open_name")
        if st.button("Open", icon=":material/visibility:", key="open"):
            st.switch_page("app_pages/live.py", query_params={"run": chosen})


def read(names: list[str], runs: dict[str, RunSummary]) -> dict[str, Snapshot]:
    """Snapshots of the named runs; one that cannot be read is said and left out."""
    found = {}
    for name in names:
        try:
            found[name] = feed_of(str(runs[name].path)).refresh()
        except LabError as error:
            st.warning(plain(f"{name} cannot be read: {error}"), icon=":material/folder_off:")
    return found


def compare(runs: tuple[RunSummary, ...]) -> None:
    """One curve of several runs over each other, best values, settings that differ."""
    st.subheader("Compare")
    names = [run.name for run in runs if run.state != "unreadable"]
    chosen = st.multiselect("Runs to compare", names, default=names[:2], key="compare")
    snapshots = read(chosen, {run.name: run for run in runs})
    scalars = common_scalars(snapshots)
    if not scalars:
        st.info("Choose at least one run that has values.", icon=":material/info:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        scalar = st.selectbox("Curve", scalars, key="scalar")
        smoothing = st.slider("Smoothing", 0.0, 0.99, 0.6, 0.01, key="compare_smoothing")
        log_y = st.toggle("Logarithmic", key="compare_log")
    curves = [(name, snapshot.series(scalar)) for name, snapshot in snapshots.items()]
    dense = "/" not in scalar
    figure = compare_figure(curves, y_title=scalar, view=CurveView(smoothing=smoothing, log_y=log_y), dense=dense)
    load_plotly()
    label = f"{scalar} over steps for {', '.join(snapshots)}"
    draw(Drawing.of(figure), key="compare_figure", label=label, view=f"{scalar} {log_y}")
    st.dataframe(best_rows(snapshots, scalar), hide_index=True, alt=f"Smallest, largest and last {scalar} of each run")
    st.markdown("**Settings that differ**")
    rows = config_rows({name: snapshot.config for name, snapshot in snapshots.items()})
    if rows:
        st.dataframe(rows, hide_index=True, alt="Settings in which the runs differ")
    else:
        st.write("None: these runs have the same settings.")


def page() -> None:
    """List, then compare."""
    root = root_of_page()
    try:
        runs, studies = runs_and_studies(root)
    except LabError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    if studies:
        names = ", ".join(study.name for study in studies)
        st.caption(plain(f"Studies are not in this list; the Studies page shows them: {names}."))
    if not runs:
        st.info(f"No run yet in {plain(str(root.absolute()))}.", icon=":material/hourglass_empty:")
        return
    run_list(runs)
    compare(runs)


page()
