"""The text models: the class of a sentence, the span that is the evidence for it, or both.

B sentences, L tokens, H width of the encoder, K classes. x (B, 2, L) holds token ids and 1 where there is a token.
"""

import torch
from torch import Tensor, nn

from lab.base import require_choice, require_range
from lab.text.config import POOLINGS

Outputs = Tensor | dict[str, Tensor]


def hidden_states(encoder: nn.Module, x_B2L: Tensor) -> Tensor:
    """The encoder's outputs (B, L, H)."""
    states_BLH: Tensor = encoder(input_ids=x_B2L[:, 0], attention_mask=x_B2L[:, 1]).last_hidden_state
    return states_BLH


def width_of(encoder: nn.Module) -> int:
    """H: width of the encoder's outputs."""
    return int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]


class Pooling(nn.Module):
    """One vector of a sentence's tokens; padding counts in none of the ways.

    cls: the first token. mean, max: over the tokens. attention: sum_l softmax_l(w . h_l) h_l with a learned w.

    Args:
        kind: cls, mean, max or attention.
        width: H.

    Raises:
        ConfigError: another kind.
    """

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        require_choice("pooling", kind, POOLINGS)
        self.kind = kind
        self.score = nn.Linear(width, 1, bias=False) if kind == "attention" else None

    def forward(self, states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        """(B, H) of (B, L, H) and 1 where there is a token (B, L)."""
        if self.kind == "cls":
            return states_BLH[:, 0]
        there_BL1 = mask_BL.bool().unsqueeze(-1)
        least = torch.finfo(states_BLH.dtype).min
        if self.kind == "max":
            return states_BLH.masked_fill(~there_BL1, least).amax(1)
        if self.score is not None:
            score_BL1 = self.score(states_BLH)
            score_BL1 = score_BL1.masked_fill(~there_BL1, torch.finfo(score_BL1.dtype).min)
            return (score_BL1.softmax(1) * states_BLH).sum(1)
        return (states_BLH * there_BL1).sum(1) / there_BL1.sum(1)


class ClassificationHead(nn.Module):
    """[Linear, GELU, Dropout] for each hidden layer, then Linear: (B, H) -> logits (B, K).

    Args:
        width: H.
        classes: K >= 2.
        layers: Linear layers, >= 1.
        dim: width of the hidden ones, >= 1.
        dropout: in [0, 1); before the last layer too.
    """

    def __init__(self, width: int, classes: int, *, layers: int = 1, dim: int = 128, dropout: float = 0.1) -> None:
        super().__init__()
        require_range("classes", classes, 2)
        require_range("layers", layers, 1)
        parts: list[nn.Module] = [nn.Dropout(dropout)]
        for _ in range(layers - 1):
            parts += [nn.Linear(width, dim), nn.GELU(), nn.Dropout(dropout)]
            width = dim
        self.layers = nn.Sequential(*parts, nn.Linear(width, classes))

    def forward(self, features_BH: Tensor) -> Tensor:
        """Logits (B, K)."""
        logits_BK: Tensor = self.layers(features_BH)
        return logits_BK


class SpanHead(nn.Module):
    """Logits of each token as the first and as the last of the span: (B, L, H) -> (B, 2, L).

    A sentence without a span has both at its first token, which is a special one. Padding has the least logit.

    Args:
        width: H.
        dropout: in [0, 1).
    """

    def __init__(self, width: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.ends = nn.Linear(width, 2)

    def forward(self, states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        """Logits (B, 2, L)."""
        logits_B2L: Tensor = self.ends(self.dropout(states_BLH)).transpose(1, 2)
        return logits_B2L.masked_fill(~mask_BL.bool().unsqueeze(1), torch.finfo(logits_B2L.dtype).min)


class CriteriaModel(nn.Module):
    """The class of a sentence: encoder, pooling, classification head. x (B, 2, L) -> logits (B, K).

    Args:
        encoder: with outputs `last_hidden_state`.
        pooling: over its tokens.
        head: on the pooled vector.
    """

    def __init__(self, encoder: nn.Module, pooling: Pooling, head: ClassificationHead) -> None:
        super().__init__()
        self.encoder, self.pooling, self.head = encoder, pooling, head

    def forward(self, x_B2L: Tensor) -> Tensor:
        """Logits (B, K)."""
        logits_BK: Tensor = self.head(self.pooling(hidden_states(self.encoder, x_B2L), x_B2L[:, 1]))
        return logits_BK


class EvidenceModel(nn.Module):
    """The span of a sentence: encoder and span head. x (B, 2, L) -> logits (B, 2, L) of its first and last token.

    Args:
        encoder: with outputs `last_hidden_state`.
        head: on each token's output.
    """

    def __init__(self, encoder: nn.Module, head: SpanHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x_B2L: Tensor) -> Tensor:
        """Logits (B, 2, L)."""
        logits_B2L: Tensor = self.head(hidden_states(self.encoder, x_B2L), x_B2L[:, 1])
        return logits_B2L


class SharedModel(nn.Module):
    """Class and span on one encoder, which runs once: x (B, 2, L) -> criteria (B, K) and evidence (B, 2, L).

    Args:
        encoder: with outputs `last_hidden_state`.
        pooling: over its tokens.
        criteria: head on the pooled vector.
        evidence: head on each token's output.
    """

    def __init__(self, encoder: nn.Module, pooling: Pooling, criteria: ClassificationHead, evidence: SpanHead) -> None:
        super().__init__()
        self.encoder, self.pooling, self.criteria, self.evidence = encoder, pooling, criteria, evidence

    def forward(self, x_B2L: Tensor) -> dict[str, Tensor]:
        """Logits by task."""
        states_BLH, mask_BL = hidden_states(self.encoder, x_B2L), x_B2L[:, 1]
        return {
            "criteria": self.criteria(self.pooling(states_BLH, mask_BL)),
            "evidence": self.evidence(states_BLH, mask_BL),
        }


class JointModel(nn.Module):
    """Class and span on two encoders, one for each, fused: x (B, 2, L) -> criteria (B, K) and evidence (B, 2, L).

    Each head reads its own encoder's token and what the fusion Linear(2H -> H), GELU makes of both encoders' there.

    Args:
        first: encoder of the class, with outputs `last_hidden_state`.
        second: encoder of the span, of the same width.
        pooling: over the tokens of the class.
        criteria: head on the pooled vector.
        evidence: head on each token's output.
    """

    def __init__(
        self,
        first: nn.Module,
        second: nn.Module,
        pooling: Pooling,
        criteria: ClassificationHead,
        evidence: SpanHead,
    ) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.fusion = nn.Sequential(nn.Linear(width_of(first) + width_of(second), width_of(first)), nn.GELU())
        self.pooling, self.criteria, self.evidence = pooling, criteria, evidence

    def forward(self, x_B2L: Tensor) -> dict[str, Tensor]:
        """Logits by task."""
        first_BLH, second_BLH = hidden_states(self.first, x_B2L), hidden_states(self.second, x_B2L)
        fused_BLH, mask_BL = self.fusion(torch.cat([first_BLH, second_BLH], -1)), x_B2L[:, 1]
        return {
            "criteria": self.criteria(self.pooling(first_BLH + fused_BLH, mask_BL)),
            "evidence": self.evidence(second_BLH + fused_BLH, mask_BL),
        }
