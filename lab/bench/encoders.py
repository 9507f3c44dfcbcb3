"""Tiny encoders on disk with random weights: a RoBERTa, and a GPT-2 whose output is tied to its table of words."""

from pathlib import Path
from typing import Any

import torch

from lab.base import require_extra
from lab.text import word_tokenizer, write_sentences
from lab.text.encoder import WEIGHTS

HEADS = {"roberta": "encoder", "gpt2": "causal"}
"""Name of an encoder -> the head with which it is loaded whole."""
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def write_encoders(folder: Path) -> dict[str, Path]:
    """Write both below `folder`, each with config, tokenizer and safetensors; name -> its folder.

    Raises:
        ConfigError: transformers is not installed.
    """
    require_extra("text", "tiny encoders")
    import tokenizers
    import transformers
    from safetensors.torch import save_file

    words = word_tokenizer([row["text"] for row in write_sentences(100)])
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(dict(words.get_vocab()), unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    causal = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="[SEP]", unk_token="[UNK]")
    size = len(words)
    sizes: dict[str, Any] = dict(SIZES)
    roberta = transformers.RobertaConfig(**sizes, vocab_size=size, max_position_embeddings=40, pad_token_id=0)
    gpt2 = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, n_positions=40, vocab_size=size, bos_token_id=3, eos_token_id=3
    )
    found = {}
    for name, kind, config, tokenizer in (
        ("roberta", transformers.RobertaModel, roberta, words),
        ("gpt2", transformers.GPT2LMHeadModel, gpt2, causal),
    ):
        found[name] = folder / name
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: Any = kind
            state = model(config).state_dict()
        # The tied output is no tensor of its own in the file.
        own = {key: value.contiguous() for key, value in state.items() if key != "lm_head.weight"}
        config.save_pretrained(found[name])
        save_file(own, found[name] / WEIGHTS, metadata={"format": "pt"})
        tokenizer.save_pretrained(found[name])
    return found
