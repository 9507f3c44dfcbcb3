"""The precisions of a forward pass by name; torch-free, since settings check against them."""

PRECISIONS = ("float32", "bf16", "fp16")
