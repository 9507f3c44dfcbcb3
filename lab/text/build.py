"""The text model of a run: its encoder, made on the spot or loaded and proven, and the heads on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lab.base import ConfigError, require, require_extra
from lab.device import load_guard
from lab.text.config import TextConfig
from lab.text.data import TextData
from lab.text.encoder import PURPOSE, LoadReport, load_pretrained
from lab.text.models import (
    ClassificationHead,
    CriteriaModel,
    EvidenceModel,
    JointModel,
    Pooling,
    SharedModel,
    SpanHead,
    width_of,
)


def make_text_model(config: TextConfig, data: TextData) -> tuple[nn.Module, tuple[LoadReport, ...]]:
    """The model for `data` on the CPU, and the proof of each encoder that was loaded.

    Raises:
        ConfigError: an encoder that does not fit the tokens or the settings.
        MaterializeError: an encoder that is not what its file says.
    """
    count = 2 if config.task == "joint" else 1
    encoders, reports = [], []
    for _ in range(count):
        if data.folder is None:
            encoders.append(tiny_encoder(config, len(data.tokenizer)))
        else:
            encoder, report = load_encoder(data.folder)
            encoders.append(encoder)
            reports.append(report)
    for encoder in encoders:
        _require_fit(encoder, config, data)
        if config.freeze_encoder:
            encoder.requires_grad_(False)
    return _with_heads(config, encoders, len(data.table.classes)), tuple(reports)


def load_encoder(folder: Path) -> tuple[nn.Module, LoadReport]:
    """The encoder in `folder`, without the layers behind it that the lab's models do not run.

    Raises:
        ConfigError, MaterializeError: as `load_pretrained`; a model of encoder and decoder.
    """
    encoder, report = load_pretrained(folder)
    settings: Any = encoder.config
    require(
        not getattr(settings, "is_encoder_decoder", False),
        expected="a model that is an encoder alone",
        got=f"{type(encoder).__name__} in {folder}",
        hint="give an encoder, such as BERT or RoBERTa",
    )
    if getattr(encoder, "pooler", None) is not None:
        del encoder.pooler
        encoder.register_module("pooler", None)
    # A cache of keys is for writing texts token by token.
    settings.use_cache = False
    return encoder, report


def tiny_encoder(config: TextConfig, vocabulary: int) -> nn.Module:
    """A small BERT with random weights from torch's stream, for `vocabulary` tokens."""
    require_extra("text", PURPOSE)
    from transformers import BertConfig, BertModel

    settings = BertConfig(
        vocab_size=vocabulary,
        hidden_size=config.tiny_dim,
        num_hidden_layers=config.tiny_layers,
        num_attention_heads=config.tiny_heads,
        intermediate_size=2 * config.tiny_dim,
        max_position_embeddings=config.max_length,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        pad_token_id=0,
        use_cache=False,
    )
    with load_guard():
        encoder: nn.Module = BertModel(settings, add_pooling_layer=False)
    return encoder


def _require_fit(encoder: nn.Module, config: TextConfig, data: TextData) -> None:
    """Raise unless every token and position of the data has its embedding, and pooling its token."""
    ids_NL, length = data.tokens.x_N2L[:, 0], data.tokens.x_N2L.shape[2]
    embeddings = encoder.get_input_embeddings()  # type: ignore[operator]
    require(
        int(ids_NL.max()) < embeddings.num_embeddings,
        expected=f"token ids below the {embeddings.num_embeddings} embeddings of the encoder",
        got=str(int(ids_NL.max())),
        hint="give the tokenizer that belongs to it",
    )
    positions = _positions(encoder)
    if positions is not None and length > positions:
        raise ConfigError(f"sentences of at most {positions} tokens", str(length), f"give --max-length {positions}")
    require(
        config.pooling != "cls" or data.tokenizer.cls_token_id is not None,
        expected="pooling mean, max or attention with an encoder whose tokenizer has no [CLS]",
        got="cls",
        hint="give --pooling mean",
    )


def _positions(encoder: nn.Module) -> int | None:
    """How many tokens the encoder has positions for; None where it does not say."""
    most = getattr(encoder.config, "max_position_embeddings", None)
    if most is None:
        return None
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    # RoBERTa counts positions from behind the one of its padding.
    padding = getattr(table, "padding_idx", None)
    return int(most) - (0 if padding is None else int(padding) + 1)


def _with_heads(config: TextConfig, encoders: Sequence[nn.Module], classes: int) -> nn.Module:
    width = width_of(encoders[0])
    spans = SpanHead(width, dropout=config.dropout)
    if config.task == "evidence":
        return EvidenceModel(encoders[0], spans)
    head = ClassificationHead(width, classes, layers=config.head_layers, dim=config.head_dim, dropout=config.dropout)
    pooling = Pooling(config.pooling, width)
    if config.task == "criteria":
        return CriteriaModel(encoders[0], pooling, head)
    if config.task == "share":
        return SharedModel(encoders[0], pooling, head, spans)
    return JointModel(encoders[0], encoders[1], pooling, head, spans)
