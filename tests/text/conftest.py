"""Tiny encoders on disk with random weights, a table of sentences, and settings of runs that take seconds."""

import pytest

from lab.runs import RunConfig
from lab.text import TextConfig, write_sentences

TINY = {"tiny_dim": 8, "tiny_layers": 1, "tiny_heads": 2}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="session")
def encoders(tmp_path_factory):
    """By name: a folder with config, tokenizer and safetensors of a RoBERTa, and of a GPT-2 with tied embeddings."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    import torch

    from lab.text import word_tokenizer

    words = word_tokenizer([row["text"] for row in write_sentences(100)])
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(dict(words.get_vocab()), unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    causal = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="[SEP]", unk_token="[UNK]")
    size = len(words)
    roberta = transformers.RobertaConfig(**SIZES, vocab_size=size, max_position_embeddings=40, pad_token_id=0)
    gpt2 = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, n_positions=40, vocab_size=size, bos_token_id=3, eos_token_id=3
    )
    found = {}
    for name, kind, config, tokenizer in (
        ("roberta", transformers.RobertaModel, roberta, words),
        ("gpt2", transformers.GPT2LMHeadModel, gpt2, causal),
    ):
        found[name] = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        kind(config).save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


@pytest.fixture
def run_config():
    """Settings of a run of a few steps on the synthetic sentences, by fields of all its records."""

    def make(task="criteria", *, text=None, **fields):
        plain = {"epochs": 2, "batch_size": 128, "threads": 1, "device": "cpu", "weight_lr": 2e-3}
        own = TextConfig(**({"task": task} | TINY | (text or {})))
        return RunConfig.from_fields(recipe="text", name="sentences", text=own, **(plain | fields))

    return make
