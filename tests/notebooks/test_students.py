"""Six lessons worked through in Jupyter Lab from the first cell to the score, as a student does it.

Cells are run one by one. Each task is tried empty, then wrong, then right; each prediction is given; each slider is
moved. What the page shows of a cell is looked for beside that cell.
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lab.lesson.notebook import lesson_tasks, read_cells, solutions

ROOT = Path(__file__).resolve().parents[2]
PAIRED = "difference = changed - control\n    return difference"
# Of each lesson the wrong answers to its tasks, and what the student is told: the body of the function, a part of it.
WRONG = {
    "00a_build_it": (
        ("return -torch.log(u)", "one logarithm is missing"),
        ("return (alpha / tau + noise).softmax(-1)", "that is the soft mixture"),
        ("return old + beta * (new - old)", "rounds twice"),
    ),
    "00b_autograd": (
        ("return 2 * (w * x).exp() ** 2", "the factor x of the product is missing"),
        ("with torch.no_grad():\n        e[0] *= 2\n    return e", "no_grad hides the write"),
        ("return sum(losses) / len(losses)", "it holds all three graphs alive"),
    ),
    "03_residual_surgery": (
        ("return into[0], out[0], into[2] // out[2]", "the first dimension counts the images"),
        ("return optimizer", "no step will ever change the added module"),
        ("return nn.Sequential(nn.Conv2d(into, out, 1, stride=stride), nn.BatchNorm2d(out))", "exactly 0 at first"),
    ),
    "05_memory": (
        ("return rows * width + rows * 10 + 2", "numbers were counted, not bytes"),
        ("optimizer.param_groups[0]['params'] = list(new.parameters())\n    return optimizer", "is still held"),
        ("loss = cross_entropy(net(x), y)\n    loss.backward()\n    return loss.item()", "the whole batch at once"),
    ),
    "07_gumbel_softmax": (
        ("return alpha.softmax(-1)", "the temperature is not used"),
        (
            "own = torch.zeros_like(soft)\n    own[k] = 1.0\n    return soft[k] * (own - soft)",
            "the temperature is missing",
        ),
        ("return max(0.1, min(temperature * (0.98 if better else 1.05), 5.0))", "nothing bounds the temperature"),
    ),
    "13_evolution_agent": (
        (
            "held = {id(p) for group in optimizers[0].param_groups for p in group['params']}\n"
            "    return [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]",
            "only the first optimizer was asked",
        ),
        (
            "try:\n        action(model)\n    except RuntimeError:\n        pass\n    return model",
            "on the model itself",
        ),
        (f"{PAIRED}.std().item()", "the spread of one difference"),
        (f"{PAIRED}.mean().item() <= 0", "chance decides"),
    ),
}
# A picture that the code of a cell shows, as a widget.
DRAWN = re.compile(r"^(\w+ = )?(draw_\w+|Dial)\(", re.MULTILINE)
FITS = "plot => plot._fullLayout.width === plot.clientWidth"
SIZES = "plots => plots.map(plot => [plot.clientWidth, plot.clientHeight])"


def readout(lesson, number: int) -> str:
    text: str = lesson.output(number).locator(".widget-readout").inner_text()
    return text


class Student:
    """Works through a lesson cell by cell."""

    def __init__(self, lesson, folder: Path) -> None:
        self.lesson = lesson
        self.folder = folder
        """Screenshots of the pictures go here."""
        self.predictions = 0
        self.pictures = 0

    def try_task(self, stub: int, check: int, head: str, wrong: tuple[str, str], solution: str) -> None:
        """Run the empty stub, a wrong answer and the right one, each with its check."""
        body, says = wrong
        lesson, output = self.lesson, self.lesson.output(check)
        lesson.run(stub)
        lesson.run(check)
        expect(output).to_contain_text("not tried yet")
        lesson.write(stub, f"{head}\n    {body}")
        lesson.run(check)
        expect(output).to_contain_text("not yet: see below")
        expect(output).to_contain_text(says)
        lesson.write(stub, solution)
        lesson.run(check)
        expect(output).to_contain_text("ok: every check is green")

    def read(self, number: int) -> None:
        """Run a cell that is no task, and do what it asks for."""
        lesson, source = self.lesson, self.lesson.cells[number].source
        lesson.run(number)
        if "predict(" in source:
            lesson.choose(number)
            self.predictions += 1
        if ".reveal(" in source and ".reveal(" in source.splitlines()[-1]:
            expect(lesson.output(number)).to_contain_text(re.compile("as predicted: |✗ predicted: "))
        if "= Dial(" in source:
            before = readout(lesson, number)
            lesson.slide(number, 4)
            expect(lesson.output(number).locator(".widget-readout")).not_to_have_text(before)
        if DRAWN.search(source):
            self.look(number)

    def look(self, number: int) -> None:
        """The picture of a cell is there, in full width, and no part of it lies outside."""
        plots = self.lesson.output(number).locator(".js-plotly-plot")
        expect(plots.first).to_be_visible()
        assert all(w > 300 and h > 200 for w, h in plots.evaluate_all(SIZES)), plots.evaluate_all(SIZES)
        self.lesson.page.wait_for_function(FITS, arg=plots.first.element_handle())
        self.lesson.output(number).screenshot(path=self.folder / f"{number:03}.png")
        self.pictures += 1


@pytest.mark.browser
@pytest.mark.large
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(WRONG))
def test_a_student_works_through_a_lesson(name: str, open_lesson, tmp_path: Path) -> None:
    cells = read_cells(ROOT / "notebooks" / f"{name}.ipynb")
    places = {number: place for place, number in enumerate(n for n, cell in enumerate(cells) if cell.kind == "code")}
    tasks = {places[task.check]: task for task in lesson_tasks(name, cells)}
    answers = dict(zip(tasks, zip(WRONG[name], solutions(cells), strict=True), strict=True))
    stubs = {places[task.stub] for task in tasks.values()}
    student = Student(open_lesson(name), tmp_path)
    for number in range(len(places)):
        if number in answers:
            stub, head = places[tasks[number].stub], cells[tasks[number].stub].source.partition(":")[0] + ":"
            student.try_task(stub, number, head, *answers[number])
        elif number not in stubs:
            student.read(number)
        student.lesson.require_sound()
    score = student.lesson.output(len(places) - 1)
    expect(score).to_contain_text(f"of {student.predictions} predicted rightly")
    expect(score).not_to_contain_text("without a prediction")
    assert student.predictions >= 2
    assert student.pictures >= 1
