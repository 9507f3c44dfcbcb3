"""The four phases on a user's loaders."""

import copy
import json
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lab.asose import ASOSEConfig
from lab.base import CheckpointError, ConfigError, DataError, TrainingError
from lab.checkpoint import list_checkpoints
from lab.nn import SuperNet
from lab.runs import ASOSEFramework, ASOSETrainer
from lab.space import NB201
from lab.train import CheckpointConfig, Criterion, DeviceConfig, OptimizerConfig, divide_loader


@pytest.fixture
def config():
    phases = {"warmup_epochs": 1, "arch_training_epochs": 1, "weight_training_epochs": 1, "total_cycles": 2}
    return ASOSEConfig(**phases, prior="none", retraining_epochs=0, mutation_test="before", arch_lr=0.05)


def make_loader(count=64, seed=0, batch=16, **options):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(count, 1, 8, 8, generator=generator), torch.randint(3, (count,), generator=generator)
    x += y.view(-1, 1, 1, 1)  # something to learn
    return DataLoader(TensorDataset(x, y), batch, **options)


def make_framework(config, **options):
    torch.manual_seed(0)
    settings = {
        "optimizer": OptimizerConfig(weight_lr=0.05),
        "checkpoints": CheckpointConfig(checkpoint_frequency=1),
        "devices": DeviceConfig(device="cpu"),
    }
    return ASOSEFramework(SuperNet(NB201, 4, 3, 3, 1), config, seed=3, **(settings | options))


def weights(framework):
    return torch.cat([p.detach().flatten() for p in framework.search_model.parameters()])


def test_one_call_is_one_epoch_of_the_phase_that_is_due(config):
    framework = make_framework(config)
    phases = [framework.train_cycle(make_loader(), make_loader(seed=1), None, epoch).phase for epoch in range(5)]
    assert phases == ["warmup", "arch_training", "weight_retraining", "arch_training", "weight_retraining"]
    assert framework.should_early_stop()
    assert framework.genotype == framework.network.genotype
    report = framework.get_training_report()
    assert report.to_dict()["mutations"]["applied"] == 1
    assert len(report.to_dict()["history"]) == 5
    assert "weight_retraining" in str(report)
    json.loads(report.to_json())
    with pytest.raises(TrainingError, match="an epoch left to train, got training plan already finished"):
        framework.train_cycle(make_loader(), make_loader(seed=1))


def test_epochs_are_called_in_order(config):
    with pytest.raises(TrainingError, match="epoch 0, which is due, got 2"):
        make_framework(config).train_cycle(make_loader(), make_loader(seed=1), None, 2)


def test_each_phase_trains_its_own_parameters_on_its_own_loader(config):
    framework = make_framework(config)
    seen = {"train": 0, "valid": 0}

    def counted(name, loader):
        class Counted:
            def __len__(self):
                return len(loader)

            def __iter__(self):
                for batch in loader:
                    seen[name] += 1
                    yield batch

        return Counted()

    train, valid, decision = counted("train", make_loader()), counted("valid", make_loader(seed=1)), make_loader(seed=2)
    alpha, before = framework.strategy.explorer.alpha, weights(framework).clone()
    start = alpha.detach().clone()
    framework.train_cycle(train, valid, decision_loader=decision)
    assert (seen["train"], seen["valid"]) == (4, 0)
    assert torch.equal(alpha, start)
    assert not torch.equal(weights(framework), before)
    before = weights(framework).clone()
    framework.train_cycle(train, valid, decision_loader=decision)
    assert (seen["train"], seen["valid"]) == (4, 4)
    assert not torch.equal(alpha, start)
    assert torch.equal(weights(framework), before)


def test_the_live_network_has_the_search_models_own_parameters(config):
    framework = make_framework(config)
    for _ in range(3):
        framework.train_cycle(make_loader(), make_loader(seed=1))
    own = {id(p) for p in framework.search_model.parameters()}
    assert all(id(p) in own for p in framework.network.parameters())


def test_a_saved_framework_goes_on_with_the_same_bits(config, tmp_path):
    ends = []
    for saved in (False, True):
        framework = make_framework(config)
        for epoch in range(5):
            framework.train_cycle(make_loader(), make_loader(seed=1), nn.CrossEntropyLoss(), epoch)
            if saved and epoch == 2:
                path = framework.save_checkpoint(tmp_path / "best_model.pth")
                framework = make_framework(config)
                torch.rand(100)  # whatever happens between, the streams come from the checkpoint
                framework.load_checkpoint(path)
        ends.append(weights(framework))
    assert torch.equal(*ends)


