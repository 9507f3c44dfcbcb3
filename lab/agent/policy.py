"""`AttentionPolicyNetwork`: how good each action is in a state, by attention over the state's features.

B batch, S features, A actions, D width, H heads.
Sources: Vaswani et al. 2017, "Attention Is All You Need", section 3.2; Wang et al. 2016, "Dueling Network
Architectures", equation 9.
"""

import torch
from torch import Tensor, nn

from lab.base import ConfigError, require, require_range


class AttentionPolicyNetwork(nn.Module):
    """State (B, S) -> (Q (B, A), V (B, 1)) with Q = V + advantage - mean advantage.

    Each feature is a token: its value times a vector of its own, plus a vector that says which feature it is; so
    attention is over S tokens and not over one.

    Args:
        input_dim: S >= 1.
        num_actions: A >= 1.
        hidden_dim: D >= 1, a multiple of `heads`.
        heads: H >= 1.
        device: of the parameters; None for the CPU. A state on another device is moved.

    Raises:
        ConfigError: a number outside its range.
    """

    def __init__(
        self,
        input_dim: int,
        num_actions: int = 7,
        hidden_dim: int = 32,
        heads: int = 4,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        require_range("input_dim", input_dim, 1)
        require_range("num_actions", num_actions, 1)
        require_range("heads", heads, 1)
        require(
            hidden_dim > 0 and hidden_dim % heads == 0,
            expected=f"a hidden_dim that is a multiple of {heads} heads",
            got=hidden_dim,
            hint="change one of the two",
        )
        self.input_dim = input_dim
        self.num_actions = num_actions
        self.scale_SD = nn.Parameter(torch.randn(input_dim, hidden_dim) * hidden_dim**-0.5)
        self.name_SD = nn.Parameter(torch.randn(input_dim, hidden_dim) * hidden_dim**-0.5)
        self.norm = nn.LayerNorm(hidden_dim)
        self.attention = nn.MultiheadAttention(hidden_dim, heads, batch_first=True)
        self.trunk = nn.Sequential(
            nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, hidden_dim)
        )
        self.value = nn.Linear(hidden_dim, 1)
        self.advantage = nn.Linear(hidden_dim, num_actions)
        self.to(device or "cpu")

    def forward(self, state_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Q (B, A) and V (B, 1); a single state (S,) gives (A,) and (1,).

        Raises:
            ConfigError: another number of features.
        """
        if state_BS.dim() not in (1, 2) or state_BS.shape[-1] != self.input_dim:
            raise ConfigError(
                f"states of {self.input_dim} features", f"shape {tuple(state_BS.shape)}", "build them by get_state"
            )
        x_BS = torch.atleast_2d(state_BS).to(self.scale_SD)
        tokens_BSD = x_BS.unsqueeze(-1) * self.scale_SD + self.name_SD
        normed_BSD = self.norm(tokens_BSD)
        attended_BSD, _ = self.attention(normed_BSD, normed_BSD, normed_BSD, need_weights=False)
        pooled_BD = (tokens_BSD + attended_BSD).mean(1)
        hidden_BD = pooled_BD + self.trunk(pooled_BD)
        value_B1, advantage_BA = self.value(hidden_BD), self.advantage(hidden_BD)
        q_BA = value_B1 + advantage_BA - advantage_BA.mean(-1, keepdim=True)
        return (q_BA, value_B1) if state_BS.dim() == 2 else (q_BA[0], value_B1[0])
