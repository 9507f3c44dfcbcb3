import pytest

from lab.base import ConfigError
from lab.lesson import PredictionScore, predict


@pytest.fixture
def score():
    return PredictionScore()


def ask(score):
    return predict("What does the swap cost?", "nothing", "accuracy", "an error", score=score)


def test_a_right_prediction_counts_and_is_shown(score):
    guess = ask(score)
    guess.choose("accuracy")
    assert "● accuracy" in str(guess)
    result = guess.reveal("accuracy")
    assert result.ok
    assert "✓ as predicted: accuracy" in str(result)
    assert "1 of 1 predicted rightly" in str(score)


def test_a_wrong_prediction_says_what_came(score):
    guess = ask(score)
    guess.choose("nothing")
    assert "✗ predicted: nothing; what came: accuracy" in str(guess.reveal("accuracy"))
    assert score.to_dict()["right"] == 0


def test_without_a_choice_the_score_says_so(score):
    ask(score).reveal("accuracy")
    assert "○ no prediction" in str(score.outcomes[0])
    assert "0 of 1 predicted rightly; 1 without a prediction" in str(score)


def test_a_choice_after_the_answer_does_not_count(score):
    guess = ask(score)
    guess.reveal("accuracy")
    with pytest.raises(ConfigError, match="a choice before the answer"):
        guess.choose("accuracy")
    guess._radio.value = "accuracy"  # what a page could send that lags behind
    assert not guess.reveal("accuracy").ok
    assert guess._radio.disabled


def test_a_cell_that_is_run_again_replaces_its_own_prediction(score):
    ask(score).reveal("nothing")
    ask(score).choose("nothing")
    assert len(score.predictions) == 1
    assert score.outcomes == ()


@pytest.mark.parametrize("options", [(), ("one",), ("one", "one")])
def test_fewer_than_two_options_are_refused(score, options):
    with pytest.raises(ConfigError, match="two or more options"):
        predict("What?", *options, score=score)


def test_an_option_that_is_none_is_refused(score):
    guess = ask(score)
    for call in (guess.choose, guess.reveal):
        with pytest.raises(ConfigError, match="expected one of 'nothing', 'accuracy', 'an error', got 'gold'"):
            call("gold")


def test_a_page_without_widgets_gets_html_and_text(score):
    bundle = ask(score)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "○ nothing" in bundle["text/plain"]
    assert "○ nothing" in bundle["text/html"]
