"""The wall: one screen that a teacher projects. Genotype, what happened last and why, probabilities, four curves.

It is drawn by one script over the whole window; sizes are shares of the screen, so that 1280x720 shows the picture of
1920x1080, and its text is as large on the wall.
"""

from collections.abc import Sequence

from components import words
from components.controls import command_text
from components.feed import Snapshot
from components.language import say
from components.panels import PageFrame
from components.plot import WAITING, chart_data
from components.scripts import part
from components.story import latest_story
from components.wall_figures import Ghost, Panel, wall_panels

_WALL = part("wall")


def draw_wall(picture: PageFrame, ghost: Ghost | None, live: str, missing: str | None = None) -> None:
    """Draw the wall.

    Args:
        ghost: draws a line beside the accuracy; None draws none.
        live: address of the live page of the same run.
        missing: run of a fixed network that the address asks for and that is not there.
    """
    snapshot, whole = picture.snapshot, picture.whole
    told = latest_story(snapshot)
    state, title = say(words.shown_state(whole)), words.dataset_title(snapshot.config)
    if snapshot.cut is not None:
        state = say("{state}, shown at step {step:,}", state=state, step=snapshot.cut)
    unnamed = say("No run of a fixed network is named {name}.", name=missing) if missing else ""
    data = {
        "name": snapshot.summary.name,
        "live": live,
        "state": state,
        "about": say("data: {title}", title=title) if title else "",
        "facts": [[kpi.label, kpi.value] for kpi in wall_kpis(snapshot)],
        "sign": told.sign,
        "story": told.text,
        "now": told.now,
        "answer": command_text(whole) or unnamed,
        "view": str(snapshot.summary.path),
        "panels": [_drawn(picture, panel) for panel in wall_panels(picture, ghost)],
        "texts": {"wall": say("Wall"), "link": say("Live page"), "waiting": say(WAITING)},
    }
    _WALL(key="wall", data=data, height="content")


def _drawn(picture: PageFrame, panel: Panel) -> dict[str, str]:
    drawing = picture.drawing(f"wall_{panel.area}", panel.depends, panel.build)
    return {"area": panel.area, "title": panel.title, "label": panel.label, **chart_data(drawing)}


def wall_kpis(snapshot: Snapshot) -> Sequence[words.Kpi]:
    """The headline numbers, few enough to be read from afar."""
    found = {kpi.name: kpi for kpi in words.kpis(snapshot)}
    names = ["phase", "epoch", "accuracy", "stability"]
    if words.held_temperature(snapshot) is not None:
        names.insert(1, "temperature")
    kpis = [found[name] for name in names]
    test = snapshot.series("test/accuracy").last
    if test is not None:
        value, help = words.number(test, ".1%"), say("Read once, at the end.")
        kpis.append(words.Kpi(name="test", label=say("Test accuracy"), value=value, help=help))
    return kpis
