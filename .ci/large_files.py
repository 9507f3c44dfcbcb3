"""Name the files among the arguments that have more than 500 kB; exit code 1 where there is one."""

import sys
from collections.abc import Sequence
from pathlib import Path

BYTES = 500_000


def main(paths: Sequence[str]) -> int:
    """Write a line for each large file."""
    large = [path for path in paths if Path(path).is_file() and Path(path).stat().st_size > BYTES]
    for path in large:
        sys.stderr.write(f"{path}: {Path(path).stat().st_size:,} bytes, {BYTES:,} at most\n")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
