import pytest
import torch

from lab.probe import PredictionReader
from lab.probe.predictions import MOST_CONFUSED, REST, confusion_of


def read(logits, labels, length=4):
    reader = PredictionReader()
    for outputs, targets in zip(logits.split(length), labels.split(length), strict=True):
        reader.add(outputs, targets)
    return reader.event((logits.argmax(-1) == labels).double())


def test_a_reading_tells_what_the_network_said_of_the_fixed_samples():
    logits = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 3
    event = read(logits, labels)
    assert event.samples[:3] == [0, 1, 2]
    chances = logits.softmax(-1)
    for place, position in enumerate(event.samples):
        assert event.predicted[place] == int(logits[position].argmax())
        assert event.right[place] == (event.predicted[place] == int(labels[position]))
        assert event.confidence[place] == pytest.approx(float(chances[position].max()), abs=1e-6)
    assert event.columns == [0, 1, 2]
    assert len(event.outputs) == 10
    assert event.outputs[4] == pytest.approx(chances[event.samples[4]].tolist(), abs=1e-6)
    assert sum(map(sum, event.confusion)) == 30
    assert sum(event.confusion[k][k] for k in range(3)) == int((logits.argmax(-1) == labels).sum())


def test_outputs_that_are_no_classes_are_told_as_hits_alone():
    reader = PredictionReader()
    reader.add({"a": torch.zeros(4, 2)}, {"a": torch.zeros(4)})
    event = reader.event(torch.tensor([1.0, 0.0, 1.0, 1.0]))
    assert event.right == [True, False, True, True]
    assert event.samples == [0, 1, 2, 3]
    assert event.predicted == event.confusion == event.outputs == []


def test_of_many_classes_the_most_confused_stand_alone_and_the_rest_together():
    classes = 50
    labels = torch.arange(classes).repeat(3)
    predicted = labels.clone()
    predicted[labels == 40] = 41
    rows, counts = confusion_of(labels, predicted, classes)
    assert len(rows) == len(counts) == MOST_CONFUSED
    assert {40, 41} < set(rows)
    assert rows[-1] == REST
    assert sum(map(sum, counts)) == 150
    assert counts[rows.index(40)][rows.index(41)] == 3


def test_a_label_outside_the_classes_is_passed_over():
    assert confusion_of(torch.tensor([0, -100, 1]), torch.tensor([0, 0, 0]), 2) == ([0, 1], [[1, 0], [1, 0]])
