"""What the page says about a run, as text: state, headline numbers, alerts, reasons, what to do about a dead run."""

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from components.charted import charted
from components.feed import Snapshot
from components.language import later, say
from lab.charts import health_word, phase_style
from lab.store import EventRow, RunSummary

STATE_SIGNS: dict[str, tuple[str, str, str]] = {
    later("starting"): (
        "hourglass_top",
        "blue",
        later("The process of the run has begun; it does not train yet."),
    ),
    later("running"): ("play_circle", "blue", later("The run is training.")),
    later("paused"): ("pause_circle", "orange", later("The run is paused; it waits for *Resume*.")),
    later("finished"): ("check_circle", "green", later("The run is finished.")),
    later("failed"): ("error", "red", later("The run ended with an error.")),
    later("stale"): ("heart_broken", "orange", later("No heartbeat; the process ended without closing the run.")),
    later("unreadable"): ("folder_off", "red", later("The folder holds no readable run.")),
}
"""Material icon, badge colour and meaning of each state."""

ALERT_SIGNS: dict[str, str] = {"info": later("○ info"), "warning": later("⚠ warning"), "error": later("✖ error")}
NOTHING = "–"
GROWTH = (later("width"), later("depth"))
"""In what a network can grow."""
_MARKDOWN = frozenset("\\`*_{}[]()<>#+-!|$:~^&")
# Streamlit looks for bare addresses, icons and arrows in the text that is left when the backslashes are gone.
_FOUND_LATER = re.compile(r":(?=/|material/)|www(?=\.)|(?=@)|[-<>=~](?=[-<>=~])", re.IGNORECASE)
# No width and no break: nothing is seen of it, and no address goes across it.
_WORD_JOINER = "\u2060"


@dataclass(frozen=True, kw_only=True)
class Kpi:
    """One headline number."""

    name: str
    """What the code calls it; `label` is what the page does, in its language."""
    label: str
    value: str
    help: str


def is_paused(snapshot: Snapshot) -> bool:
    """Whether the last pause or resume that this attempt carried out was a pause."""
    for event in reversed(snapshot.of("control")):
        # A pause ends with its process: a run that was resumed is not paused.
        own = event.attempt == snapshot.summary.attempt
        if own and event.payload["done"] and event.payload["command"] in ("pause", "resume"):
            return bool(event.payload["command"] == "pause")
    return False


def shown_state(snapshot: Snapshot) -> str:
    """The run's state, with `paused` for a running one that waits."""
    state = snapshot.summary.state
    return "paused" if state == "running" and is_paused(snapshot) else state


def is_agent(snapshot: Snapshot) -> bool:
    """Whether the evolution agent changes the network of this run, which then has no cell."""
    return snapshot.config.get("recipe") == "agent"


def is_multitask(snapshot: Snapshot) -> bool:
    """Whether the run trains a model of a text and a table, which has no cell."""
    return snapshot.config.get("recipe") == "multitask"


def is_text(snapshot: Snapshot) -> bool:
    """Whether the run trains a text model, which has no cell."""
    return snapshot.config.get("recipe") == "text"


def has_no_cell(snapshot: Snapshot) -> bool:
    """Whether the run keeps the structure of its model, and samples nothing."""
    return is_multitask(snapshot) or is_text(snapshot)


def offers(snapshot: Snapshot, command: str) -> bool:
    """Whether the run serves `command` in its current phase; runs of versions that did not tell are asked by recipe."""
    phase = snapshot.latest("phase")
    offered = [] if phase is None else phase.payload.get("offers", [])
    if offered:
        return command in offered
    if command == "mutate":
        return not has_no_cell(snapshot) and not (is_agent(snapshot) and policy_of(snapshot) == "none")
    if command == "release_temperature":
        return False
    return command != "set_temperature" or not (is_agent(snapshot) or has_no_cell(snapshot))


def held_temperature(snapshot: Snapshot) -> float | None:
    """The Gumbel temperature that a person holds; None where the schedule sets it."""
    event = snapshot.latest("temperature")
    return float(event.payload["temperature"]) if event is not None and event.payload.get("held") else None


def policy_of(snapshot: Snapshot) -> str:
    """Who chooses the actions of an agent's run: agent, or a baseline."""
    return str(snapshot.config.get("evolve", {}).get("policy", "agent"))


