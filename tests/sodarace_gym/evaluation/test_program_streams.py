"""The Evaluator takes programs as they are made, and programs that have been run already."""

from __future__ import annotations

import pickle
import threading

import pytest

from sodarace_gym.evaluation import Evaluator
from sodarace_gym.programs import CompiledProgram, compile_program
from tests.sodarace_gym.sample_walkers import random_designs, square

PROGRAMS = [design.to_program() for design in random_designs(seed=12, count=7)]
SQUARE = square().to_program()


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(n_jobs=2) as evaluator:
        yield evaluator


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_programs_may_be_made_as_they_are_asked_for(evaluator, n_jobs):
    programs = [*PROGRAMS[:4], PROGRAMS[1], "def (", None, PROGRAMS[0]]
    expected = evaluator.evaluate(programs, "Flat")
    with Evaluator(n_jobs=n_jobs, duration=evaluator.duration) as fresh:
        for _ in range(2):  # the second time all but one are remembered, and those with an error
            assert fresh.evaluate(iter(programs), "Flat") == expected
        assert fresh.evaluate((text for text in [*PROGRAMS[:4], PROGRAMS[5]]), "Flat")[:4] == expected[:4]
        assert fresh.evaluate(iter(programs), ["Flat"] * len(programs)) == expected
        assert fresh.evaluate(iter(()), "Flat") == []


def test_the_first_programs_run_while_the_rest_are_made(monkeypatch):
    from sodarace_gym.evaluation import evaluator as module

    started, build = threading.Event(), module.build

    def building(texts, processes):
        for built in build(texts, processes):
            started.set()
            yield built

    def programs():
        yield from PROGRAMS[:6]
        assert started.wait(60), "no program ran before the last was there"
        yield PROGRAMS[6]

    monkeypatch.setattr(module, "build", building)
    with Evaluator(n_jobs=2, duration=1.0) as streaming:
        assert len(streaming.evaluate(programs(), "Flat")) == 7


def test_a_stream_that_asks_its_own_evaluator_is_told_so():
    with Evaluator(n_jobs=1, duration=0.5) as one, Evaluator(n_jobs=1, duration=0.5) as another:

        def programs(helper):
            yield PROGRAMS[0]
            yield PROGRAMS[1 + helper.evaluate(PROGRAMS[:1], "Flat")[0].valid]

        with pytest.raises(RuntimeError, match="use a second Evaluator"):
            one.evaluate(programs(one), "Flat")
        assert len(one.evaluate(programs(another), "Flat")) == 2


@pytest.mark.parametrize("cache_size", [0, 100])
def test_a_compiled_program_is_not_run_again(evaluator, monkeypatch, cache_size):
    from sodarace_gym.evaluation import evaluator as module

    ran = []
    build = module.build
    monkeypatch.setattr(
        module, "build", lambda texts, processes: build((ran.append(text) or text for text in texts), processes)
    )
    crowded = SQUARE.replace("j4 = wc", "wc.add_joint(0.0, 0.0)\n    j4 = wc")
    programs = [*PROGRAMS[:3], "def (", crowded, *PROGRAMS[3:6]]
    compiled = {text: CompiledProgram(text, *compile_program(text)) for text in (PROGRAMS[0], PROGRAMS[1], crowded)}
    given = [compiled.get(text, text) for text in programs]
    expected = evaluator.evaluate(programs, "Flat", robustness=1)
    ran.clear()
    with Evaluator(n_jobs=2, cache_size=cache_size) as fresh:
        assert repr(fresh.evaluate(given, "Flat", robustness=1)) == repr(expected), "to the last bit"
        assert set(ran) == set(programs) - set(compiled)
        ran.clear()
        fresh.evaluate([compiled[crowded], PROGRAMS[4], crowded, PROGRAMS[4]], "Stairs", robustness=0)
        assert ran == [PROGRAMS[4]] * (cache_size == 0), "a text is run at most once a batch"
        fresh.evaluate([crowded], "Stairs")
        assert ran.count(crowded) == (cache_size == 0), "what was compiled is remembered as what was run"
    assert type(pickle.loads(pickle.dumps(compiled[crowded]))) is str


def test_walkers_of_compiled_programs_walk_while_the_rest_are_made(monkeypatch):
    from sodarace_gym.evaluation import evaluator as module

    started, walk = threading.Event(), module.walk

    def walking(jobs, **settings):
        started.set()
        return walk(jobs, **settings)

    def programs():
        for design in random_designs(seed=5, count=80):
            yield CompiledProgram(design.to_program(), design, {})
        assert started.wait(60), "nobody walked before the last was there"
        yield PROGRAMS[0]

    monkeypatch.setattr(module, "walk", walking)
    with Evaluator(n_jobs=2, duration=1.0) as streaming:
        assert len(streaming.evaluate(programs(), "Flat")) == 81


def test_an_error_in_the_making_of_programs_is_the_callers():
    def programs():
        yield from PROGRAMS[:5]
        raise KeyError("mine")

    for n_jobs in (1, 2):
        with Evaluator(n_jobs=n_jobs, duration=1.0) as fresh:
            with pytest.raises(KeyError, match="mine"):
                fresh.evaluate(programs(), "Flat")
            assert len(fresh.evaluate(PROGRAMS[:3], "Flat")) == 3
