"""Physics at small scale: falling, springs, drive, friction, bounce and energy; and what roll_out promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sodarace_gym.physics.constants import (
    ACTIVE_FREQUENCY,
    DRIVE_RATE,
    FRAME_RATE,
    FRICTION,
    GRAVITY,
    JOINT_MASS,
    JOINT_RADIUS,
    PLAIN_FREQUENCY,
    RESTITUTION,
    STEP_RATE,
)
from sodarace_gym.physics.engine.stepping import COMPLETED
from sodarace_gym.physics.rollout import roll_out, roll_out_many
from sodarace_gym.physics.solid import solid_of
from sodarace_gym.physics.world import WorldArrays, world_arrays
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES, TUNNEL_HEIGHT
from sodarace_gym.terrains.terrain import START_HALF_WIDTH, Terrain
from sodarace_gym.walkers.walker import MAX_AMPLITUDE_RATIO, WalkerDesign, build_design
from tests.sodarace_gym.physics.worlds import AT_ONCE, in_the_engine
from tests.sodarace_gym.sample_walkers import (
    passive,
    random_designs,
    square,
    violent,
    wheel,
)

DT = 1.0 / STEP_RATE


def two_joints(distance: float = 4.0, active: bool = False, phase: float = 0.0) -> WalkerDesign:
    """Two joints side by side and the muscle between them."""
    return build_design([(0.0, 0.0), (distance, 0.0)], [(0, 1, not active, distance, phase)])[0]


def watch(arrays: WorldArrays, gravity: float = GRAVITY) -> np.ndarray:
    """Joint positions at every step from the very start, without settling; shape (steps + 1, joints, 2)."""
    (motion,) = in_the_engine([arrays], AT_ONCE._replace(gravity=gravity), 1)
    assert motion.status == COMPLETED
    return motion.frames


def thrown(name: str, at: tuple[float, float], speed: float, seconds: float = 1.0) -> np.ndarray:
    """Path of a single joint thrown sideways: two joints 4 apart, the second one ahead, of which the first is watched."""
    arrays = world_arrays(two_joints(), make_terrain(name), seconds)
    positions = np.array([at, (0.0, 50.0)])
    free = arrays._replace(joints=positions, stiffness=np.zeros(1), damping=np.zeros(1), nudge=np.array([speed, 0.0]))
    return watch(free)[:, 0]


# ------------------------------------------------------------------------------------------------------- small laws


def test_a_joint_in_the_air_falls_as_galileo_said():
    path = thrown("Flat", (3.0, 40.0), speed=7.0)
    step = np.arange(len(path))
    # Chipmunk moves first and accelerates afterwards, hence n (n - 1).
    assert np.allclose(path[:, 0], 3.0 + 7.0 * DT * step, atol=1e-9)
    assert np.allclose(path[:, 1], 40.0 - GRAVITY * DT**2 * step * (step - 1) / 2, atol=1e-9)


@pytest.mark.parametrize(
    "design", [wheel(), violent(wheel(), 3.0), random_designs(4, 1)[0]], ids=["wheel", "violent", "random"]
)
def test_muscles_cannot_move_the_centre_of_mass_in_the_air(design):
    arrays = world_arrays(design, make_terrain("Flat"), 1.5)
    arrays = arrays._replace(joints=arrays.joints + np.array([0.0, 60.0]), nudge=np.zeros(len(arrays.joints)))
    frames = watch(arrays)
    step = np.arange(len(frames))
    centre = frames.mean(axis=1)
    assert np.ptp(frames - centre[:, None], axis=0).max() > 0.5  # they do work
    assert np.allclose(centre[:, 0], centre[0, 0], atol=1e-9)
    assert np.allclose(centre[:, 1], centre[0, 1] - GRAVITY * DT**2 * step * (step - 1) / 2, atol=1e-9)


@pytest.mark.parametrize(("active", "frequency"), [(False, PLAIN_FREQUENCY), (True, ACTIVE_FREQUENCY)])
def test_muscles_swing_at_their_natural_frequency(active, frequency):
    arrays = world_arrays(two_joints(active=active), make_terrain("Flat"), 1.0)
    still = arrays._replace(
        joints=arrays.joints + np.array([0.0, 60.0]),
        nudge=np.zeros(2),
        rest_lengths=np.array([3.5]),
        damping=np.zeros(1),
        sine_amplitudes=np.zeros(1),
        cosine_amplitudes=np.zeros(1),
    )
    length = np.diff(watch(still)[:, :, 0], axis=1)[:, 0] - 3.5
    swings = (np.diff(np.sign(length)) != 0).sum() / 2
    # Within one step, time is discrete: a stiff spring swings a little faster than the formula says.
    assert swings == pytest.approx(frequency, rel=0.15, abs=0.5)


@pytest.mark.parametrize("phase", [0.0, 1.0, math.pi, -2.0])
def test_the_drive_follows_amplitude_rate_and_phase(phase):
    design = two_joints(active=True, phase=phase)
    arrays = world_arrays(design, make_terrain("Flat"), 3.5)
    arrays = arrays._replace(joints=arrays.joints + np.array([0.0, 60.0]), nudge=np.zeros(2))
    length = np.linalg.norm(np.diff(watch(arrays, gravity=0.0), axis=1)[:, 0], axis=1) - 4.0
    time = np.arange(len(length)) * DT
    late = time > 1.0
    basis = np.stack([np.sin(DRIVE_RATE * time), np.cos(DRIVE_RATE * time)], axis=1)
    (sine, cosine), *_ = np.linalg.lstsq(basis[late], length[late], rcond=None)
    assert np.abs(basis[late] @ [sine, cosine] - length[late]).max() < 0.1
    assert math.hypot(sine, cosine) == pytest.approx(MAX_AMPLITUDE_RATIO * 4.0, rel=0.1)
    # The muscle lags behind its drive by a tenth of a radian or so.
    lag = (phase - math.atan2(cosine, sine) + math.pi) % math.tau - math.pi
    assert -0.02 < lag < 0.25


@pytest.mark.parametrize(("name", "side"), [("LeftWall", -1.0), ("RightWall", 1.0), ("Tunnel", -1.0), ("Tunnel", 1.0)])
@pytest.mark.parametrize("speed", [3.0, 30.0, 55.0])
def test_walls_stop_a_joint_dead_and_do_not_hold_it(name, side, speed):
    path = thrown(name, (side * (START_HALF_WIDTH - 3.0), 30.0), side * speed, seconds=1.2)
    wall = START_HALF_WIDTH - JOINT_RADIUS
    late = side * path[len(path) * 11 // 12 :, 0]
    assert late == pytest.approx(np.full(len(late), wall), abs=0.15)
    # Where the joint touched the wall it stayed: it never comes back by more than what it had sunk in.
    assert np.maximum.accumulate(side * path[:, 0]).max() - late[-1] < 0.3
    assert (np.diff(side * path[:, 0]) > -0.05).all()
    # And it falls along the wall as if it were not there.
    step = np.arange(len(path))
    assert np.allclose(path[:, 1], 30.0 - GRAVITY * DT**2 * step * (step - 1) / 2, atol=0.01)


def test_the_ceiling_stops_a_joint_dead_too():
    x = START_HALF_WIDTH + 10.0
    arrays = world_arrays(two_joints(), make_terrain("Tunnel"), 0.5)
    # A stretched spring throws the lower joint up against the ceiling while both fly to the right.
    upright = arrays._replace(
        joints=np.array([(x, 0.8), (x, TUNNEL_HEIGHT - 1.0)]),
        nudge=np.array([8.0, 8.0]),
        rest_lengths=np.array([TUNNEL_HEIGHT]),
    )
    path = watch(upright)[:, 1]
    assert path[:, 1].max() == pytest.approx(TUNNEL_HEIGHT - JOINT_RADIUS, abs=0.2)
    # No grip: the horizontal speed is what it was.
    touching = path[:, 1] > TUNNEL_HEIGHT - JOINT_RADIUS - 0.05
    assert touching.any()
    first = int(np.argmax(touching))
    assert path[first, 0] - path[0, 0] == pytest.approx(8.0 * DT * first, abs=0.3)


def test_a_joint_slides_to_a_halt_on_the_ground():
    path = thrown("Flat", (0.0, JOINT_RADIUS), speed=10.0, seconds=2.0)
    # Coulomb friction: v^2 / (2 mu g), and a joint does not roll.
    assert path[-1, 0] == pytest.approx(10.0**2 / (2 * FRICTION * GRAVITY), rel=0.15)
    assert path[-1, 0] == path[-20, 0] or abs(path[-1, 0] - path[-20, 0]) < 1e-6


@pytest.mark.parametrize("degrees", [20.0, 35.0, 50.0, 58.0])
def test_a_joint_holds_on_slopes_up_to_45_degrees_and_slides_down_steeper_ones(degrees):
    angle = math.radians(degrees)
    slope = Terrain("slope", np.array([[-200.0, 200.0 * math.tan(angle)], [200.0, -200.0 * math.tan(angle)]]))
    above = np.array([math.sin(angle), math.cos(angle)]) * JOINT_RADIUS
    arrays = world_arrays(two_joints(), slope, 2.0)
    free = arrays._replace(joints=np.array([above, (150.0, 100.0)]), stiffness=np.zeros(1), damping=np.zeros(1),
                           nudge=np.zeros(2))  # fmt: skip
    path = watch(free)[:, 0]
    travelled = (path - path[0]) @ np.array([math.cos(angle), -math.sin(angle)])
    expected = 0.5 * GRAVITY * max(0.0, math.sin(angle) - FRICTION * math.cos(angle)) * 2.0**2
    assert travelled[-1] == pytest.approx(expected, rel=0.05, abs=0.1)


def test_a_dropped_joint_bounces_little():
    height = thrown("Flat", (0.0, 10.0), speed=0.0, seconds=2.0)[:, 1] - JOINT_RADIUS
    landed = int(np.argmax(height < 0.05))
    assert height[landed:].max() < (RESTITUTION + 0.05) ** 2 * 10.0 + 0.05
    assert abs(height[-1]) < 0.15


@pytest.mark.parametrize("design", [*random_designs(31, 6), square(), wheel()], ids=lambda d: f"{len(d.joints)} joints")
def test_a_dropped_walker_only_loses_energy(design):
    body = passive(design)
    arrays = world_arrays(body, make_terrain("Flat"), 4.0)
    arrays = arrays._replace(joints=arrays.joints + np.array([0.0, 8.0]), nudge=np.zeros(len(arrays.joints)))
    frames = watch(arrays)
    velocity = np.diff(frames, axis=0) / DT
    ends = frames[:-1, arrays.muscle_ends]
    stretch = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=2) - arrays.rest_lengths
    energy = (
        0.5 * JOINT_MASS * (velocity**2).sum(axis=(1, 2))
        + JOINT_MASS * GRAVITY * frames[:-1, :, 1].sum(axis=1)
        + (0.5 * arrays.stiffness * stretch**2).sum(axis=1)
    )
    assert energy.max() < 1.05 * energy[0]
    seconds = energy[: 4 * STEP_RATE].reshape(4, STEP_RATE).mean(axis=1)
    assert (np.diff(seconds) < 0.01 * energy[0]).all()
    assert frames[STEP_RATE:, :, 1].mean(axis=1).max() < frames[0, :, 1].mean()


# ------------------------------------------------------------------------------------------------------- the interface


def test_a_trajectory_begins_at_rest_and_ends_at_the_displacement():
    rollout = roll_out(wheel(), make_terrain("Bumpy"), duration=3.0, record=True)
    trajectory = rollout.trajectory
    assert trajectory is not None
    assert trajectory.shape == (3 * FRAME_RATE + 1, 9, 2)
    assert trajectory[-1, :, 0].mean() - trajectory[0, :, 0].mean() == pytest.approx(rollout.displacement, abs=1e-9)
    assert np.abs(np.diff(trajectory[:2], axis=0)).max() * FRAME_RATE < 10.0
    assert trajectory[:, :, 1].min() > 0.0
    assert roll_out(wheel(), make_terrain("Bumpy"), duration=3.0).trajectory is None
    assert roll_out(wheel(), make_terrain("Bumpy"), duration=3.0).displacement == rollout.displacement


def test_plain_pymunk_is_the_same_physics_and_so_is_any_company():
    designs = [*random_designs(9, 4), violent(wheel(), 12.0)]
    terrains = [make_terrain(name) for name in ("Bumpy", "Stairs", "Flat", "Bumpy", "Tunnel")]
    fast = roll_out_many(designs, terrains, 2.0, record=True)
    plain = roll_out_many(designs, terrains, 2.0, record=True, engine="pymunk")
    alone = [roll_out(*pair, 2.0, record=True) for pair in zip(designs, terrains, strict=True)]
    assert {one.fault for one in fast} == {None, "unstable"}
    for one, *others in zip(fast, plain, alone, strict=True):
        for other in others:
            assert (one.displacement, one.fault, one.settling_time) == (
                other.displacement,
                other.fault,
                other.settling_time,
            )
            assert np.array_equal(one.trajectory, other.trajectory)


def test_an_unknown_engine_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="compiled, pymunk, got 'plain'"):
        roll_out(square(), make_terrain("Flat"), engine="plain")


def test_where_a_program_builds_its_walker_does_not_matter():
    design = square()
    moved = WalkerDesign(tuple((x - 64.0, y + 32.0) for x, y in design.joints), design.muscles)
    for name in TERRAIN_NAMES:
        there, here = roll_out(moved, make_terrain(name)), roll_out(design, make_terrain(name))
        assert there.displacement == pytest.approx(here.displacement, abs=1e-6)


def test_a_terrain_is_what_its_polylines_say_not_what_it_is_called():
    bumpy = make_terrain("Bumpy", 3)
    expected = roll_out(wheel(), bumpy).displacement
    assert expected != roll_out(wheel(), make_terrain("Flat")).displacement
    assert roll_out(wheel(), Terrain("Flat", bumpy.floor)).displacement == expected
    # Worlds beyond the number that are kept ready give the same too, and so do lists and any memory layout.
    for seed in range(300):
        solid_of(make_terrain("Bumpy", seed))
    assert roll_out(wheel(), Terrain("mine", bumpy.floor.tolist())).displacement == expected  # type: ignore[arg-type]
    assert roll_out(wheel(), Terrain("mine", np.asfortranarray(bumpy.floor))).displacement == expected


def test_a_polyline_that_ends_early_carries_walkers_on() -> None:
    short = Terrain("short", [[-5.0, 0.0], [5.0, 0.0]], [[-40.0, 40.0], [0.0, 40.0], [10.0, 30.0]])  # type: ignore[arg-type]
    expected = roll_out(wheel(), make_terrain("Flat"))
    assert abs(expected.displacement) > 20.0
    walked = roll_out(wheel(), short).displacement
    assert walked == pytest.approx(expected.displacement, abs=1e-6)
    assert roll_out(wheel(), short, engine="pymunk").displacement == walked


@pytest.mark.parametrize("duration", [0.0, -1.0, math.nan, math.inf])
def test_a_duration_must_be_a_positive_number(duration):
    with pytest.raises(ValueError, match="duration"):
        roll_out(square(), make_terrain("Flat"), duration)
