"""The generators that the benchmark comes with: they spend their tasks, repeat themselves, and declare what they cost."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from benchmarks.entrants.task_evaluator import TaskEvaluator
from benchmarks.suite import AGENTS, ALWAYS, entries
from benchmarks.suite_references import GENERATOR, measuring, with_references
from elm_rl.corpus.cross_table import CrossTableConfig, load_cross_table, run_cross_table
from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.evolution.seeds import SEED_NAMES
from elm_rl.models.conditioning import condition
from elm_rl.models.language_model import make_model, save_language_model
from elm_rl.models.tokenizer import train_tokenizer, unsampleable_ids
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.suite import BudgetSpent, Entry, SuiteError, Task, Training, load_definition
from sodarace_gym.suite.cell import run_generator
from sodarace_gym.suite.definition import DEFINITION_FILE, parse_definition
from sodarace_gym.suite.generator import training_of
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.texts import terrain_from_text
from tests.elm_rl.inventor.crawlers import PROGRAMS, TERRAINS

SEARCHES = [entry for entry in ALWAYS if "Seed" not in entry.target and "builtin" not in str(entry.settings)]


def spent(entry: Entry, budget: int, seed: int = 1, terrain: str = "Flat") -> Task:
    with Evaluator(n_jobs=1, duration=1.0, robustness=1, gait=True) as evaluator:
        task = Task(terrain, terrain_from_text(terrain), budget, evaluator)
        run_generator(entry.make(), task, np.random.default_rng(seed))
    return task


@pytest.mark.parametrize("entry", SEARCHES, ids=lambda entry: entry.make().name)
def test_a_search_spends_its_budget_and_the_same_seed_finds_the_same(entry):
    first, again, other = (spent(entry, 24, seed).books for seed in (1, 1, 2))
    assert first.evaluations == len(first.scores) == 24
    assert max(first.scores) > 0
    assert first.scores == again.scores
    assert first.scores != other.scores
    assert (first.model_calls > 0) == (training_of(entry.make()) != Training()), "models have learnt before"


@pytest.mark.parametrize(
    "entry", [entry for entry in SEARCHES if "map_elites" in entry.target], ids=lambda e: str(e.settings)
)
def test_the_smallest_budgets_end_map_elites_while_its_seeds_are_planted(entry):
    assert [spent(entry, budget).books.evaluations for budget in (1, 3, 4, 5)] == [1, 3, 4, 5]


def test_the_seeds_are_evaluated_once_each():
    [entry] = [entry for entry in ALWAYS if "Seed" in entry.target]
    books = spent(entry, 24).books
    assert books.evaluations == books.valid == len(SEED_NAMES)


def test_models_that_mutate_declare_their_calls_and_their_training():
    [entry] = [entry for entry in ALWAYS if "builtin" in str(entry.settings)]
    assert training_of(entry.make()).evaluations == 600_000
    books = spent(entry, 12).books
    assert books.evaluations == 12
    assert books.model_calls >= 8, "a child has several tries"


def test_a_task_lends_itself_to_those_who_expect_an_evaluator():
    with Evaluator(n_jobs=1, duration=1.0, robustness=1) as evaluator:
        task = Task("Flat", make_terrain("Flat"), 3, evaluator)
        lent = TaskEvaluator(task)
        assert (lent.duration, lent.robustness) == (1.0, 1)
        assert len(lent.evaluate(PROGRAMS[:1] * 2, "Flat", robustness=0)[0].copy_distances) == 1
        with pytest.raises(ValueError, match="that of the task 'Flat'"):
            lent.evaluate(PROGRAMS[:1], "Tunnel")
        with pytest.raises(BudgetSpent):
            lent.evaluate(PROGRAMS[:1] * 2, make_terrain("Flat"))
        assert task.left == 0


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of codes that has learnt nothing."""
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer(PROGRAMS, 400, context=256)
    model = condition(make_model("0.1M", tokenizer, context=256), TERRAINS, unsampleable=unsampleable_ids(tokenizer))
    save_language_model(model, tokenizer, folder)
    return folder


@pytest.fixture
def costs(tmp_path: Path) -> Path:
    (tmp_path / "summary.json").write_text(json.dumps({"evaluations": 77}), encoding="utf-8")
    return tmp_path


def samples(policy: Path, costs: Path) -> Entry:
    settings = (("folder", str(policy)), ("costs", str(costs)))
    return Entry("benchmarks.entrants.samples:Samples", settings)


