"""`lab search`: prior and evidence together, taken up bit-equal, limits, errors, report and command."""

import dataclasses
import json

import pytest
import torch

from lab.base import ConfigError, DataError
from lab.cli import main
from lab.datasets import DataConfig
from lab.explore import SCORES, Prior, evolution
from lab.search import SEARCH_SPACES, Search, SearchConfig, halving, search
from lab.search.problem import SearchProblem
from lab.space import NB201, SIZES, Genotype
from lab.state import rng_state

SMALL = DataConfig(name="digits", train_limit=60)


def config(**changes):
    return SearchConfig(**{"data": SMALL, "channels": 2, "batch_size": 8, "evaluations": 12, "budget": 500, **changes})


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def short(monkeypatch):
    """Rungs of one and two epochs, eight cells."""
    monkeypatch.setattr(halving, "RUNG_EPOCHS", (1, 2))
    monkeypatch.setattr(halving, "MOST_SHORTLIST", 8)


def without_seconds(report):
    return {key: value for key, value in report.to_dict().items() if key not in ("cpu_seconds", "evidence")}


class Stop:
    """Ends a search after a number of messages, as Ctrl-C does; counts them."""

    def __init__(self, after=10_000):
        self.after = self.left = after

    def on_part(self, share, text):
        assert 0 <= share <= 1
        assert text
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("space", SEARCH_SPACES)
def test_every_space_is_searched_by_scores(space):
    streams = rng_state()["torch"]
    report = search(config(space=space, evidence=False, layers=3, evaluations=5))
    assert report.genotype.space.name == space
    assert torch.equal(rng_state()["torch"], streams)
    beliefs = report.beliefs()
    assert beliefs.genotype == report.genotype
    assert [row["cell"] for row in report.preferred_to[:1]] == [beliefs.cells[1].genotype.to_json()]
    assert ("largest network" in str(report)) == (space == "sizes")


def test_scores_are_those_of_fresh_networks_in_any_order():
    cell = Genotype.from_indices(NB201, (3, 1, 2, 3, 4, 3))
    names = ("log_synflow", "flops", "naswot", "skip_length", "parameters")
    problem = SearchProblem(config(space="nb201", scores=names))
    for repeat in (0, 1):
        found, x = problem.scores(cell, repeat), problem.batch(repeat)
        assert tuple(found) == names
        network = problem.network(cell, "score", repeat, *cell.indices)
        assert {name: found[name] for name in SCORES} == {name: SCORES[name](network, x) for name in SCORES}


def test_evidence_is_gathered_with_two_seeds_and_decides_among_what_was_trained(short):
    report = search(config(space="nb125", evaluations=30))
    assert [len(rung["cells"]) for rung in report.rungs] == [8, 2]
    assert report.trainings == 2 * (8 + 2)
    assert list(report.genotype.indices) in report.rungs[-1]["cells"]
    assert report.best["loss"] > 0
    assert "rungs of short trainings" in str(report)
    assert "<table>" in report._repr_html_()
    beliefs = Prior.from_json(json.loads(report.to_json())["prior"])
    assert beliefs.genotype == report.genotype
    assert len(beliefs.cells) == len({cell.genotype for cell in beliefs.cells})


def test_a_search_that_was_stopped_anywhere_ends_with_the_same_result(short, tmp_path):
    settings = config(space="nb125", evaluations=30, seed=3)
    counter = Stop()
    whole = search(settings, tmp_path / "whole", counter)
    messages = counter.after - counter.left
    for after in (messages // 2, messages - 2):
        folder = tmp_path / str(after)
        with pytest.raises(KeyboardInterrupt):
            search(settings, folder, Stop(after))
        again = search(settings, folder)
        assert without_seconds(again) == without_seconds(whole)
    before = (folder / "search.json").read_text()
    finished = Search(settings, folder)
    assert finished.finished
    assert finished.run() == again
    assert (folder / "search.json").read_text() == before


def test_a_small_budget_buys_fewer_scores_and_no_evidence():
    report = search(config(budget=0.5, evaluations=200, space="nb201"))
    assert report.trainings == 0
    assert "the prior decides" in report.evidence
    assert report.evaluations < 60


def test_without_a_prior_cells_are_drawn_uniformly_and_trained(short):
    report = search(config(space="nb125", prior=False))
    assert report.evaluations == 0
    assert report.trainings == 20
    assert report.best["score"] is None
    with pytest.raises(ConfigError, match="a budget that pays for evidence"):
        search(config(space="nb125", prior=False, budget=0.2))


def test_sizes_keep_the_limit_of_flops(monkeypatch):
    problem = SearchProblem(config(space="sizes"))
    assert problem.max_flops == problem.flops(Genotype(SIZES, ("32x1", "64x1", "128x1")))
    report = search(config(space="sizes", max_flops=1e6, evidence=False))
    tight = SearchProblem(config(space="sizes", max_flops=1e6))
    networks = [tight.network(cell.genotype) for cell in report.beliefs().cells]
    assert all(SCORES["flops"](network, tight.batch(0)[:1]) <= 1e6 for network in networks)
    monkeypatch.setattr(evolution, "DRAWS", 50)
    with pytest.raises(ConfigError, match="keep the limits"):
        search(config(space="sizes", max_flops=10.0, evidence=False))


def test_another_search_in_the_folder_is_not_overwritten(tmp_path):
    settings = config(evidence=False, evaluations=3)
    search(settings, tmp_path)
    with pytest.raises(ConfigError, match="another seed"):
        search(dataclasses.replace(settings, seed=1), tmp_path)
    (tmp_path / "search.json").write_text("{")
    with pytest.raises(ConfigError, match="a search in"):
        search(settings, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="a folder that can be written"):
        search(settings, tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": "macro"}, "space"),
        ({"budget": 0}, "budget > 0"),
        ({"scores": ()}, "at least one score"),
        ({"scores": ("luck",)}, "'luck'"),
        ({"prior": False, "evidence": False}, "prior or evidence"),
        ({"max_flops": 0.0}, "max_flops > 0"),
    ],
)
def test_wrong_settings_are_errors_of_ours(changes, words):
    with pytest.raises(ConfigError, match=words):
        config(**changes)


def test_data_that_cannot_be_read_are_errors_of_ours():
    with pytest.raises(DataError):
        search(config(data=DataConfig(name="nothing.npz")))


def test_the_command_prints_a_report_and_goes_on_by_the_same_call(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["search", "--space", "nb125", "--data", "digits", "--train-limit", "60", "--channels", "2", "--budget"]
    words += ["100", "--evaluations", "4", "--no-evidence", "--batch-size", "8", "--json"]
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["space"] == "nb125"
    assert (tmp_path / "runs/search/nb125-digits-seed0/search.json").is_file()
    assert main(words) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == first
    assert "finished before" in printed.err
    assert main([*words, "--seed", "-1"]) == 2
    assert main([*words, "--space", "moon"]) == 2
    assert main([*words, "--data", "nowhere.npz"]) == 2
    assert capsys.readouterr().err.count("lab: expected") == 3


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Search, "run", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    words = ["search", "--data", "digits", "--train-limit", "60", "--batch-size", "8", "--folder", str(tmp_path)]
    assert main(words) == 130
    assert f"the same command goes on from {tmp_path}" in capsys.readouterr().err
