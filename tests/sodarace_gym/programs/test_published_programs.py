"""Programs in the forms that others published run, and build the walkers they describe."""

from __future__ import annotations

import pytest

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.program import compile_program
from sodarace_gym.programs.sandbox import run_program
from sodarace_gym.walkers.library import load_walker
from tests.sodarace_gym.sample_programs import with_body

# Written anew after the descriptions of the paper's appendix; the pairs that are asked for matter.
RUNNER = """
from openelm.environments.sodaracer.walker.walk_creator import walker_creator
from openelm.environments.sodaracer.walker.CPPN_mutable import query_cppn
import math

def connect(x1, y1, x2, y2):
    return 2 * (x2 - x1) > 2 or x1 <= abs(y1 - y2)

def amplitude(x1, y1, x2, y2):
    return abs(x1 - x2) + abs(y1 - y2)

def phase(x1, y1, x2, y2):
    return -x1 / 2 - math.cos(math.pi / 9)

def make_walker(more=1):
    wc = walker_creator()
    query_cppn(wc, 5, 7 + more, 2, connect, amplitude, phase)
    return wc.get_walker()
"""


def muscles(*calls: str) -> list[tuple[int, int, bool, float, float]]:
    body = ["for i in range(4): wc.add_joint(i, 0)", *(f"wc.add_muscle({call})" for call in calls)]
    return run_program(with_body(*body)).muscles


def test_the_papers_runner_has_40_joints_and_410_muscles_and_is_admitted() -> None:
    design, repairs = compile_program(RUNNER)
    assert (len(design.joints), len(design.muscles)) == (40, 410)
    assert set(repairs) <= {"clamped_amplitudes"}


@pytest.mark.parametrize("name", ["cppn_fixed", "cppn_mutable"])
def test_the_cppn_seeds_have_24_joints_and_75_muscles(name: str) -> None:
    design, _ = compile_program(load_walker(name))
    assert (len(design.joints), len(design.muscles)) == (24, 75)


@pytest.mark.parametrize("flag", ["True", "1", "1.0", "0", "0.0", "False"])
def test_a_flag_may_be_a_number(flag: str) -> None:
    plain = bool(eval(flag))
    assert muscles(f"0, 1, {flag}, 2.0, 0.5") == [(0, 1, plain, 2.0, 0.5)]
    assert muscles(f"0, 1, distance_only={flag}") == [(0, 1, plain, 0.0, 0.0)]


def test_true_and_false_are_numbers_too() -> None:
    walker = run_program(with_body("wc.add_joint(True, 3 > 4)", "wc.add_muscle(0, 0, False, True, True)"))
    assert walker.joints == [(1.0, 0.0)]
    assert walker.muscles == [(0, 0, False, 1.0, 1.0)]


def test_the_flag_may_be_left_out_where_that_is_plain() -> None:
    assert muscles("0, 1, amplitude=2, phase=1") == [(0, 1, False, 2.0, 1.0)]
    assert muscles("0, 1, 5.0") == [(0, 1, False, 5.0, 0.0)]
    assert muscles("0, 1, 5.0, 0.25") == [(0, 1, False, 5.0, 0.25)]
    # Spokes whose amplitude and phase are 0/8, 1/8, 2/8: the first is plain, read either way.
    assert muscles("0, 1, 0.0, 0.0", "1, 2, 0.125, 0.125") == [(0, 1, True, 0.0, 0.0), (1, 2, False, 0.125, 0.125)]
    # What the program does elsewhere decides what a 1 is.
    assert muscles("0, 1, 1, 0.5", "1, 2, 2, 0.5")[0] == (0, 1, False, 1.0, 0.5)
    assert muscles("0, 1, 1, 0.5", "1, 2, True")[0][2] is True
    # Both habits in one program, as in the published wheel and galloper, where each muscle is plain by itself.
    assert muscles("0, 1, 0.0, 1.0, 0.5", "1, 2, 3, 0.5") == [(0, 1, False, 1.0, 0.5), (1, 2, False, 3.0, 0.5)]
    assert muscles("0, 1, 2, 0, 10.0", "1, 2, 18.0, 0.5") == [(0, 1, True, 0.0, 10.0), (1, 2, False, 18.0, 0.5)]


def test_walkers_may_be_dictionaries_made_by_hand() -> None:
    program = """
def make_walker():
    joints = [(0, 0), (0, 10), (10, 10)]
    muscles = [
        (0, 1),
        [1, 2, {"type": "distance"}],
        [2, 0, {"type": "muscle", "amplitude": 2.12, "phase": 0.5}],
        [1, 0, False, 1, 2],
    ]
    return {"joints": joints, "muscles": muscles}
"""
    walker = run_program(program)
    assert walker.joints == [(0.0, 0.0), (0.0, 10.0), (10.0, 10.0)]
    assert walker.muscles == [
        (0, 1, True, 0.0, 0.0),
        (1, 2, True, 0.0, 0.0),
        (2, 0, False, 2.12, 0.5),
        (1, 0, False, 1.0, 2.0),
    ]


def test_one_sentence_tells_all_that_is_wrong_with_a_walker() -> None:
    body = [
        "wc.add_joint('left', 0)",
        "wc.add_joint(None, 'up')",
        "wc.add_muscle(0.5, 1)",
        "wc.add_muscle(0, 1, 'soft')",
    ]
    with pytest.raises(ProgramError) as caught:
        run_program(with_body(*body, "wc.add_muscle(0, 1, False, 10 ** 400)"))
    assert caught.value.kind == "wrong_result"
    assert caught.value.message == (
        "joint 0: x is the str 'left' (and 2 more like it), muscle 0: its joints are the float 0.5 and the int 1, "
        "muscle 1: distance_only is the str 'soft', muscle 2: amplitude is a whole number too large for a float; "
        "pass a plain number, pass the whole numbers that add_joint returned, pass True or False, pass a small one."
    )
