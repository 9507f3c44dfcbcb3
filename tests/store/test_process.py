import os
import subprocess
import sys
from dataclasses import replace

from lab.store import ProcessIdentity


def test_this_process_lives() -> None:
    this = ProcessIdentity.current()
    assert this.pid == os.getpid()
    assert this.alive() is True


def test_a_number_given_to_another_process_is_not_taken_for_the_writer() -> None:
    this = ProcessIdentity.current()
    assert replace(this, created=this.created - 60).alive() is False


def test_an_ended_process_is_gone_even_before_its_parent_asked() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = replace(ProcessIdentity.current(), pid=child.pid)
    import psutil

    identity = replace(identity, created=psutil.Process(child.pid).create_time())
    assert identity.alive() is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity.alive() is False
    child.communicate()
    assert identity.alive() is False


def test_a_process_on_another_host_cannot_be_asked() -> None:
    assert replace(ProcessIdentity.current(), host="another-host.invalid").alive() is None
