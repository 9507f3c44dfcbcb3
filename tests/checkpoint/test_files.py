import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lab.base import CheckpointError, ConfigError
from lab.checkpoint import (
    SCHEMA,
    Checkpoint,
    examine_checkpoints,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from lab.checkpoint.head import head_digest
from lab.state import state_digest


def make(step=3, reason="epoch", value=1.0):
    return Checkpoint(
        base={"config": {"seed": 1}, "genotype": None},
        state={
            "weights": {"a": torch.full((2, 3), value), "b": torch.arange(4)},
            "numbers": [1, 2.5, None, "x", True],
        },
        epoch=step // 2,
        step=step,
        reason=reason,
        plans=({"op": "widen"},),
        training_history=({"loss": 0.5},),
        environment={"threads": 1},
    )


def test_what_was_saved_is_read_back(tmp_path):
    file = save_checkpoint(tmp_path, make())
    again = load_checkpoint(file.path)
    assert state_digest(again.state) == state_digest(make().state)
    assert (again.base, again.plans, again.training_history) == (
        make().base,
        make().plans,
        make().training_history,
    )
    assert again.parent == file.digest
    assert state_digest(load_checkpoint(file.path.with_suffix(".json")).state) == state_digest(make().state)
    assert not list(tmp_path.glob("*.tmp"))


def test_saving_twice_keeps_both(tmp_path):
    paths = {save_checkpoint(tmp_path, make(value=value)).path for value in (1.0, 2.0)}
    assert len(paths) == 2
    assert len(list_checkpoints(tmp_path)) == 2


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def test_a_damaged_file_is_refused_and_the_last_good_one_is_used(tmp_path):
    good = save_checkpoint(tmp_path, make(step=2, value=7.0))
    bad = save_checkpoint(tmp_path, make(step=4))
    damage(bad.path)
    with pytest.raises(CheckpointError, match="damaged or changed"):
        load_checkpoint(bad.path)
    checkpoint, file, passed = latest_checkpoint(tmp_path)
    assert (file.path, checkpoint.step, len(passed)) == (good.path, 2, 1)
    damage(good.path)
    with pytest.raises(CheckpointError, match="2 damaged"):
        latest_checkpoint(tmp_path)


def test_a_write_that_was_cut_off_is_no_checkpoint(tmp_path):
    good = save_checkpoint(tmp_path, make(step=2))
    torn = save_checkpoint(tmp_path, make(step=4))
    torn.path.with_suffix(".json").unlink()
    (tmp_path / "step_00000009_epoch_000.pt.tmp").write_bytes(b"half")
    assert latest_checkpoint(tmp_path)[1].path == good.path
    with pytest.raises(CheckpointError, match=r"without its \.json"):
        load_checkpoint(torn.path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', '{"format": "lab checkpoint", "schema": 1}'])
def test_foreign_and_broken_heads_are_refused(tmp_path, text):
    file = save_checkpoint(tmp_path, make())
    file.path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match="expected .*, got"):
        load_checkpoint(file.path)


def test_a_newer_form_and_a_missing_file_are_named(tmp_path):
    file = save_checkpoint(tmp_path, make())
    head = json.loads(file.path.with_suffix(".json").read_text())
    file.path.with_suffix(".json").write_text(json.dumps(head | {"schema": SCHEMA + 1}))
    with pytest.raises(CheckpointError, match="Update lab"):
        load_checkpoint(file.path)
    with pytest.raises(CheckpointError, match="nothing there"):
        load_checkpoint(tmp_path / "absent.pt")


def test_a_file_that_would_run_code_is_not_read(tmp_path):
    file = save_checkpoint(tmp_path, make())
    torch.save({"format": "lab checkpoint", "state": {"harm": make}}, file.path)
    head = json.loads(file.path.with_suffix(".json").read_text())
    head["sha256"] = hashlib.sha256(file.path.read_bytes()).hexdigest()
    head["head_sha256"] = head_digest(head)
    file.path.with_suffix(".json").write_text(json.dumps(head))
    with pytest.raises(CheckpointError, match="tensors in"):
        load_checkpoint(file.path)


def test_pruning_keeps_the_newest_of_each_reason(tmp_path):
    for step in range(5):
        save_checkpoint(tmp_path, make(step=step))
    save_checkpoint(tmp_path, make(step=0, reason="best"))
    removed = prune_checkpoints(tmp_path, 2)
    assert len(removed) == 3
    assert [(file.step, file.reason) for file in list_checkpoints(tmp_path)] == [
        (3, "epoch"),
        (4, "epoch"),
        (0, "best"),
    ]
    assert len(list(tmp_path.iterdir())) == 6
    with pytest.raises(ConfigError, match="kept checkpoints"):
        prune_checkpoints(tmp_path, 0)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="can be written"):
        save_checkpoint(tmp_path / "file" / "sub", make())