def test_a_policy_is_asked_for_the_terrain_and_its_stages_count_as_training(policy, costs):
    entry = samples(policy, costs)
    assert training_of(entry.make()).evaluations == 77
    first, again = (spent(entry, 6, terrain=TERRAINS[0]).books for _ in range(2))
    assert first.evaluations == first.model_calls == 6
    assert first.tokens == again.tokens > 6
    # Costs may lie in several folders.
    settings = (("folder", str(policy)), ("costs", str([str(costs), str(costs)])))
    assert training_of(Entry("benchmarks.entrants.samples:Samples", settings).make()).evaluations == 2 * 77
    # It has codes for some terrains, and no answer for others.
    assert spent(entry, 6, terrain="Hills,difficulty=0.2,seed=0").books.evaluations == 0
    with pytest.raises(SuiteError, match="Nothing in"):
        samples(policy, costs / "nowhere").make()


def test_an_invention_spends_what_the_policy_leaves_on_improving_it(policy):
    entry = Entry("benchmarks.entrants.invention:Invention")
    alone, improved = spent(entry, 8).books, spent(entry, 40).books
    assert (alone.evaluations, alone.model_calls) == (8, 8)
    assert improved.model_calls == 32
    assert 32 < improved.evaluations <= 40
    # Where nothing that the policy wrote is a walker there is nothing to improve, and nothing is wrong.
    untrained = Entry("benchmarks.entrants.invention:Invention", (("model", str(policy)),))
    assert spent(untrained, 40, terrain=TERRAINS[0]).books.evaluations == 32


def test_the_nearest_elite_is_the_best_of_the_terrain_that_looks_alike(tmp_path):
    run_evolve(
        EvolveConfig(
            out=tmp_path / "run", operators=("gp",), iterations=1, batch_size=16, duration=1.0, n_jobs=1, progress=False
        )
    )  # fmt: skip
    run_cross_table(
        CrossTableConfig(
            evolution=(tmp_path / "run",), out=tmp_path / "table", walkers=6, probes=2, terrains=("Tunnel", "Flat"),
            draws=0, robustness=1, duration=1.0, n_jobs=1, progress=False,
        )
    )  # fmt: skip
    entry = Entry("benchmarks.entrants.nearest:NearestElite", (("cross_table", str(tmp_path / "table")),))
    # 4 seeds and at most 16 children, and all elites on both terrains.
    assert 20 < training_of(entry.make()).evaluations < 100
    table = load_cross_table(tmp_path / "table")
    for row, terrain in enumerate(table.terrains):
        books = spent(entry, 3, terrain=terrain).books
        assert books.evaluations == 3
        assert books.scores[0] == pytest.approx(table.least[row].max(), rel=1e-5)
        assert books.scores == sorted(books.scores, reverse=True)


def test_what_is_not_given_is_skipped_with_a_line_each(policy, capsys):
    nothing = argparse.Namespace(cross_table=None, language_model=None, policy=[], operator=[], costs=[])
    assert list(entries(nothing)) == [*ALWAYS, *AGENTS]
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["skipped"] * 4
    given = argparse.Namespace(
        cross_table=Path("table"), language_model=policy, policy=[policy, policy], operator=["chat:somewhere"], costs=[]
    )
    assert len(list(entries(given))) == len(ALWAYS) + len(AGENTS) + 5
    assert capsys.readouterr().out == ""


def test_every_entrant_has_a_name_of_its_own():
    names = [entry.make().name for entry in (*ALWAYS, *AGENTS)]
    assert len(set(names)) == len(names)


def test_references_are_measured_on_seeds_that_the_suite_does_not_use():
    definition = load_definition()
    measured = measuring(100, 3)
    assert not set(measured.seeds) & set(definition.seeds)
    assert [each.text for each in measured.terrains] == [each.text for each in definition.terrains]
    assert measured.digest != definition.digest
    assert GENERATOR.make().name == "MAP-Elites, gp"


def test_references_are_written_into_a_new_version():
    definition = load_definition()
    content = json.loads((files("sodarace_gym.suite") / DEFINITION_FILE).read_text(encoding="utf-8"))
    distances = {each.text: 2.0 + place / 3 for place, each in enumerate(definition.terrains)}
    written = parse_definition(with_references(content, distances, {"provisional": False}, "7"))
    assert written.version == "7"
    assert written.terrains == tuple(
        replace(each, reference=round(distances[each.text], 2)) for each in definition.terrains
    )
    with pytest.raises(ValueError, match="No walker moved on 'Flat'"):
        with_references(content, distances | {"Flat": 0.0}, {}, "7")
