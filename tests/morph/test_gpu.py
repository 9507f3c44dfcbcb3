import pytest
import torch

from lab.morph import (
    AddBranch,
    Deepen,
    InsertAttention,
    InsertResidual,
    Prune,
    SetDilation,
    SetGroups,
    SetKernel,
    Widen,
    apply,
    rollback,
    verify,
)
from lab.nn import small_cnn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
OPS = (
    Widen("features.conv2", 80),
    Prune("features.conv2", 40),
    Deepen("features.relu1"),
    InsertResidual("features"),
    InsertAttention("features.pool2"),
    AddBranch("features.conv3"),
    SetKernel("features.conv2", 5),
    SetKernel("features.conv2", 1),
    SetDilation("features.conv2", 2),
    SetGroups("features.conv2", 4),
)


@pytest.mark.parametrize("op", OPS, ids=str)
def test_on_the_gpu_a_change_stays_there_and_comes_back_bit_by_bit(op, state, same, train):
    torch.manual_seed(0)
    model, x = small_cnn().cuda(), torch.randn(4, 3, 32, 32, device="cuda")
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer, x)
    before, stream = state(model, optimizer), torch.cuda.get_rng_state()
    plan = op.plan(model, x)
    assert torch.equal(torch.cuda.get_rng_state(), stream)
    report = apply(plan, model, optimizer)
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cuda"}
    assert verify(report, x) <= 1e-5 or not plan.exact
    train(model, optimizer, x)
    torch.rand(3, device="cuda")
    rollback(report)
    assert same(state(model, optimizer), before)
    assert torch.equal(torch.cuda.get_rng_state(), stream)
