"""The guarded loader: every tensor is the file's, ties hold, nothing is on meta; what is not so is refused."""

import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from lab.base import ConfigError, MaterializeError
from lab.base import extras as optional
from lab.device import find_poison
from lab.state import state_digest
from lab.text import load_encoder, load_pretrained
from lab.text.encoder import download, prove, read_weights, weight_files

HEADS = {"roberta": "encoder", "gpt2": "causal"}


@pytest.fixture(params=HEADS)
def loaded(request, encoders):
    """Name, folder, and what was loaded."""
    folder = encoders[request.param]
    return request.param, folder, *load_pretrained(folder, HEADS[request.param])


def test_every_tensor_has_the_hash_of_the_files(loaded):
    from safetensors import safe_open

    name, folder, model, report = loaded
    with safe_open(str(folder / "model.safetensors"), framework="pt") as file:
        values = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    own = model.state_dict()
    wanted = {key: state_digest(value) for key, value in values.items()}
    assert report.hashes == wanted
    assert {key: state_digest(own[key]) for key in values} == wanted
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert report.tied == ((("transformer.wte.weight", "lm_head.weight"),) if name == "gpt2" else ())
    assert f"{len(wanted)} tensors, each with the hash" in str(report)
    assert find_poison() == ()


def test_ties_stay_and_the_encoder_of_a_model_with_a_head_is_found(encoders):
    model, _ = load_pretrained(encoders["gpt2"], "causal")
    assert model.lm_head.weight is model.transformer.wte.weight
    encoder, report = load_encoder(encoders["gpt2"])
    assert torch.equal(encoder.wte.weight, model.transformer.wte.weight)
    assert all(not name.startswith("transformer.") for name in report.hashes)
    bert, report = load_encoder(encoders["roberta"])
    assert bert.pooler is None
    assert "pooler.dense.weight" in report.hashes
    assert not any("pooler" in name for name, _ in bert.named_parameters())


def test_threads_that_load_at_once_all_get_the_files_own_weights(encoders):
    found = []

    def load():
        # An exception here ends the thread; then fewer loads are counted below.
        for name, head in HEADS.items():
            for _ in range(3):
                model, report = load_pretrained(encoders[name], head)
                found.append((name, report.digest, any(p.is_meta for p in model.parameters())))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = {name: load_pretrained(encoders[name], head)[1].digest for name, head in HEADS.items()}
    assert len(found) == 24
    assert all(digest == wanted[name] and not meta for name, digest, meta in found)


def proof(folder, model):
    files = weight_files(folder)
    return prove(model, read_weights(files), folder, files)


def test_a_meta_tensor_is_filled_from_the_file(encoders):
    model, clean = load_pretrained(encoders["roberta"])
    layer = model.encoder.layer[1].output.dense
    layer.weight = nn.Parameter(torch.empty_like(layer.weight, device="meta"))
    report = proof(encoders["roberta"], model)
    assert report.filled == ("encoder.layer.1.output.dense.weight",)
    assert report.digest == clean.digest
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_a_meta_tensor_that_the_file_does_not_have_is_refused(encoders):
    model, _ = load_pretrained(encoders["roberta"])
    model.extra = nn.Parameter(torch.empty(3, device="meta"))
    with pytest.raises(MaterializeError, match="extra"):
        proof(encoders["roberta"], model)


def test_one_changed_bit_is_found(encoders):
    model, _ = load_pretrained(encoders["roberta"])
    weight = model.encoder.layer[0].output.dense.weight
    weight.data[0, 0] = torch.nextafter(weight.data[0, 0], torch.tensor(9.0))
    with pytest.raises(MaterializeError, match=r"1 that differ: encoder\.layer\.0\.output\.dense\.weight"):
        proof(encoders["roberta"], model)


def test_a_tie_that_was_lost_is_found(encoders):
    model, _ = load_pretrained(encoders["gpt2"], "causal")
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    with pytest.raises(MaterializeError, match=r"lm_head\.weight tied to transformer\.wte\.weight"):
        proof(encoders["gpt2"], model)


def test_a_parameter_that_the_file_lacks_is_found(encoders):
    model, _ = load_pretrained(encoders["roberta"])
    model.extra = nn.Linear(2, 2)
    with pytest.raises(MaterializeError, match=r"a tensor for every parameter.*extra\.weight, extra\.bias"):
        proof(encoders["roberta"], model)


def copied(encoders, folder, *, without=()):
    shutil.copytree(encoders["roberta"], folder / "encoder", ignore=shutil.ignore_patterns(*without))
    return folder / "encoder"


def test_a_folder_without_weights_is_refused(encoders, tmp_path):
    folder = copied(encoders, tmp_path, without=["*.safetensors"])
    with pytest.raises(MaterializeError, match=r"no model\.safetensors in"):
        load_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(MaterializeError, match=r"only pytorch_model\.bin.*other formats can run code"):
        load_pretrained(folder)
    with pytest.raises(MaterializeError, match="a folder with an encoder"):
        load_pretrained(tmp_path / "none")


@pytest.mark.parametrize("size", [0, 5, 400, -1])
def test_a_file_that_is_cut_short_is_refused(encoders, tmp_path, size):
    file = copied(encoders, tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(MaterializeError, match=r"a whole safetensors file.*model\.safetensors of"):
        load_pretrained(file.parent)


def test_weights_in_parts_are_read_and_a_missing_part_is_named(encoders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(encoders, tmp_path, without=["*.safetensors"])
    state = load_file(Path(encoders["roberta"]) / "model.safetensors")
    names = sorted(state)
    parts = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, own in parts.items():
        save_file({name: state[name] for name in own}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, own in parts.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert load_pretrained(folder)[1].digest == load_pretrained(encoders["roberta"])[1].digest
    (folder / "b.safetensors").unlink()
    with pytest.raises(MaterializeError, match=r"no b\.safetensors"):
        load_pretrained(folder)


def test_a_config_that_names_no_model_is_refused(encoders, tmp_path):
    folder = copied(encoders, tmp_path)
    (folder / "config.json").write_text('{"model_type": "none-such"}')
    with pytest.raises(ConfigError, match="a folder with a model that transformers loads as encoder"):
        load_pretrained(folder)


def test_without_transformers_the_extra_is_named(monkeypatch, tmp_path):
    find = optional.importlib.util.find_spec
    monkeypatch.setattr(
        optional.importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name)
    )
    with pytest.raises(ConfigError, match=r"no transformers.*asose-lab\[text\]"):
        load_pretrained(tmp_path)


def test_the_hub_is_asked_for_files_without_code_alone(monkeypatch, encoders):
    hub = pytest.importorskip("huggingface_hub")
    asked = []
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **more: asked.append((name, more)) or "folder")
    assert download("owner/name") == Path("folder")
    assert asked == [("owner/name", {"allow_patterns": ["*.json", "*.txt", "*.model", "*.safetensors"]})]

    def offline(name, **more):
        raise hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(ConfigError, match=r"an encoder on the hub.*owner/name: no network"):
        download("owner/name")
