"""The load race and its poison. Races run in processes of their own: what they leave behind stays for good."""

import gc
import json
import threading
import time

import pytest
import torch
from torch import nn

from lab.device import find_poison, load_guard, loads_in_progress, repair_poison

LOADS = """
import contextlib, gc, json, sys, threading, warnings
from transformers import DebertaV2Model, GPT2LMHeadModel, RobertaModel
from lab.device import find_poison, load_guard
import torch

gc.unfreeze()  # the originals are looked for among all objects
warnings.simplefilter("ignore")
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.utils.deterministic.fill_uninitialized_memory = True
threads, loads, folders = json.loads(sys.argv[1])
kinds = {"roberta": RobertaModel, "deberta": DebertaV2Model, "gpt2": GPT2LMHeadModel}
clean = {name: kinds[name].from_pretrained(folder).state_dict() for name, folder in folders.items()}


def race(guard):
    bad, done, errors = [], [], []

    def load(number):
        name = sorted(folders)[number % len(folders)]
        with guard():
            model = kinds[name].from_pretrained(folders[name])
        tensors = [*model.parameters(), *model.buffers()]
        whole = not any(tensor.is_meta or not torch.isfinite(tensor).all() for tensor in tensors)
        if name == "gpt2":
            whole = whole and model.lm_head.weight is model.transformer.wte.weight
        whole = whole and all(torch.equal(value, clean[name][key]) for key, value in model.state_dict().items())
        done.append(number)
        if not whole:
            bad.append(name)

    def work(first):
        for number in range(first, loads, threads):
            try:
                load(number)
            except (RuntimeError, AttributeError, KeyError, ValueError) as error:
                errors.append(f"{type(error).__name__}: {error}")

    workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    poison = [poison.name for poison in find_poison()]
    return {"bad": len(bad), "done": len(done), "errors": errors, "poison": poison}

# The guarded ones first: they find and leave a healthy process.
guarded, unguarded = race(load_guard), race(contextlib.nullcontext)
with load_guard():
    tied = GPT2LMHeadModel.from_pretrained(folders["gpt2"])
healed = tied.lm_head.weight is tied.transformer.wte.weight and not tied.lm_head.weight.is_meta and not find_poison()
print(json.dumps({"guarded": guarded, "unguarded": unguarded, "healed": healed}))
"""


@pytest.fixture(scope="module")
def races(pretrained, forks, tmp_path_factory):
    """What came of 60 loads in four threads with the guard and of 60 without it, in one process of their own."""
    folders = {name: str(folder) for name, (_, folder, _) in pretrained.items()}
    output = tmp_path_factory.mktemp("races") / "output"
    status = forks(LOADS, output, json.dumps([4, 60, folders]))
    assert status == 0, output.read_text()[-2000:]
    return json.loads(output.read_text().splitlines()[-1])


def test_sixty_guarded_loads_in_four_threads_give_no_bad_model_and_no_poison(races):
    assert races["guarded"] == {"bad": 0, "done": 60, "errors": [], "poison": []}


def test_without_the_guard_the_loads_go_wrong_and_the_next_guard_repairs_the_process(races):
    assert races["unguarded"]["bad"] + len(races["unguarded"]["errors"]) > 0
    assert races["healed"]


@pytest.fixture
def repaired():
    """Whatever the test leaves behind is repaired; the test itself has to have done so."""
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)
    left = repair_poison()
    assert left == ()


def foreign(*args, **kwargs):
    return None


def names():
    return [poison.name for poison in find_poison()]


@pytest.mark.usefixtures("repaired", "unfrozen")
@pytest.mark.parametrize(
    ("holder", "attribute", "name"),
    [
        (nn.Module, "register_parameter", "nn.Module.register_parameter"),
        (nn.Module, "register_buffer", "nn.Module.register_buffer"),
        (nn.init, "normal_", "nn.init.normal_"),
        (torch.nn.modules.activation, "xavier_uniform_", "nn.modules.activation.xavier_uniform_"),
        (torch, "linspace", "torch.linspace"),
        (torch, "empty", "torch.empty"),
    ],
)
def test_a_replaced_function_is_found_by_name_repaired_and_warned_of(holder, attribute, name):
    original = getattr(holder, attribute)
    with pytest.warns(RuntimeWarning, match=f"after the load .* repaired: {name} is foreign of "), load_guard():
        setattr(holder, attribute, foreign)
    assert getattr(holder, attribute) is original
    assert names() == []


@pytest.mark.usefixtures("repaired", "unfrozen")
def test_each_replaced_method_of_pretrained_models_is_repaired():
    transformers = pytest.importorskip("transformers")
    original = transformers.PreTrainedModel.tie_weights
    transformers.PreTrainedModel.tie_weights = foreign
    with (
        pytest.warns(RuntimeWarning, match=r"before the load .* PreTrainedModel\.tie_weights is foreign"),
        load_guard(),
    ):
        assert transformers.PreTrainedModel.tie_weights is original
    assert names() == []


