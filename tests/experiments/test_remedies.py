import pytest

from lab.asose import ASOSEConfig
from lab.base import DataError
from lab.experiments import remedies
from lab.experiments.remedies import OPTIONS, RemediesBench
from lab.space import NB125, Genotype, find_table

TINY = {"seeds": 1, "warmup_epochs": 1, "arch_training_epochs": 1, "channels": 2, "batch_size": 64}


def test_each_option_is_searched_once_and_judged_by_the_labs_table(tmp_path, monkeypatch):
    chosen = {name: OPTIONS[name] for name in ("absent edges drawn", "mixture, perturbation")}
    monkeypatch.setattr(remedies, "OPTIONS", chosen)
    config = RemediesBench(folder=tmp_path, **TINY)
    result = remedies.run(config)
    truth = find_table(NB125)
    for option in chosen:
        (piece,) = result["results"]["options"][option]
        cell = Genotype.from_indices(NB125, map(int, piece["cell"]))
        assert piece["test"] == truth.query(cell, "digits_test")
        assert piece["rank"] == truth.rank(cell, "digits_test")
        assert option in str(remedies.summary(result))
    assert result["results"]["options"]["mixture, perturbation"][0]["absent"] == 0
    monkeypatch.setattr(remedies, "_search", None)
    assert remedies.run(config)["results"] == result["results"], "nothing is measured twice"


def test_every_option_is_one_that_a_run_takes():
    for changes in OPTIONS.values():
        ASOSEConfig(**changes)


def test_without_the_table_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(remedies, "find_table", lambda space: None)
    with pytest.raises(DataError, match="lab experiment table"):
        remedies.run(RemediesBench(folder=tmp_path, **TINY))
