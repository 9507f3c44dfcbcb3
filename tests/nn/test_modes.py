from torch import nn

from lab.nn import eval_mode, train_mode


def modes(model):
    return [module.training for module in model.modules()]


def test_train_mode_reaches_every_module_of_a_model_in_eval_mode():
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout()).eval()
    train_mode(model)
    assert modes(model) == [True] * 3


def test_eval_mode_gives_each_module_its_own_mode_back():
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    model[1].eval()
    with eval_mode(model):
        assert modes(model) == [False] * 3
    assert modes(model) == [True, True, False]
    train_mode(model)
    assert modes(model) == [True, True, False]
