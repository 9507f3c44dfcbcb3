"""Named integer seeds from one run seed, so that no part's draws depend on another part's."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` of the run `seed`: first 8 bytes of SHA-256, top bit cleared.

    Streams with different names are independent; the same name gives the same stream on every machine.
    """
    # The type is part of the name, so that 1 and "1" are two streams.
    text = "/".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
