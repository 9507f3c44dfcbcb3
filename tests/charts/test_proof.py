from typing import Any

import pytest

from lab.charts import proof_figure, proof_heading, proof_table, proof_text


@pytest.fixture
def proof() -> dict[str, Any]:
    before = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]
    return {
        **{"what": "mutation", "number": 3, "title": "cell 0->1: skip -> conv", "samples": [4, 9], "labels": [0, 1]},
        **{"columns": [0, 1, 2], "before": before, "after": before, "difference": 3e-7, "moved": 1e-7},
        **{"same": 4, "outputs": 6, "exact": True},
    }


@pytest.fixture
def images() -> dict[str, Any]:
    named = {"classes": ["cat", "dog", "owl"], "texts": [], "note": ""}
    return {"samples": [4, 9, 2], "labels": [0, 1, 2], "images": ["aaaa", "bbbb", "cccc"], **named}


def test_what_was_said_afterwards_is_the_mirror_image_of_what_was_said_before(proof: dict[str, Any]) -> None:
    before, after = proof_figure(proof).data
    assert list(before.x) == list(after.x)
    assert [-height for height in after.y] == list(before.y) == [0.7, 0.2, 0.1, 0.1, 0.8, 0.1]


def test_the_axis_is_as_high_as_the_bars_ask_for(proof: dict[str, Any]) -> None:
    assert proof_figure(proof).layout.yaxis.tickvals == (-1.0, 0, 1.0)
    low = [[0.1, 0.1, 0.2], [0.1, 0.2, 0.1]]
    assert proof_figure({**proof, "before": low, "after": low}).layout.yaxis.tickvals == (-0.25, 0, 0.25)


def test_pictures_stand_over_their_bars_and_names_below(proof: dict[str, Any], images: dict[str, Any]) -> None:
    figure = proof_figure(proof, images)
    assert [picture.source[-4:] for picture in figure.layout.images] == ["aaaa", "bbbb"]
    assert [picture.x for picture in figure.layout.images] == list(figure.layout.xaxis.tickvals)
    assert list(figure.layout.xaxis.ticktext) == ["is cat", "is dog"]
    assert "cat as dog: 20.0%" in figure.data[0].customdata


def test_a_later_reading_of_the_same_samples_is_drawn_and_one_of_others_is_not(proof: dict[str, Any]) -> None:
    now = {"samples": [4, 9, 2], "columns": [0, 1, 2], "outputs": [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]}
    assert list(proof_figure(proof, None, now).data[2].y) == [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert len(proof_figure(proof, None, {**now, "samples": [5, 9, 2]}).data) == 2
    assert len(proof_figure(proof, None, {**now, "columns": [0, 1, 3]}).data) == 2


def test_the_sentence_says_how_much_moved(proof: dict[str, Any]) -> None:
    assert "3.0e-07" in proof_text(proof)
    assert "4 of 6 outputs have the same bits" in proof_text(proof)
    assert proof_text({**proof, "same": 6}).startswith("Not one bit moved: all 6")
    assert proof_text({**proof, "exact": False}).startswith("This change may alter")


def test_the_table_has_the_latest_proof_first(proof: dict[str, Any]) -> None:
    class Row:
        id, kind, ts = 1, "proof", 0.0

        def __init__(self, step: int, number: int) -> None:
            self.step, self.payload = step, {**proof, "number": number}

    rows = proof_table([Row(10, 1), Row(20, 2)])
    assert [row["change"] for row in rows] == ["Mutation 2 at step 20", "Mutation 1 at step 10"]
    assert proof_heading(5, {**proof, "what": "extraction"}) == "Extraction at step 5"


def test_before_the_first_change_it_says_so() -> None:
    assert "No change" in proof_figure(None).layout.annotations[0].text
