"""`lab search`: a cell or a size for a data set, by scores without training and short trainings."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.base import require_range
from lab.cli.parse import parse
from lab.datasets import DataConfig
from lab.search import SearchConfig
from lab.store import RUNS_ROOT

if TYPE_CHECKING:
    from lab.results.record import Bar

_DEFAULT = SearchConfig()


@dataclass(frozen=True, kw_only=True)
class SearchCommand:
    """Search for the cell, or the size, that a network should have on a data set.

    Regularised evolution over scores of untrained networks (FreeREA: naswot + log_synflow + skip_length) gives a prior.
    Where the budget pays for it, short trainings of a shortlist on held-out loss correct the prior, each weighed by how
    repeatable it is. The test part is never read.

    Ctrl-C stops; the same command goes on where it stopped, with the same result.
    """

    space: str = _DEFAULT.space
    """nb201, nb125, darts, or sizes (width and depth of small_cnn under a limit of FLOPs)."""
    data: str = _DEFAULT.data.name
    """digits, shapes (synthetic), fashion-mnist, mnist, cifar10, cifar100, svhn, a .npz file or an image folder."""
    budget: float = _DEFAULT.budget
    """CPU seconds."""
    seed: int = _DEFAULT.seed
    """Of all draws, weights and batches."""
    json: bool = False
    """Print the report as JSON."""
    channels: int = _DEFAULT.channels
    """Channels of the first stage; not used by sizes."""
    layers: int = _DEFAULT.layers
    """Cells; not used by sizes."""
    batch_size: int = _DEFAULT.batch_size
    """Samples in the batch that is scored, and in a training batch."""
    scores: tuple[str, ...] = _DEFAULT.scores
    """Scores that are added up: naswot, log_synflow, skip_length, parameters, flops."""
    evaluations: int = _DEFAULT.evaluations
    """Largest number of scored cells."""
    prior: bool = True
    """Score cells without training; --no-prior trains cells drawn uniformly."""
    evidence: bool = True
    """Train a shortlist where the budget pays for it."""
    max_flops: float | None = None
    """Limit the FLOPs of one forward for one sample; default: none, for sizes those of small_cnn."""
    data_dir: str = _DEFAULT.data.data_dir
    """Folder of downloaded data sets."""
    download: bool = False
    """Download a missing data set into --data-dir."""
    train_limit: int | None = None
    """Limit the number of training samples."""
    threads: int = 1
    """CPU threads; the seconds of all of them count."""
    folder: Path | None = None
    """Folder of this search; default: runs/search/SPACE-DATA-seedSEED."""

    def config(self) -> SearchConfig:
        """The search that the options describe."""
        names = ("space", "budget", "seed", "channels", "layers", "batch_size", "scores", "evaluations")
        fields = {name: getattr(self, name) for name in (*names, "prior", "evidence", "max_flops")}
        data = DataConfig(
            name=self.data,
            data_dir=self.data_dir,
            download=self.download,
            train_limit=self.train_limit,
            seed=self.seed,
        )
        return SearchConfig(data=data, **fields)

    def place(self) -> Path:
        """The folder of the search."""
        name = f"{self.space}-{Path(self.data).stem}-seed{self.seed}"
        return self.folder or RUNS_ROOT / "search" / name


class SearchBar:
    """Moves a bar on as a search goes on."""

    def __init__(self, bar: "Bar") -> None:
        self.bar = bar
        self.share = 0.0

    def on_part(self, share: float, text: str) -> None:
        """See `lab.search.SearchObserver`."""
        self.bar.step(text, max(share - self.share, 0.0))
        self.share = max(share, self.share)


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit code."""
    examples = ("lab search --space nb201 --data digits --budget 60", "lab search --space sizes --max-flops 1e6 --json")
    command = parse(SearchCommand, arguments, prog="lab search", examples=examples)
    require_range("threads", command.threads, 1)
    config, folder = command.config(), command.place()

    # Torch takes seconds to import.
    import torch

    from lab.results.record import progress_bar
    from lab.search import Search

    torch.set_num_threads(command.threads)
    with progress_bar(1.0) as bar:
        try:
            searched = Search(config, folder, SearchBar(bar))
            finished = searched.finished
            report = searched.run()
        except KeyboardInterrupt:
            sys.stderr.write(f"lab: stopped; the same command goes on from {folder}\n")
            raise
    if finished:
        sys.stderr.write(f"lab: this search was finished before; its report is in {folder}\n")
    sys.stdout.write((report.to_json() if command.json else str(report)) + "\n")
    return 0
