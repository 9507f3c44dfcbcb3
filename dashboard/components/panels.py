"""The live page's panels: thin Streamlit around figures, tables and sentences that come from plain functions."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from components import figures, words
from components.ask import Asked, ask_panel
from components.card import card as card
from components.card import folded, sentences
from components.cell import change_card, genotype_card, probability_card
from components.charted import charted
from components.controls import command_line
from components.feed import Snapshot
from components.images import readings
from components.language import later, say
from components.metrics import all_metrics
from components.patch import Base
from components.plot import draw
from components.proof import proof_panel
from lab.charts import (
    CurveView,
    StepScale,
    held_text,
    rescale_steps,
)

HELD_HELP = later("A person set the Gumbel temperature; it stays there until *Release temperature* is pressed.")
PAST_HELP = later("Everything below is of that moment; *Now* beside the slider goes back to the latest step.")
HELD_BACK_HELP = later(
    "Everything on this page is of the moment before; *Reveal* in *Ask the class* shows how it ended."
)
LOSS_HELP = later("Cross-entropy of the correct class, in nats.")
ACCURACY_HELP = later("Share of images that are classified correctly.")


@dataclass(frozen=True, kw_only=True)
class PageFrame:
    """What one tick draws: a snapshot, how to draw it, and the figures drawn before."""

    snapshot: Snapshot
    """The run at the moment that the page shows: all figures, numbers and sentences are of this one."""
    whole: Snapshot
    """The run as it is now: what state, heartbeat and answers to commands are read from."""
    view: CurveView
    cache: figures.DrawingCache
    x: str = "step"
    """What the horizontal axis of the curves measures: step, epoch, or time."""
    metrics: str = ""
    """What is looked for in the names of all metrics."""
    asked: Asked | None = None
    """What the class is asked; None where it is not asked."""
    bases: dict[str, Base] = field(default_factory=dict)
    """What the drawings of this tick are patches of, by chart; they are sent behind them."""

    def figure(self, name: str, depends: Hashable, build: Callable[[], go.Figure], alt: str) -> None:
        """Draw a figure; the same `depends` gives the same figure, which the browser leaves alone."""
        drawing = self.drawing(name, depends, build)
        draw(drawing, key=f"figure_{name}", label=alt, view=f"{self.snapshot.summary.path} {self.view}")

    @cached_property
    def scale(self) -> StepScale | None:
        """What the horizontal axis measures instead of steps; None for steps."""
        return figures.scale_of(self.snapshot, self.x)

    def curve(
        self, name: str, depends: Hashable, build: Callable[[], go.Figure], alt: str, *, own_names: bool = False
    ) -> None:
        """Draw a figure over steps, on the horizontal axis that the page shows.

        Args:
            alt: what it shows, over steps.
            own_names: the names of its lines are those of metrics.
        """
        scale = self.scale
        if scale is not None:
            alt = alt.replace(say("over steps"), say("over {axis}", axis=charted(scale.title)))
            end = (int(scale.step[-1]), float(scale.position[-1]))
            steps, depends = build, (depends, self.x, end)
            build = partial(_rescaled, steps, scale)
        drawing = self.drawing(name, depends, build, own_names=own_names)
        # A zoom belongs to the axis that it was made on.
        view = f"{self.snapshot.summary.path} {self.view} {'step' if scale is None else scale.title}"
        draw(drawing, key=f"figure_{name}", label=alt, view=view)

    def drawing(
        self, name: str, depends: Hashable, build: Callable[[], go.Figure], *, own_names: bool = False
    ) -> figures.Drawing:
        """A figure of this run, the one of before where `depends` is the same."""
        run = (self.snapshot.summary.path, self.snapshot.version[0], name)
        # Two tabs that show different moments would take each other's base away.
        chart = (*run, self.view, self.x, self.snapshot.cut is None)
        drawing = self.cache.get((*run, depends), build, chart=chart, own_names=own_names)
        if drawing.base is not None:
            self.bases[name] = drawing.base
        return drawing

    def data(self, name: str, value: Any) -> figures.Drawing:
        """Plain data of this run for a script: all of it, or what has changed."""
        run = (self.snapshot.summary.path, self.snapshot.version[0], name, self.snapshot.cut is None)
        drawing = self.cache.data(value, run)
        if drawing.base is not None:
            self.bases[name] = drawing.base
        return drawing

    def lengths(self, *names: str) -> tuple[object, ...]:
        """Number of points and last step of these scalars, and the events' cursor: what the curves depend on."""
        found = [self.snapshot.series(name) for name in names]
        ends = [(len(series), series.thinned, int(series.step[-1]) if len(series) else -1) for series in found]
        return (*ends, self.snapshot.version[2])


