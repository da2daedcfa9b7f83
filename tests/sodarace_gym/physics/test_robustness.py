"""Robust fitness: what is left of a distance when the walker's joints are off by a hair."""

from __future__ import annotations

import dataclasses
import math

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics.robustness import PERTURBATION, perturbed
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.walker import WalkerDesign, build_design
from tests.sodarace_gym.sample_walkers import fast_walkers, random_designs, raw_walkers, wheel

DESIGNS = [*random_designs(seed=12, count=10), wheel()]
PROGRAMS = [design.to_program() for design in DESIGNS]


def test_robust_fitness_is_the_least_of_a_walker_and_its_copies():
    with Evaluator(n_jobs=2) as evaluator:
        plain = evaluator.evaluate(PROGRAMS, "Flat")
    assert all(e.robust_fitness is None for e in plain)
    levels = []
    for robustness in (1, 3):
        with Evaluator(n_jobs=2, robustness=robustness) as careful:
            evaluations = careful.evaluate(PROGRAMS, "Flat")
        assert [dataclasses.replace(e, robust_fitness=None, copy_distances=None) for e in evaluations] == plain
        assert all(e.robust_fitness == min(e.fitness, *e.copy_distances) for e in evaluations)
        levels.append([e.robust_fitness for e in evaluations])
    for fitness, one, three in zip((e.fitness for e in plain), *levels, strict=True):
        assert fitness >= one >= three >= 0.0
    ground = make_terrain("Flat")
    copies = [abs(roll_out(perturbed(DESIGNS[3], copy), ground).displacement) for copy in (1, 2, 3)]
    assert levels[1][3] == min(plain[3].fitness, *copies)
    assert evaluations[3].copy_distances == tuple(copies)


def test_robust_fitness_tells_chaos_from_walking():
    runners = [design.to_program() for design in fast_walkers()[:12]]
    with Evaluator(robustness=2) as careful:
        roller, *others = careful.evaluate([wheel().to_program(), *runners], "Flat")
    assert roller.robust_fitness > 0.9 * roller.fitness, "a wheel rolls whatever happens"
    kept = [e.robust_fitness / e.fitness for e in others]
    assert min(kept) < 0.9, "some of the fastest walkers owe their distance to one trajectory"
    assert max(kept) > 0.9


@settings(max_examples=30)
@given(raw_walkers(), st.integers(1, 5))
def test_a_copy_is_its_walker_but_for_a_hair(parts, number):
    try:
        design = build_design(*parts)[0]
    except ProgramError:
        assume(False)
    copy = perturbed(design, number)
    assert copy == perturbed(WalkerDesign(design.joints, design.muscles), number)
    assert copy != perturbed(design, number + 1)
    assert copy.muscles == design.muscles
    shifts = [math.dist(old, new) for old, new in zip(design.joints, copy.joints, strict=True)]
    assert 0.0 < max(shifts) < 10 * PERTURBATION
