"""Commands of a person to the run, and what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.feed import Snapshot
from components.language import later, say
from components.words import number
from lab.store import control

NAMES = {
    "pause": later("Pause"),
    "resume": later("Resume"),
    "mutate": later("Mutate now"),
    "checkpoint": later("Save"),
    "set_temperature": later("Set temperature"),
    "release_temperature": later("Release temperature"),
    "stop": later("Stop"),
}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A command on its way."""

    command: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    path: Path
    """Its file; the run removes it when it takes the command."""
    run_dir: Path
    after: int
    """Id of the latest event that was known when the command was sent."""
    time: float
    """Seconds since 1970."""

    @property
    def title(self) -> str:
        """The command as the button names it, with its arguments."""
        values = ", ".join(number(value) for value in self.arguments.values())
        return f"{say(NAMES[self.command])} {values}".strip()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a command: waiting, done, refused or lost."""

    state: str
    text: str


def send(snapshot: Snapshot, command: str, now: float, **arguments: Any) -> Sent:
    """Send `command` to the run of `snapshot`.

    Raises:
        ConfigError: an unknown command or argument.
        StoreError: the run's folder cannot be written.
    """
    run_dir = snapshot.summary.path
    path = control.send(run_dir, command, **arguments)
    return Sent(
        command=command, arguments=arguments, path=path, run_dir=run_dir, after=snapshot.last_event_id, time=now
    )


def answer(snapshot: Snapshot, sent: Sent, now: float) -> Answer:
    """What became of `sent` as far as `snapshot` knows."""
    for event in snapshot.of("control"):
        # Later events only: the same command may have been sent and answered before.
        if event.id > sent.after and event.payload["command"] == sent.command:
            seconds = max(0.0, event.time - sent.time)
            verdict = later("done") if event.payload["done"] else later("refused")
            text = say(
                "{command}: {verdict} after {seconds:.1f} s", command=sent.title, verdict=say(verdict), seconds=seconds
            )
            why = event.payload["text"]
            return Answer(state=verdict, text=say("{head}: {reason}", head=text, reason=why) if why else text)
    waited = max(0.0, now - sent.time)
    if snapshot.summary.state != "running":
        state = say(snapshot.summary.state)
        text = say("{command}: the run is {state} and did not answer", command=sent.title, state=state)
        return Answer(state="lost", text=text)
    taken = later("{command}: sent {seconds:.0f} s ago, the run has received it")
    untaken = later("{command}: sent {seconds:.0f} s ago, the run has not received it yet")
    text = say(untaken if sent.path.exists() else taken, command=sent.title, seconds=waited)
    return Answer(state="waiting", text=text)
