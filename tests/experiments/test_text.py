"""Text models beside TF-IDF on a table in folds."""

import json

import pytest

from lab.base import ConfigError
from lab.experiments import TextBench, text
from lab.text import write_sentences


def test_a_fold_is_held_and_a_repeated_call_measures_nothing(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    rows = ["text\tfold\tintents\tspans"]
    for number, row in enumerate(write_sentences(120)):
        spans = f"state:{row['spans']}" if row["spans"] else ""
        rows.append(f"{row['text']}\t{number % 2}\t{row['label']}|x\t{spans}")
    (tmp_path / "t.tsv").write_text("\n".join(rows))
    config = TextBench(
        data=str(tmp_path / "t.tsv"),
        intent="fault",
        span="state",
        folds=2,
        epochs=1,
        dim=8,
        layers=1,
        batch_size=8,
        folder=tmp_path / "pieces",
    )
    found = text.run(config)
    results = found["results"]
    assert set(results) == set(config.methods)
    assert all(figures["pieces"] == 2 for figures in results.values())
    faults = sum(row["label"] == "fault" for row in write_sentences(120)) / 120
    assert results["majority"]["accuracy"] == pytest.approx(1 - faults, abs=0.02)
    assert results["never"]["accuracy"] == pytest.approx(1 - faults, abs=0.02)
    assert results["never"]["with_span"] == 0
    # Faults are told in eight phrases: whoever knows them finds them all, in negated sentences too.
    assert results["phrases"]["with_span"] > 0.9
    assert results["phrases"]["accuracy"] < 0.95
    assert results["tfidf"]["macro_f1"] > results["majority"]["macro_f1"]
    assert found["config"]["data"] == "t.tsv"
    assert "TF-IDF and logistic regression" in str(text.summary(found))
    monkeypatch.setattr(text, "measure", None)
    assert json.dumps(text.run(config)["results"]) == json.dumps(results)


def test_a_table_must_be_given():
    with pytest.raises(ConfigError, match="Give --data"):
        text.run(TextBench())
    with pytest.raises(ConfigError, match="method to be one of"):
        TextBench(methods=("svm",))
