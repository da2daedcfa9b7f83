"""A driven world: settled and stepped like a roll-out, alike in both engines, and muscles that stay within their limits."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sodarace_gym.physics.batch import ENGINES
from sodarace_gym.physics.constants import CONSTANTS, FRAME_RATE, STEP_RATE
from sodarace_gym.physics.control import MUSCLE_SPEED, ControlledWorld, MuscleDrive, phase_groups
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.physics.world import world_arrays
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.walkers.library import WALKER_NAMES, load_walker
from sodarace_gym.walkers.walker import WalkerDesign, build_design
from tests.sodarace_gym.panel import ALL_TERRAINS, KINDS, drawn_terrain
from tests.sodarace_gym.sample_walkers import passive, random_designs, square, violent, wheel


def everyone(world: ControlledWorld, residual: bool = True) -> MuscleDrive:
    """A drive with an action for each muscle."""
    return MuscleDrive(world.arrays, np.arange(len(world.arrays.active)), residual)


def own_gait(world: ControlledWorld) -> np.ndarray:
    """Rest lengths of the walker's own gait, shape (steps, active muscles)."""
    drive = everyone(world)
    return drive.rest_lengths(np.zeros(len(drive.length)), world.arrays.drive, None)


# ------------------------------------------------------------------------------------------------------------ the world


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", TERRAIN_NAMES)
def test_the_own_gait_repeats_the_roll_out_bit_for_bit(name, engine):
    terrain = make_terrain(name, seed=3)
    every = STEP_RATE // FRAME_RATE
    for design in [wheel(), square(), *random_designs(8, 2)]:
        expected = roll_out(design, terrain, 2.0, record=True)
        world = ControlledWorld(world_arrays(design, terrain, 2.0), CONSTANTS, engine)
        start, frames = world.centre, [world.motion[:, :2].copy()]
        gait = own_gait(world)
        while world.steps_left:
            world.advance(gait[world.taken : world.taken + every])
            frames.append(world.motion[:, :2].copy())
        assert world.fault is expected.fault is None
        assert np.array(frames).tobytes() == expected.trajectory.tobytes()
        assert world.centre - start == expected.displacement


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(ALL_TERRAINS),
    kind=st.sampled_from(["random", "dense", "loose", "evolved"]),
    reach=st.floats(0.5, 8.0),
)
def test_any_driving_moves_both_engines_alike(seed, name, kind, reach):
    rng = np.random.default_rng(seed)
    arrays = world_arrays(KINDS[kind](rng), drawn_terrain(rng, name), 0.5)
    pair = [ControlledWorld(arrays, CONSTANTS, engine) for engine in ENGINES]
    amplitude = everyone(pair[0]).amplitude
    push = rng.normal(size=(len(arrays.joints), 2))
    for world in pair:
        world.push(push)
    while pair[0].steps_left and pair[0].fault is None:
        wanted = rng.uniform(-reach, reach, (min(4, pair[0].steps_left), len(amplitude))) * amplitude
        for world in pair:
            world.advance(arrays.rest_lengths[arrays.active] + wanted)
        assert pair[0].motion.tobytes() == pair[1].motion.tobytes()
        assert (pair[0].taken, pair[0].centre, pair[0].fault) == (pair[1].taken, pair[1].centre, pair[1].fault)


def test_a_push_adds_to_the_velocities_and_to_nothing_else():
    world = ControlledWorld(world_arrays(wheel(), make_terrain("Flat"), 1.0), CONSTANTS)
    before = world.motion.copy()
    push = np.arange(18.0).reshape(9, 2)
    world.push(push)
    assert np.array_equal(world.motion[:, :2], before[:, :2])
    assert np.array_equal(world.motion[:, 2:], before[:, 2:] + push)
    assert world.taken == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_world_comes_apart_when_the_roll_out_does(engine):
    seen = set()
    for factor in (4.0, 12.0):
        for design in random_designs(21, 6):
            wild = violent(design, factor)
            expected = roll_out(wild, make_terrain("Flat"), 3.0)
            world = ControlledWorld(world_arrays(wild, make_terrain("Flat"), 3.0), CONSTANTS, engine)
            world.advance(own_gait(world))
            assert world.fault == expected.fault
            assert (world.steps_left == 0) or world.fault
            seen.add(world.fault)
    assert {None, "unstable"} <= seen


@pytest.mark.parametrize("engine", ENGINES)
def test_a_walker_that_does_not_settle_is_told(engine):
    restless = CONSTANTS._replace(settling_steps=10, drift_speed=0.0)
    world = ControlledWorld(world_arrays(wheel(), make_terrain("Flat"), 1.0), restless, engine)
    assert world.fault == "unsettled"


def test_more_steps_than_are_left_are_refused():
    world = ControlledWorld(world_arrays(wheel(), make_terrain("Flat"), 0.5), CONSTANTS)
    gait = own_gait(world)
    world.advance(gait[:20])
    with pytest.raises(ValueError, match="at most 10 more steps, got 30"):
        world.advance(gait)
    world.advance(gait[20:])
    assert world.steps_left == 0


