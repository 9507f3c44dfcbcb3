"""`TemperatureControl`: what a person sets the Gumbel temperature to, and what the run tells of it."""

from lab.explore import GumbelExplorer
from lab.store import Record, TemperatureEvent
from lab.train import Outcome, ReleaseTemperature, RequestContext, SetTemperature


class TemperatureControl:
    """Holds the explorer's temperature for a person, and lets go of it.

    Args:
        explorer: has the temperature.
        schedule: name of the schedule that moves it where nobody holds it.
        records: where each change is told.
    """

    def __init__(self, explorer: GumbelExplorer, schedule: str, records: list[Record]) -> None:
        self.explorer = explorer
        self.schedule = schedule
        self.records = records

    def hold(self, request: SetTemperature, moment: RequestContext) -> Outcome:
        """Set the temperature, and keep it until it is released.

        Raises:
            ConfigError: it is not above 0.
        """
        before = self.explorer.temperature
        self.explorer.set_temperature(request.temperature)
        self.tell()
        text = f"temperature held at {request.temperature:g} until it is released"
        return Outcome(text=text, before=before, after=request.temperature)

    def release(self, request: ReleaseTemperature, moment: RequestContext) -> Outcome | None:
        """Give the temperature back to its schedule; None where nobody holds it."""
        before = self.explorer.held
        if before is None:
            return None
        self.explorer.release_temperature()
        self.tell()
        after = self.explorer.temperature
        return Outcome(text=f"temperature {after:g}, by its schedule again", before=before, after=after)

    def tell(self) -> None:
        """Record the temperature, and who sets it."""
        held = self.explorer.held is not None
        schedule = "control" if held else self.schedule
        self.records.append(TemperatureEvent(temperature=self.explorer.temperature, schedule=schedule, held=held))
