"""Memories: what a network has seen before this batch, read by attention and written outside the graph.

N items (all leading dimensions flattened), D features, S rows, M nodes.
Sources: Vaswani et al. 2017, section 3.2.1 (reading by scaled dot products); van den Oord et al. 2017, "Neural Discrete
Representation Learning", appendix A.1 (moving averages of the items nearest to each node). What a write may do: see
`lab.mahia.state`.
"""

import math

import torch
from torch import Tensor, nn

from lab.base import require_range
from lab.mahia.checks import require_features
from lab.mahia.state import State


class TinyMemory(nn.Module):
    """A ring of the last batch means: y = x + out(sum over rows r of p_r r).

    p is the softmax of q(x) . r / sqrt(D) over the rows written so far and one empty row with score 0 and value 0, so
    that a memory without rows reads 0. In train mode the mean of the batch's items, detached, then takes the row
    `pointer mod size`, and the pointer goes on by one; both are in the `state_dict`.

    Args:
        size: S >= 1.
        dim: D >= 1.

    Raises:
        ConfigError: a number outside its range.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        require_range("size", size, 1)
        require_range("dim", dim, 1)
        self.size = size
        self.dim = dim
        self.query = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.state = State(rows_SD=torch.zeros(size, dim), pointer=torch.zeros((), dtype=torch.int64))

    def forward(self, x_ND: Tensor) -> Tensor:
        """x (B, D) or (B, T, D) -> the same shape; in train mode one row is written.

        Raises:
            DataError: another width, no items, or whole numbers.
        """
        require_features(x_ND, self.dim, "x", dims=(2, 3))
        rows_SD, pointer = self.state.read("rows_SD"), self.state.read("pointer")
        place_S = torch.arange(self.size, device=rows_SD.device)
        values_SD = rows_SD.to(x_ND.dtype)
        scores_NS = self.query(x_ND) @ values_SD.T / math.sqrt(self.dim)
        # `pointer` counts every write: from `size` on no row is masked.
        scores_NS = scores_NS.masked_fill(place_S >= pointer, -torch.inf)
        shares_NS = torch.cat((scores_NS, torch.zeros_like(scores_NS[..., :1])), -1).softmax(-1)[..., :-1]
        read_ND = shares_NS.to(x_ND.dtype) @ values_SD
        mean_D = x_ND.detach().reshape(-1, self.dim).to(rows_SD.dtype).mean(0)
        here_S1 = (place_S == pointer % self.size).unsqueeze(-1)
        self.state.write(rows_SD=torch.where(here_S1, mean_D, rows_SD), pointer=pointer + 1)
        y_ND: Tensor = x_ND + self.out(read_ND)
        return y_ND


class GraphDiffusionMemory(nn.Module):
    """Nodes on a learned graph: y = join([x, sum over nodes m of p_m d_m]), with d = softmax(A) nodes.

    p is the softmax of q(x) . d_m / sqrt(D). In train mode each node that is the nearest one (Euclidean) to some items
    then moves towards their mean: node <- (1 - u) node + u mean; the others stay. So nodes stay apart: if each node
    took the mean of the whole batch, they would all become that mean, and the graph would have nothing to tell apart.

    Args:
        dim: D >= 1.
        memory_size: M >= 1.
        update: u in [0, 1].

    Raises:
        ConfigError: a number outside its range.
    """

    def __init__(self, dim: int, memory_size: int = 64, *, update: float = 0.1) -> None:
        super().__init__()
        require_range("dim", dim, 1)
        require_range("memory_size", memory_size, 1)
        require_range("update", update, 0, 1)
        self.dim = dim
        self.update = update
        # with ln M on the diagonal about half of what a node becomes is itself, for every M
        self.adjacency_MM = nn.Parameter(math.log(memory_size) * torch.eye(memory_size))
        self.query = nn.Linear(dim, dim, bias=False)
        self.join = nn.Linear(2 * dim, dim)
        self.state = State(nodes_MD=torch.randn(memory_size, dim))

    def forward(self, x_ND: Tensor) -> Tensor:
        """x (B, D) or (B, T, D) -> the same shape; in train mode the nearest nodes move.

        Raises:
            DataError: another width, no items, or whole numbers.
        """
        require_features(x_ND, self.dim, "x", dims=(2, 3))
        nodes_MD = self.state.read("nodes_MD")
        diffused_MD = (self.adjacency_MM.softmax(-1) @ nodes_MD).to(x_ND.dtype)
        scores_NM = self.query(x_ND) @ diffused_MD.T / math.sqrt(self.dim)
        read_ND = scores_NM.softmax(-1).to(x_ND.dtype) @ diffused_MD
        y_ND: Tensor = self.join(torch.cat((x_ND, read_ND), -1))
        self.state.write(nodes_MD=self._moved(nodes_MD, x_ND))
        return y_ND

    @torch.no_grad()
    def _moved(self, nodes_MD: Tensor, x_ND: Tensor) -> Tensor:
        """The nodes after these items."""
        items_ND = x_ND.detach().reshape(-1, self.dim).to(nodes_MD.dtype)
        distance_NM = nodes_MD.square().sum(-1) - 2 * items_ND @ nodes_MD.T  # less the item's own square
        own_MN = nn.functional.one_hot(distance_NM.argmin(-1), len(nodes_MD)).to(nodes_MD.dtype).T
        count_M1 = own_MN.sum(-1, keepdim=True)
        mean_MD = own_MN @ items_ND / count_M1.clamp(min=1)
        return torch.where(count_M1 > 0, nodes_MD + self.update * (mean_MD - nodes_MD), nodes_MD)
