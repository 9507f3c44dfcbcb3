import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from lab.cli.serve import free_port


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def test_the_server_of_the_page_ends_with_the_command(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "lab.cli", "dashboard", "--no-browser", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [*command, "--save-dir", str(tmp_path)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert process.poll() is None, "the command ended before the page was up"
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert not answers(port)
    finally:
        process.kill()
        process.wait()
