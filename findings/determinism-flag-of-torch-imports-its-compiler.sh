#!/bin/bash
# `torch.use_deterministic_algorithms(True)` imports torch's compiler: the first call costs nearly as much as `import torch`.
#
# Version: torch 2.14.1 (cu130, on a machine without a GPU).
# Expected: the call sets a flag that operations ask for; its documentation speaks of nothing else.
# Seen: the first call imports torch._inductor and torch._dynamo, hundreds of modules and more than a second of
#   processor time, in a process that compiles nothing; the second call takes microseconds. It sets a copy of the flag
#   in torch._inductor.config, for which it imports the package. The flag below it,
#   torch._C._set_deterministic_algorithms, imports nothing.
# Source: torch/__init__.py (use_deterministic_algorithms).
# Exit code: 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import time

began = time.process_time()
import torch

imported = time.process_time() - began
before = set(sys.modules)
began = time.process_time()
torch.use_deterministic_algorithms(True)
first = time.process_time() - began
new = set(sys.modules) - before
began = time.process_time()
torch.use_deterministic_algorithms(True)
second = time.process_time() - began
print(f"torch {torch.__version__}: import {imported:.2f} s")
print(f"first call {first:.2f} s of processor time, {len(new)} modules; second call {second:.6f} s")
compiler = "torch._inductor" in new and "torch._dynamo" in new
sys.exit(0 if compiler and len(new) > 300 and first > 1000 * second else 1)
PYTHON
