"""Surgery on models of timm and transformers by family: nothing is wrong, nothing crashes, and most is exact.

`make test` takes two small models of transformers; `LAB_LARGE=1` takes all that `zoo` names. timm is no part of the
install: without it its models are skipped by name.
"""

import importlib.util
import os
import runpy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.morph.trace import Traces

zoo = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("zoo.py"))))
judge = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("judge.py"))))
LARGE = bool(os.environ.get("LAB_LARGE"))
SAMPLE = ("LlamaForCausalLM",)
NAMES = (*zoo.TIMM, *zoo.TRANSFORMERS) if LARGE else SAMPLE
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", NAMES)
def test_every_change_of_a_foreign_model_is_right_or_refused_with_a_reason(name):
    if name in zoo.TIMM and not importlib.util.find_spec("timm"):
        pytest.skip(f"{name} needs timm: pip install --target FOLDER 'timm==1.0.*', and FOLDER on PYTHONPATH")
    pytest.importorskip("transformers")
    model, examples = zoo.build(name)
    traces = Traces()
    verdicts = [judge.judge(model, examples, name, op, site, traces) for op, site in judge.sites(model, examples[0])]
    found = Counter(verdict.kind for verdict in verdicts)
    assert [verdict for verdict in verdicts if verdict.kind in ("wrong", "crash")] == []
    assert found["exact"] + found["pruned"] >= 0.6 * (len(verdicts) - found["excluded"]), verdicts
    assert all(verdict.reason for verdict in verdicts if verdict.kind in ("refused", "excluded"))
