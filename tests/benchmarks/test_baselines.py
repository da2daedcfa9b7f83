from __future__ import annotations

import pytest

from benchmarks.baselines import GPHillClimbing, Meter, RandomPrograms, SeedPrograms
from elm_rl.evolution.seeds import SEED_NAMES
from sodarace_gym.evaluation import Evaluator


@pytest.fixture
def meter():
    with Evaluator(duration=1.0) as evaluator:
        yield Meter(evaluator, "Flat", 48)


def test_a_meter_never_spends_more_than_its_budget(meter):
    assert len(meter.evaluate(["no program"] * 40)) == 40
    assert len(meter.evaluate(["no program"] * 40)) == 8
    assert meter.left == 0
    assert meter.evaluate(["no program"]) == []
    assert meter.valid == [False] * 48


@pytest.mark.parametrize("generator", [RandomPrograms(), GPHillClimbing()], ids=lambda g: g.name)
def test_a_generator_spends_its_budget_to_the_last_evaluation(meter, generator):
    assert generator.spend(meter, seed=1)
    assert len(meter.fitness) == len(meter.valid) == 48
    assert max(meter.fitness) > 0


@pytest.mark.parametrize("generator", [RandomPrograms(), GPHillClimbing()], ids=lambda g: g.name)
def test_the_same_seed_gives_the_same_fitness_and_another_seed_another(generator):
    with Evaluator(duration=1.0) as evaluator:
        meters = [Meter(evaluator, "Flat", 24) for _ in range(3)]
        for meter, seed in zip(meters, (1, 1, 2), strict=True):
            generator.spend(meter, seed)
    assert meters[0].fitness == meters[1].fitness
    assert meters[0].fitness != meters[2].fitness


def test_the_seeds_are_evaluated_once_each(meter):
    assert SeedPrograms().spend(meter, seed=0)
    assert len(meter.fitness) == len(SEED_NAMES)
    assert all(meter.valid)


def test_a_hill_climber_never_loses_what_it_found(meter):
    GPHillClimbing().spend(meter, seed=3)
    with Evaluator(duration=1.0) as evaluator:
        seeds = Meter(evaluator, "Flat", 4)
        SeedPrograms().spend(seeds, seed=0)
    assert max(meter.fitness) >= max(seeds.fitness)
