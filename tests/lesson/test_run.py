import gc
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from lab.base import ConfigError, TrainingError
from lab.lesson import start_run
from lab.lesson.run import TRAIN


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_run_starts_in_a_process_and_a_session_of_its_own(program, tmp_path):
    with start_run([], root=tmp_path / "runs", name="one", program=program) as run:
        assert run.pid != os.getpid()
        assert os.getsid(run.pid) == run.pid
        assert run.wait_ready().state() == "running"


def test_the_end_of_the_block_ends_the_run_when_asked(program, tmp_path):
    with start_run([], root=tmp_path, name="one", program=program) as run:
        run.wait_ready()
    assert not run.running
    assert run.exit_code == 0
    assert gone(run.pid)


def test_stop_says_how_the_run_ended(program, tmp_path):
    run = start_run([], root=tmp_path, name="one", program=program)
    run.wait_ready()
    assert run.stop() == "stopped when asked"
    assert run.stop() == "ended by itself"


def test_a_command_that_came_too_early_is_sent_again(program, tmp_path, monkeypatch):
    monkeypatch.setattr("lab.lesson.run.ASK_SECONDS", 0.2)
    run = start_run(["--late", "2"], root=tmp_path, name="one", program=program)
    run.wait_ready()
    assert run.stop() == "stopped when asked"
    assert list((tmp_path / "one").glob("control/*")) == []


def test_a_run_that_is_done_ended_by_itself(program, tmp_path):
    run = start_run(["--steps", "3"], root=tmp_path, name="one", program=program)
    deadline = time.monotonic() + 30
    while run.running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert run.stop() == "ended by itself"
    assert run.reader().state() == "finished"


def test_a_run_that_does_not_listen_is_ended_by_a_signal(program, tmp_path):
    run = start_run(["--deaf"], root=tmp_path, name="one", program=program)
    run.wait_ready()
    assert run.stop(grace=0.1) == "ended by SIGTERM"
    assert run.exit_code == -signal.SIGTERM
    assert list((tmp_path / "one").glob("control/*")) == []


def test_a_run_that_ignores_the_signal_is_killed(program, tmp_path, monkeypatch):
    monkeypatch.setattr("lab.lesson.run.KILL_SECONDS", 0.2)
    run = start_run(["--stubborn"], root=tmp_path, name="one", program=program)
    run.wait_ready()
    assert run.stop(grace=0.1) == "ended by SIGKILL"
    assert gone(run.pid)


def test_no_other_process_is_signalled(program, tmp_path):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        run = start_run(["--deaf"], root=tmp_path, name="one", program=program)
        run.wait_ready()
        run.stop(grace=0.0)
        assert other.poll() is None
        other.kill()


def test_a_lost_handle_ends_the_process(program, tmp_path):
    run = start_run(["--deaf"], root=tmp_path, name="one", program=program)
    run.wait_ready()
    pid = run.pid
    del run
    gc.collect()
    assert gone(pid)


def test_the_end_of_the_interpreter_ends_the_process(program, tmp_path):
    code = f"""
from lab.lesson import start_run
run = start_run(["--deaf"], root={str(tmp_path)!r}, name="one", program={program!r})
run.wait_ready()
print(run.pid)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert gone(int(done.stdout))


def test_the_log_holds_what_the_process_says(program, tmp_path):
    with start_run([], root=tmp_path, name="one", program=program) as run:
        run.wait_ready()
        deadline = time.monotonic() + 10
        while "writing" not in run.log() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert run.log() == "writing"


def test_a_process_that_ends_without_a_run_shows_what_it_said(program, tmp_path):
    run = start_run(["--fail"], root=tmp_path, name="one", program=program)
    with pytest.raises(TrainingError, match="exit code 1: expected an apple, got a pear. Peel it"):
        run.wait_ready()


def test_a_run_that_never_comes_is_not_waited_for_without_end(tmp_path):
    program = (sys.executable, "-c", "import time; time.sleep(60)")
    with (
        start_run([], root=tmp_path, name="one", program=program) as run,
        pytest.raises(TrainingError, match="a run within 0.1 s, found none"),
    ):
        run.wait_ready(timeout=0.1)


def test_arguments_reach_the_program_as_they_are(tmp_path):
    program = (sys.executable, "-c", "import sys; print(sys.argv[1:])")
    run = start_run(["--note", "a b; echo $HOME"], root=tmp_path, name="one", program=program)
    while run.running:
        time.sleep(0.02)
    expected = ["--note", "a b; echo $HOME", "--save-dir", str(tmp_path), "--name", "one"]
    assert run.log() == str(expected)


def test_the_default_program_is_lab_train_of_this_python():
    assert (sys.executable, "-m", "lab.cli", "train") == TRAIN


@pytest.mark.parametrize("args", ["--epochs 3", ["--epochs", 3]])
def test_arguments_that_are_no_list_of_texts_are_refused(args, tmp_path):
    with pytest.raises(ConfigError, match="a list of texts"):
        start_run(args, root=tmp_path)


@pytest.mark.parametrize("args", [["--name", "x"], ["--save-dir=x"], ["--save_dir", "x"]])
def test_the_place_of_the_run_is_named_once(args, tmp_path):
    with pytest.raises(ConfigError, match="root and name"):
        start_run(args, root=tmp_path)


def test_an_existing_run_is_left_alone(tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(TrainingError, match="no run one"):
        start_run([], root=tmp_path, name="one")


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TrainingError, match="no_such_program"):
        start_run([], root=tmp_path, program=("no_such_program",))
