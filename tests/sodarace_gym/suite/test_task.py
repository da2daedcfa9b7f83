"""Budgets hold, whatever a generator does, and the books say what was done."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodarace_gym.evaluation import Evaluator
from sodarace_gym.programs import CompiledProgram
from sodarace_gym.suite import BudgetSpent, SuiteError, Task
from sodarace_gym.suite.cell import run_generator
from sodarace_gym.suite.task import behaviour
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.random_walker import random_design

RNG = np.random.default_rng(5)
PROGRAMS = [random_design(RNG).to_program() for _ in range(12)]
FLAT = make_terrain("Flat")


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(n_jobs=1, duration=1.0, robustness=2, gait=True) as made:
        yield made


def task(evaluator, budget):
    return Task("Flat", FLAT, budget, evaluator)


def test_each_program_costs_one_evaluation_also_one_that_is_bad_or_was_met_before(evaluator):
    given = task(evaluator, 7)
    assert len(given.evaluate([PROGRAMS[0]] * 3)) == 3
    assert len(given.evaluate(["no program"] * 2)) == 2
    assert given.left == 2
    assert len(given.evaluate(PROGRAMS)) == 2, "no more than were left"
    assert given.left == 0
    for programs in (PROGRAMS, []):
        with pytest.raises(BudgetSpent):
            given.evaluate(programs)
    assert given.books.evaluations == 7
    assert given.books.valid == 5


def test_no_more_programs_are_asked_for_than_can_be_evaluated(evaluator):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield PROGRAMS[0]

    task(evaluator, 5).evaluate(endless())
    assert len(asked) == 5


class Nested:
    """Writes programs one by one, and evaluates others in between."""

    name = "nested"

    def generate(self, task, rng):
        yield PROGRAMS[0]
        task.evaluate(PROGRAMS[:3])
        yield PROGRAMS[1]
        yield PROGRAMS[2]


@given(st.integers(1, 8))
def test_a_generator_that_evaluates_while_it_writes_cannot_overspend(budget):
    with Evaluator(n_jobs=1, duration=0.1) as evaluator:
        given = task(evaluator, budget)
        run_generator(Nested(), given, RNG)
    assert given.books.evaluations == min(budget, 6)
    assert len(given.books.scores) == given.books.evaluations


def test_threads_cannot_overspend(evaluator):
    given = task(evaluator, 8)
    begin = threading.Barrier(16)

    def spend(number):
        begin.wait()
        try:
            return len(given.evaluate([PROGRAMS[number % 12]]))
        except BudgetSpent:
            return 0

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(spend, range(16))) == 8
    assert (given.left, given.books.evaluations, len(given.books.scores)) == (0, 8, 8)


def test_only_the_text_of_a_program_counts(evaluator):
    given = task(evaluator, 2)
    [forged] = given.evaluate([CompiledProgram("no program", random_design(RNG), {})])
    assert not forged.valid
    given.books.scores.append(1e9)
    given.books.evaluations = -5
    assert given.left == 1
    assert given.books.scores == [0.0]


def test_what_counts_is_the_least_distance_of_the_walker_and_its_copies(evaluator):
    given = task(evaluator, 12)
    found = given.evaluate(PROGRAMS)
    assert all(len(each.copy_distances) == 2 for each in found), "the copies of the judges are not shown"
    scores = [min(each.fitness, *each.copy_distances) for each in found]
    assert [each.score for each in found] == scores == given.books.scores
    best = int(np.argmax(scores))
    assert given.books.champion.program == PROGRAMS[best]
    assert given.books.champion.score == scores[best]
    assert given.books.first[1].program == PROGRAMS[0]
    assert given.books.first[8].program == PROGRAMS[int(np.argmax(scores[:8]))]
    assert 64 not in given.books.first


def test_programs_that_are_no_texts_are_refused_and_cost_nothing(evaluator):
    given = task(evaluator, 4)
    with pytest.raises(SuiteError, match=r"got int at place 1, in the task 'Flat'"):
        given.evaluate([PROGRAMS[0], 7])
    with pytest.raises(SuiteError, match="put it in a list"):
        given.evaluate(PROGRAMS[0])
    assert given.left == 4


def test_a_generator_that_returns_no_programs_but_something_else_is_told_so(evaluator):
    class Answers:
        name = "answers"

        def generate(self, task, rng):
            return 42

    with pytest.raises(SuiteError, match="got 42"):
        run_generator(Answers(), task(evaluator, 4), RNG)


def test_equal_behaviours_count_once(evaluator):
    given = task(evaluator, 30)
    found = given.evaluate(PROGRAMS)
    kinds = {behaviour(each, (1.0, 0.05, 0.5)) for each in found if each.valid}
    given.evaluate(PROGRAMS)
    given.evaluate([program.replace("    ", "  ") for program in PROGRAMS[:3]])
    assert len(given.books.behaviours) == len(kinds)
    assert 1 < len(kinds) <= 12


def test_declared_calls_and_tokens_add_up(evaluator):
    given = task(evaluator, 1)
    given.spend(model_calls=2, tokens=30)
    given.spend(tokens=12)
    assert (given.books.model_calls, given.books.tokens) == (2, 42)
    with pytest.raises(ValueError, match="tokens"):
        given.spend(tokens=-1)
    with pytest.raises(ValueError, match="budget"):
        task(evaluator, 0)
