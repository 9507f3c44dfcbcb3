"""Studies page: each study of `lab tune`, and one of them followed while its trials run."""

from functools import partial
from pathlib import Path

import streamlit as st
from components import studies
from components.card import MOST_ROWS, card, sentences
from components.clock import ENDED, LOOK_SECONDS, look_again, repeat
from components.feed import SnapshotFeed
from components.language import later, say, say_error
from components.panels import PageFrame, headline
from components.plot import draw_bases
from components.resources import drawing_cache, feed_of, root_of_page
from components.root import run_folders
from components.scripts import load_scripts
from components.sidebar import pick_follow, pick_objective, pick_study
from components.studies import StudyPicture
from components.words import STATE_SIGNS, number, plain, sign_of_life

from lab.base import LabError
from lab.charts import CurveView, best_trial, coordinates_figure, front_figure, importance_figure, study_figure
from lab.store import RunSummary


def no_study(root: Path) -> None:
    """What a person sees before the first study; the page looks for one by itself."""
    st.info(say("No study yet in {folder}.", folder=plain(str(root.absolute()))), icon=":material/hourglass_empty:")
    st.markdown(say("A study tries other settings of a recipe, several trials at once. Start one in a terminal:"))
    st.code("lab tune --dataset digits --search weight_lr=1e-3:1e-1:log --n-trials 20", language=None)
    st.markdown(say("Studies lie in a folder of their own unless *\\-\\-outdir* says otherwise; this shows them:"))
    st.code("lab dashboard --save-dir studies", language=None)
    known = run_folders(root)

    def wait() -> None:
        if run_folders(root) != known:
            st.rerun()
        st.caption(say("Looking for a study every second."))

    repeat(wait, LOOK_SECONDS)


def unreadable(name: str, path: Path) -> None:
    """Says why a study cannot be read, and draws the whole page once it can be."""

    def look() -> None:
        try:
            StudyPicture.of(feed_of(str(path)).refresh())
        except LabError as error:
            text = say("Study {name} cannot be read: {error}", name=name, error=say_error(error))
            st.error(plain(text), icon=":material/folder_off:")
            return
        st.rerun()

    repeat(look, LOOK_SECONDS)


def status(picture: StudyPicture) -> None:
    """One line of badges: state, sampler, storage, freshness."""
    summary = picture.snapshot.summary
    icon, color, _ = STATE_SIGNS[summary.state]
    meaning = say(studies.STATES[summary.state])
    st.badge(say(summary.state), icon=f":material/{icon}:", color=color, help=meaning)  # type: ignore[arg-type]
    st.badge(plain(say("sampler: {name}", name=picture.sampler)), icon=":material/casino:", color="gray")
    event = picture.snapshot.latest("study")
    if event is not None:
        st.badge(
            plain(say("pruner: {name}", name=event.payload["pruner"])), icon=":material/content_cut:", color="gray"
        )
        kind, _, place = str(event.payload["storage"]).partition(":")
        st.badge(plain(kind), icon=":material/database:", color="gray", help=plain(place) or None)
    st.badge(sign_of_life(summary), icon=":material/favorite:", color="gray")


def notices(picture: StudyPicture) -> None:
    """How the study ended and how to go on with it; what is still to come."""
    summary = picture.snapshot.summary
    if summary.reason:
        st.warning(plain(summary.reason), icon=f":material/{STATE_SIGNS[summary.state][0]}:")
    command = studies.resume_command(picture)
    if command is not None:
        st.caption(say("Trials are left. This goes on with them:"))
        st.code(command, language=None)
    if picture.running and all(trial.state == "running" for trial in picture.trials):
        st.info(say("The study has begun; no trial has ended yet."), icon=":material/hourglass_top:")
    if not picture.snapshot.complete:
        st.info(say("Reading a long study: the rest is still loading."), icon=":material/hourglass_top:")


def body(picture: StudyPicture, objective: str) -> None:
    """Headline numbers, what needs attention, the three figures, the trials, the retry policy."""
    drawn = frame(picture)
    notices(picture)
    headline(studies.kpis(picture, objective))
    alerts = studies.alert_rows(picture.snapshot)
    if alerts:
        with card(say("Alerts"), say("What was repaired, given back or refused, newest first.")):
            sentences(alerts, say("Alerts with level, time, title and reason"))
    left, right = st.columns(2)
    with left:
        history(drawn, picture, objective)
    with right:
        importances(drawn, picture, objective)
    if len(picture.objectives) > 1:
        front(drawn, picture, objective)
    coordinates(drawn, picture, objective)
    trials(picture)
    help = say("What becomes of an attempt that did not end well, and how many there were.")
    with card(say("Retry policy"), help):
        alt = say("Cause, whether it is tried again, meaning, attempts")
        sentences(picture.policy_rows(), alt)
    draw_bases(drawn.bases)


def frame(picture: StudyPicture) -> PageFrame:
    """The study as what draws figures and keeps them."""
    return PageFrame(snapshot=picture.snapshot, whole=picture.snapshot, view=CurveView(), cache=drawing_cache())


def history(drawn: PageFrame, picture: StudyPicture, objective: str) -> None:
    """The value of each trial, and the best so far."""
    direction = picture.objectives[objective]
    best = best_trial(picture.trials, objective, direction)
    told = say("none")
    if best is not None:
        told = say("{value} in trial {number}", value=number(best.values[objective]), number=best.number)
    with card(say("History"), say("A point is a complete trial; the line is the best value so far.")):
        drawn.figure(
            f"study {objective}",
            picture.snapshot.version,
            lambda: study_figure(picture.trials, objective, direction),
            say("{objective} of each trial; best {told}", objective=objective, told=told),
        )


