"""Runs the cells of a lesson in this process, as a kernel does: the code of a fork, see `tests/conftest.py`.

Arguments: a JSON file with the sources of the cells, the folder to work in, the seconds that it may take. What each
cell gave goes into that JSON file's neighbour `outputs.json`, cell by cell: the text, or the error that ended the run.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

sources, folder, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
signal.alarm(seconds)
os.environ["IPYTHONDIR"] = str(Path(folder) / ".ipython")
os.chdir(folder)
shell = InteractiveShell.instance()
# The value of a cell's last line is printed without "Out[1]: ", as a kernel sends it.
shell.displayhook.write_output_prompt = lambda: None
outputs = []
for source in json.loads(sources.read_text()):
    with capture_output() as captured:
        result = shell.run_cell(source, store_history=True)
    texts = [captured.stdout, *(output.data.get("text/plain", "") for output in captured.outputs)]
    error = result.error_before_exec or result.error_in_exec
    told = "".join(traceback.format_exception(error)) if error is not None else ""
    outputs.append({"text": "\n".join(filter(None, texts)), "error": told})
    sources.with_name("outputs.json").write_text(json.dumps(outputs))
    if error is not None:
        break
