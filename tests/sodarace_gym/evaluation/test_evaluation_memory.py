"""What an Evaluator remembers: each program runs once and each walker walks once, and no more is kept than was asked for."""

from __future__ import annotations

import pytest

from sodarace_gym.evaluation import Evaluator, jobs
from sodarace_gym.physics.rollout import roll_out_many
from sodarace_gym.programs.program import compile_programs
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from tests.sodarace_gym.sample_walkers import random_designs, square, wheel

PROGRAMS = [design.to_program() for design in (*random_designs(seed=12, count=4), wheel())]
SQUARE = square().to_program()


@pytest.fixture
def walked(monkeypatch):
    """Every roll-out and every program run from here on, as ("walk", terrain name) or ("run", program)."""
    done: list[tuple[str, str]] = []

    def counting_roll_outs(designs, terrains, duration, **settings):
        done.extend(("walk", terrain.name) for terrain in terrains)
        return roll_out_many(designs, terrains, duration, **settings)

    def counting_compile(programs, processes):
        def noted():
            for program in programs:
                done.append(("run", program))
                yield program

        return compile_programs(noted(), processes=processes)

    monkeypatch.setattr(jobs, "roll_out_many", counting_roll_outs)
    monkeypatch.setattr(jobs, "compile_programs", counting_compile)
    return done


def walks(done: list[tuple[str, str]]) -> int:
    return sum(what == "walk" for what, _ in done)


def test_a_design_is_walked_once_however_it_is_written(walked):
    spaced = SQUARE.replace("    ", "  ")
    padded = SQUARE.replace("    return", "    wc.add_muscle(j0, j0)\n    return")
    assert len({SQUARE, spaced, padded}) == 3
    with Evaluator(n_jobs=2) as evaluator:
        evaluations = evaluator.evaluate([SQUARE, spaced, PROGRAMS[0], SQUARE, padded], "Flat")
        assert walks(walked) == 2
        assert len(walked) == 2 + 4, "each distinct program ran once"
        assert len({e.displacement for e in evaluations}) == 2
        assert [e.repairs for e in evaluations] == [{}, {}, {}, {}, {"dropped_muscles": 1}]
        again = evaluator.evaluate([padded, PROGRAMS[0], SQUARE.replace("    ", "   ")], "Flat")
        assert len(walked) == 2 + 4 + 1, "only the new text ran, and nothing walked"
        assert [e.fitness for e in again] == [evaluations[i].fitness for i in (0, 2, 0)]
        evaluator.close()
        evaluator.evaluate([padded], "Flat")
        assert walks(walked) == 3, "what was remembered is gone"


def test_a_batch_of_duplicates_costs_one_evaluation(walked):
    bad = "def make_walker():\n    return 1 / 0\n"
    with Evaluator(n_jobs=2) as evaluator:
        evaluations = evaluator.evaluate([SQUARE, bad] * 500, "Flat")
    assert len(walked) == 3  # two programs ran, one walker walked
    assert len({e.fitness for e in evaluations[::2]}) == 1
    assert {e.error.kind for e in evaluations[1::2] if e.error} == {"runtime_error"}


def test_the_same_walker_on_another_terrain_is_another_matter(walked):
    with Evaluator(n_jobs=2) as evaluator:
        evaluator.evaluate([PROGRAMS[-1]] * 5, list(TERRAIN_NAMES))
        assert walks(walked) == 5
        # The same ground under another name is the same ground, and so is one made anew.
        evaluator.evaluate([PROGRAMS[-1]] * 2, [Terrain("another", make_terrain("Flat").floor), make_terrain("Bumpy")])
        assert walks(walked) == 5


def test_the_oldest_roll_outs_are_forgotten_first(walked):
    with Evaluator(n_jobs=1, cache_size=3) as evaluator:
        for programs, fresh in ((PROGRAMS[:3], 3), (PROGRAMS[:1], 0), (PROGRAMS[3:4], 1), (PROGRAMS[:1], 0)):
            before = walks(walked)
            evaluator.evaluate(programs, "Flat")
            assert walks(walked) - before == fresh
        before = walks(walked)
        evaluator.evaluate(PROGRAMS[1:2], "Flat")
        assert walks(walked) - before == 1, "the second was used least lately"


def test_memory_is_bounded_by_what_was_asked_for():
    with Evaluator(n_jobs=1, duration=0.1, cache_size=30) as evaluator:
        for batch in range(4):
            programs = [design.to_program() for design in random_designs(seed=100 + batch, count=20)]
            evaluator.evaluate([*programs, "# " + "x" * 50_000], "Flat")
            assert len(evaluator._rollouts) <= 30
            assert len(evaluator._programs) <= 30
        assert all(len(key) < 64 for memory in (evaluator._rollouts, evaluator._programs) for key in memory)


def test_robust_fitness_costs_one_roll_out_a_copy_and_duplicates_none(walked):
    with Evaluator(n_jobs=2, robustness=2) as careful:
        first = careful.evaluate([SQUARE] * 10 + [PROGRAMS[0]] * 10 + ["no program"], "Flat")
        assert walks(walked) == 2 * 3
        assert careful.evaluate([SQUARE], "Flat") == first[:1]
        assert walks(walked) == 2 * 3
    assert first[-1].robust_fitness == 0.0