def front(drawn: PageFrame, picture: StudyPicture, objective: str) -> None:
    """The trials that no other one beats in every objective, against each of the other objectives."""
    rows = studies.front_rows(picture)
    help = say("Orange diamonds are the complete trials that no other trial beats in every objective.")
    text = later("{objective} against {across}; none beats {count} trials, which the table below lists")
    with card(say("Pareto front"), help):
        others = [name for name in picture.objectives if name != objective]
        for across, column in zip(others, st.columns(len(others)), strict=True):
            with column:
                drawn.figure(
                    f"front {across} {objective}",
                    picture.snapshot.version,
                    partial(front_figure, picture.trials, picture.objectives, across, objective),
                    say(text, objective=objective, across=across, count=len(rows)),
                )
        if rows:
            st.dataframe(rows[:MOST_ROWS], hide_index=True, alt=say("Trials that none beats, with all objectives"))


def importances(drawn: PageFrame, picture: StudyPicture, objective: str) -> None:
    """What the searched fields matter."""
    shares, told = picture.importances(objective)
    alt = ", ".join(f"{name} {share:.0%}" for name, share in shares.items()) or say("not worked out")
    help = say("How much of the difference between good and bad trials each field explains.")
    with card(say("Importances"), help):
        drawn.figure(f"importances {objective}", picture.snapshot.version, lambda: importance_figure(shares), alt)
        if told:
            st.caption(plain(f"{told}."))


def coordinates(drawn: PageFrame, picture: StudyPicture, objective: str) -> None:
    """All complete trials across all searched fields."""
    direction = picture.objectives[objective]
    help = say("A line is a complete trial. Drag along an axis to keep what passes there.")
    fields = ", ".join(each["field"] for each in picture.space)
    with card(say("Parallel coordinates"), help):
        drawn.figure(
            f"coordinates {objective}",
            picture.snapshot.version,
            lambda: coordinates_figure(picture.trials, picture.space, objective, direction),
            say(
                "Each complete trial across {fields} to its {objective}; the table of trials has the same numbers",
                fields=fields,
                objective=objective,
            ),
        )
        st.caption(plain(say("The bluer a line, the better its {objective}.", objective=objective)))


def trials(picture: StudyPicture) -> None:
    """The table of attempts."""
    help = say("Every attempt, the latest first; a retry names the trial whose values it has.")
    with card(say("Trials"), help):
        rows = studies.trial_rows(picture, MOST_ROWS)
        if not rows:
            st.caption(say("No trial has begun."))
            return
        name, help = say("run"), say("Opens the trial's run in a new tab.")
        link = st.column_config.LinkColumn(name, display_text=say("Live"), help=help)
        alt = say("Attempts with state, values, settings")
        st.dataframe(rows, hide_index=True, column_config={name: link}, alt=alt)
        if len(picture.trials) > MOST_ROWS:
            st.caption(say("The latest {shown} of {count:,}.", shown=MOST_ROWS, count=len(picture.trials)))


def open_trial(picture: StudyPicture) -> None:
    """The way from a trial to its run on the Live page."""
    summary = picture.snapshot.summary
    runs = {trial.number: trial.run for trial in reversed(picture.trials) if studies.has_run(summary, trial)}
    if not runs:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(say("Run of trial"), list(runs), key="open_trial")
        if st.button(say("Open"), icon=":material/visibility:", key="open"):
            st.switch_page("app_pages/live.py", query_params={"run": f"{summary.name}/{runs[chosen]}"})


def follow_study(root: Path, feed: SnapshotFeed, picture: StudyPicture, run_every: float | None) -> None:
    """Name and choices stand still; status and body are drawn anew at each tick, by one fragment."""
    snapshot = picture.snapshot
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    line.subheader(plain(snapshot.summary.name), width="content")
    objective = pick_objective(snapshot.summary.name, list(picture.objectives))
    if objective is None:
        st.info(say("Choose an objective in the sidebar."), icon=":material/arrow_back:")
        return
    open_trial(picture)
    # What stands outside the live part depends on these: list of studies, trials to open.
    drawn_for = (snapshot.summary.state, len(picture.trials), run_folders(root))

    def live() -> None:
        try:
            now = StudyPicture.of(feed.refresh())
        except LabError as error:
            text = say("This study can no longer be read: {error}", error=say_error(error))
            st.error(plain(text), icon=":material/error:")
            return
        if (now.snapshot.summary.state, len(now.trials), run_folders(root)) != drawn_for:
            st.rerun()
        if now.snapshot.complete and not snapshot.complete:
            st.rerun()
        with line:
            status(now)
        body(now, objective)

    if snapshot.summary.state in ENDED and snapshot.complete:
        # Nothing comes any more: drawn once. A resumed study is found by a look that draws nothing.
        repeat(live, None)
        repeat(partial(look_again, root, feed, snapshot, drawn_for[2]), run_every)
    else:
        repeat(live, run_every)
    load_scripts()


def study_list(found: tuple[RunSummary, ...]) -> None:
    """The table of studies."""
    st.dataframe(studies.study_rows(found), hide_index=True, alt=say("Studies with state, start and reason"))


def page() -> None:
    """List, choose, follow."""
    root = root_of_page()
    try:
        found = studies.runs_and_studies(root)[1]
    except LabError as error:
        st.error(plain(say_error(error)), icon=":material/error:")
        return
    if not found:
        no_study(root)
        return
    study_list(found)
    name = pick_study(root, [study.name for study in found])
    follow = pick_follow()
    if name is None:
        st.info(say("Choose a study in the sidebar."), icon=":material/arrow_back:")
        return
    path = root / name
    try:
        feed = feed_of(str(path))
        picture = StudyPicture.of(feed.refresh())
    except LabError:
        unreadable(name, path)
        return
    follow_study(root, feed, picture, follow.run_every)


page()
