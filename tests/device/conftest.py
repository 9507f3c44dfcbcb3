"""Uninitialised memory shows as NaN in all tests of this folder; tiny pretrained checkpoints on disk."""

import copy
import warnings

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def uninitialised_memory_is_nan(monkeypatch):
    """Deterministic algorithms, and each uninitialised tensor filled with NaN or the largest integer."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    """By name: (class, folder with config and weights, input) of tiny models with random weights."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    rest = {"vocab_size": 40, "max_position_embeddings": 20}
    gpt2 = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, n_positions=20, vocab_size=40, bos_token_id=0, eos_token_id=0
    )
    configs = {
        "roberta": (transformers.RobertaModel, transformers.RobertaConfig(**sizes, **rest, pad_token_id=1)),
        "deberta": (
            transformers.DebertaV2Model,
            transformers.DebertaV2Config(**sizes, **rest, relative_attention=True, pos_att_type=["p2c", "c2p"]),
        ),
        "gpt2": (transformers.GPT2LMHeadModel, gpt2),
    }
    found = {}
    for name, (kind, config) in configs.items():
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
        found[name] = (kind, folder, torch.tensor([[5, 6, 7, 8, 9]]))
    return found


@pytest.fixture(scope="session")
def clean(pretrained):
    """By name: (model as loaded, folder, input); tests copy the model before they change it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return {
            name: (kind.from_pretrained(folder).eval(), folder, ids) for name, (kind, folder, ids) in pretrained.items()
        }


@pytest.fixture(scope="session")
def hollowed():
    """A function that gives a copy of a model with the chosen tensors on meta (by number), ties kept."""

    def hollow(model: nn.Module, chosen) -> nn.Module:
        model = copy.deepcopy(model)
        slots = [
            (registry, name)
            for module in model.modules()
            for registry in (module._parameters, module._buffers)
            for name in registry
            if registry[name] is not None
        ]
        tensors = list({id(registry[name]): registry[name] for registry, name in slots}.values())
        on_meta = {}
        for number in chosen:
            old = tensors[number % len(tensors)]
            new = torch.empty_like(old, device="meta")
            on_meta[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
        for registry, name in slots:
            registry[name] = on_meta.get(id(registry[name]), registry[name])
        return model

    return hollow