def test_a_checkpoint_of_the_same_name_is_replaced_whole(config, tmp_path):
    framework = make_framework(config)
    framework.save_checkpoint(tmp_path / "one.pt")
    framework.train_cycle(make_loader(), make_loader(seed=1))
    framework.save_checkpoint(tmp_path / "one.pt")
    other = make_framework(config)
    other.load_checkpoint(tmp_path / "one.pt")
    assert other.loop.epoch == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_checkpoint_of_another_architecture_is_refused(config, tmp_path):
    path = make_framework(config).save_checkpoint(tmp_path / "one.pt")
    wider = ASOSEFramework(SuperNet(NB201, 5, 3, 3, 1), config)
    with pytest.raises(CheckpointError, match="a checkpoint of this architecture"):
        wider.load_checkpoint(path)


def test_checkpoints_of_a_folder_are_kept_as_the_config_says(config, tmp_path):
    framework = make_framework(config, checkpoint_dir=tmp_path)
    for _ in range(5):
        framework.train_cycle(make_loader(), make_loader(seed=1))
    reasons = {file.reason for file in list_checkpoints(tmp_path)}
    assert {"epoch", "pre_mutation", "best"} <= reasons


def test_the_criterion_is_the_one_that_is_given(config):
    ends = []
    for criterion in (None, nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.5)):
        framework = make_framework(config)
        framework.train_cycle(make_loader(), make_loader(seed=1), criterion)
        ends.append(weights(framework))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize(
    "function",
    [
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])),
        lambda logits, y: nn.functional.multi_margin_loss(logits, y),
    ],
)
def test_the_loss_of_each_sample_is_the_criterions_own(function):
    logits, y = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    expected = torch.stack([function(logits[i : i + 1], y[i : i + 1]) for i in range(5)])
    assert torch.allclose(Criterion(function).each(logits, y), expected)


def test_a_criterion_that_sums_is_refused():
    with pytest.raises(ConfigError, match="gives the mean, got reduction 'sum'"):
        Criterion(nn.CrossEntropyLoss(reduction="sum"))


def test_a_divided_loader_shares_nothing_and_loses_nothing():
    loader = make_loader(count=33, shuffle=True)
    first, second = divide_loader(loader)
    left, right = set(first.dataset.indices), set(second.dataset.indices)
    assert not left & right
    assert left | right == set(range(33))
    again = divide_loader(loader)
    assert again[1].dataset.indices == second.dataset.indices, "the halves would mix from one epoch to the next"
    assert [y.tolist() for _, y in second] == [y.tolist() for _, y in second], "decisions need a fixed order"


def test_a_loader_that_cannot_be_divided_is_named(config):
    with pytest.raises(ConfigError, match="a DataLoader over an indexed data set.*got list"):
        make_framework(config).train_cycle(make_loader(), [(torch.ones(2, 1, 8, 8), torch.zeros(2).long())])


def test_a_batch_of_another_form_is_named(config):
    loader = [{"x": torch.ones(2, 1, 8, 8)}]
    with pytest.raises(DataError, match=r"batches \(images, labels\) of two tensors, got dict"):
        make_framework(config).train_cycle(loader, loader, decision_loader=loader)


def test_drawn_cells_and_a_mutation_on_demand(config):
    framework = make_framework(config)
    drawn = {framework._gumbel_sample_architecture() for _ in range(20)}
    assert len(drawn) > 10
    framework._mutation_phase(make_loader(), make_loader(seed=2))
    taken = framework.genotype
    framework._mutation_phase(make_loader(), make_loader(seed=2))
    assert framework.genotype != taken
    assert framework.strategy.mutator.largest_difference <= 1e-5


def test_accumulation_and_precision_reach_the_step(config):
    sizes = []
    framework = make_framework(config, grad_accum_steps=2, precision="bf16")

    def note(module, args):
        if module.training:  # counting operations runs one image in eval mode
            sizes.append(len(args[0]))

    framework.search_model.register_forward_pre_hook(note)
    framework.train_cycle(make_loader(), make_loader(seed=1))
    assert set(sizes) == {8}
    assert framework.strategy.weight_step.precision.precision == "bf16"


def test_an_unfinished_hand_over_is_never_left_behind(config):
    framework = make_framework(config)
    while not framework.should_early_stop():
        framework.train_cycle(make_loader(), make_loader(seed=1))
    assert framework.network.transitions == {}


def test_a_trainer_runs_a_data_set_by_name(config, tmp_path):
    trainer = ASOSETrainer(config, tmp_path)
    report = trainer.train("digits", 2, train_limit=200, init_channels=4, layers=3, batch_size=16, threads=1)
    assert report.state == "finished"
    assert report.epochs == 2
    assert math.isfinite(report.test_loss)
    again = trainer.train("digits", resume="latest")
    assert again.digest == report.digest


def test_a_trainer_names_an_unknown_field(config, tmp_path):
    with pytest.raises(ConfigError, match="got batchsize. Check the spelling"):
        ASOSETrainer(config, tmp_path).train("digits", batchsize=3)


def test_the_framework_leaves_the_callers_model_in_place(config):
    torch.manual_seed(0)
    net = SuperNet(NB201, 4, 3, 3, 1)
    before = copy.deepcopy(net.state_dict())
    framework = ASOSEFramework(net, config)
    assert framework.search_model is net
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
