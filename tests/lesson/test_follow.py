import asyncio

import pytest

from lab.base import ConfigError, StoreError, TrainingError
from lab.lesson import follow, start_run
from lab.store import PhaseEvent, RunWriter, control


def points(figure):
    """Number of points of each drawn line."""
    return [0 if trace.x is None else len(trace.x) for trace in figure.data]


@pytest.fixture
def writer(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        writer.record(0, PhaseEvent(phase="warmup", epoch=0, epochs=1, cycle=0))
        writer.flush()
        yield writer


def write(writer, *steps):
    for step in steps:
        writer.scalars(step, {"loss": 2.0 / (step + 1), "accuracy": step / 10.0})
    writer.flush()


def test_the_curve_advances_while_other_code_of_the_loop_runs(program, tmp_path):
    async def watch():
        with start_run([], root=tmp_path, name="one", program=program) as run:
            live = follow(run, interval=0.05)
            await live.until(lambda feed: feed.step is not None, timeout=30)
            counts = []
            for _ in range(3):
                counts.append(max(points(live.curves.widget)))
                await asyncio.sleep(0.3)
            live.stop()
        return counts

    counts = asyncio.run(watch())
    assert counts[0] < counts[1] < counts[2]


def test_without_an_event_loop_it_is_advanced_by_hand(writer, tmp_path):
    live = follow(tmp_path / "run")
    write(writer, 0, 1, 2)
    assert live.refresh()
    assert max(points(live.curves.widget)) == 3
    assert "step 2" in str(live)


def test_a_command_that_changes_the_cell_shows_in_the_graph_and_as_a_mark(program, tmp_path):
    async def watch():
        with start_run([], root=tmp_path, name="one", program=program) as run:
            live = follow(run, interval=0.05)
            await live.until(lambda feed: (feed.step or 0) > 5 and feed.latest("genotype"), timeout=30)
            before = live.cell.widget.data[0].line.color
            assert live.curves.widget.layout.shapes == ()
            control.send(run.run_dir, "mutate")
            await live.until(lambda feed: feed.count("mutation", status="applied") and feed.count("genotype") == 2)
            live.stop()
        return before, live

    before, live = asyncio.run(watch())
    assert live.cell.widget.data[0].line.color != before
    assert len(live.curves.widget.layout.shapes) == 1
    assert "★" in live.cell.widget.layout.annotations[0].text
    assert "Mutation 1" in live._heading.value


def test_a_figure_comes_with_its_first_point(writer, tmp_path):
    live = follow(tmp_path / "run")
    live.refresh()
    assert live.curves.widget is None
    assert "no step yet" in live._heading.value
    assert live._box.children == (live._heading,)
    write(writer, 0, 1)
    live.refresh()
    assert max(points(live.curves.widget)) == 2
    assert live._box.children == (live._heading, live.curves.widget)


def test_a_reader_who_zoomed_in_is_left_alone(writer, tmp_path):
    live = follow(tmp_path / "run")
    write(writer, 0, 1, 2)
    live.refresh()
    live.curves.widget.layout.xaxis.range = [0.5, 1.5]
    write(writer, 3)
    live.refresh()
    assert live.curves.widget.layout.xaxis.range == (0.5, 1.5)


def test_a_page_without_widgets_gets_html_and_text(writer, tmp_path):
    live = follow(tmp_path / "run")
    write(writer, 0, 1)
    live.refresh()
    bundle = live._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "step 1" in bundle["text/plain"]
    assert "<table>" in bundle["text/html"]


def test_waiting_for_what_never_comes_ends(writer, tmp_path):
    live = follow(tmp_path / "run", interval=0.05)
    with pytest.raises(TrainingError, match="it within 0.2 s"):
        asyncio.run(live.until(lambda feed: False, timeout=0.2))


def test_waiting_for_a_run_that_has_ended_ends_at_once(tmp_path):
    with RunWriter(tmp_path, "run", {}):
        pass
    live = follow(tmp_path / "run")
    with pytest.raises(TrainingError, match="one that ended: run run · finished"):
        asyncio.run(live.until(lambda feed: False, timeout=60))


def test_what_was_reached_by_the_last_row_counts(tmp_path):
    with RunWriter(tmp_path, "run", {}) as writer:
        write(writer, 0, 5)
    live = follow(tmp_path / "run")
    assert asyncio.run(live.until(lambda feed: feed.step == 5)).state == "finished"


def test_the_task_ends_with_the_run(tmp_path):
    with RunWriter(tmp_path, "run", {}):
        pass

    async def watch():
        live = follow(tmp_path / "run", interval=0.05)
        await asyncio.wait_for(live._task, timeout=5)
        return live._task.done()

    assert asyncio.run(watch())


def test_what_a_slow_page_has_not_drawn_is_sent_later_also_after_the_end_of_the_run(tmp_path):
    def answer():
        widget = live.curves.widget
        deltas = [{"uid": trace.uid} for trace in widget.data]
        widget._js2py_traceDeltas = {"trace_deltas": deltas, "trace_edit_id": widget._last_trace_edit_id}

    async def watch():
        live.start()
        await asyncio.sleep(0.3)
        waiting = not live._task.done() and max(points(live.curves.widget)) == 3
        answer()
        await asyncio.sleep(0.3)
        drawn = max(points(live.curves.widget))
        answer()
        await asyncio.wait_for(live._task, timeout=5)
        return waiting, drawn

    with RunWriter(tmp_path, "run", {}) as writer:
        write(writer, 0, 1)
        live = follow(tmp_path / "run", interval=0.05)
        live.refresh()
        answer()
        write(writer, 2)
        live.refresh()
        write(writer, 3)
        live.refresh()
    assert asyncio.run(watch()) == (True, 4)


def test_a_failing_process_shows_in_the_heading(program, tmp_path):
    async def watch():
        run = start_run(["--fail"], root=tmp_path, name="one", program=program)
        live = follow(run, interval=0.05)
        with pytest.raises(TrainingError, match="a pear"):
            await asyncio.wait_for(live._task, timeout=30)
        return live

    assert "✗ expected a run in one" in asyncio.run(watch())._heading.value


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(StoreError, match="nothing"):
        follow(tmp_path / "nothing")


def test_an_interval_that_would_hold_up_the_page_is_refused(writer, tmp_path):
    with pytest.raises(ConfigError, match=r"interval >= 0\.05"):
        follow(tmp_path / "run", interval=0.0)
