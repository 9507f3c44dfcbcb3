"""`MultitaskConfig`: the model of text and a table, and how its losses are weighed."""

from dataclasses import dataclass

from lab.base import ConfigError, require_choice, require_range

WEIGHTINGS = ("sum", "dwa", "gradnorm", "pcgrad")


@dataclass(frozen=True, kw_only=True)
class MultitaskConfig:
    """The model of text and a table, and the weighting of its losses."""

    weighting: str = "sum"
    """How losses are weighed: sum (1 each), dwa (dynamic weight averaging, once an epoch), gradnorm (similar training
    rates, each step) or pcgrad (1 each; conflicting gradients are projected)."""
    dwa_temperature: float = 2.0
    """For dwa: a larger value gives more equal weights, > 0."""
    gradnorm_alpha: float = 1.5
    """For gradnorm: strength of the pull towards equal training rates, >= 0."""
    gradnorm_rate: float = 0.025
    """For gradnorm: step size of the weights, > 0."""
    experts: int = 4
    """Experts of the router, >= 1."""
    experts_per_sample: int = 2
    """Experts that process each token, 1 to `experts`."""
    balance_weight: float = 0.01
    """Weight of the router's balance loss, >= 0; 0 for none."""
    bias_rate: float = 0.0
    """Step size of the router's selection bias, which balances the load without a loss, >= 0; 0 for none."""
    embed_dim: int = 32
    """Width of a token, >= 4, a multiple of 4."""
    table_dim: int = 64
    """Width of the table's hidden layer, >= 1."""
    fused_dim: int = 64
    """Width of the features that all tasks share, >= 1."""
    memory_nodes: int = 32
    """Nodes of the graph memory, >= 1."""
    fabric_layers: int = 4
    """Largest number of blocks of the fabric, >= 1; a sample runs as many as its gate chooses."""

    def __post_init__(self) -> None:
        require_choice("weighting", self.weighting, WEIGHTINGS)
        for name in ("dwa_temperature", "gradnorm_rate"):
            require_range(name, getattr(self, name), 0, open_low=True)
        for name in ("gradnorm_alpha", "balance_weight", "bias_rate"):
            require_range(name, getattr(self, name), 0)
        for name in ("experts", "table_dim", "fused_dim", "memory_nodes", "fabric_layers"):
            require_range(name, getattr(self, name), 1)
        require_range("experts_per_sample", self.experts_per_sample, 1, self.experts)
        require_range("embed_dim", self.embed_dim, 4)
        if self.embed_dim % 4:
            raise ConfigError("embed_dim as a multiple of 4", str(self.embed_dim), "round it")
