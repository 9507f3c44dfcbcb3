"""Spans of characters as spans of tokens, by a tokenizer of words and by one without a special token in front."""

import pytest

from lab.base import ConfigError, DataError
from lab.text import Sentence, load_tokenizer, tokenize, word_tokenizer

TEXTS = ["the old pump is stuck", "the pump is stuck again", "the Old fan"]


def sentence(text, span=None, label=0):
    return Sentence(text=text, label=label, span=span, fold="")


@pytest.fixture
def words():
    pytest.importorskip("transformers")
    return word_tokenizer(TEXTS)


def test_words_of_two_sentences_have_a_number_and_others_none(words):
    vocabulary = words.get_vocab()
    assert set(vocabulary) == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "pump", "old", "is", "stuck"}
    assert words("The again")["input_ids"] == [vocabulary[word] for word in ("[CLS]", "the", "[UNK]", "[SEP]")]
    assert word_tokenizer(TEXTS[::-1]).get_vocab() == vocabulary


def test_a_span_of_characters_is_the_span_of_its_tokens(words):
    found = tokenize(words, [sentence(TEXTS[0], (4, 12), 1), sentence(TEXTS[2])], 16)
    assert found.y_N3.tolist() == [[1, 2, 3], [0, 0, 0]]
    assert found.x_N2L.shape == (2, 2, 7)
    assert found.x_N2L[:, 1].sum(1).tolist() == [7, 5]
    start, end = found.spans_NL2[0, 2, 0], found.spans_NL2[0, 3, 1]
    assert TEXTS[0][start:end] == "old pump"
    assert found.cut == 0


def test_half_a_word_is_the_token_of_the_word(words):
    assert tokenize(words, [sentence(TEXTS[0], (5, 6))], 16).y_N3[0].tolist() == [0, 2, 2]


def test_what_is_cut_off_is_counted_and_a_span_there_is_refused(words):
    assert tokenize(words, [sentence(TEXTS[0], (4, 7))], 4).cut == 1
    for span in ((16, 21), (4, 21)):
        with pytest.raises(DataError, match="Raise --max-length"):
            tokenize(words, [sentence(TEXTS[0], span)], 4)
    with pytest.raises(DataError, match="spans that hold a token"):
        tokenize(words, [sentence(TEXTS[0], (3, 4))], 16)


def test_a_sentence_begins_with_a_special_token_where_the_tokenizer_adds_none(encoders):
    causal = load_tokenizer(encoders["gpt2"])
    assert causal.cls_token_id is None
    found = tokenize(causal, [sentence(TEXTS[0], (0, 7))], 16)
    assert found.x_N2L[0, 0, 0] == causal.eos_token_id
    assert found.y_N3[0].tolist() == [0, 1, 2]
    assert found.spans_NL2[0, :3].tolist() == [[0, 0], [0, 3], [4, 7]]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match="the tokenizer of its encoder"):
        load_tokenizer(tmp_path)
