"""Sentences as tokens: the tokenizer of a folder or a small one of words, and spans of characters as spans of tokens.

N sentences, L tokens.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab.base import ConfigError, DataError, require_extra
from lab.text.encoder import PURPOSE
from lab.text.table import Sentence

PADDING, UNKNOWN, FIRST, LAST = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
LEAST_COUNT = 2
"""A word that fewer training sentences hold is unknown: its embedding would be trained on one of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """All sentences of a table."""

    x_N2L: Tensor
    """Token ids, and 1 where there is a token, int64; the first token of each is a special one."""
    y_N3: Tensor
    """Class, first and last token of the span, int64; both 0, the special token, where there is no span."""
    spans_NL2: Tensor
    """First character of each token and the one behind its last, int64; both 0 for a special token."""
    cut: int
    """Sentences that were longer than `max_length`."""


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer that lies beside an encoder.

    Raises:
        ConfigError: there is none, or one that does not say which characters a token stands for.
    """
    require_extra("text", PURPOSE)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        got = f"{folder}: {' '.join(str(error).split())[:200]}"
        raise ConfigError("a folder with the tokenizer of its encoder", got, "save tokenizer.json there") from error
    if not tokenizer.is_fast:
        got = f"{type(tokenizer).__name__} of {folder}"
        raise ConfigError("a tokenizer that knows the characters of a token", got, "save its tokenizer.json there")
    return tokenizer


def word_tokenizer(texts: Sequence[str]) -> Any:
    """A tokenizer of the lower-case words that two of `texts` hold, a function of these alone."""
    require_extra("text", PURPOSE)
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer, splitter = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))})
    # By count and then by spelling: the order of equals must not depend on the order of a set.
    words = sorted(
        (word for word, count in counts.items() if count >= LEAST_COUNT), key=lambda word: (-counts[word], word)
    )
    vocabulary = {word: number for number, word in enumerate((PADDING, UNKNOWN, FIRST, LAST, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    ends = [(FIRST, vocabulary[FIRST]), (LAST, vocabulary[LAST])]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{FIRST} $A {LAST}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PADDING, unk_token=UNKNOWN, cls_token=FIRST, sep_token=LAST
    )


def tokenize(tokenizer: Any, sentences: Sequence[Sentence], max_length: int) -> Tokens:
    """The sentences as tokens, cut off at `max_length`.

    Raises:
        DataError: a span that no token stands for, or that was cut off.
        ConfigError: the tokenizer has no special token that could begin a sentence.
    """
    found = tokenizer(
        [sentence.text for sentence in sentences],
        truncation=True,
        max_length=max_length,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
    )
    rows: list[tuple[list[int], list[tuple[int, int]], list[int]]] = []
    cut = 0
    for ids, offsets, special, sentence in zip(
        found["input_ids"], found["offset_mapping"], found["special_tokens_mask"], sentences, strict=True
    ):
        if not special or not special[0]:
            # The first token is where the span of a sentence without one points: it must stand for no word.
            ids, offsets, special = [_beginning(tokenizer), *ids], [(0, 0), *offsets], [1, *special]
            ids, offsets, special = ids[:max_length], offsets[:max_length], special[:max_length]
        reached = max((end for (_, end), own in zip(offsets, special, strict=True) if not own), default=0)
        cut += len(ids) == max_length and reached < len(sentence.text.rstrip())
        rows.append((ids, [(0, 0) if own else pair for pair, own in zip(offsets, special, strict=True)], special))
    length = max(len(ids) for ids, _, _ in rows)
    padding = tokenizer.pad_token_id or 0
    x_N2L = torch.zeros(len(rows), 2, length, dtype=torch.int64)
    x_N2L[:, 0] = padding
    spans_NL2 = torch.zeros(len(rows), length, 2, dtype=torch.int64)
    y_N3 = torch.zeros(len(rows), 3, dtype=torch.int64)
    for row, ((ids, offsets, _), sentence) in enumerate(zip(rows, sentences, strict=True)):
        x_N2L[row, 0, : len(ids)], x_N2L[row, 1, : len(ids)] = torch.tensor(ids), 1
        spans_NL2[row, : len(ids)] = torch.tensor(offsets)
        y_N3[row] = torch.tensor((sentence.label, *_token_span(sentence, offsets, max_length)))
    return Tokens(x_N2L=x_N2L, y_N3=y_N3, spans_NL2=spans_NL2, cut=cut)


def _beginning(tokenizer: Any) -> int:
    for token in (tokenizer.cls_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    hint = "give an encoder whose tokenizer has [CLS], a beginning or an end token"
    raise ConfigError("a tokenizer with a special token", "one without", hint)


def _token_span(sentence: Sentence, offsets: Sequence[tuple[int, int]], max_length: int) -> tuple[int, int]:
    """First and last token of the span of a sentence; both 0 where it has none."""
    if sentence.span is None:
        return 0, 0
    start, end = sentence.span
    inside = [place for place, (begin, stop) in enumerate(offsets) if begin < end and stop > start]
    shown = repr(sentence.text[:40])
    if not inside or (offsets[inside[-1]][1] < len(sentence.text[:end].rstrip())):
        if len(offsets) >= max_length:
            got = f"{start}:{end} of {shown} behind token {max_length}"
            raise DataError("spans within the tokens of their sentence", got, "raise --max-length")
        raise DataError("spans that hold a token", f"{start}:{end} of {shown}", "repair that span")
    return inside[0], inside[-1]