@pytest.mark.usefixtures("repaired")
def test_an_original_whose_last_copy_is_gone_is_built_again_from_source(clean):
    transformers = pytest.importorskip("transformers")
    kind = transformers.PreTrainedModel
    kind.tie_weights = foreign
    gc.collect()
    model = type(clean["gpt2"][0])(clean["gpt2"][0].config)
    assert model.lm_head.weight is not model.transformer.wte.weight
    assert [poison.name for poison in repair_poison()] == ["PreTrainedModel.tie_weights"]
    assert kind.tie_weights.__qualname__ == "PreTrainedModel.tie_weights"
    model.tie_weights()
    assert model.lm_head.weight is model.transformer.wte.weight


@pytest.mark.usefixtures("repaired")
def test_two_overlapping_contexts_poison_and_the_repair_undoes_it():
    """The race in two steps and no threads: the second context takes the first one's replacement for the original."""
    initialization = pytest.importorskip("transformers.initialization")
    contexts = (initialization.no_tie_weights, initialization.meta_device_safe_creation_ops)
    for make in (*contexts, initialization.guard_torch_init_functions):
        first, second = make(), make()
        first.__enter__()
        second.__enter__()
        assert any(make.__wrapped__.__qualname__ in name for name in loads_in_progress())
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
    assert loads_in_progress() == ()
    assert {"PreTrainedModel.tie_weights", "torch.linspace", "nn.init.normal_"} <= set(names())
    weight = torch.zeros(3)
    weight._is_hf_initialized = True
    assert not nn.init.normal_(weight).any()
    repair_poison()
    assert nn.init.normal_(weight).all()
    assert names() == []


@pytest.mark.usefixtures("repaired")
def test_a_patched_register_parameter_leaves_meta_weights_until_the_guard_repairs_it():
    """The older form of the race: two contexts that make empty weights overlap."""

    def empty_weights():
        old = nn.Module.register_parameter

        def register_empty_parameter(module, name, parameter):
            old(module, name, parameter)
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.to("meta"))

        nn.Module.register_parameter = register_empty_parameter
        yield
        nn.Module.register_parameter = old

    first, second = empty_weights(), empty_weights()
    next(first)
    next(second)
    assert next(first, None) is next(second, None) is None
    assert nn.Linear(2, 2).weight.is_meta
    with (
        pytest.warns(RuntimeWarning, match=r"nn\.Module\.register_parameter is .*register_empty_parameter"),
        load_guard(),
    ):
        assert not nn.Linear(2, 2).weight.is_meta


@pytest.mark.usefixtures("repaired")
def test_a_load_outside_the_guard_is_named_and_its_replacements_are_left_to_it():
    initialization = pytest.importorskip("transformers.initialization")
    load = initialization.no_tie_weights()
    load.__enter__()
    with (
        pytest.warns(RuntimeWarning, match="another load was running outside load_guard .*no_tie_weights"),
        load_guard(),
    ):
        pass
    assert names() == ["PreTrainedModel.tie_weights"]
    load.__exit__(None, None, None)
    assert names() == []


@pytest.mark.usefixtures("repaired")
def test_a_guard_inside_a_guard_leaves_the_outer_loads_replacements_alone():
    warned = pytest.warns(RuntimeWarning, match=r"after the load .* nn\.init\.normal_ is foreign")
    with warned as caught, load_guard():
        nn.init.normal_ = foreign
        with load_guard():
            assert names() == ["nn.init.normal_"]
        assert names() == ["nn.init.normal_"]
    assert len(caught) == 1


@pytest.mark.usefixtures("repaired")
def test_a_default_dtype_that_a_load_left_behind_is_put_back():
    with (
        pytest.warns(RuntimeWarning, match="default dtype was torch.bfloat16: put back to torch.float32"),
        load_guard(),
    ):
        torch.set_default_dtype(torch.bfloat16)
    assert torch.get_default_dtype() == torch.float32


def test_only_one_thread_is_inside_at_a_time_and_one_thread_may_be_inside_twice():
    inside, most, order = [0], [0], []

    def load():
        with load_guard(), load_guard():
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            inside[0] -= 1
            order.append(1)

    workers = [threading.Thread(target=load) for _ in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == [1]
    assert len(order) == 5


def test_an_error_inside_passes_on_and_the_lock_is_free_again():
    with pytest.raises(KeyError, match="lost"), load_guard():
        raise KeyError("lost")
    done = []

    def load():
        with load_guard():
            done.append(1)

    worker = threading.Thread(target=load)
    worker.start()
    worker.join(timeout=5)
    assert done == [1]


def test_a_healthy_process_has_no_poison_and_no_warning():
    with load_guard():
        nn.MultiheadAttention(4, 2)
    assert find_poison() == ()
