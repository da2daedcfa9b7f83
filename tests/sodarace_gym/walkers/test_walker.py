"""Limits and repairs of walker designs, their measures, and programs that rebuild them exactly."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sodarace_gym.errors import ERROR_KINDS, ProgramError
from sodarace_gym.programs.program import compile_program
from sodarace_gym.programs.sandbox import MAX_SOURCE_BYTES
from sodarace_gym.walkers.walker import (
    MAX_AMPLITUDE_RATIO,
    MAX_COORDINATE,
    MAX_HEIGHT,
    MAX_JOINTS,
    MAX_MUSCLES,
    MAX_MUSCLES_PER_JOINT,
    MAX_PHASE,
    MAX_WIDTH,
    MIN_JOINT_DISTANCE,
    Muscle,
    WalkerDesign,
    build_design,
)
from tests.sodarace_gym.sample_walkers import (
    RawMuscle,
    degrees,
    random_designs,
    raw_walkers,
    runner_parts,
    square,
    wheel,
)

Joints = list[tuple[float, float]]


Built = tuple[WalkerDesign, dict[str, int]]


def attempt(joints: Joints, muscles: list[RawMuscle]) -> Built | ProgramError:
    """What came of building a walker."""
    try:
        return build_design(joints, muscles)
    except ProgramError as error:
        return error


def built(raw: tuple[Joints, list[RawMuscle]]) -> Built:
    """Builds a walker; examples of which no muscle is left do not count."""
    outcome = attempt(*raw)
    if isinstance(outcome, ProgramError):
        assert outcome.kind == "no_muscles"
        assume(False)
        raise outcome
    return outcome


def connected(design: WalkerDesign) -> bool:
    """Whether one body holds all joints, by spreading labels until nothing changes."""
    labels = list(range(len(design.joints)))
    for _ in design.joints:
        for muscle in design.muscles:
            labels[muscle.a] = labels[muscle.b] = min(labels[muscle.a], labels[muscle.b])
    return len(set(labels)) == 1


def line(count: int, spacing: float = 0.3) -> Joints:
    """Joints on a zigzag, none nearer than ``spacing`` to another."""
    return [(spacing * k, spacing * (k % 2)) for k in range(count)]


def links(pairs: list[tuple[int, int]]) -> list[RawMuscle]:
    return [(a, b, True, 0.0, 0.0) for a, b in pairs]


def chain(count: int) -> list[RawMuscle]:
    return links([(k, k + 1) for k in range(count - 1)])


# ---------------------------------------------------------------------------------------------------- any program at all


@given(raw_walkers())
def test_a_built_design_is_within_every_limit_and_in_one_piece(raw):
    design, _ = built(raw)
    assert 2 <= len(design.joints) <= MAX_JOINTS
    assert 1 <= len(design.muscles) <= MAX_MUSCLES
    assert max(degrees(design.muscles).values()) <= MAX_MUSCLES_PER_JOINT
    assert design.width <= MAX_WIDTH
    assert design.height <= MAX_HEIGHT
    assert connected(design)
    for (x1, y1), (x2, y2) in itertools.combinations(design.joints, 2):
        assert (x1 - x2) ** 2 + (y1 - y2) ** 2 >= MIN_JOINT_DISTANCE**2
    assert len({frozenset((m.a, m.b)) for m in design.muscles}) == len(design.muscles)
    for muscle, rest_length in zip(design.muscles, design.rest_lengths, strict=True):
        assert muscle.a != muscle.b
        assert rest_length == math.dist(design.joints[muscle.a], design.joints[muscle.b])
        assert abs(muscle.amplitude) <= MAX_AMPLITUDE_RATIO * rest_length
        assert abs(muscle.phase) <= MAX_PHASE
        if muscle.distance_only:
            assert (muscle.amplitude, muscle.phase) == (0.0, 0.0)


@given(raw_walkers())
def test_repairs_only_take_away_and_are_all_counted(raw):
    joints, muscles = raw
    design, repairs = built(raw)
    assert set(design.joints) <= set(joints)
    assert list(design.joints) == [joint for joint in dict.fromkeys(joints) if joint in design.joints]
    assert len(joints) - len(design.joints) == repairs.get("merged_joints", 0) + repairs.get("dropped_parts", 0)
    lost = len(muscles) - len(design.muscles)
    counted = repairs.get("dropped_muscles", 0) + repairs.get("dropped_crowded_muscles", 0)
    # Muscles of parts left behind go with their joints and are not counted by themselves.
    assert lost == counted if "dropped_parts" not in repairs else lost >= counted
    assert all(count > 0 for count in repairs.values())


@given(raw_walkers())
def test_a_built_design_needs_no_more_repairs(raw):
    design, _ = built(raw)
    assert build_design(design.joints, design.muscles) == (design, {})


@settings(max_examples=60)
@given(raw_walkers())
@example(([(0.0, -1e-300), (5e-324, 1.0), (1 / 3, 0.1 + 0.2)], [(0, 1, False, 0.1, -0.0), (2, 0, False, -0.01, 1e6)]))
def test_its_program_builds_exactly_the_same_walker(raw):
    design, _ = built(raw)
    assert compile_program(design.to_program()) == (design, {})


@given(raw_walkers())
def test_the_mirror_keeps_measures_and_limits_and_undoes_itself(raw):
    design, _ = built(raw)
    mirrored = design.mirrored()
    assert mirrored.mirrored() == design
    assert (mirrored.height, mirrored.width, mirrored.mass) == (design.height, design.width, design.mass)
    assert build_design(mirrored.joints, mirrored.muscles) == (mirrored, {})
    assert [x for x, _ in mirrored.joints] == [-x for x, _ in design.joints]


@settings(max_examples=300)
@given(
    joints=st.lists(st.tuples(st.floats(), st.floats()), max_size=6),
    muscles=st.lists(
        st.tuples(st.integers(-2, 6), st.integers(-2, 6), st.booleans(), st.floats(), st.floats()), max_size=6
    ),
)
def test_whatever_it_is_given_it_builds_or_says_why_not(joints, muscles):
    outcome = attempt(joints, muscles)
    if isinstance(outcome, ProgramError):
        assert outcome.kind in ERROR_KINDS
        assert outcome.message.endswith(".")
    else:
        design, _ = outcome
        assert build_design(design.joints, design.muscles) == (design, {})


def test_random_walkers_are_within_the_limits_and_follow_their_generator():
    designs = random_designs(seed=3, count=200)
    assert designs == random_designs(seed=3, count=200)
    assert len(set(designs)) == 200
    for design in designs:
        assert build_design(design.joints, design.muscles) == (design, {})
    assert any(m.distance_only for d in designs for m in d.muscles)
    assert any(not m.distance_only for d in designs for m in d.muscles)


# ------------------------------------------------------------------------------------------------------ one by one


def test_near_joints_are_merged_into_the_earlier_one():
    joints = [(0.0, 0.0), (0.05, 0.0), (1.0, 0.0), (1.0, 0.0)]
    design, repairs = build_design(joints, links([(1, 3), (0, 2)]))
    assert design == WalkerDesign(((0.0, 0.0), (1.0, 0.0)), (Muscle(0, 1),))
    # The second muscle joins the same pair once its joints are merged.
    assert repairs == {"merged_joints": 2, "dropped_muscles": 1}


def test_joints_exactly_at_the_least_distance_stay():
    design, repairs = build_design([(0.0, 0.0), (MIN_JOINT_DISTANCE, 0.0)], links([(0, 1)]))
    assert len(design.joints) == 2
    assert repairs == {}


def test_loops_and_doubles_are_dropped_and_the_first_of_a_pair_stays():
    muscles = [(0, 0, True, 0.0, 0.0), (1, 0, False, 0.1, 0.5), (0, 1, True, 0.0, 0.0), (0, 1, False, 0.2, 0.0)]
    design, repairs = build_design([(0.0, 0.0), (1.0, 0.0)], muscles)
    assert design.muscles == (Muscle(1, 0, False, 0.1, 0.5),)
    assert repairs == {"dropped_muscles": 3}


def test_muscles_too_many_for_a_joint_are_dropped_and_so_is_what_they_held():
    rim = [(3.0 * math.cos(k / 10), 3.0 * math.sin(k / 10)) for k in range(60)]
    design, repairs = build_design([(0.0, 0.0), *rim], links([(0, k) for k in range(1, 61)]))
    over = 60 - MAX_MUSCLES_PER_JOINT
    assert repairs == {"dropped_crowded_muscles": over, "dropped_parts": over}
    assert degrees(design.muscles)[0] == MAX_MUSCLES_PER_JOINT
    assert design.joints == ((0.0, 0.0), *rim[:MAX_MUSCLES_PER_JOINT])


def test_only_the_largest_body_stays_and_is_numbered_anew():
    joints = [(0.0, 0.0), (9.0, 0.0), (1.0, 0.0), (9.0, 1.0), (9.0, 2.0), (20.0, 20.0)]
    design, repairs = build_design(joints, [*links([(0, 2)]), (1, 3, False, 0.1, 1.0), *links([(3, 4)])])
    assert design == WalkerDesign(((9.0, 0.0), (9.0, 1.0), (9.0, 2.0)), (Muscle(0, 1, False, 0.1, 1.0), Muscle(1, 2)))
    assert repairs == {"dropped_parts": 3}


def test_among_equal_bodies_the_one_with_the_earliest_joint_stays():
    joints = [(0.0, 0.0), (9.0, 0.0), (0.0, 1.0), (9.0, 1.0)]
    design, _ = build_design(joints, links([(1, 3), (0, 2)]))
    assert design.joints == ((0.0, 0.0), (0.0, 1.0))


def test_loose_joints_pad_no_measure():
    joints = [(0.0, 0.0), (2.0, 0.0), (-60.0, 90.0)]
    design, repairs = build_design(joints, links([(0, 1)]))
    assert (design.width, design.height, design.mass) == (2.0, 0.0, 3.0)
    assert repairs == {"dropped_parts": 1}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_amplitudes_are_clamped_to_a_share_of_the_rest_length(sign):
    design, repairs = build_design([(0.0, 0.0), (5.0, 5.0)], [(0, 1, False, sign * 10.0, 1.0)])
    # The paper's listing of the square: 2.12 on springs of length 7.07.
    assert design.muscles[0].amplitude == pytest.approx(sign * 2.12, abs=0.005)
    assert repairs == {"clamped_amplitudes": 1}


def test_a_muscle_that_does_not_swing_is_plain():
    plain = build_design([(0.0, 0.0), (5.0, 0.0)], links([(0, 1)]))
    assert build_design([(0.0, 0.0), (5.0, 0.0)], [(0, 1, False, 0.0, 2.0)]) == plain
    assert build_design([(0.0, 0.0), (5.0, 0.0)], [(0, 1, True, 3.0, 2.0)]) == plain


def test_large_phases_are_reduced_by_whole_turns():
    asked = 4e6 + 0.25
    design, _ = build_design([(0.0, 0.0), (5.0, 0.0)], [(0, 1, False, 1.0, asked)])
    phase = design.muscles[0].phase
    assert abs(phase) <= math.tau
    assert (math.sin(phase), math.cos(phase)) == pytest.approx((math.sin(asked), math.cos(asked)), abs=1e-6)


# ------------------------------------------------------------------------------------------------------ hard limits

GRID = [(0.5 * (k % 20), 0.5 * (k // 20)) for k in range(200)]
PAIRS = list(itertools.combinations(range(40), 2))

BROKEN = {
    "no_joints": ([], links([(0, 1)])),
    "no_muscles": ([(0.0, 0.0), (1.0, 0.0)], []),
    "no_muscles (loops only)": ([(0.0, 0.0), (1.0, 0.0)], links([(1, 1)])),
    "no_muscles (joints merged)": ([(0.0, 0.0), (0.01, 0.0)], links([(0, 1)])),
    "non_finite_coordinate": ([(0.0, 0.0), (math.nan, 0.0)], links([(0, 1)])),
    "non_finite_coordinate (infinite)": ([(0.0, 0.0), (0.0, -math.inf)], links([(0, 1)])),
    "coordinate_out_of_range": ([(0.0, 0.0), (0.0, 1.001 * MAX_COORDINATE)], links([(0, 1)])),
    "coordinate_out_of_range (negative)": ([(0.0, 0.0), (-1e9, 0.0)], links([(0, 1)])),
    "unknown_joint": ([(0.0, 0.0), (1.0, 0.0)], links([(0, 2)])),
    "unknown_joint (negative)": ([(0.0, 0.0), (1.0, 0.0)], links([(0, 1), (0, -1)])),
    "too_many_joints": (GRID[: MAX_JOINTS + 1], chain(MAX_JOINTS + 1)),
    "too_many_joints (thousands)": ([(0.0, 0.0)] * 100_000, links([(0, 1)])),
    "too_many_muscles": (GRID[:40], links(PAIRS[: MAX_MUSCLES + 1])),
    "walker_too_large (wide)": ([(0.0, 0.0), (MAX_WIDTH + 0.001, 0.0)], links([(0, 1)])),
    "walker_too_large (high)": ([(0.0, 0.0), (0.0, MAX_HEIGHT + 0.001)], links([(0, 1)])),
    "bad_muscle": ([(0.0, 0.0), (1.0, 0.0)], [(0, 1, False, math.nan, 0.0)]),
    "bad_muscle (phase)": ([(0.0, 0.0), (1.0, 0.0)], [(0, 1, False, 0.1, math.inf)]),
    "bad_muscle (on a plain one)": ([(0.0, 0.0), (1.0, 0.0)], [(0, 1, True, math.inf, 0.0)]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_hard_limit_has_its_named_error(case):
    with pytest.raises(ProgramError) as caught:
        build_design(*BROKEN[case])
    assert caught.value.kind == case.partition(" ")[0]
    assert caught.value.message.endswith(".")


def test_every_limit_itself_is_allowed():
    largest, repairs = build_design(GRID[:MAX_JOINTS], links(PAIRS[: MAX_MUSCLES - 24]) + chain(MAX_JOINTS)[39:])
    assert repairs == {}
    assert len(largest.joints) == MAX_JOINTS
    assert len(largest.muscles) == MAX_MUSCLES
    box, _ = build_design([(-MAX_WIDTH / 2, 0.0), (MAX_WIDTH / 2, MAX_HEIGHT)], links([(0, 1)]))
    assert (box.width, box.height) == (MAX_WIDTH, MAX_HEIGHT)
    far, _ = build_design([(MAX_COORDINATE, -MAX_COORDINATE), (MAX_COORDINATE - 1, -MAX_COORDINATE)], links([(0, 1)]))
    assert (far.width, far.height) == (1.0, 0.0)


def test_merging_comes_before_counting():
    joints = [position for position in line(10) for _ in range(20)]
    design, repairs = build_design(joints, links([(k, k + 20) for k in range(0, 180, 20)]))
    assert len(design.joints) == 10
    assert repairs == {"merged_joints": 190}


def test_the_largest_walker_fits_into_a_program_text():
    # The longest floats there are, so that no other walker's text is longer by more than a rounding.
    joints = [(-x - 1e-3 / 7, y + 1e-3 / 7) for x, y in GRID[:MAX_JOINTS]]
    pairs = [pair for pair in itertools.combinations(range(MAX_JOINTS), 2) if pair[1] - pair[0] <= 9][:MAX_MUSCLES]
    muscles = [(a, b, False, -1e-3 / 7, -1e-3 / 7) for a, b in pairs]
    design, repairs = build_design(joints, muscles)
    assert repairs == {}
    assert len(design.muscles) == MAX_MUSCLES
    assert len(design.to_program().encode()) < MAX_SOURCE_BYTES
    assert compile_program(design.to_program()) == (design, {})


# --------------------------------------------------------------------------------------------------------- measures


def test_the_square_measures_what_it_should():
    design = square()
    assert (design.height, design.width) == (10.0, 10.0)
    assert design.mass == pytest.approx(5 + 0.5 * (4 * 10.0 + 4 * math.sqrt(50.0)))


def test_measures_do_not_depend_on_where_the_walker_is_built():
    moved = WalkerDesign(tuple((x - 64.0, y + 32.0) for x, y in square().joints), square().muscles)
    assert (moved.height, moved.width, moved.mass) == (square().height, square().width, square().mass)


def test_equal_designs_are_found_in_a_set():
    assert len({square(), square(), square().mirrored().mirrored(), wheel()}) == 2


def test_the_papers_wheel_is_admitted():
    design = wheel()
    assert (len(design.joints), len(design.muscles)) == (9, 24)
    assert build_design(design.joints, design.muscles)[1] == {}


def test_the_papers_runner_is_admitted_whole():
    design, repairs = build_design(*runner_parts())
    assert (len(design.joints), len(design.muscles)) == (40, 418)
    assert max(degrees(design.muscles).values()) == 39
    assert set(repairs) == {"clamped_amplitudes"}
    assert compile_program(design.to_program()) == (design, {})
