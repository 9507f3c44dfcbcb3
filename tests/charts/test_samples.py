from typing import Any

import pytest

from lab.charts import confusion_figure, image_figure, sample_table, sample_text, told_samples

IMAGES: dict[str, Any] = {
    **{"samples": [4, 9, 2, 7], "labels": [0, 1, 1, 0], "classes": ["cat", "dog"], "images": ["a", "b", "c", "d"]},
    **{"texts": [], "note": ""},
}
NOW: dict[str, Any] = {
    **{"samples": [4, 9, 2, 7], "right": [True, False, True, False], "predicted": [0, 0, 1, 1]},
    **{"confidence": [0.9, 0.6, 0.7, 0.8], "columns": [0, 1], "outputs": []},
    **{"confused": [0, 1], "confusion": [[30, 5], [0, 40]]},
}
EARLIER = {**NOW, "right": [True, False, False, True]}


def test_a_sample_that_turned_from_wrong_to_right_is_marked() -> None:
    samples = told_samples(IMAGES, NOW, EARLIER)
    assert [sample.sign for sample in samples] == ["✔", "✘", "▲", "▼"]
    assert [sample.sign for sample in told_samples(IMAGES, NOW)] == ["✔", "✘", "✔", "✘"]
    assert told_samples(IMAGES, None) == ()


def test_each_picture_has_a_frame_of_its_state_and_what_the_network_says() -> None:
    figure = image_figure(IMAGES, told_samples(IMAGES, NOW, EARLIER))
    assert [picture.source for picture in figure.layout.images] == [f"data:image/webp;base64,{a}" for a in "abcd"]
    *frames, captions = figure.data
    assert len({(frame.line.color, frame.line.dash) for frame in frames}) == len(frames) == 4
    assert list(captions.text) == ["✔ cat", "✘ cat", "▲ dog", "▼ dog"]
    assert captions.customdata[1] == "is dog, taken for cat (60%): wrong"


def test_without_a_reading_the_pictures_stand_alone() -> None:
    figure = image_figure(IMAGES)
    assert len(figure.layout.images) == 4
    assert len(figure.data) == 1


def test_samples_that_are_no_images_are_a_table() -> None:
    told = {**NOW, "predicted": [], "confidence": []}
    texts = {**IMAGES, "images": [], "labels": [], "texts": ["one", "two", "three", "four"]}
    rows = sample_table(texts, told_samples(texts, told))
    assert rows[1] == {"sample": "9", "text": "two", "now": "✘ wrong"}
    assert "No images" in image_figure(texts).layout.annotations[0].text


def test_a_cell_of_the_confusion_matrix_is_a_count_and_wrong_ones_differ_in_colour() -> None:
    (heat,) = confusion_figure(NOW, IMAGES["classes"]).data
    assert [list(row) for row in heat.text] == [["30", "5"], ["", "40"]]
    assert heat.z[0][0] == pytest.approx(30 / 35)
    assert heat.z[0][1] == pytest.approx(-((5 / 35) ** 0.5))
    assert list(heat.x) == ["cat", "dog"]


def test_classes_that_stand_together_are_called_others() -> None:
    (heat,) = confusion_figure({**NOW, "confused": [1, -1]}, IMAGES["classes"]).data
    assert list(heat.y) == ["dog", "others"]


def test_no_confusion_says_why() -> None:
    assert "No predictions" in confusion_figure(None).layout.annotations[0].text
    assert "no class" in confusion_figure({**NOW, "confusion": []}).layout.annotations[0].text


def test_a_table_says_the_same_as_the_pictures() -> None:
    samples = told_samples(IMAGES, NOW, EARLIER)
    expected = {"sample": "2", "is": "dog", "taken for": "dog", "probability": "70%"}
    assert sample_table(IMAGES, samples)[2] == {**expected, "now": "▲ wrong before, right now"}
    assert sample_text(["cat", "dog"], samples[0]) == "is cat, taken for cat (90%): right"