def _rescaled(build: Callable[[], go.Figure], scale: StepScale) -> go.Figure:
    return rescale_steps(build(), scale)


def status(picture: PageFrame) -> None:
    """One line of badges: state, data set, attempt, freshness, the last command."""
    snapshot, whole = picture.snapshot, picture.whole
    state = words.shown_state(whole)
    icon, color, meaning = words.STATE_SIGNS[state]
    st.badge(say(state), icon=f":material/{icon}:", color=color, help=say(meaning))  # type: ignore[arg-type]
    if title := words.dataset_title(snapshot.config):
        st.badge(words.plain(say("data: {title}", title=title)), icon=":material/dataset:", color="gray")
    if snapshot.summary.attempt > 1:
        st.badge(say("attempt {number}", number=snapshot.summary.attempt), icon=":material/replay:", color="gray")
    st.badge(words.sign_of_life(snapshot.summary), icon=":material/favorite:", color="gray")
    if picture.asked is not None and picture.asked.until is not None:
        text = say("an outcome is held back")
        st.badge(text, icon=":material/visibility_off:", color="violet", help=say(HELD_BACK_HELP))
    elif snapshot.cut is not None:
        text = say("as it was at step {step:,}", step=snapshot.cut)
        st.badge(text, icon=":material/history:", color="violet", help=say(PAST_HELP))
    held = words.held_temperature(snapshot)
    if held is not None:
        text = say("temperature {held}", held=charted(held_text(held)))
        st.badge(text, icon=":material/lock:", color="orange", help=say(HELD_HELP))
    test = snapshot.series("test/accuracy").last
    if test is not None:
        text = say("test accuracy {share}", share=words.number(test, ".2%"))
        st.badge(text, icon=":material/flag:", color="green")
    command_line(whole)


def body(picture: PageFrame) -> None:
    """What a person should look at first, headline numbers, the timeline, the genotype, the curves."""
    notices(picture)
    headline(words.kpis(picture.snapshot))
    _plan(picture)
    attention = words.needs_attention(picture.snapshot)
    if attention:
        alerts(picture.snapshot)
    _timeline(picture)
    event, change = picture.snapshot.latest("genotype"), figures.latest_change(picture.snapshot)
    left, right = st.columns([3, 2])
    with left:
        genotype_card(picture, event, change)
    with right:
        change_card(picture, change)
    evidence(picture)
    left, right = st.columns(2)
    with left:
        probability_card(picture, event)
    with right:
        _temperature(picture)
    curves(picture)
    if not attention:
        alerts(picture.snapshot)


def evidence(picture: PageFrame) -> None:
    """The proof of the latest change, and the question of what becomes of it; nothing where nothing changes."""
    if picture.snapshot.config.get("recipe") == "fixed":
        return
    left, right = st.columns([5, 2])
    with left:
        proof_panel(picture)
    with right:
        ask_panel(picture.asked)


def curves(picture: PageFrame, *, loss: str = "", accuracy: str = "") -> None:
    """What every run has: loss, accuracy, stability, memory, all metrics; what the first two are stands beside them."""
    left, right = st.columns(2)
    with left:
        _curve(picture, "loss", say("Loss"), loss or say(LOSS_HELP))
    with right:
        _curve(picture, "accuracy", say("Accuracy"), accuracy or say(ACCURACY_HELP))
    left, right = st.columns(2)
    with left:
        _stability(picture)
    with right:
        _memory(picture)
    readings(picture)
    all_metrics(picture)


def headline(kpis: Sequence[words.Kpi]) -> None:
    """The headline numbers."""
    with st.grid(4):
        for kpi in kpis:
            st.metric(kpi.label, kpi.value, help=kpi.help, border=True, height="stretch")


def notices(picture: PageFrame) -> None:
    """What a person should know before anything else: how a run ended, values that are no numbers, rows to come."""
    snapshot = picture.snapshot
    # How a run ended belongs to its end.
    if snapshot.cut is None:
        _dead_run(picture)
    for note in words.broken_notes(snapshot):
        st.warning(words.plain(note), icon=":material/warning:")
    if not snapshot.scalars and not snapshot.events and snapshot.summary.state == "running":
        st.info(say("The run has begun and has not finished its first step yet."), icon=":material/hourglass_top:")
    if not snapshot.complete:
        st.info(say("Reading a long run: the curves are still loading."), icon=":material/hourglass_top:")


