"""Words: numbers, ages, sizes and states as a person reads them."""

from collections.abc import Callable
from typing import Any

import pytest
from components.feed import SnapshotFeed
from components.words import (
    STATE_SIGNS,
    age_text,
    bytes_text,
    dataset_title,
    epoch_text,
    is_paused,
    number,
    plain,
    resume_command,
    shown_state,
)

from lab.store import RunWriter


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "NaN"), (float("inf"), "∞"), (float("-inf"), "-∞"), (0.123456, "0.1235"), (0.0, "0")],
)
def test_a_number_has_a_text(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**24, "16 MiB"), (5 * 2**40, "5120 GiB")]
)
def test_bytes_have_binary_units(count: float, text: str) -> None:
    assert bytes_text(count) == text


def test_missing_memory_is_a_dash_and_broken_memory_is_named() -> None:
    assert bytes_text(None) == "–"
    assert bytes_text(float("nan")) == "NaN"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7200, "2 h ago"), (172800, "2 d ago")],
)
def test_an_age_has_a_unit_that_fits(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("config", "title"),
    [
        ({"dataset_title": "digits", "synthetic": False}, "digits"),
        ({"dataset_title": "shapes (synthetic)", "synthetic": True}, "shapes (synthetic)"),
        ({"dataset_title": "shapes", "synthetic": True}, "shapes (synthetic)"),
        ({"dataset_title": "real records, synthetic texts", "synthetic": True}, "real records, synthetic texts"),
        ({"data": {"name": "mnist"}}, "mnist"),
        ({"data": "mnist"}, ""),
        ({}, ""),
    ],
)
def test_the_data_set_is_named_and_a_synthetic_one_says_so(config: dict[str, Any], title: str) -> None:
    assert dataset_title(config) == title


def test_plain_text_keeps_every_letter_and_no_power() -> None:
    assert plain("a_b *c* [d](e) :red[f] <g> $h$") == r"a\_b \*c\* \[d\]\(e\) \:red\[f\] \<g\> \$h\$"
    assert plain("two\nlines") == "two lines"


def test_plain_text_parts_what_would_become_a_link_an_icon_or_an_arrow() -> None:
    assert plain("at 1:30 x@y.z") == "at 1\\:30 x\u2060@y.z"
    assert plain("https://a WWW.a") == "https\\:\u2060//a WWW\u2060.a"
    assert plain(":material/a: -> <=") == "\\:\u2060material/a\\: \\-\u2060\\> \\<\u2060="


def test_every_state_of_the_store_has_a_sign_and_a_meaning() -> None:
    assert STATE_SIGNS.keys() == {"starting", "running", "paused", "finished", "failed", "stale", "unreadable"}
    assert len({sign for sign, _, _ in STATE_SIGNS.values()}) == len(STATE_SIGNS)


def test_a_resume_command_needs_a_checkpoint(tmp_path: Any) -> None:
    assert resume_command(tmp_path / "my run") is None
    (tmp_path / "my run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "my run" / "checkpoints" / "step_1.pt").touch()
    assert resume_command(tmp_path / "my run") == f"lab train --resume '{tmp_path}/my run'"


def test_a_refused_pause_is_no_pause(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.answer(0, "pause", done=False, text="no")
    assert not is_paused(SnapshotFeed(run.path).refresh())
    run.answer(0, "pause")
    assert shown_state(SnapshotFeed(run.path).refresh()) == "paused"


def test_a_resumed_run_is_not_held_by_the_pause_of_an_earlier_attempt(recorder: Callable[..., Any], root: Any) -> None:
    run = recorder()
    run.answer(0, "pause")
    run.run.finish("failed", "on purpose")
    with RunWriter(root, "run", resume=True, step=5):
        assert shown_state(SnapshotFeed(run.path).refresh()) == "running"


def test_a_run_that_ended_while_paused_is_not_shown_as_paused(recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.answer(0, "pause")
    run.run.finish()
    assert shown_state(SnapshotFeed(run.path).refresh()) == "finished"


def test_epochs_are_counted_from_one(recorder: Callable[..., Any]) -> None:
    run = recorder()
    assert epoch_text(SnapshotFeed(run.path).refresh()) == "–"
    run.phase(0, "warmup")
    assert epoch_text(SnapshotFeed(run.path).refresh()) == "1"
    run.epoch(10, 4)
    assert epoch_text(SnapshotFeed(run.path).refresh()) == "5"
