"""Sentences of a run: four splits that never mix, batches that depend on seed and epoch alone."""

import pytest
import torch

from lab.base import DataError
from lab.datasets import DataConfig
from lab.text import TextConfig, TextData, write_sentences
from lab.train import Split


@pytest.fixture
def make():
    pytest.importorskip("transformers")

    def made(config=None, *, name="sentences", seed=0, batch_size=32):
        data = DataConfig(name=name, seed=seed)
        return TextData(data, config or TextConfig(), batch_size=batch_size, device=torch.device("cpu"))

    return made


@pytest.fixture
def folded(tmp_path):
    """A table of 100 sentences in five folds."""
    rows = ["text\tlabel\tfold", *(f"{r['text']}\t{r['label']}\t{n % 5}" for n, r in enumerate(write_sentences(100)))]
    (tmp_path / "t.tsv").write_text("\n".join(rows))
    return str(tmp_path / "t.tsv")


def test_the_four_splits_are_disjoint_and_whole_and_keep_the_classes(make):
    data = make()
    rows = [row for own in data.rows.values() for row in own.tolist()]
    assert sorted(rows) == list(range(1500))
    assert {name: len(own) for name, own in data.rows.items()} == data.facts()["sentences"]
    share = [float(data.tokens.y_N3[own, 0].float().mean()) for own in data.rows.values()]
    assert max(share) - min(share) < 0.02
    other = make(seed=1)
    assert torch.equal(other.rows["test"], data.rows["test"])
    assert not torch.equal(other.rows["train"], data.rows["train"])


def test_a_fold_is_the_test_split(make, folded):
    data = make(TextConfig(fold_column="fold", test_fold="3"), name=folded, batch_size=8)
    assert [row % 5 for row in data.rows["test"].tolist()] == [3] * 20
    assert all(row % 5 != 3 for name in ("train", "search", "selection") for row in data.rows[name].tolist())
    with pytest.raises(DataError, match=r"sentences in every split \(column fold, fold 9\).*test without one"):
        make(TextConfig(fold_column="fold", test_fold="9"), name=folded)
    with pytest.raises(DataError, match="a batch size of at most the"):
        make(name=folded, batch_size=90)


def test_batches_are_a_function_of_seed_and_epoch(make):
    data, again = make(), make()
    first, second = list(data.batches(Split.TRAIN, 1)), list(again.batches(Split.TRAIN, 1, 3))
    assert len(first) == data.length(Split.TRAIN)
    for (x, y), (other_x, other_y) in zip(first[3:], second, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)
    assert not torch.equal(first[0][1], next(data.batches(Split.TRAIN, 2))[1])
    assert data.digest == again.digest != make(seed=1).digest


def test_a_batch_is_as_long_as_its_longest_sentence(make):
    for x, _ in make().batches(Split.TRAIN, 0):
        assert x[:, 1].sum(1).max() == x.shape[2]


def test_the_words_of_the_vocabulary_are_those_of_the_train_split(make, folded):
    config = TextConfig(fold_column="fold", test_fold="0")
    data = make(config, name=folded, batch_size=8)
    texts = [data.table.sentences[row].text.lower() for row in data.rows["train"].tolist()]
    for word in set(data.tokenizer.get_vocab()) - {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}:
        assert sum(word in text for text in texts) >= 2
