"""Live page: one run, followed while it trains in another process."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import streamlit as st
from components import agent, multitask, panels, text
from components.clock import ENDED, LOOK_SECONDS, look_again, repeat
from components.controls import control_row
from components.export import scalars_csv
from components.feed import Snapshot, SnapshotFeed
from components.figures import drawn_edges, history_label, shown_genotype
from components.plot import load_plotly
from components.resources import drawing_cache, feed_of, root_of_page
from components.root import run_folders
from components.sidebar import asked_run, pick_follow, pick_run, pick_view
from components.studies import runs_and_studies, trial_names
from components.words import has_no_cell, held_temperature, is_agent, is_multitask, is_text, plain, shown_state

from lab.base import LabError
from lab.charts import CurveView, genotype_dot
from lab.store import list_runs


def empty_store(root: Path, studies: Sequence[str]) -> None:
    """What a person sees before the first run; the page looks for one by itself."""
    st.info(f"No run yet in {plain(str(root.absolute()))}.", icon=":material/hourglass_empty:")
    if studies:
        st.markdown(plain(f"Studies lie there; the Studies page shows them: {', '.join(studies)}."))
    st.markdown("Start one in a terminal; this page shows it as soon as it begins:")
    st.code("lab train --dataset digits\nlab train agent --dataset digits\nlab demo", language="bash")
    known = run_folders(root)

    def wait() -> None:
        if run_folders(root) != known:
            st.rerun()
        st.caption("Looking for a run every second.")

    repeat(wait, LOOK_SECONDS)


def unreadable(read: Callable[[], object], text: str, icon: str) -> None:
    """Says why something cannot be read, and draws the whole page once it can be: its writer may just have begun."""

    def look() -> None:
        try:
            read()
        except LabError as error:
            st.error(plain(f"{text}{error}"), icon=icon)
            return
        st.rerun()

    repeat(look, LOOK_SECONDS)


def pick_history(snapshot: Snapshot) -> int | None:
    """The position of the genotype to show; None follows the latest."""
    count = len(snapshot.of("genotype"))
    if not st.session_state.get("history") or count < 2:
        return None
    return int(
        st.select_slider(
            "Genotype at this moment of the run",
            list(range(count)),
            value=count - 1,
            format_func=lambda index: plain(history_label(snapshot, index)),
            key="moment",
        )
    )


def downloads(snapshot: Snapshot, history: int | None) -> None:
    """The run's scalars as CSV, the shown cell as DOT and JSON; each is written when it is asked for."""
    run_dir, name = snapshot.summary.path, snapshot.summary.name
    event = shown_genotype(snapshot, history)
    with st.sidebar.expander("Download"):
        st.download_button("Scalars (CSV)", lambda: scalars_csv(run_dir), f"{name}.csv", "text/csv", key="download_csv")
        if event is not None:
            cell = event.payload["genotype"]
            st.download_button(
                "Genotype (DOT)",
                lambda: genotype_dot(drawn_edges(event, None), name),
                f"{name}.dot",
                "text/vnd.graphviz",
                key="download_dot",
            )
            st.download_button(
                "Genotype (JSON)",
                lambda: json.dumps(cell, indent=2),
                f"{name}.json",
                "application/json",
                key="download_json",
            )


def follow_run(root: Path, feed: SnapshotFeed, snapshot: Snapshot, view: CurveView, run_every: float | None) -> None:
    """Name, buttons and history stand still; status and body are drawn anew at each tick, by one fragment."""
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    line.subheader(plain(snapshot.summary.name), width="content")
    with st.container(horizontal=True, vertical_alignment="center"):
        control_row(snapshot)
        few = len(snapshot.of("genotype")) < 2
        help_text = "Show the genotype as it was earlier in the run."
        if is_agent(snapshot):
            help_text = "Recipe agent has no genotype history: the table of actions lists what was changed."
        elif has_no_cell(snapshot):
            help_text = f"Recipe {snapshot.config.get('recipe')} has no genotype history."
        st.toggle("History", key="history", disabled=few, help=help_text)
    history = pick_history(snapshot)
    downloads(snapshot, history)
    body = panels.body
    if is_agent(snapshot):
        body = agent.body
    elif is_multitask(snapshot):
        body = multitask.body
    elif is_text(snapshot):
        body = text.body
    # What stands outside the live part depends on these: buttons, history, list of runs.
    drawn_for = (*outside(snapshot), run_folders(root))

    def live() -> None:
        try:
            now = feed.refresh()
        except LabError as error:
            st.error(plain(f"This run can no longer be read: {error}"), icon=":material/error:")
            return
        if (*outside(now), run_folders(root)) != drawn_for:
            st.rerun()
        if now.complete and not snapshot.complete and now.summary.state in ENDED:
            st.rerun()  # from now on the page stands still
        picture = panels.PageFrame(snapshot=now, view=view, history=history, cache=drawing_cache())
        with line:
            panels.status(picture)
        body(picture)

    if snapshot.summary.state in ENDED and snapshot.complete:
        # Nothing comes any more: drawn once. A resumed run is found by a look that draws nothing.
        repeat(live, None)
        repeat(partial(look_again, root, feed, snapshot, drawn_for[-1]), run_every)
    else:
        repeat(live, run_every)
    load_plotly()


def outside(snapshot: Snapshot) -> tuple[str, bool, float | None]:
    """What buttons and history depend on: state, whether there is a history, the temperature that is held."""
    return shown_state(snapshot), len(snapshot.of("genotype")) > 1, held_temperature(snapshot)


def page() -> None:
    """Choose a run and follow it."""
    root = root_of_page()
    try:
        runs, studies = runs_and_studies(root)
        # Of a study, which is no run itself, the trials are runs: those of the one that the address asks for.
        names = [*(run.name for run in runs), *trial_names(root, asked_run(), studies)]
    except LabError:
        unreadable(lambda: list_runs(root), "", ":material/error:")
        return
    if not names:
        empty_store(root, [study.name for study in studies])
        return
    name = pick_run(root, names)
    follow, view = pick_follow(), pick_view()
    if name is None:
        st.info("Choose a run in the sidebar.", icon=":material/arrow_back:")
        return
    try:
        feed = feed_of(str(root / name))
        snapshot = feed.refresh()
    except LabError:
        unreadable(lambda: feed_of(str(root / name)).refresh(), "This run cannot be read: ", ":material/folder_off:")
        return
    follow_run(root, feed, snapshot, view, follow.run_every)


page()
