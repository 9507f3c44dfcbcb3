"""How often a run's folder is looked at for commands."""

from lab.store import RunWriter, control
from lab.train import StoreSink
from lab.train.sink import ASK_SECONDS


def test_a_command_is_given_once_and_the_folder_is_not_looked_at_every_step(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("lab.train.sink.time.monotonic", lambda: clock[0])
    with RunWriter(tmp_path, "run") as writer:
        sink = StoreSink(writer, writer.run_dir)
        assert sink.commands() == ()
        control.send(writer.run_dir, "pause")
        clock[0] += 0.9 * ASK_SECONDS
        assert sink.commands() == ()
        clock[0] += 0.2 * ASK_SECONDS
        assert [command.name for command in sink.commands()] == ["pause"]
        clock[0] += 2 * ASK_SECONDS
        assert sink.commands() == ()
