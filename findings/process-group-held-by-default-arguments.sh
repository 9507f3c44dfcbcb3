#!/bin/bash
# torch keeps a destroyed process group, with its worker threads, in the default arguments of its own functions.
#
# Version: torch 2.13.0 (the same with 2.14.1).
# Expected: destroy_process_group() after the last DistributedDataParallel is gone ends the group: its threads are
#   joined, and a group that is opened later is the one that every function takes when none is named.
# Seen: the threads of gloo live on to the end of the process, and torch.distributed.nn.functional.all_reduce, in a
#   second group, takes the destroyed first one. `def all_reduce(..., group=group.WORLD)` reads the default group once,
#   when the module is imported, and the first DistributedDataParallel imports it, which is after the group was opened.
#   With `import torch.distributed.nn.functional` before init_process_group neither happens.
# Source: torch/distributed/nn/functional.py (default arguments), torch/nn/parallel/distributed.py.
# Exit code: 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/script.py" <<'PYTHON'
import gc
import os
import sys
import warnings

import torch
import torch.distributed as dist
from torch import nn

if sys.argv[1] == "before":
    import torch.distributed.nn.functional


def open_group(path):
    dist.init_process_group("gloo", store=dist.FileStore(path, 1), rank=0, world_size=1)


def threads():
    names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
    return sorted(name for name in names if "gloo" in name)


def train():
    net = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
    net(torch.ones(1, 2)).sum().backward()


warnings.simplefilter("ignore")
open_group(sys.argv[2] + "1")
train()
gc.collect()
dist.destroy_process_group()
gc.collect()
left = threads()
open_group(sys.argv[2] + "2")
import torch.distributed.nn.functional as functional

held = [value for value in functional.all_reduce.__defaults__ if isinstance(value, dist.ProcessGroup)]
stale = bool(held) and held[0] is not dist.group.WORLD
dist.destroy_process_group()
print(f"torch {torch.__version__}, functional imported {sys.argv[1]} the group: threads left {left}, stale default {stale}")
sys.exit(0 if (bool(left) and stale) == (sys.argv[1] == "after") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/script.py" after "$folder/one"
"$folder/venv/bin/python" "$folder/script.py" before "$folder/two"
