"""Every test of the doctor runs with uninitialised memory filled with NaN, so that garbage cannot pass as zero."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def uninitialised_memory_is_nan() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


@pytest.fixture(autouse=True, scope="module")
def without_other_tests(no_other_tests: None) -> None:
    """The doctor searches what the user's modules hold."""


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Path]]:
    """Class and folder of tiny models with random weights, by name."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    rest = {"vocab_size": 40, "max_position_embeddings": 20}
    token = {"bos_token_id": 0, "eos_token_id": 0}
    made = {
        "roberta": (transformers.RobertaModel, transformers.RobertaConfig(**sizes, **rest, pad_token_id=1)),
        "gpt2": (
            transformers.GPT2LMHeadModel,
            transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=20, vocab_size=40, **token),
        ),
        "deberta": (
            transformers.DebertaV2Model,
            transformers.DebertaV2Config(**sizes, **rest, relative_attention=True, pos_att_type=["p2c", "c2p"]),
        ),
        "llama": (
            transformers.LlamaForCausalLM,
            transformers.LlamaConfig(**sizes, **rest, num_key_value_heads=2, **token),
        ),
    }
    found = {}
    for name, (kind, config) in made.items():
        folder = tmp_path_factory.mktemp(name)
        kind(config).save_pretrained(folder)
        found[name] = (kind, folder)
    return found


@pytest.fixture
def pretrained(checkpoints: dict[str, tuple[Any, Path]]) -> Callable[[str], nn.Module]:
    """A function that loads a tiny pretrained model from disk, as a user would."""

    def load(name: str) -> nn.Module:
        kind, folder = checkpoints[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return kind.from_pretrained(folder).eval()

    return load