def number(value: float | None, form: str = ".4g") -> str:
    """A number as text: a dash where there is none, the word where it is NaN or infinite."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    return ("∞" if value > 0 else "-∞") if math.isinf(value) else format(value, form)


def plain(text: str) -> str:
    """Text of a run as Markdown that shows it letter by letter: no run can format the page or link out of it.

    An invisible word joiner parts what would become a link, an icon or an arrow.
    """
    parted = _FOUND_LATER.sub(rf"\g<0>{_WORD_JOINER}", " ".join(text.split()))
    return "".join(f"\\{letter}" if letter in _MARKDOWN else letter for letter in parted)


def bytes_text(count: float | None) -> str:
    """Bytes in binary units: `412 MiB`."""
    if count is None or not math.isfinite(count):
        return number(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if abs(count) >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("the last unit takes every count")


def age_text(seconds: float) -> str:
    """`3 s ago`, `4 min ago`, `2 h ago`, `5 d ago`."""
    days, hours = later("{count:.0f} d ago"), later("{count:.0f} h ago")
    for size, text in ((86_400, days), (3_600, hours), (60, later("{count:.0f} min ago"))):
        if seconds >= 2 * size:
            return say(text, count=seconds / size)
    return say("{count:.0f} s ago", count=seconds)


def clock_text(moment: float) -> str:
    """Local date and time of a moment in seconds since 1970."""
    return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M:%S")


def sign_of_life(summary: RunSummary) -> str:
    """How fresh the page's picture is: `updated 1 s ago` for a live run, its end or last heartbeat for another."""
    if summary.state == "running":
        return say("updated {age}", age=age_text(summary.heartbeat_age))
    ended = summary.state in ("finished", "failed")
    return say("ended {age}" if ended else "last heartbeat {age}", age=age_text(summary.heartbeat_age))


def phase_text(snapshot: Snapshot) -> str:
    """Name of the current phase."""
    event = snapshot.latest("phase")
    return NOTHING if event is None else charted(phase_style(str(event.payload["phase"])).label)


def _phase_label(snapshot: Snapshot) -> str:
    event = snapshot.latest("phase")
    if event is None or event.payload["phase"] in ("warmup", "finished"):
        return say("Phase")
    return say("Phase · cycle {cycle}", cycle=event.payload["cycle"] + 1)


def epoch_text(snapshot: Snapshot) -> str:
    """Current epoch, counted from 1."""
    epoch = snapshot.series("epoch").last
    if epoch is None:
        event = snapshot.latest("phase")
        return NOTHING if event is None else str(int(event.payload["epoch"]) + 1)
    return str(int(epoch) + 1) if math.isfinite(epoch) else number(epoch)


def kpis(snapshot: Snapshot) -> tuple[Kpi, ...]:
    """The headline numbers, in order."""
    health = snapshot.series("health").last
    accuracy = snapshot.series("decision/accuracy").last
    return (
        Kpi(
            name="step",
            label=say("Step"),
            value=step_text(snapshot),
            help=say("Optimizer steps since the run began."),
        ),
        Kpi(
            name="phase",
            label=_phase_label(snapshot),
            value=phase_text(snapshot),
            help=say("Current phase of the run."),
        ),
        Kpi(
            name="epoch",
            label=say("Epoch"),
            value=epoch_text(snapshot),
            help=say("Pass over the training images, counted from 1."),
        ),
        Kpi(
            name="temperature",
            label=say("Temperature τ"),
            value=number(snapshot.series("temperature").last, ".3f"),
            help=say("Gumbel temperature: high explores, low converges."),
        ),
        Kpi(
            name="entropy",
            label=say("Entropy"),
            value=number(snapshot.history.entropy.last, ".3f"),
            help=say("Mean entropy per edge in nats: how far the search is from convergence."),
        ),
        Kpi(
            name="stability",
            label=say("Stability"),
            value=NOTHING if health is None else f"{number(health, '.2f')} {charted(health_word(health))}",
            help=say("Health score from 0 to 1."),
        ),
        Kpi(
            name="accuracy",
            label=say("Decision accuracy"),
            value=NOTHING if accuracy is None else number(accuracy, ".1%"),
            help=say("Share of images of the selection split that are classified correctly; never trained on."),
        ),
        Kpi(
            name="memory",
            label=say("Memory"),
            value=bytes_text(snapshot.series("memory/rss").last),
            help=say("Resident set of the training process."),
        ),
    )


def step_text(snapshot: Snapshot) -> str:
    """Latest step, a dash before the first."""
    last = snapshot.summary.last_step
    seen = max((int(series.step[-1]) for series in snapshot.scalars.values() if len(series)), default=None)
    best = max((step for step in (last, seen) if step is not None), default=None)
    return NOTHING if best is None else f"{best:,}"


def dataset_title(config: Mapping[str, Any]) -> str:
    """Name of the data set, with `(synthetic)` where the settings say so and it does not say itself what is synthetic;
    empty where they name none."""
    data = config.get("data")
    name = config.get("dataset_title") or (data.get("name") if isinstance(data, Mapping) else None)
    if not isinstance(name, str):
        return ""
    return say("{name} (synthetic)", name=name) if config.get("synthetic") and "synthetic" not in name else name


def resume_command(run_dir: Path) -> str | None:
    """The command that goes on with a run that ended early; None where it left no checkpoint."""
    if not any(run_dir.glob("checkpoints/*.pt")):
        return None
    return f"lab train --resume {shlex.quote(str(run_dir))}"


def rank_text(event: EventRow | None) -> str:
    """True rank of the most probable cell for each column of a loaded table; empty where none was loaded."""
    if event is None or not event.payload["rank"]:
        return ""
    ranks = ", ".join(
        say("{rank:,} on {table}", rank=rank, table=table) for table, rank in event.payload["rank"].items()
    )
    return say("True rank of the most probable cell, 1 the best: {ranks}", ranks=ranks)


