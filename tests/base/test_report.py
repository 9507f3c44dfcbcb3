import json
from dataclasses import dataclass

import pytest

from lab.base import Report, ReportTable

TABLE = ReportTable(title="Sizes", columns=("name", "n"), rows=(("a<b", "1"), ("c", "200")), notes=("2 rows",))


@dataclass(frozen=True)
class Sizes(Report):
    n: float

    def to_dict(self):
        return {"n": self.n}

    def tables(self):
        return (TABLE, ReportTable(title="", columns=("x",), rows=()))


def test_a_table_prints_with_aligned_columns():
    assert str(TABLE).splitlines() == ["Sizes", "name  n", "----  ---", "a<b   1", "c     200", "2 rows"]


def test_a_table_renders_with_escaped_text():
    page = TABLE._repr_html_()
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert page.count("<tr>") == 3


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="shorter|longer"):
        str(ReportTable(title="", columns=("a", "b"), rows=(("1",),)))


def test_a_report_prints_renders_and_gives_its_data():
    report = Sizes(3)
    assert str(report).startswith(str(TABLE))
    assert TABLE._repr_html_() in report._repr_html_()
    assert json.loads(report.to_json()) == {"n": 3}


def test_a_report_without_tables_or_data_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Report()


def test_a_page_folds_what_is_behind_the_first_twenty_rows():
    table = ReportTable(title="Long", columns=("n",), rows=tuple((f"row {n}",) for n in range(25)))
    shown, folded = table._repr_html_().split("<details>")
    assert "row 19" in shown
    assert "row 20" not in shown
    assert "5 more rows" in folded
    assert "row 24" in folded
    assert "row 24" in str(table)
    assert "<details>" not in TABLE._repr_html_()
