"""Surgery on models of timm and transformers by family: nothing is wrong, nothing crashes, and most is exact.

`make test` takes one small model of transformers; `LAB_LARGE=1` takes all that `zoo` names, and writes what it found of
each to runs/foreign as it comes. `LAB_LARGE=1 LAB_WRITE_DOCS=1` writes the table of docs/morphisms.md anew. timm is no
part of the install: without it its models are skipped by name.
"""

import importlib.util
import json
import os
import pickle
import runpy
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils import _pytree as pytree

from lab.morph import apply
from lab.morph.trace import Traces

zoo = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("zoo.py"))))
judge = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("judge.py"))))
LARGE = bool(os.environ.get("LAB_LARGE"))
SAMPLE = ("LlamaForCausalLM",)
ORDINARY = (*SAMPLE, "BertForSequenceClassification", "test_resnet", "vit_tiny_patch16_224")
"""Of these a changed model is pickled and exported."""
NAMES = (*zoo.TIMM, *zoo.TRANSFORMERS) if LARGE else SAMPLE
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "morphisms.md"
BEGIN, END = "<!-- foreign: written by tests/morph/test_foreign.py -->", "<!-- /foreign -->"
HEADING, BEFORE = "## On models of timm and transformers", "## Beside other libraries"
LEAST = {"Widen": 0.85, "Prune": 0.85, "additions": 0.97}
"""Share of the sites where a change makes sense that must be exact, or pruned."""
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def table():
    """Model -> verdicts, filled as the tests run."""
    return {}


@pytest.mark.parametrize("name", NAMES)
def test_every_change_of_a_foreign_model_is_right_or_refused_with_a_reason(name, table):
    if name in zoo.TIMM and not importlib.util.find_spec("timm"):
        pytest.skip(f"{name} needs timm: pip install --target FOLDER 'timm==1.0.*', and FOLDER on PYTHONPATH")
    pytest.importorskip("transformers")
    model, examples = zoo.build(name)
    traces = Traces()
    verdicts = [judge.judge(model, examples, name, op, site, traces) for op, site in judge.sites(model, examples[0])]
    table[name] = verdicts
    if LARGE:
        path = ROOT / "runs" / "foreign" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))
    found = Counter(verdict.kind for verdict in verdicts)
    assert [verdict for verdict in verdicts if verdict.kind in ("wrong", "crash")] == []
    assert found["exact"] + found["pruned"] >= 0.6 * (len(verdicts) - found["excluded"]), verdicts
    assert all(verdict.reason for verdict in verdicts if verdict.kind in ("refused", "excluded"))


@pytest.mark.parametrize("name", ORDINARY if LARGE else SAMPLE)
def test_a_widened_foreign_model_pickles_and_exports(name):
    if name in zoo.TIMM:
        pytest.importorskip("timm")
    pytest.importorskip("transformers")
    model, examples = zoo.build(name)
    site = next(site for op, site in judge.sites(model, examples[0]) if op == "Widen")
    apply(judge.planned(model, examples[0], "Widen", site, Traces()), model).release()
    expected = judge.outputs_of(model, examples[:1])
    twin = pickle.loads(pickle.dumps(model))
    assert judge.difference(expected, judge.outputs_of(twin, examples[:1])) == 0.0
    if LARGE:
        args, kwargs = ((), examples[0]) if isinstance(examples[0], dict) else ((examples[0],), {})
        exported = torch.export.export(model.eval(), args, kwargs, strict=False).module()
        with torch.no_grad():
            one, other = (pytree.tree_leaves(each(*args, **kwargs)) for each in (model, exported))
        pairs = [(a, b) for a, b in zip(one, other, strict=True) if torch.is_tensor(a)]
        assert pairs
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs)


def render(verdicts):
    """Lines of the table: families, and for each operation how many sites are right of those where it makes sense."""
    families = {name: model.family for name, model in (*zoo.TIMM.items(), *zoo.TRANSFORMERS.items())}
    ops = list(judge.SITES)
    lines = [f"| family | models | {' | '.join(ops)} |", "|" + "---|" * (len(ops) + 2)]
    for family in [*dict.fromkeys(families.values()), "all"]:
        own = [verdict for verdict in verdicts if family in ("all", families[verdict.model])]
        cells = [cell([verdict for verdict in own if verdict.op == op]) for op in ops]
        lines.append(f"| {family} | {len({verdict.model for verdict in own})} | {' | '.join(cells)} |")
    reasons = Counter((verdict.op, verdict.reason) for verdict in verdicts if verdict.kind == "refused")
    lines += ["", *(f"- {op} refused {count} times: {reason}" for (op, reason), count in sorted(reasons.items()))]
    return lines


def cell(verdicts):
    found = Counter(verdict.kind for verdict in verdicts)
    right, sites = found["exact"] + found["pruned"], len(verdicts) - found["excluded"]
    return f"{right} of {sites}" if sites else "-"


@pytest.mark.large
@pytest.mark.skipif(not LARGE, reason="LAB_LARGE=1 judges all models")
def test_shares_of_foreign_sites_are_reached_and_the_page_has_them(table):
    if set(table) != set(NAMES):
        pytest.skip("needs the verdicts of all models: run the whole file")
    verdicts = [verdict for found in table.values() for verdict in found]
    assert sum(verdict.kind == "excluded" for verdict in verdicts) <= 0.1 * len(verdicts)
    for group, least in LEAST.items():
        ops = judge.ADDITIONS if group == "additions" else (group,)
        kinds = [verdict.kind for verdict in verdicts if verdict.op in ops and verdict.kind != "excluded"]
        assert sum(kind in ("exact", "pruned") for kind in kinds) >= least * len(kinds), group
    text = PAGE.read_text(encoding="utf-8")
    block = "\n".join([BEGIN, "", *render(verdicts), "", END])
    if os.environ.get("LAB_WRITE_DOCS"):
        if BEGIN not in text:
            text = text.replace(BEFORE, f"{HEADING}\n\n{BEGIN}{END}\n\n{BEFORE}", 1)
        begin, end = text.index(BEGIN), text.index(END) + len(END)
        PAGE.write_text(text[:begin] + block + text[end:], encoding="utf-8")
    assert block in PAGE.read_text(encoding="utf-8")
