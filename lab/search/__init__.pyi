"""A search of a cell or a size: scores without training, then short trainings where they pay."""

from .config import SEARCH_SCORES, SEARCH_SPACES, SearchConfig
from .problem import SearchProblem
from .report import SearchReport
from .search import Search, SearchObserver, search
from .training import train_alone, weight_step

__all__ = [
    "SEARCH_SCORES",
    "SEARCH_SPACES",
    "Search",
    "SearchConfig",
    "SearchObserver",
    "SearchProblem",
    "SearchReport",
    "search",
    "train_alone",
    "weight_step",
]
