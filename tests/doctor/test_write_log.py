"""What is kept about a run does not grow with its length."""

import torch
from torch import nn

from lab.doctor.graph import GraphWatch
from lab.doctor.modes import watching
from lab.doctor.names import Names
from lab.doctor.write_log import WriteLog


def test_a_long_run_is_not_remembered() -> None:
    layer = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    write_log = WriteLog(patrol_tensors=8, patrol_bytes=2**18)
    graph = GraphWatch(write_log, Names(None, nn.Linear.forward.__code__))
    seen = []
    with watching(graph, write_log):
        for _ in range(100):
            optimizer.zero_grad()
            torch.from_numpy(torch.ones(2, 3).numpy()).matmul(layer.weight).tanh().sum().backward()
            optimizer.step()
            seen.append(write_log.watched)
    assert max(seen) < 20
    assert write_log.watched == 0
