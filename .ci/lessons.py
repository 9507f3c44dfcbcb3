"""Writes the table of notebooks/README.md: words, cells, tasks, predictions and pictures of each lesson, and before.

python .ci/lessons.py          write it
python .ci/lessons.py --check  exit 1 where the page is not what would be written
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
PAGE = FOLDER / "README.md"
BEGIN, END = "<!-- lessons: written by .ci/lessons.py -->\n", "<!-- end of the lessons -->"
# Words, cells, tasks and pictures of each lesson when it had one task at its end.
BEFORE = {
    "00_tour": (927, 53, 1, 2),
    "01_devices": (1015, 55, 1, 1),
    "02_meta_tensors": (1321, 79, 1, 1),
    "03_residual_surgery": (1222, 75, 1, 1),
    "04_mutation_and_optimizer": (1114, 63, 1, 2),
    "05_memory": (1456, 67, 1, 1),
    "06_checkpoints": (1135, 61, 1, 2),
    "07_gumbel_softmax": (1113, 57, 1, 8),
    "08_phases_and_table": (1139, 57, 1, 3),
    "09_stability": (1016, 49, 1, 1),
    "10_router_and_experts": (1087, 56, 1, 3),
    "11_in_place": (1159, 58, 1, 0),
    "12_backward_twice": (1503, 83, 1, 2),
    "13_evolution_agent": (1688, 81, 1, 1),
    "14_tuning": (1348, 77, 1, 0),
    "15_own_model": (1209, 57, 1, 0),
    "16_why_it_does_not_learn": (967, 50, 1, 0),
}
# A picture that a cell shows, and not one of which it only asks something.
PICTURE = re.compile(r"\b(?:draw_\w+|follow|Dial|memory_bars|share_bars)\((?!.*\)\.(?:ok|bytes))")
SOLUTION = re.compile(r"<details>.*?</details>", re.DOTALL)
HEAD = "| lesson | words | cells | tasks | predictions | pictures | before: words, cells, tasks, pictures |\n"


def counts(document: dict[str, Any]) -> tuple[int, int, int, int, int]:
    """Words, cells, tasks, predictions and pictures of a notebook; folded solutions are not counted as words."""
    words = tasks = predictions = pictures = 0
    for cell in document["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            words += len(SOLUTION.sub("", source).split())
        else:
            tasks += "stub" in cell["metadata"].get("tags", [])
            predictions += source.count("predict(")
            pictures += len(PICTURE.findall(source))
    return words, len(document["cells"]), tasks, predictions, pictures


def table() -> str:
    """The whole table as text."""
    rows = [HEAD, "|---" * 7 + "|\n"]
    for path in sorted(FOLDER.glob("*.ipynb")):
        now = counts(json.loads(path.read_text(encoding="utf-8")))
        before = BEFORE.get(path.stem)
        shown = ", ".join(f"{number:,}" for number in before) if before else "new"
        cells = [path.stem.split("_")[0], *(f"{number:,}" for number in now), shown]
        rows.append("| " + " | ".join(cells) + " |\n")
    return "".join(rows)


def main() -> int:
    """Write or check the page; the exit code."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    written = text[:begin] + "\n" + table() + "\n" + text[end:]
    if "--check" in sys.argv[1:]:
        return int(written != text)
    PAGE.write_text(written, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