def test_worlds_left_at_the_end_of_a_program_go_quietly(tmp_path):
    # The module that holds it was imported before pymunk, so that the interpreter takes pymunk down first.
    code = """
import gymnasium as gym
env = gym.make("sodarace_gym:SodaraceControl-Flat-v0", duration=0.2)
env.reset(seed=0)
env.step(env.action_space.sample())
gym.kept = env
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -------------------------------------------------------------------------------------------------------------- muscles


@given(seed=st.integers(0, 2**32 - 1), residual=st.booleans())
@settings(max_examples=30)
def test_muscles_stay_within_their_amplitude_and_their_speed(seed, residual):
    rng = np.random.default_rng(seed)
    arrays = world_arrays(random_designs(seed % 50, 1)[0], make_terrain("Flat"), 2.0)
    assume(len(arrays.active) > 0)
    drive = MuscleDrive(arrays, np.arange(len(arrays.active)), residual)
    now, rows = None, []
    for start in range(0, 120, 3):
        action = np.sign(rng.normal(size=len(arrays.active)))
        rows.append(drive.rest_lengths(action, arrays.drive[start : start + 3], now))
        now = rows[-1][-1]
    shares = drive.shares(np.concatenate(rows))
    assert np.abs(shares).max() <= 1.0 + 1e-9
    assert np.abs(np.diff(shares, axis=0)).max() <= MUSCLE_SPEED / STEP_RATE + 1e-9
    if not residual:
        assert np.allclose(np.abs(shares[0]), 1.0), "the first step is taken at once"


def test_a_held_action_is_reached_and_kept():
    arrays = world_arrays(wheel(), make_terrain("Flat"), 2.0)
    drive = MuscleDrive(arrays, np.arange(8), residual=False)
    wanted = np.linspace(-1.0, 1.0, 8)
    rows = drive.rest_lengths(wanted, arrays.drive, drive.length - drive.amplitude)
    assert np.allclose(drive.shares(rows[-1]), wanted)
    assert (np.diff(rows, axis=0) >= 0.0).all(), "on the shortest way"


def test_plus_one_lengthens_a_muscle_whatever_the_sign_of_its_amplitude():
    design, _ = build_design(
        [(0, 0), (5, 0), (2, 4)], [(0, 1, False, 1.0, 0.3), (1, 2, False, -1.0, 0.3), (2, 0, True, 0, 0)]
    )
    arrays = world_arrays(design, make_terrain("Flat"), 1.0)
    drive = MuscleDrive(arrays, np.arange(2), residual=False)
    assert np.allclose(drive.amplitude, 1.0)
    assert np.allclose(drive.rest_lengths(np.ones(2), arrays.drive[:1], None)[0], drive.length + 1.0)
    gait = drive.gait(arrays.drive)
    assert np.allclose(gait[:, 0], -gait[:, 1])
    assert np.allclose(gait[:, 0], np.sin(np.arctan2(*arrays.drive.T) + 0.3))


@given(
    phases=st.lists(st.floats(-20.0, 20.0) | st.integers(0, 7).map(lambda k: k * 0.8), min_size=1, max_size=30),
    count=st.integers(1, 12),
)
def test_groups_are_few_without_gaps_and_hold_neighbours(phases, count):
    groups = phase_groups(np.array(phases), count)
    numbers = set(groups.tolist())
    assert numbers == set(range(len(numbers)))
    turns = np.round(np.mod(phases, math.tau) / math.tau, 9) % 1.0
    distinct = np.unique(turns)
    assert len(numbers) == min(count, len(distinct))
    of = {}
    for turn, group in zip(turns.tolist(), groups.tolist(), strict=True):
        assert of.setdefault(turn, group) == group, "equal phases share a group"
    around = [of[turn] for turn in distinct.tolist()]
    changes = sum(a != b for a, b in zip(around, around[1:] + around[:1], strict=True))
    assert changes == (len(numbers) if len(numbers) > 1 else 0), "each group is one stretch of the circle"
    sizes = np.bincount(around)
    assert sizes.max() - sizes.min() <= 1


def test_groups_keep_apart_what_is_far_apart_and_are_optional():
    assert phase_groups(np.array([6.2, 0.1, 3.0, 3.2]), 2).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
    assert phase_groups(np.array([1.0, 1.0, 1.0]), None).tolist() == [0, 1, 2]
    assert phase_groups(np.array([1.0, 1.0 + math.tau, 2.0]), 5).tolist() == [0, 0, 1]


# -------------------------------------------------------------------------------------------------------------- walkers


@pytest.mark.parametrize("name", WALKER_NAMES)
def test_every_walker_of_the_library_walks_on_muscles(name):
    design, _ = compile_program(load_walker(name))
    assert isinstance(design, WalkerDesign)
    walk = roll_out(design, make_terrain("Flat"))
    assert walk.fault is None
    assert abs(walk.displacement) > 1.0
    assert abs(roll_out(passive(design), make_terrain("Flat")).displacement) < 0.5


def test_the_good_walkers_walk_well_and_to_the_right():
    for name, least in {"wheel": 20.0, "runner": 15.0, "biped": 15.0, "worm": 4.0}.items():
        design, repairs = compile_program(load_walker(name))
        assert not repairs
        assert roll_out(design, make_terrain("Flat")).displacement > least


def test_an_unknown_walker_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'triangle'.*square, radial.*worm"):
        load_walker("triangle")