def _plan(picture: PageFrame) -> None:
    """Width and length of a planned run, and why."""
    event = picture.snapshot.latest("plan")
    if event is None:
        return

    def reasons() -> None:
        for reason in event.payload["reasons"]:
            st.markdown(f"- {words.plain(reason)}")
        st.dataframe(
            words.plan_rows(event), hide_index=True, alt=say("Widths that the plan weighed, with their epochs")
        )

    folded(words.plain(words.plan_title(event)), "plan", reasons, icon=":material/design_services:")


def _timeline(picture: PageFrame) -> None:
    snapshot = picture.snapshot
    events = snapshot.version[2]
    help = say("Warm-up trains weights only; then the architecture is searched, mutated and retrained.")
    with card(say("Phases"), help):
        picture.curve(
            "timeline",
            (snapshot.last_step, events),
            lambda: figures.timeline_panel(snapshot),
            say("Phases of the run over steps; now {phase}", phase=words.phase_text(snapshot)),
        )


def _dead_run(picture: PageFrame) -> None:
    summary = picture.snapshot.summary
    stopped = summary.state == "finished" and bool(summary.reason)
    if summary.state not in ("failed", "stale") and not stopped:
        return
    texts = {"failed": later("The run failed: {reason}."), "stale": later("The run is dead or stuck: {reason}.")}
    ended = later("The run was ended: {reason}.")
    reason = words.plain(summary.reason or say("no reason was written"))
    told = [say(texts.get(summary.state, ended), reason=reason)]
    if summary.last_step is not None:
        told.append(say("Its last step was {step:,}.", step=summary.last_step))
    command = words.resume_command(summary.path)
    told.append(say("To resume from its last checkpoint:" if command else "It left no checkpoint: start it again."))
    tell = st.info if stopped else st.error
    tell(" ".join(told), icon=":material/info:" if stopped else ":material/error:")
    if command:
        st.code(command, language=None)


def alerts(snapshot: Snapshot) -> None:
    """The latest alerts; nothing where there is none."""
    rows = words.alert_rows(snapshot)
    if rows:
        with card(say("Alerts"), say("What needs your attention, newest first.")):
            sentences(rows, say("Alerts with level, step, title and reason"))


def _temperature(picture: PageFrame) -> None:
    snapshot = picture.snapshot
    help = say("As the temperature falls the search converges; M1, M2 are mutations.")
    with card(say("Temperature and entropy"), help):
        depends = (picture.view, picture.lengths("temperature"))
        now = words.number(snapshot.series("temperature").last, ".3f")
        entropy = words.number(snapshot.history.entropy.last, ".3f")
        picture.curve(
            "temperature",
            depends,
            lambda: figures.temperature_panel(snapshot, picture.view),
            say(
                "Gumbel temperature, now {temperature}, above entropy per edge, now {entropy} nats, over steps",
                temperature=now,
                entropy=entropy,
            ),
        )


def _curve(picture: PageFrame, measure: str, title: str, help: str) -> None:
    snapshot = picture.snapshot
    panel = figures.loss_panel if measure == "loss" else figures.accuracy_panel
    with card(title, help):
        depends = (picture.view, picture.lengths(measure, f"decision/{measure}", f"test/{measure}"))
        now = words.number(snapshot.series(measure).last)
        alt = say("{title} over steps; latest training value {now}", title=title, now=now)
        picture.curve(measure, depends, lambda: panel(snapshot, picture.view), alt)


def _stability(picture: PageFrame) -> None:
    snapshot = picture.snapshot
    help = say("Health from 1 (stable) to 0 (failed), with the monitor's reasons and the interventions.")
    with card(say("Stability"), help):
        depends = (picture.view, picture.lengths("health"))
        now = words.number(snapshot.series("health").last, ".2f")
        picture.curve(
            "stability",
            depends,
            lambda: figures.stability_panel(snapshot, picture.view),
            say("Health score over steps, now {now}", now=now),
        )
        lines = words.stability_lines(snapshot)
        for line in lines[:3] or (say("No verdict."),):
            st.caption(words.plain(line))
        if len(lines) > 3:
            folded(say("Earlier verdicts"), "verdicts", partial(_captions, lines[3:]))


def _captions(lines: Sequence[str]) -> None:
    for line in lines:
        st.caption(words.plain(line))


def _memory(picture: PageFrame) -> None:
    snapshot = picture.snapshot
    with card(say("Memory"), say("Memory of the training process and of its live tensors.")):
        depends = (picture.view, picture.lengths("memory/rss", "memory/tensors"))
        tensors = words.bytes_text(snapshot.series("memory/tensors").last)
        picture.curve(
            "memory",
            depends,
            lambda: figures.memory_panel(snapshot, picture.view),
            say("Memory over steps; live tensors now {tensors}", tensors=tensors),
        )
