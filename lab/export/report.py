"""`ExportReport`: what was written, and how far it is from the network."""

from dataclasses import asdict, dataclass
from typing import Any

from lab.base import Report, ReportTable


@dataclass(frozen=True, kw_only=True)
class ExportReport(Report):
    """An export that was read back and compared."""

    format: str
    """pt2, onnx or state."""
    files: tuple[str, ...]
    """Paths that were written; the last one is the description."""
    run: str
    """Folder of the run."""
    checkpoint: str
    """File that the network comes from."""
    epoch: int
    step: int
    shape: tuple[int, int, int]
    """Channels, height and width of one input image."""
    num_classes: int
    parameters: int
    max_difference: float
    """Largest relative output difference between the file, read back, and the network."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        payload = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in payload.items()}

    def tables(self) -> tuple[ReportTable, ...]:
        """One table."""
        rows = (
            ("network of", f"{self.run}, {self.checkpoint}, epoch {self.epoch}, step {self.step}"),
            ("input", " x ".join(map(str, ("B", *self.shape)))),
            ("classes", f"{self.num_classes}"),
            ("parameters", f"{self.parameters:,}"),
            ("read back", f"relative output difference {self.max_difference:.1e}"),
            *(("written", path) for path in self.files),
        )
        return (ReportTable(title=f"export to {self.format}", columns=("what", "figure"), rows=rows),)
