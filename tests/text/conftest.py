"""Tiny encoders on disk with random weights, a table of sentences, and settings of runs that take seconds."""

import pytest

from lab.bench.encoders import write_encoders
from lab.runs import RunConfig
from lab.text import TextConfig

TINY = {"tiny_dim": 8, "tiny_layers": 1, "tiny_heads": 2}


@pytest.fixture(scope="session")
def encoders(tmp_path_factory):
    """By name: a folder with config, tokenizer and safetensors of a RoBERTa, and of a GPT-2 with tied embeddings."""
    pytest.importorskip("transformers")
    return write_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture
def run_config():
    """Settings of a run of a few steps on the synthetic sentences, by fields of all its records."""

    def make(task="criteria", *, text=None, **fields):
        plain = {"epochs": 2, "batch_size": 128, "threads": 1, "device": "cpu", "weight_lr": 2e-3}
        own = TextConfig(**({"task": task} | TINY | (text or {})))
        return RunConfig.from_fields(recipe="text", name="sentences", text=own, **(plain | fields))

    return make
