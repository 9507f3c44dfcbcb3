"""Surgery on language models of transformers, built from a configuration: nothing is loaded."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lab.base import MorphError
from lab.morph import AddBranch, Deepen, InsertAttention, InsertResidual, Prune, Widen, apply, rollback, verify

transformers = pytest.importorskip("transformers")
TOKENS = {"bos_token_id": 1, "eos_token_id": 2}
SMALL = {"vocab_size": 50, **TOKENS}


def gpt2():
    config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=32, **SMALL)
    return transformers.GPT2LMHeadModel(config)


def bert():
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    return transformers.BertForSequenceClassification(transformers.BertConfig(**sizes, **SMALL))


def llama():
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=1, **sizes, **SMALL))


CASES = [
    (gpt2, Widen("transformer.h.0.mlp.c_fc", 128)),
    (gpt2, Deepen("transformer.h.0.mlp")),
    (gpt2, InsertAttention("transformer.h.1")),
    (gpt2, AddBranch("transformer.h.0.mlp")),
    (gpt2, InsertResidual("transformer.h.0.mlp")),
    (bert, Widen("bert.encoder.layer.0.intermediate.dense", 48)),
    (bert, Widen("bert.pooler.dense", 24)),
    (bert, AddBranch("bert.encoder.layer.0.intermediate.dense")),
    (llama, Widen("model.layers.0.mlp.gate_proj", 48)),
    (llama, Deepen("model.layers.0.mlp")),
]


@pytest.fixture
def example():
    return {"input_ids": torch.randint(50, (4, 8), generator=torch.Generator().manual_seed(0))}


@pytest.mark.parametrize(("build", "op"), CASES, ids=[f"{build.__name__} {op}" for build, op in CASES])
def test_the_change_is_exact_and_comes_back_bit_by_bit(build, op, example, state, same):
    torch.manual_seed(0)
    model = build().train()
    optimizer = torch.optim.AdamW(model.parameters())
    before = state(model, optimizer)
    plan = op.plan(model, example)
    assert plan.max_difference <= 1e-10
    report = apply(plan, model, optimizer)
    assert verify(report, example) <= 1e-6
    model(**example).logits.sum().backward()
    optimizer.step()
    rollback(report)
    assert same(state(model, optimizer), before)


def test_layers_of_a_kind_that_this_project_does_not_know_are_pruned(example):
    model = gpt2()
    plan = Prune("transformer.h.0.mlp.c_fc", 32).plan(model, example)
    apply(plan, model)
    assert model.transformer.h[0].mlp.c_fc.nf == 32
    assert model.transformer.h[0].mlp.c_proj.nx == 32
    assert plan.parameters[1] < plan.parameters[0]


def test_heads_that_a_number_in_the_forward_fixes_are_refused(example):
    with pytest.raises(MorphError, match="a forward that runs"):
        Widen("model.layers.0.self_attn.v_proj", 16).plan(llama(), example)


def test_a_parametrized_weight_is_refused_by_that_name():
    model = nn.Sequential(weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    with pytest.raises(MorphError, match="a parametrization on 0"):
        Widen("0", 8).plan(model, torch.randn(4, 4))


def test_a_forward_that_branches_on_values_is_refused():
    class Branchy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(MorphError, match="traced without values"):
        Widen("layer", 8).plan(Branchy(), torch.randn(4, 4))
