#!/bin/bash
# torch's FlopCounterMode cannot count a model that hands an expanded parameter to a submodule, once gradients are off.
#
# Version: torch 2.13.0 (the same with 2.14.1).
# Expected: the operations are counted with and without gradients alike: counting is said to work for any forward, and
#   torch.no_grad() is how a forward is usually counted. A learnt token that is expanded over the batch and passed to a
#   block is what vision transformers with class attention and set-prediction detectors do.
# Seen: with gradients the count is right (64 operations here). Under torch.no_grad() the forward raises
#   "AssertionError: Expected gradient function to be set". A view of a parameter that was made without gradients says
#   requires_grad, and has no gradient function; the module hooks that the counter needs only to name modules ask for it.
# Source: torch/utils/module_tracker.py (hooks), torch/autograd/graph.py (_get_grad_fn_or_grad_acc).
# Exit code: 0 where this is still so, 1 where it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Tokens(nn.Module):
    """A learnt token for each sample, through a block."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.block = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x):
        return self.block(self.token.expand(len(x), -1, -1)) + x


model, x = Tokens(), torch.randn(2, 1, 4)
with torch.no_grad():
    model(x)  # the forward itself is right without gradients
print(f"torch {torch.__version__}")
found = {}
for gradients in (True, False):
    with torch.set_grad_enabled(gradients):
        try:
            with FlopCounterMode(display=False) as counter:
                model(x)
            found[gradients] = str(counter.get_total_flops())
        except AssertionError as error:
            found[gradients] = f"AssertionError: {error}"
    print(f"gradients {'on' if gradients else 'off'}: {found[gradients]}")
still = found[True] == "64" and "Expected gradient function to be set" in found[False]
sys.exit(0 if still else 1)
PYTHON
