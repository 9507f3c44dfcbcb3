import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, RidgeCV

from lab.base import ConfigError, DataError
from lab.datasets import describe, describe_multitask, load_multitask
from lab.datasets.multitask import LEVELS, TOLD


@pytest.fixture(scope="module")
def data():
    return load_multitask()


def parts_of(data):
    return data.train, data.selection, data.test


def test_every_record_is_in_one_part_and_the_test_part_is_the_same_for_every_seed(data):
    other = load_multitask(3)
    for made in (data, other):
        assert [len(part) for part in parts_of(made)] == [365, 91, 113]
        rows = torch.cat([part.targets["worst_area"] for part in parts_of(made)])
        areas = np.sort(rows.double().numpy() * made.tasks[1].deviation + made.tasks[1].mean)
        real = np.sort(load_breast_cancer().data[:, 23])
        assert np.allclose(areas, real, rtol=1e-4)
    assert torch.equal(data.test.ids_NL, other.test.ids_NL)
    assert not torch.equal(data.train.ids_NL, other.train.ids_NL)


def test_a_text_says_the_fifth_in_which_the_record_lies(data):
    records = load_breast_cancer()
    names = [str(name) for name in records.feature_names]
    row = int(
        np.argmin(
            np.abs(
                records.data[:, 23]
                - (float(data.test.targets["worst_area"][0]) * data.tasks[1].deviation + data.tasks[1].mean)
            )
        )
    )
    phrases = [phrase.strip() for phrase in data.text(data.test.ids_NL[0]).split(" .") if phrase]
    assert 1 <= len(phrases) <= len(TOLD)
    for phrase in phrases:
        column = next(name for name in TOLD if name in phrase)
        level = max((level for level in LEVELS if level in phrase), key=len)
        values = records.data[:, names.index(f"mean {column}")]
        rank = float((values < values[row]).mean())
        assert abs(rank - (LEVELS.index(level) + 0.5) / 5) < 0.16


def test_texts_differ_in_order_and_form_and_leave_some_columns_out(data):
    ids = data.train.ids_NL
    assert len({tuple(row) for row in ids.tolist()}) > 0.95 * len(ids)
    described = [sum(name in data.text(row) for name in TOLD) for row in ids]
    assert set(described) >= {3, 4, 5}
    assert 0.85 < sum(described) / len(described) / len(TOLD) < 0.95
    assert min(described) >= 1


def test_columns_and_numbers_are_standardised_over_the_weights_part(data):
    assert data.train.table_NC.shape == (365, 15)
    assert len(data.columns) == 15
    for values in (data.train.table_NC, *(data.train.targets[task.name][:, None] for task in data.tasks[1:])):
        assert torch.allclose(values.mean(0), torch.zeros(1), atol=1e-5)
        assert torch.allclose(values.std(0, correction=0), torch.ones(1), atol=1e-5)
    assert float(data.test.table_NC.mean(0).abs().max()) > 0.01


def test_no_input_holds_a_target_and_neither_input_is_enough(data):
    assert not any("worst" in name or name.removeprefix("mean ") in TOLD for name in data.columns)

    def inputs(part, table, text):
        words = torch.nn.functional.one_hot(part.ids_NL, len(data.vocabulary)).sum(1)
        pairs = torch.stack(
            [
                torch.tensor(
                    [f"{name} is {level} ." in data.text(r) or f"{level} {name} ." in data.text(r) for r in part.ids_NL]
                )
                for name in TOLD
                for level in LEVELS
            ],
            1,
        )
        chosen = [part.table_NC] * table + [words.float(), pairs.float()] * text
        return torch.cat(chosen, 1).numpy()

    scores = {}
    for table, text in ((1, 0), (0, 1), (1, 1)):
        x, x_test = inputs(data.train, table, text), inputs(data.test, table, text)
        for task in data.tasks:
            y, y_test = (part.targets[task.name].numpy() for part in (data.train, data.test))
            model = LogisticRegression(max_iter=5000) if task.classes else RidgeCV(np.logspace(-2, 3, 11))
            scores[task.name, table, text] = model.fit(x, y).score(x_test, y_test)
    assert scores["worst_area", 1, 0] > scores["worst_area", 0, 1] + 0.2
    assert scores["worst_texture", 0, 1] > scores["worst_texture", 1, 0] + 0.2
    for task in ("worst_area", "worst_texture", "diagnosis"):
        assert scores[task, 1, 1] > 0.6


def test_batches_follow_from_seed_and_epoch_and_can_resume_inside_an_epoch(data):
    whole = list(data.train.batches(50, seed=1, epoch=2, training=True))
    again = list(data.train.batches(50, seed=1, epoch=2, training=True, start_batch=3))
    assert len(whole) == 7
    assert all(len(ids) == 50 for ids, _, _ in whole)
    assert torch.equal(whole[3][0], again[0][0])
    assert torch.equal(whole[3][2]["diagnosis"], again[0][2]["diagnosis"])
    other = next(data.train.batches(50, seed=1, epoch=3, training=True))
    assert not torch.equal(whole[0][0], other[0])
    stored = torch.cat([table for _, table, _ in data.test.batches(50)])
    assert torch.equal(stored, data.test.table_NC)


def test_rows_of_a_batch_belong_together(data):
    ids, table, targets = next(data.train.batches(64, seed=5, training=True))
    for n in range(0, 64, 9):
        (row,) = (data.train.table_NC == table[n]).all(1).nonzero().flatten().tolist()
        assert torch.equal(data.train.ids_NL[row], ids[n])
        assert all(target[n] == data.train.targets[name][row] for name, target in targets.items())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda data: load_multitask(selection_share=0.0), ConfigError, "selection_share > 0"),
        (lambda data: load_multitask(selection_share=1.0), DataError, "which leaves train empty"),
        (
            lambda data: next(data.test.batches(500, training=True)),
            DataError,
            "at most the 113 samples of the test part",
        ),
        (lambda data: next(data.test.batches(0)), ConfigError, "batch_size >= 1, got batch_size = 0"),
    ],
)
def test_what_does_not_fit_is_refused(data, call, error, message):
    with pytest.raises(error, match=message):
        call(data)


def test_it_is_described_as_the_other_sets_are_and_says_that_texts_are_synthetic(data):
    described = json.loads(json.dumps(describe_multitask()))
    assert described.keys() == describe()[0].keys()
    assert described["shape"] == [data.text_length, len(data.columns)]
    assert described["classes"] == data.tasks[0].outputs
    assert (described["train"], described["test"]) == (len(data.train) + len(data.selection), len(data.test))
    assert described["synthetic"]
    assert "synthetic texts" in described["title"]