def test_the_digest_sees_every_bit_type_and_key():
    base = {"a": torch.zeros(2), "b": [1, 2.0]}
    others = [
        {"a": torch.zeros(2), "b": [1, 2]},
        {"a": torch.zeros(2), "b": [1]},
        {"a": torch.tensor([0.0, -0.0]), "b": [1, 2.0]},
        {"a": torch.zeros(2, 1), "b": [1, 2.0]},
        {"a": torch.zeros(2).double(), "b": [1, 2.0]},
        {"c": torch.zeros(2), "b": [1, 2.0]},
    ]
    digests = {state_digest(tree) for tree in [base, *others]}
    assert len(digests) == 7
    assert state_digest({"b": [1, 2.0], "a": torch.zeros(2)}) == state_digest(base)
    with pytest.raises(TypeError, match="no digest"):
        state_digest({"a": object()})


def test_every_checkpoint_is_examined_and_what_is_wrong_is_said(tmp_path):
    whole, torn, headless, foreign = (save_checkpoint(tmp_path, make(step=step)) for step in (1, 2, 3, 4))
    damage(torn.path)
    headless.path.with_suffix(".json").unlink()
    foreign.path.with_suffix(".json").write_text("{")
    found = examine_checkpoints(tmp_path)
    assert [(path, head) for path, head, _ in found] == [
        (whole.path, whole),
        (torn.path, torn),
        (headless.path, None),
        (foreign.path, None),
    ]
    texts = [text for _, _, text in found]
    assert texts[0] == ""
    assert "damaged" in texts[1]
    assert "without its .json" in texts[2]
    assert "readable JSON" in texts[3]
    assert examine_checkpoints(tmp_path / "nowhere") == ()


def test_a_listed_checkpoint_says_what_its_run_came_from(tmp_path):
    first = save_checkpoint(tmp_path, make())
    second = save_checkpoint(tmp_path, replace(load_checkpoint(first.path), step=9))
    assert first.parent == ""
    assert second.parent == first.digest
    assert list_checkpoints(tmp_path)[1] == second


def test_the_latest_is_the_one_written_last_even_after_a_resume_from_an_earlier_step(tmp_path):
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, make(step=step))
    again = save_checkpoint(tmp_path, make(step=15))
    assert [file.step for file in list_checkpoints(tmp_path)] == [10, 20, 30, 15]
    assert latest_checkpoint(tmp_path)[1] == again
    prune_checkpoints(tmp_path, 2)
    assert [file.step for file in list_checkpoints(tmp_path)] == [30, 15]


def edit(path, change):
    beside = path.with_suffix(".json")
    head = json.loads(beside.read_text())
    change(head)
    beside.write_text(json.dumps(head))


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head["base"]["config"].update(seed=2),
        lambda head: head.update(epoch=0),
        lambda head: head.update(plans=[]),
        lambda head: head["training_history"].append({}),
        lambda head: head.pop("head_sha256"),
        lambda head: (head.pop("head_sha256"), head.update(schema=2, epoch=0)),
    ],
)
def test_an_edited_head_is_refused_and_the_last_good_one_is_used(tmp_path, change):
    good, edited = save_checkpoint(tmp_path, make(step=2)), save_checkpoint(tmp_path, make(step=4))
    edit(edited.path, change)
    with pytest.raises(CheckpointError, match=edited.path.name) as caught:
        load_checkpoint(edited.path)
    assert edited.path.with_suffix(".json").name in str(caught.value)
    _, file, passed = latest_checkpoint(tmp_path)
    assert file.path == good.path
    assert [str(error) for error in passed] == [str(caught.value)]


def test_halves_of_two_checkpoints_make_none(tmp_path):
    one, two = save_checkpoint(tmp_path, make(value=1.0)), save_checkpoint(tmp_path, make(value=2.0))
    two.path.with_suffix(".json").write_bytes(one.path.with_suffix(".json").read_bytes())
    with pytest.raises(CheckpointError, match=rf"{two.path.name} that {two.path.stem}.json"):
        load_checkpoint(two.path)


def test_a_checkpoint_of_a_form_without_the_digest_still_reads():
    stored = sorted((Path(__file__).resolve().parents[1] / "stored").glob("*/checkpoints/*.pt"))
    without = [path for path in stored if "head_sha256" not in json.loads(path.with_suffix(".json").read_text())]
    assert len(without) >= 6
    assert all(load_checkpoint(path).step > 0 for path in stored)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"format": "lab checkpoint", "schema": 1%s}' % ("0" * 5000), '{"schema": "3"}']
)
def test_a_head_that_no_parser_takes_is_refused(tmp_path, text):
    file = save_checkpoint(tmp_path, make())
    file.path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match="expected .*, got"):
        load_checkpoint(file.path)
