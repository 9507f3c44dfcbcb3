"""The row of buttons: commands to the run. They stand outside the live part, so a click never waits for a tick."""

import time
from pathlib import Path

import streamlit as st

from components.commands import NAMES, Answer, Sent, answer, send
from components.feed import Snapshot
from components.language import later, say, say_error
from components.start import stop_text
from components.words import has_no_cell, held_temperature, is_agent, offers, plain, policy_of, shown_state
from lab.base import LabError
from lab.store import launch

SENT, REFUSED = "sent_command", "refused_command"
ICONS = {
    "pause": ":material/pause:",
    "resume": ":material/play_arrow:",
    "mutate": ":material/genetics:",
    "checkpoint": ":material/save:",
    "set_temperature": ":material/thermostat:",
    "release_temperature": ":material/lock_open:",
    "stop": ":material/stop_circle:",
}
HELP = {
    "pause": later("The run waits after the current step; nothing is lost."),
    "resume": later("The run continues."),
    "mutate": later("The network changes its own cell at the next step."),
    "checkpoint": later("The run writes a checkpoint now."),
    "set_temperature": later("Holds the Gumbel temperature there until it is released."),
    "release_temperature": later("The schedule sets the temperature again."),
    "stop": later("The run writes a checkpoint and ends."),
}


AGENT_LABEL = later("Mutate now: one action")
AGENT_HELP = later(
    "The agent takes one action at the next step; its trial says whether the change is kept or rolled back."
)
NOT_OFFERED = later("Not available in the current phase of this run.")
NOBODY_ACTS = later("Disabled: this run uses --policy none.")
KEPT_STRUCTURE = later("This recipe keeps the structure of its model.")
NOTHING_DRAWN = later("This recipe samples no cell: there is no temperature to set.")


def _reason(snapshot: Snapshot, command: str) -> str:
    """Why a command that is not offered is not."""
    if command == "set_temperature" and (is_agent(snapshot) or has_no_cell(snapshot)):
        return say(NOTHING_DRAWN)
    if command == "mutate" and has_no_cell(snapshot):
        return say(KEPT_STRUCTURE)
    if command == "mutate" and is_agent(snapshot) and policy_of(snapshot) == "none":
        return say(NOBODY_ACTS)
    return say(NOT_OFFERED)


def _press(snapshot: Snapshot, command: str) -> None:
    arguments = {"temperature": float(st.session_state["temperature"])} if command == "set_temperature" else {}
    try:
        st.session_state[SENT] = send(snapshot, command, time.time(), **arguments)
        if command == "stop":
            # Of a run that does not listen any more, where the page has started it.
            launch.end_later(snapshot.summary.path)
        # One line at a time, that of the latest click.
        st.session_state.pop(REFUSED, None)
    except LabError as error:
        st.session_state.pop(SENT, None)
        st.session_state[REFUSED] = (snapshot.summary.path, say_error(error))


def _button(
    snapshot: Snapshot, command: str, *, enabled: bool, primary: bool = False, label: str = "", help: str = ""
) -> None:
    st.button(
        label or say(NAMES[command]),
        key=f"press_{command}",
        icon=ICONS[command],
        help=help or say(HELP[command]),
        disabled=not enabled,
        type="primary" if primary else "secondary",
        on_click=_press,
        args=(snapshot, command),
    )


def control_row(snapshot: Snapshot) -> None:
    """Mutate, pause or resume, save, temperature, stop; greyed out for a run that no longer listens.

    What the run does not offer in its current phase is greyed out too. On a run of recipe agent, mutate is one action
    of the agent.
    """
    state = shown_state(snapshot)
    live = state in ("running", "paused")
    mutates = offers(snapshot, "mutate")
    label, help = (say(AGENT_LABEL), say(AGENT_HELP)) if is_agent(snapshot) else ("", "")
    help = help if mutates else _reason(snapshot, "mutate")
    _button(snapshot, "mutate", enabled=live and mutates, primary=mutates, label=label, help=help)
    _button(snapshot, "pause", enabled=state == "running")
    _button(snapshot, "resume", enabled=state == "paused")
    _button(snapshot, "checkpoint", enabled=live)
    draws = offers(snapshot, "set_temperature")
    disabled, why = not live or not draws, None if draws else _reason(snapshot, "set_temperature")
    with st.popover(say("Temperature"), icon=ICONS["set_temperature"], disabled=disabled, help=why):
        st.number_input(say("New temperature τ"), 0.01, 100.0, 1.0, 0.1, key="temperature")
        _button(snapshot, "set_temperature", enabled=live)
        held = held_temperature(snapshot) is not None and offers(snapshot, "release_temperature")
        _button(snapshot, "release_temperature", enabled=live and held)
    with st.popover(say("Stop"), icon=ICONS["stop"], disabled=not live):
        st.write(say("The run writes a checkpoint and ends. It can be resumed later."))
        if launch.read(snapshot.summary.path) is not None:
            st.caption(stop_text())
        _button(snapshot, "stop", enabled=live, primary=True, label=say("Yes, stop the run"))


def command_by_key(snapshot: Snapshot, command: str) -> None:
    """Send the command of a key of the wall where its button would be enabled; else say why it was not sent.

    A run that has ended, as a recorded one, listens to nobody: nothing is written into its folder.
    """
    state = shown_state(snapshot)
    if state not in ("running", "paused"):
        why = say("the run is {state} and takes no commands", state=say(state))
    elif not offers(snapshot, command):
        why = _reason(snapshot, command)
    else:
        _press(snapshot, command)
        return
    st.session_state.pop(SENT, None)
    st.session_state[REFUSED] = (snapshot.summary.path, say("{head}: {reason}", head=say(NAMES[command]), reason=why))


def _refusal(snapshot: Snapshot) -> str:
    refused: tuple[Path, str] | None = st.session_state.get(REFUSED)
    if not refused or refused[0] != snapshot.summary.path:
        return ""
    return say("The command was not sent: {reason}", reason=refused[1])


def _latest_answer(snapshot: Snapshot) -> Answer | None:
    sent: Sent | None = st.session_state.get(SENT)
    if sent is None or sent.run_dir != snapshot.summary.path:
        return None
    return answer(snapshot, sent, time.time())


def command_text(snapshot: Snapshot) -> str:
    """What became of the last command as one line of text; empty where none was sent to this run."""
    found = _latest_answer(snapshot)
    return _refusal(snapshot) or ("" if found is None else found.text)


def command_line(snapshot: Snapshot) -> None:
    """One line on what became of the last command; nothing where none was sent to this run."""
    if refused := _refusal(snapshot):
        st.error(plain(refused), icon=":material/error:")
    found = _latest_answer(snapshot)
    if found is None:
        return
    color, icon = {
        "waiting": ("blue", "hourglass_top"),
        "done": ("green", "check_circle"),
        "refused": ("orange", "block"),
        "lost": ("red", "error"),
    }[found.state]
    st.badge(plain(found.text), icon=f":material/{icon}:", color=color)  # type: ignore[arg-type]
