"""The inner loop: compiled and plain agree bit for bit, faults are found, nothing leaks."""

from __future__ import annotations

import gc
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sodarace_gym.errors import ProgramError
from sodarace_gym.physics import stepping
from sodarace_gym.physics.chipmunk import compiled_calls_supported
from sodarace_gym.physics.constants import STEP_RATE
from sodarace_gym.physics.rollout import CONSTANTS, WorldArrays, world_arrays
from sodarace_gym.physics.stepping import COMPLETED, ESCAPED, UNSTABLE, Motion, WorldConstants
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.walkers.walker import WalkerDesign, build_design
from tests.sodarace_gym.sample_walkers import (
    fast_walkers,
    passive,
    random_designs,
    raw_walkers,
    runner,
    square,
    tower,
    violent,
    wheel,
)

compiled = pytest.mark.skipif(not compiled_calls_supported(), reason="this platform uses the plain loop")

# Plain roll-outs are slow, so most comparisons let the walker settle for one second, whatever it does, and walk briefly.
SHORT = CONSTANTS._replace(rest_speed=math.inf, calm_checks=STEP_RATE // stepping.CHECK_EVERY)
AT_ONCE = CONSTANTS._replace(settling_steps=0, calm_checks=0)


def assert_same(one: Motion, other: Motion) -> None:
    """Equal to the last bit, the sign of zeros included."""
    assert one[:3] == other[:3]
    assert np.array([one.start, one.end]).tobytes() == np.array([other.start, other.end]).tobytes()
    assert one.frames.shape == other.frames.shape
    assert one.frames.tobytes() == other.frames.tobytes()


def both(arrays: WorldArrays, constants: WorldConstants, record_every: int = 7) -> Motion:
    """Runs both loops, compares them and returns what they did."""
    fast = stepping.roll_out_compiled(arrays, constants, record_every)
    assert_same(fast, stepping.roll_out_plain(arrays, constants, record_every))
    return fast


def lifted(arrays: WorldArrays, x: float, y: float) -> WorldArrays:
    """The same walker moved."""
    return arrays._replace(joints=arrays.joints + np.array([x, y]))


# ------------------------------------------------------------------------------------------------ compiled and plain


@compiled
@pytest.mark.parametrize("name", TERRAIN_NAMES)
def test_whole_roll_outs_agree_bit_for_bit(name):
    terrain = make_terrain(name, seed=3)
    motions = [both(world_arrays(design, terrain, 10.0), CONSTANTS, 3) for design in [*random_designs(8, 6), wheel()]]
    assert all(motion.status == COMPLETED for motion in motions)
    assert len({motion.settling_steps for motion in motions}) > 1
    assert max(abs(motion.end - motion.start) for motion in motions) > 1.0


@compiled
@settings(max_examples=80)
@given(raw=raw_walkers(), name=st.sampled_from(TERRAIN_NAMES), flip=st.booleans(), x=st.floats(-40.0, 40.0))
def test_any_walker_anywhere_moves_the_same_in_both_loops(raw, name, flip, x):
    try:
        design, _ = build_design(*raw)
    except ProgramError:
        assume(False)
    terrain = make_terrain(name, seed=5)
    terrain = terrain.mirrored() if flip else terrain
    arrays = world_arrays(design, terrain, 1.5)
    # Moved out of the start area, walkers meet walls, bumps and ceilings at once, or start inside them.
    both(lifted(arrays, x, 0.0), SHORT)


@compiled
@pytest.mark.parametrize("name", TERRAIN_NAMES)
def test_violent_walkers_agree_too(name):
    terrain = make_terrain(name)
    designs = [violent(design, factor) for design in [*random_designs(21, 6), wheel()] for factor in (4.0, 12.0)]
    statuses = [both(world_arrays(design, terrain, 4.0), SHORT, 5).status for design in designs]
    assert {COMPLETED, UNSTABLE} <= set(statuses)


@compiled
def test_the_largest_walker_agrees():
    both(world_arrays(runner(), make_terrain("Bumpy"), 2.0), SHORT)


@compiled
@pytest.mark.parametrize("record_every", [0, 1, 9, 10, 1000])
def test_recording_changes_nothing_but_the_frames(record_every):
    arrays = world_arrays(wheel(), make_terrain("Flat"), 1.0)
    quiet = stepping.roll_out_compiled(arrays, SHORT, 0)
    motion = both(arrays, SHORT, record_every)
    assert motion[:-1] == quiet[:-1]
    steps = STEP_RATE
    assert len(motion.frames) == (steps // record_every + 1 if record_every else 0)
    if record_every:
        centres = motion.frames[:, :, 0].mean(axis=1)
        assert centres[0] == pytest.approx(motion.start, abs=1e-12)
        if steps % record_every == 0:
            assert centres[-1] == pytest.approx(motion.end, abs=1e-12)


@compiled
def test_threads_do_not_disturb_each_other():
    worlds = [
        world_arrays(design, make_terrain(name), 3.0)
        for design in [*random_designs(5, 5), wheel(), violent(wheel(), 12.0)]
        for name in TERRAIN_NAMES
    ]
    alone = [stepping.roll_out_compiled(world, SHORT, 10) for world in worlds]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda world: stepping.roll_out_compiled(world, SHORT, 10), worlds * 2))
    for one, other in zip(alone * 2, together, strict=True):
        assert_same(one, other)


@compiled
def test_the_order_of_roll_outs_does_not_matter():
    worlds = [world_arrays(design, make_terrain("Bumpy"), 2.0) for design in [*random_designs(6, 8), runner()]]
    first = [stepping.roll_out_compiled(world, SHORT, 10) for world in worlds]
    again = [stepping.roll_out_compiled(world, SHORT, 10) for world in reversed(worlds)]
    for one, other in zip(first, reversed(again), strict=True):
        assert_same(one, other)


