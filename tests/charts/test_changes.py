"""What changed, in words."""

from typing import Any

from lab.charts import change_table, mutation_changes


def test_a_mutation_is_told_with_its_latest_status(history: list[Any]) -> None:
    first = mutation_changes(history)[0]
    assert first.heading == "Mutation 1 at step 20: ✔ accepted"
    assert first.lines == ("edge 0→2: skip → conv 3×3",)
    assert first.reason == "lower loss"


def test_the_difference_and_losses_of_both_moments_are_kept(history: list[Any]) -> None:
    first, second, third = mutation_changes(history)
    assert first.difference_text == "output changed by 3.0e-07 at that moment (relative, eval mode)"
    assert first.loss_text == "decision loss 0.5000 → 0.2500"
    assert second.loss_text == ""
    assert third.difference_text == "output difference not measured"


def test_no_difference_at_all_is_said_in_words(history: list[Any]) -> None:
    history[3].payload["difference"] = 0.0
    assert mutation_changes(history)[0].difference_text == "output did not change at all at that moment"


def test_who_asked_for_it_is_said(history: list[Any]) -> None:
    asked = next(event for event in history if event.kind == "mutation")
    asked.payload["requested"] = "control"
    assert mutation_changes([asked])[0].requested_text == "a person asked for it"
    assert mutation_changes(history[-1:])[0].requested_text == "due by the schedule"


def test_the_table_lists_the_latest_first(history: list[Any]) -> None:
    rows = change_table(mutation_changes(history))
    assert [row["mutation"] for row in rows] == ["3", "2", "1"]
    assert rows[-1]["status"] == "✔ accepted"
    assert rows[-1]["output difference"] == "3.0e-07"
