"""The four seed programs build the walkers the paper describes, and hardly move."""

from __future__ import annotations

import math

import pytest

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation.gp.program_tree import normalise_program
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.programs.program import compile_program
from sodarace_gym.walkers.walker import MAX_AMPLITUDE_RATIO


def test_square_is_four_corners_and_a_centre_with_three_active_spokes_at_the_cap() -> None:
    design, repairs = compile_program(load_seed("square"))
    assert (len(design.joints), design.height, design.width) == (5, 10.0, 10.0)
    active = [muscle for muscle in design.muscles if not muscle.distance_only]
    assert (len(design.muscles), len(active)) == (8, 3)
    half_diagonal = 5 * math.sqrt(2)
    for muscle in active:
        assert math.dist(design.joints[muscle.a], design.joints[muscle.b]) == pytest.approx(half_diagonal)
        assert abs(muscle.amplitude) == pytest.approx(MAX_AMPLITUDE_RATIO * half_diagonal)
    assert sum(repairs.values()) == 3  # the paper's listing asks for more than the cap too


def test_radial_has_a_plain_rim_and_spokes_that_grow_with_the_index() -> None:
    design, repairs = compile_program(load_seed("radial"))
    assert not repairs
    hubs = [i for i in range(9) if sum(i in (m.a, m.b) for m in design.muscles) == 8]
    assert len(design.joints) == 9
    assert len(hubs) == 1
    hub = hubs[0]
    rim = [design.joints[i] for i in range(9) if i != hub]
    assert [math.dist(joint, design.joints[hub]) for joint in rim] == pytest.approx([5.0] * 8)
    spokes = [muscle for muscle in design.muscles if hub in (muscle.a, muscle.b)]
    others = [muscle for muscle in design.muscles if hub not in (muscle.a, muscle.b)]
    assert all(m.distance_only for m in others)
    assert [m.amplitude for m in spokes] == [k / 8 for k in range(8)]
    assert [m.phase for m in spokes if not m.distance_only] == [k / 8 for k in range(1, 8)]


def test_both_cppn_seeds_are_the_same_grid_but_only_one_brings_its_routine() -> None:
    fixed, _ = compile_program(load_seed("cppn_fixed"))
    mutable, _ = compile_program(load_seed("cppn_mutable"))
    assert fixed == mutable
    assert len(fixed.joints) == 24
    assert (fixed.width, fixed.height) == pytest.approx((7 * 1.5, 2 * 1.5))
    assert len({muscle.phase for muscle in fixed.muscles}) > 4
    assert "query_cppn" in load_seed("cppn_fixed")
    assert "query_cppn" not in load_seed("cppn_mutable")


def test_seeds_move_but_hardly() -> None:
    with Evaluator(n_jobs=1) as evaluator:
        results = evaluator.evaluate([load_seed(name) for name in SEED_NAMES], "Flat")
    for name, result in zip(SEED_NAMES, results, strict=True):
        assert result.valid, name
        assert 0.1 < result.fitness < 8.0, name


@pytest.mark.parametrize("name", SEED_NAMES)
def test_seeds_are_in_the_layout_of_mutated_programs(name: str) -> None:
    program = load_seed(name)
    assert normalise_program(program) == program
    assert "#" not in program
    assert program.endswith("return wc.get_walker()\n")


def test_an_unknown_seed_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'triangle'.*square, radial, cppn_fixed, cppn_mutable"):
        load_seed("triangle")
