import pytest
import torch

from lab.agent import AttentionPolicyNetwork
from lab.base import ConfigError


@pytest.fixture
def network():
    torch.manual_seed(0)
    return AttentionPolicyNetwork(5, 7)


def test_the_mean_of_the_actions_is_the_value_of_the_state(network):
    q_BA, value_B1 = network(torch.randn(6, 5))
    assert q_BA.shape == (6, 7)
    assert value_B1.shape == (6, 1)
    assert torch.allclose(q_BA.mean(1, keepdim=True), value_B1, atol=1e-6)


def test_one_state_is_a_batch_of_one(network):
    state = torch.randn(5)
    q_A, value_1 = network(state)
    q_BA, value_B1 = network(state.unsqueeze(0))
    assert torch.equal(q_A, q_BA[0])
    assert torch.equal(value_1, value_B1[0])


def test_nothing_in_it_is_random(network):
    state = torch.randn(3, 5)
    assert torch.equal(network(state)[0], network(state)[0])


def test_attention_mixes_the_features(network):
    """With attention over one token its weight is 1 and Q would be additive in the features before the trunk."""
    network.requires_grad_(requires_grad=False)
    tokens = network.norm(torch.randn(2, 5).unsqueeze(-1) * network.scale_SD + network.name_SD)
    _, weights = network.attention(tokens, tokens, tokens)
    assert weights.shape == (2, 5, 5)
    assert float((weights[0] - weights[1]).abs().max()) > 1e-4
    assert float(weights.max()) < 0.999


def test_every_parameter_gets_a_gradient(network):
    q_BA, _ = network(torch.randn(4, 5))
    q_BA[:, 2].square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        # Keys may share a bias without any effect on a softmax over them.
        assert name == "attention.in_proj_bias" or float(parameter.grad.abs().max()) > 0, name


def test_bad_sizes_are_named(network):
    with pytest.raises(ConfigError, match=r"states of 5 features, got shape \(2, 4\)"):
        network(torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="a multiple of 4 heads, got 30"):
        AttentionPolicyNetwork(5, 7, hidden_dim=30)


@pytest.mark.gpu
def test_a_state_is_moved_to_the_network():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    q_A, _ = AttentionPolicyNetwork(5, 7, device="cuda")(torch.zeros(5))
    assert q_A.device.type == "cuda"
