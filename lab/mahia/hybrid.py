"""`HybridEfficientModel`: one encoding of text and a table, for one output or several.

B samples, L tokens, E embedding width, C columns, H width of the table's layer, F fused width, K outputs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lab.base import ConfigError, DataError, require_range
from lab.mahia.checks import require_features, require_ids
from lab.mahia.kernel import MetaAttentionKernel
from lab.mahia.layers import DynamicNeuroFabric
from lab.mahia.memory import GraphDiffusionMemory
from lab.mahia.router import ExpertRouter

PADDING_ID = 0
"""Id of positions without a token; they are masked and never trained."""


class HybridEfficientModel(nn.Module):
    """Token ids (B, L) and columns (B, C) -> outputs (B, K).

    text = mean over tokens of kernel(embedding + position); table = MLP(columns); h = LayerNorm(Linear([text, table]));
    h <- h + memory(h); h <- h + feed_forward(LayerNorm(h)); features = LayerNorm(fabric(h)); output = head(features).

    `encode` is the one expensive pass. Several losses are computed from its features and added (`weighted_sum`) for one
    backward, or walked by loss (`backward_by_loss`); no graph is retained. In train mode memory, fabric and router
    write their state once for each `encode`.

    Args:
        vocab_size: ids are 0 (padding) to vocab_size - 1; >= 2.
        text_seq_len: most tokens of a sample, >= 1.
        tab_dim: C >= 1.
        output_dim: K >= 1, or K of each output by its name, for several.
        embed_dim: E >= 1, a multiple of 4.
        tab_hidden_dim: H >= 1.
        fused_dim: F >= 1.
        use_moe: whether `ExpertRouter` is the feed-forward part; else two plain layers.
        num_experts: of the router, >= `k`.
        k: experts of a sample, >= 1.
        memory_size: nodes of the memory, >= 1.
        max_layers: blocks of the fabric, >= 1.
        feed_forward: a module (B, F) -> (B, F) in place of both.

    Raises:
        ConfigError: a number outside its range, or a name that cannot name an output.
    """

    def __init__(
        self,
        vocab_size: int,
        text_seq_len: int,
        tab_dim: int,
        output_dim: int | Mapping[str, int],
        embed_dim: int = 64,
        tab_hidden_dim: int = 64,
        fused_dim: int = 128,
        use_moe: bool = True,
        *,
        num_experts: int = 4,
        k: int = 2,
        memory_size: int = 64,
        max_layers: int = 4,
        feed_forward: nn.Module | None = None,
    ) -> None:
        super().__init__()
        require_range("vocab_size", vocab_size, 2)
        for name, value in (("text_seq_len", text_seq_len), ("tab_dim", tab_dim), ("tab_hidden_dim", tab_hidden_dim)):
            require_range(name, value, 1)
        require_range("fused_dim", fused_dim, 1)
        self.vocab_size, self.text_seq_len, self.tab_dim, self.fused_dim = vocab_size, text_seq_len, tab_dim, fused_dim
        self.embedding = nn.Embedding(vocab_size, embed_dim, padding_idx=PADDING_ID)
        self.position_LE = nn.Parameter(torch.randn(text_seq_len, embed_dim) * 0.02)
        self.kernel = MetaAttentionKernel(embed_dim)
        self.table = nn.Sequential(
            nn.Linear(tab_dim, tab_hidden_dim), nn.GELU(), nn.Linear(tab_hidden_dim, tab_hidden_dim)
        )
        self.fuse = nn.Sequential(nn.Linear(embed_dim + tab_hidden_dim, fused_dim), nn.LayerNorm(fused_dim))
        self.memory = GraphDiffusionMemory(fused_dim, memory_size)
        self.norm = nn.LayerNorm(fused_dim)
        self.feed_forward = feed_forward or _feed_forward(fused_dim, num_experts if use_moe else 0, k)
        self.fabric = DynamicNeuroFabric(fused_dim, max_layers)
        self.last_norm = nn.LayerNorm(fused_dim)
        self.several = not isinstance(output_dim, int)
        self.heads = _heads(fused_dim, {"output": output_dim} if isinstance(output_dim, int) else output_dim)

    def encode(self, ids_BL: Tensor, tab_BC: Tensor) -> Tensor:
        """Ids (B, L), L <= text_seq_len, and columns (B, C) -> features (B, F).

        Raises:
            DataError: ids outside the vocabulary, too many tokens, another number of columns, an empty batch, or
                different numbers of samples.
        """
        require_ids(ids_BL, self.vocab_size, self.text_seq_len, "text ids")
        require_features(tab_BC, self.tab_dim, "columns", dims=(2,))
        if len(ids_BL) != len(tab_BC):
            got = f"{len(ids_BL)} and {len(tab_BC)}"
            raise DataError("as many texts as rows of columns", got, "give both for the same samples")
        there_BL = ids_BL != PADDING_ID
        tokens_BLE = self.embedding(ids_BL) + self.position_LE[: ids_BL.shape[1]]
        tokens_BLE = self.kernel(tokens_BLE, there_BL) * there_BL.unsqueeze(-1)
        # A sample of padding alone has the text 0, not NaN.
        text_BE = tokens_BLE.sum(1) / there_BL.sum(1, keepdim=True).clamp(min=1)
        h_BF = self.fuse(torch.cat((text_BE, self.table(tab_BC)), -1))
        h_BF = h_BF + self.memory(h_BF)
        h_BF = h_BF + self.feed_forward(self.norm(h_BF))
        features_BF: Tensor = self.last_norm(self.fabric(h_BF))
        return features_BF

    def decode(self, features_BF: Tensor) -> Tensor | dict[str, Tensor]:
        """Features (B, F) -> the output (B, K), or each by its name."""
        if not self.several:
            output_BK: Tensor = self.heads["output"](features_BF)
            return output_BK
        return {name: head(features_BF) for name, head in self.heads.items()}

    def forward(self, ids_BL: Tensor, tab_BC: Tensor) -> Tensor | dict[str, Tensor]:
        """`decode(encode(ids, columns))`.

        Raises:
            DataError: see `encode`.
        """
        return self.decode(self.encode(ids_BL, tab_BC))


def _feed_forward(dim: int, num_experts: int, k: int) -> nn.Module:
    """A router with so many experts; two plain layers for 0."""
    if num_experts:
        return ExpertRouter(dim, num_experts, k)
    return nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))


def _heads(dim: int, sizes: Mapping[str, int]) -> nn.ModuleDict:
    if not sizes:
        raise ConfigError("at least one output", "none", "name outputs and their sizes")
    # A ModuleDict refuses names of its own attributes, such as `keys`.
    taken = frozenset(dir(nn.ModuleDict()))
    for name, size in sizes.items():
        if not name.isidentifier() or name in taken:
            hint = "use letters and underscores, and no name of a method of nn.ModuleDict"
            raise ConfigError("an output's name that can name a module", repr(name), hint)
        require_range(f"output_dim of {name}", size, 1)
    return nn.ModuleDict({name: nn.Linear(dim, size) for name, size in sizes.items()})
