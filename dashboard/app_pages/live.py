"""Live page: one run, followed while it trains in another process."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import streamlit as st
from components import agent, multitask, panels, text
from components.ask import SWITCH, SWITCH_HELP, ask, can_ask, stop_asking
from components.clock import ENDED, LOOK_SECONDS, look_again, repeat
from components.compare import live_address, wall_address
from components.controls import control_row
from components.export import scalars_csv
from components.feed import Snapshot, SnapshotFeed
from components.figures import drawn_edges
from components.language import later, say, say_error
from components.moment import ShownMoment, go_to, moment_of
from components.plot import draw_bases
from components.report import report_html
from components.resources import drawing_cache, feed_of, root_of_page, this_tab
from components.root import run_folders
from components.scripts import load_scripts
from components.sidebar import PageView, asked_run, on_wall, pick_follow, pick_run, pick_view
from components.slider import draw_slider
from components.start import start_panel, starting_run
from components.studies import runs_and_studies, trial_names
from components.wall import draw_wall
from components.wall_figures import find_fixed, ghost_of
from components.words import held_temperature, is_agent, is_multitask, is_text, offers, plain, shown_state

from lab.base import LabError
from lab.charts import genotype_dot
from lab.store import launch, list_runs

# Between two pictures of a replay. (A text of its own would be shown on the page.)
REPLAY_SECONDS = 0.5
WALL_HELP = later(
    "The run on one screen for a projector, in a tab of its own: text that is read from afar, keys to steer it."
)


def empty_store(root: Path, studies: Sequence[str]) -> None:
    """What a person sees before the first run; the page looks for one by itself."""
    st.info(say("No run yet in {folder}.", folder=plain(str(root.absolute()))), icon=":material/hourglass_empty:")
    if studies:
        st.markdown(plain(say("Studies lie there; the Studies page shows them: {names}.", names=", ".join(studies))))
    start_panel(root, ())
    st.markdown(say("Start one in a terminal; this page shows it as soon as it begins:"))
    st.code("lab train --dataset digits\nlab train agent --dataset digits\nlab demo", language=None)
    known = run_folders(root)

    def wait() -> None:
        if run_folders(root) != known:
            st.rerun()
        st.caption(say("Looking for a run every second."))

    repeat(wait, LOOK_SECONDS)


def unreadable(read: Callable[[], object], text: str, icon: str) -> None:
    """Says why something cannot be read, and draws the whole page once it can be: its writer may just have begun.

    Args:
        text: of the catalogue, with the place `{error}`.
    """

    def look() -> None:
        try:
            read()
        except LabError as error:
            st.error(plain(say(text, error=say_error(error))), icon=icon)
            return
        st.rerun()

    repeat(look, LOOK_SECONDS)


def downloads(shown: list[Snapshot]) -> None:
    """The run's scalars as CSV, its report, the shown cell as DOT and JSON; each is written when it is asked for.

    Args:
        shown: one snapshot, that of the page, which each tick replaces.
    """
    snapshot = shown[0]
    run_dir, name = snapshot.summary.path, snapshot.summary.name

    def cell_json() -> str:
        event = shown[0].latest("genotype")
        return json.dumps(None if event is None else event.payload["genotype"], indent=2)

    with st.sidebar.expander(say("Download")):
        label = say("Scalars (CSV)")
        st.download_button(label, lambda: scalars_csv(run_dir), f"{name}.csv", "text/csv", key="download_csv")
        label = say("Report (HTML)")
        st.download_button(label, lambda: report_html(run_dir), f"{name}.html", "text/html", key="download_report")
        if snapshot.latest("genotype") is not None:
            st.download_button(
                say("Genotype (DOT)"),
                lambda: genotype_dot(drawn_edges(shown[0].latest("genotype"), None), name),
                f"{name}.dot",
                "text/vnd.graphviz",
                key="download_dot",
            )
            label = say("Genotype (JSON)")
            st.download_button(label, cell_json, f"{name}.json", "application/json", key="download_json")


def body_of(snapshot: Snapshot) -> Callable[[panels.PageFrame], None]:
    """What draws the panels of a run, by its recipe."""
    if is_agent(snapshot):
        return agent.body
    if is_multitask(snapshot):
        return multitask.body
    return text.body if is_text(snapshot) else panels.body


def follow_run(root: Path, feed: SnapshotFeed, snapshot: Snapshot, view: PageView, run_every: float | None) -> None:
    """Name and buttons stand still; status, slider and body are drawn anew at each tick, by one fragment."""
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    line.subheader(plain(snapshot.summary.name), width="content")
    with st.container(horizontal=True, vertical_alignment="center"):
        control_row(snapshot)
        asking = can_ask(snapshot) and st.toggle(say(SWITCH), key="ask", bind="query-params", help=say(SWITCH_HELP))
        st.link_button(say("Wall"), wall_address(snapshot.summary.name), icon=":material/tv:", help=say(WALL_HELP))
    if not asking:
        stop_asking(snapshot.summary.path)
    shown = [snapshot]
    downloads(shown)
    body = body_of(snapshot)

    def draw(picture: panels.PageFrame, moment: ShownMoment) -> None:
        shown[0] = picture.snapshot
        with line:
            panels.status(picture)
        draw_slider(picture, moment)
        body(picture)

    keep_drawing(root, feed, snapshot, view, run_every, draw, asking=asking)


def show_wall(root: Path, feed: SnapshotFeed, snapshot: Snapshot, view: PageView, run_every: float | None) -> None:
    """The run on one screen, with the slider at its foot."""
    name, asked = snapshot.summary.name, st.query_params.get("beside")
    beside = find_fixed(root, name, asked)

    def draw(picture: panels.PageFrame, moment: ShownMoment) -> None:
        other = None
        if beside is not None:
            # One that has vanished is none to compare with; a look at the folder finds another one.
            with suppress(LabError):
                other = feed_of(str(beside)).refresh(this_tab())
        missing = asked if beside is None else None
        draw_wall(picture, ghost_of(picture.snapshot, other), live_address(name), missing)
        draw_slider(picture, moment, wall=True)

    keep_drawing(root, feed, snapshot, view, run_every, draw)


def keep_drawing(
    root: Path,
    feed: SnapshotFeed,
    snapshot: Snapshot,
    view: PageView,
    run_every: float | None,
    draw: Callable[[panels.PageFrame, ShownMoment], None],
    *,
    asking: bool = False,
) -> None:
    """Draw the moment that the page shows, at each tick anew: as often as a replay needs, as the run brings rows.

    Where the class is asked, an earlier moment is drawn as long as an outcome is to be revealed.
    """
    run_dir = snapshot.summary.path
    try:
        moment = moment_of(run_dir)
    except LabError as error:
        st.warning(plain(say_error(error)), icon=":material/link_off:")
        moment = ShownMoment()
    # What stands outside the live part depends on these: buttons, list of runs, the clock.
    drawn_for = (*outside(snapshot), run_folders(root), moment.speed)
    ticks = count()

    def live() -> None:
        try:
            now = feed.refresh(this_tab(), past=next(ticks) > 0)
        except LabError as error:
            st.error(
                plain(say("This run can no longer be read: {error}", error=say_error(error))), icon=":material/error:"
            )
            return
        moment = moment_of(run_dir)
        step = moment.shown(now, time.time())
        if moment.speed is not None and step is None:
            # The replay has reached the latest step.
            moment = ShownMoment()
            go_to(run_dir, moment)
        if (*outside(now), run_folders(root), moment.speed) != drawn_for:
            st.rerun()
        if now.complete and not snapshot.complete and now.summary.state in ENDED:
            st.rerun()  # from now on the page stands still
        shown = now.at(step)
        asked = ask(shown) if asking else None
        picture = panels.PageFrame(
            snapshot=shown if asked is None else shown.at(asked.until),
            whole=now,
            view=view.curves,
            x=view.x,
            metrics=view.metrics,
            cache=drawing_cache(),
            asked=asked,
        )
        draw(picture, moment)
        draw_bases(picture.bases)

    replays = moment.speed is not None
    place = st.container()
    # Sent first: the browser reads it while the figures are made.
    load_scripts()
    with place:
        if snapshot.summary.state in ENDED and snapshot.complete and not replays:
            # Nothing comes any more: drawn once. A resumed run is found by a look that draws nothing.
            repeat(live, None)
            repeat(partial(look_again, root, feed, snapshot, run_folders(root)), run_every)
        else:
            repeat(live, REPLAY_SECONDS if replays else run_every)


def outside(snapshot: Snapshot) -> tuple[str, bool, tuple[bool, ...], float | None]:
    """What buttons depend on: state, whether there is a cell to download, what is offered, the held temperature."""
    offered = tuple(offers(snapshot, command) for command in ("mutate", "set_temperature"))
    return shown_state(snapshot), snapshot.latest("genotype") is not None, offered, held_temperature(snapshot)


def page() -> None:
    """Choose a run and follow it."""
    root = root_of_page()
    wall = on_wall()
    try:
        runs, studies = runs_and_studies(root)
        # Of a study, which is no run itself, the trials are runs: those of the one that the address asks for.
        names = [*(run.name for run in runs), *trial_names(root, asked_run(), studies)]
    except LabError:
        unreadable(lambda: list_runs(root), "{error}", ":material/error:")
        return
    if not names:
        empty_store(root, [study.name for study in studies])
        return
    name = pick_run(root, names)
    follow, view = pick_follow(), pick_view()
    if name is None:
        st.info(say("Choose a run in the sidebar."), icon=":material/arrow_back:")
        return
    try:
        feed = feed_of(str(root / name))
        snapshot = feed.refresh(this_tab(), past=False)
    except LabError:
        if launch.state(root / name) is not None:
            starting_run(root / name)
            return

        def read() -> None:
            # One whose folder was just made may turn out to be starting.
            if launch.state(root / name) is None:
                feed_of(str(root / name)).refresh()

        unreadable(read, later("This run cannot be read: {error}"), ":material/folder_off:")
        return
    (show_wall if wall else follow_run)(root, feed, snapshot, view, follow.run_every)


page()
