"""The row of buttons: commands to the run. They stand outside the live part, so a click never waits for a tick."""

import time
from pathlib import Path

import streamlit as st

from components.commands import NAMES, Sent, answer, send
from components.feed import Snapshot
from components.words import is_agent, is_hybrid, plain, policy_of, shown_state
from lab.base import LabError

SENT, REFUSED = "sent_command", "refused_command"
ICONS = {
    "pause": ":material/pause:",
    "resume": ":material/play_arrow:",
    "mutate": ":material/genetics:",
    "checkpoint": ":material/save:",
    "set_temperature": ":material/thermostat:",
    "stop": ":material/stop_circle:",
}
HELP = {
    "pause": "The run waits after its present step; nothing is lost.",
    "resume": "The run goes on.",
    "mutate": "The network changes its own cell at the next step.",
    "checkpoint": "The run writes a checkpoint now.",
    "set_temperature": "Sets the Gumbel temperature.",
    "stop": "The run writes a checkpoint and ends.",
}


AGENT_LABEL = "Mutate now: one action"
AGENT_HELP = "The agent takes one action at the next step; its trial says whether the change is kept or taken back."
NOBODY_HELP = "Nobody acts in this run: its policy is none."
NO_TEMPERATURE = "Recipe agent draws no cell: there is no temperature to set."
KEPT_HELP = "Recipe hybrid keeps the structure of its model."
NOTHING_DRAWN = "Recipe hybrid draws no cell: there is no temperature to set."


def _press(snapshot: Snapshot, command: str) -> None:
    arguments = {"temperature": float(st.session_state["temperature"])} if command == "set_temperature" else {}
    try:
        st.session_state[SENT] = send(snapshot, command, time.time(), **arguments)
        st.session_state.pop(REFUSED, None)
    except LabError as error:
        st.session_state.pop(SENT, None)
        st.session_state[REFUSED] = (snapshot.summary.path, str(error))


def _button(
    snapshot: Snapshot, command: str, *, enabled: bool, primary: bool = False, label: str = "", help: str = ""
) -> None:
    st.button(
        label or NAMES[command],
        key=f"press_{command}",
        icon=ICONS[command],
        help=help or HELP[command],
        disabled=not enabled,
        type="primary" if primary else "secondary",
        on_click=_press,
        args=(snapshot, command),
    )


def control_row(snapshot: Snapshot) -> None:
    """Mutate, pause or resume, save, temperature, stop; greyed out for a run that no longer listens.

    On a run of recipe agent, mutate is one action of the agent, and there is no temperature; on one of recipe hybrid
    there is neither.
    """
    state = shown_state(snapshot)
    live = state in ("running", "paused")
    agent, hybrid = is_agent(snapshot), is_hybrid(snapshot)
    if hybrid:
        _button(snapshot, "mutate", enabled=False, help=KEPT_HELP)
    elif agent:
        acts = policy_of(snapshot) != "none"
        help = AGENT_HELP if acts else NOBODY_HELP
        _button(snapshot, "mutate", enabled=live and acts, primary=True, label=AGENT_LABEL, help=help)
    else:
        _button(snapshot, "mutate", enabled=live, primary=True)
    _button(snapshot, "pause", enabled=state == "running")
    _button(snapshot, "resume", enabled=state == "paused")
    _button(snapshot, "checkpoint", enabled=live)
    why = NO_TEMPERATURE if agent else NOTHING_DRAWN if hybrid else None
    disabled = not live or agent or hybrid
    with st.popover("Temperature", icon=ICONS["set_temperature"], disabled=disabled, help=why):
        st.number_input("New temperature τ", 0.01, 100.0, 1.0, 0.1, key="temperature")
        _button(snapshot, "set_temperature", enabled=live)
    with st.popover("Stop", icon=ICONS["stop"], disabled=not live):
        st.write("The run writes a checkpoint and ends. It can be resumed later.")
        _button(snapshot, "stop", enabled=live, primary=True, label="Yes, stop the run")


def command_line(snapshot: Snapshot) -> None:
    """One line on what became of the last command; nothing where none was sent to this run."""
    refused: tuple[Path, str] | None = st.session_state.get(REFUSED)
    if refused is not None and refused[0] == snapshot.summary.path:
        st.error(plain(f"The command was not sent: {refused[1]}"), icon=":material/error:")
    sent: Sent | None = st.session_state.get(SENT)
    if sent is None or sent.run_dir != snapshot.summary.path:
        return
    found = answer(snapshot, sent, time.time())
    color, icon = {
        "waiting": ("blue", "hourglass_top"),
        "done": ("green", "check_circle"),
        "refused": ("orange", "block"),
        "lost": ("red", "error"),
    }[found.state]
    st.badge(plain(found.text), icon=f":material/{icon}:", color=color)  # type: ignore[arg-type]
