"""The kinds of sampling by name; torch-free, since settings check against them."""

SAMPLING_KINDS = ("gumbel", "gdas", "mixture")
