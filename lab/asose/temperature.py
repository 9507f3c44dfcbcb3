"""A person's hand on the Gumbel temperature: held, released, and told as an event."""

from lab.explore import GumbelExplorer
from lab.store import Record, TemperatureEvent
from lab.train import Outcome, ReleaseTemperature, RequestContext, SetTemperature


class TemperatureControl:
    """Serves the requests about the temperature of a search.

    Args:
        explorer: whose temperature it is; its state holds what is held.
        schedule: name of the schedule that sets it otherwise.
        records: list that the events are appended to.
    """

    def __init__(self, explorer: GumbelExplorer, schedule: str, records: list[Record]) -> None:
        self.explorer = explorer
        self.schedule = schedule
        self.records = records

    def hold(self, request: SetTemperature, moment: RequestContext) -> Outcome:
        """Hold the temperature of `request` until it is released."""
        before = self.explorer.temperature
        self.explorer.set_temperature(request.temperature)
        self.tell()
        text = f"temperature held at {request.temperature:g} until it is released"
        return Outcome(text=text, before=before, after=request.temperature)

    def release(self, request: ReleaseTemperature, moment: RequestContext) -> Outcome | None:
        """Let the schedule set the temperature again; None where nothing is held."""
        before = self.explorer.held
        if before is None:
            return None
        self.explorer.release_temperature()
        self.tell()
        after = self.explorer.temperature
        return Outcome(text=f"temperature {after:g}, by its schedule again", before=before, after=after)

    def tell(self) -> None:
        """Append the temperature now in force, and who sets it, to the events."""
        held = self.explorer.held is not None
        schedule = "control" if held else self.schedule
        self.records.append(TemperatureEvent(temperature=self.explorer.temperature, schedule=schedule, held=held))