def needs_attention(snapshot: Snapshot) -> bool:
    """Whether any alert is more than information."""
    return any(event.kind == "oom" or event.payload["level"] != "info" for event in snapshot.of("alert", "oom"))


def alert_rows(snapshot: Snapshot, limit: int = 8) -> list[dict[str, str]]:
    """The latest alerts and out-of-memory events with level, step and reason, newest first."""
    rows: list[dict[str, str]] = []
    for event in reversed(snapshot.of("alert", "oom")):
        payload = event.payload
        level = "warning" if event.kind == "oom" else str(payload["level"])
        title = say("out of memory: {action}", action=payload["action"]) if event.kind == "oom" else payload["title"]
        rows.append(
            {
                say("level"): say(ALERT_SIGNS.get(level, level)),
                say("step"): f"{event.step:,}",
                say("what"): str(title),
                say("reason"): str(payload["text"]),
            }
        )
    return rows[:limit]


def plan_title(event: EventRow) -> str:
    """The plan of a run in one line."""
    payload = event.payload
    spends = f"{payload['operations'] / 1e9:,.0f} GFLOP"
    if payload["seconds"] is not None:
        spends = f"{payload['seconds']:,.0f} s ({spends})"
    return say(
        "Plan for {budget}: {channels} channels, {layers} cells, {epochs} epochs",
        budget=spends,
        channels=payload["channels"],
        layers=payload["layers"],
        epochs=payload["epochs"],
    )


def plan_rows(event: EventRow) -> list[dict[str, str]]:
    """The widths that a plan weighed, one row each; * marks the chosen one."""
    chosen = event.payload["channels"]
    return [
        {
            say("channels"): f"{each['channels']}{' *' if each['channels'] == chosen else ''}",
            say("GFLOP an epoch"): f"{each['operations'] / 1e9:,.2f}",
            say("epochs in the budget"): f"{each['epochs']:,.1f}",
        }
        for each in event.payload["candidates"]
    ]


def growth_lines(snapshot: Snapshot) -> tuple[str, ...]:
    """How the network grew, newest first, one sentence each."""
    lines = []
    for event in reversed(snapshot.of("growth")):
        payload = event.payload
        lines.append(
            say(
                "step {step:,}: grew in {what} at {where}, {before:,} → {after:,} parameters of the supernet, output "
                "changed by {difference}",
                step=event.step,
                what=say(str(payload["what"])),
                where=payload["where"],
                before=payload["parameters_before"],
                after=payload["parameters_after"],
                difference=number(payload["difference"], ".1e"),
            )
        )
    return tuple(lines)


def broken_notes(snapshot: Snapshot) -> tuple[str, ...]:
    """One sentence for each scalar that has been NaN or infinite."""
    notes = []
    for name, series in sorted(snapshot.scalars.items()):
        broken = series.broken
        if len(broken):
            if len(broken) == 1:
                text = later("{name} was NaN or infinite once, first at step {step:,}.")
            else:
                text = later("{name} was NaN or infinite {count:,} times, first at step {step:,}.")
            notes.append(say(text, name=name, count=len(broken), step=int(broken[0])))
    return tuple(notes)


def stability_lines(snapshot: Snapshot, limit: int = 8) -> tuple[str, ...]:
    """Why the score is what it is, and what was done about it: newest first, one sentence each.

    Of verdicts in a row that agree in state and advice only the newest is shown.
    """
    lines: list[str] = []
    newer: tuple[object, ...] = ()
    for event in reversed(snapshot.of("stability", "intervention", "rollback")):
        verdict = (event.kind, event.payload.get("state"), event.payload.get("advice"))
        if event.kind != "stability" or verdict != newer:
            lines.append(say("step {step:,}: {text}", step=event.step, text=_stability_text(event.kind, event.payload)))
        newer = verdict
        if len(lines) == limit:
            break
    return tuple(lines)


def _stability_text(kind: str, payload: Mapping[str, Any]) -> str:
    if kind == "intervention":
        change = ""
        if payload.get("before") is not None and payload.get("after") is not None:
            change = f" ({number(payload['before'])} → {number(payload['after'])})"
        action = f"{str(payload['action']).replace('_', ' ')}{change}"
        return say("⚑ intervention, {action}: {reason}", action=action, reason=payload["reason"])
    if kind == "rollback":
        return say("↺ rollback to step {step:,}: {reason}", step=payload["to_step"], reason=payload["reason"])
    reasons = "; ".join(payload.get("reasons") or ()) or say("no warning")
    advice = str(payload.get("advice") or "none").replace("_", " ")
    asked = "" if advice == "none" else say(" · advice: {advice}", advice=advice)
    health = number(payload["health"], ".2f")
    return say("{state} (health {health}): {reasons}", state=payload["state"], health=health, reasons=reasons) + asked