# ------------------------------------------------------------------------------------------------------------- faults


def loops() -> list[object]:
    return [stepping.roll_out_plain, *([stepping.roll_out_compiled] if compiled_calls_supported() else [])]


@pytest.mark.parametrize("roll_out", loops())
class TestFaults:
    def test_a_joint_inside_the_ground_has_escaped(self, roll_out):
        arrays = world_arrays(square(), make_terrain("Flat"), 1.0)
        motion = roll_out(lifted(arrays, 0.0, -12.0), CONSTANTS, 3)
        assert (motion.status, motion.settling_steps) == (ESCAPED, stepping.CHECK_EVERY)
        assert not motion.settled
        assert (motion.frames == 0.0).all()

    def test_a_walker_behind_the_wall_or_the_ceiling_has_escaped(self, roll_out):
        for name, x in [("LeftWall", -25.0), ("RightWall", 25.0), ("Tunnel", 40.0), ("Tunnel", -40.0)]:
            arrays = lifted(world_arrays(square(), make_terrain(name), 1.0), x, 0.0)
            assert roll_out(arrays, CONSTANTS, 0).status == ESCAPED

    def test_a_walker_above_the_sky_has_escaped(self, roll_out):
        arrays = lifted(world_arrays(square(), make_terrain("Flat"), 1.0), 0.0, 300.0)
        assert roll_out(arrays, CONSTANTS, 0).status == ESCAPED

    @pytest.mark.parametrize("speed", [math.inf, math.nan, -1.01 * CONSTANTS.max_speed])
    def test_a_joint_too_fast_is_unstable(self, roll_out, speed):
        arrays = lifted(world_arrays(square(), make_terrain("Flat"), 1.0), 0.0, 20.0)
        thrown = arrays._replace(nudge=np.full(len(arrays.joints), speed))
        assert roll_out(thrown, CONSTANTS._replace(settling_damping=1.0), 0).status == UNSTABLE

    def test_a_fault_while_walking_stops_the_walk_where_it_was(self, roll_out):
        # Muscles that are still before they swing: the walker settles as it should and blows up afterwards.
        motion = roll_out(world_arrays(violent(wheel(), 40.0), make_terrain("Flat"), 4.0), SHORT, 1)
        assert motion.status in (UNSTABLE, ESCAPED)
        assert motion.settled
        assert motion.settling_steps == STEP_RATE
        assert motion.start == motion.end
        recorded = (motion.frames != 0.0).any(axis=(1, 2))
        assert recorded[0]
        assert not recorded[-1]
        assert (np.diff(recorded.astype(int)) <= 0).all()

    def test_a_walker_still_moving_at_the_bound_is_not_settled(self, roll_out):
        arrays = world_arrays(tower(20.0, 1.0, 5, lean=0.5), make_terrain("Flat"), 0.5)
        hurried = roll_out(arrays, CONSTANTS._replace(settling_steps=60), 0)
        assert (hurried.settled, hurried.settling_steps) == (False, 60)
        patient = roll_out(arrays, CONSTANTS, 0)
        assert patient.settled
        assert 60 < patient.settling_steps < CONSTANTS.settling_steps
        assert patient.settling_steps % stepping.CHECK_EVERY == 0

    def test_rest_needs_calm_without_a_break(self, roll_out):
        motion = roll_out(world_arrays(passive(square()), make_terrain("Flat"), 0.5), CONSTANTS, 0)
        assert motion.settled
        assert motion.settling_steps > CONSTANTS.calm_checks * stepping.CHECK_EVERY

    def test_speeds_are_looked_at_to_the_very_end(self, roll_out):
        # A walk that ends between two regular looks: 5 steps, in which the muscles throw the walker apart.
        arrays = world_arrays(violent(wheel(), 400.0), make_terrain("Flat"), 5 / STEP_RATE)
        assert roll_out(arrays, SHORT, 1).status == UNSTABLE


# ------------------------------------------------------------------------------------------------------------- leaks


@compiled
@pytest.mark.parametrize(("size", "times"), [("large", 2_000), ("small", 60_000)])
def test_roll_outs_leave_no_memory_behind(size, times):
    # Two large worlds, one of which ends early, show whether bodies, shapes, springs and spaces are freed (13 to 700 MB
    # would stay behind), very many small ones whether the one static body of each world is (16 MB).
    psutil = pytest.importorskip("psutil")
    designs = [wheel(), violent(runner(), 1e4)] if size == "large" else [tower(5.0, 1.0, 2)]
    terrain = make_terrain("Bumpy" if size == "large" else "Flat")
    worlds = [world_arrays(design, terrain, 2 / STEP_RATE) for design in designs]
    steps = AT_ONCE._replace(settling_steps=stepping.CHECK_EVERY, calm_checks=2) if size == "large" else AT_ONCE

    def run(count: int) -> None:
        for _ in range(count // len(worlds)):
            for world in worlds:
                stepping.roll_out_compiled(world, steps)

    run(times // 10)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for _ in range(20):
        run(times // 20)
        # Looked at all along, so that a leak fails the test before it fills the machine.
        assert psutil.Process().memory_info().rss - before < 6e6


def test_fast_walkers_are_fast():
    """The committed winners, which other tests throw at walls, still are what they are meant to be."""
    flat = make_terrain("Flat")
    designs: list[WalkerDesign] = fast_walkers()
    distances = [
        abs(m.end - m.start) for m in (stepping.roll_out(world_arrays(d, flat, 10.0), CONSTANTS) for d in designs)
    ]
    assert max(distances) > 30.0
    assert sorted(distances)[len(distances) // 2] > 15.0
