"""Bytes as people read them."""


def format_bytes(count: float) -> str:
    """`count` bytes with a decimal unit (1 kB = 1000 B), three significant digits from 1 kB on."""
    sign, size = ("-", -count) if count < 0 else ("", float(count))
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{sign}{size:.0f} B" if unit == "B" else f"{sign}{size:.3g} {unit}"
        size /= 1000
    return f"{sign}{size:.3g} TB"
