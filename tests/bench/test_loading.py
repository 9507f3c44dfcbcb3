from itertools import pairwise

import pytest
import torch

from lab.base import ConfigError
from lab.bench import loading
from lab.bench.loading import LoadingBench


def test_every_way_is_timed_alone_and_with_training():
    config = LoadingBench(
        dataset="digits", channels=1, layers=1, workers=(0, 1), rounds=2, train_limit=300, batch_size=16, device="cpu"
    )
    result = loading.run(config)
    rows = result["results"]["ways"]
    assert [row["workers"] for row in rows] == [0, 1]
    assert rows[0]["training_ratio"] == 1.0
    assert rows[1]["training_ratio"] == pytest.approx(
        rows[1]["training_images_per_second"] / rows[0]["training_images_per_second"]
    )
    for row in rows:
        assert row["loader_images_per_second"] > row["training_images_per_second"] > 0
    assert "1 worker" in str(loading.summary(result))


def test_every_way_gives_the_same_batches():
    config = LoadingBench(dataset="digits", workers=(0, 2), train_limit=300, batch_size=16, device="cpu")
    ways = loading._ways(config, torch.device("cpu"))
    batches = [[x for x, _ in way.batches(3)] for way in ways]
    assert len(batches[0]) > 1
    for one, other in pairwise(batches):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_number_of_workers_below_0_is_refused():
    with pytest.raises(ConfigError, match="workers"):
        LoadingBench(workers=(-1,))


@pytest.mark.gpu
def test_on_a_gpu_pinned_and_pageable_memory_are_compared():
    config = LoadingBench(
        dataset="digits", channels=1, workers=(0, 1), rounds=1, train_limit=300, batch_size=16, device="cuda"
    )
    ways = [(row["workers"], row["pinned"]) for row in loading.run(config)["results"]["ways"]]
    assert ways == [(0, False), (1, False), (1, True)]
