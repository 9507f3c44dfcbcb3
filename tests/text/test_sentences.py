"""The synthetic sentences: labelled so that no single word decides, the same on every machine."""

from lab.datasets.sources import SENTENCES_SOURCE
from lab.text.sentences import COUNT, FAULTS, write_sentences


def test_the_sentences_are_a_function_of_their_number():
    assert write_sentences(50) == write_sentences(50)
    assert write_sentences(10) == write_sentences(50)[:10]
    texts = {row["text"] for row in write_sentences()}
    assert len(texts) > 0.9 * COUNT


def test_a_fault_has_its_span_and_its_words_stand_in_normal_sentences_too():
    rows = write_sentences()
    faults = [row for row in rows if row["label"] == "fault"]
    assert 0.3 < len(faults) / len(rows) < 0.5
    for row in faults:
        start, end = map(int, row["spans"].split(":"))
        assert row["text"][start:end] in FAULTS
    normal = [row for row in rows if row["label"] == "normal"]
    assert not any(row["spans"] for row in normal)
    assert sum(any(fault in row["text"] for fault in FAULTS) for row in normal) > 0.1 * len(rows)


def test_the_list_of_data_sets_says_what_is_written():
    words = [len(row["text"].replace(",", " ,").replace(":", " : ").split()) for row in write_sentences()]
    assert (SENTENCES_SOURCE.train + SENTENCES_SOURCE.test, SENTENCES_SOURCE.synthetic) == (COUNT, True)
    assert "synthetic" in SENTENCES_SOURCE.title
    assert max(words) <= SENTENCES_SOURCE.shape[0] + 5
