"""How a walker goes: contacts as Chipmunk has them, equal gaits from engine and pymunk, and what the figures mean."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pymunk
import pytest

from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics import rollout
from sodarace_gym.physics.batch import engine_agrees
from sodarace_gym.physics.constants import CONSTANTS, FRAME_RATE, JOINT_RADIUS, TERRAIN_RADIUS
from sodarace_gym.physics.engine.stepping import COMPLETED
from sodarace_gym.physics.gait import Gait, gait_of, touches
from sodarace_gym.physics.reference import build_space
from sodarace_gym.physics.rollout import roll_out_many
from sodarace_gym.physics.world import Motion, WorldArrays, world_arrays
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign
from tests.sodarace_gym.panel import ALL_TERRAINS
from tests.sodarace_gym.physics.worlds import lifted
from tests.sodarace_gym.sample_walkers import (
    evolved_walkers,
    fast_walkers,
    passive,
    random_designs,
    square,
    violent,
    wheel,
)

FLAT = make_terrain("Flat")


def walkers() -> list[WalkerDesign]:
    return [*random_designs(seed=3, count=4), *fast_walkers()[:3], *evolved_walkers()[:3], wheel()]


def roughly_placed(design: WalkerDesign, terrain: Terrain, x: float) -> WorldArrays:
    """A walker over the rough part of a terrain, where its joints meet edges, hollows and walls."""
    world = world_arrays(design, terrain, 1.0)
    near = terrain.floor[np.abs(terrain.floor[:, 0] - x) < 12.0, 1]
    return lifted(world, x, float(near.max(initial=0.0)) - 1.0)


@pytest.mark.parametrize("name", ALL_TERRAINS)
def test_joints_touch_where_chipmunk_finds_contacts(name: str) -> None:
    terrain = make_terrain(name, seed=1)
    met = missed = 0
    for number, design in enumerate(walkers()[:6]):
        world = roughly_placed(design, terrain, (19.0, 26.0, 40.0, -24.0, 33.0, -18.0)[number])
        space, bodies, springs = build_space(world, CONSTANTS)
        # pymunk hands shapes out in any order.
        by_ends = {tuple(row[:4]): row[8] > 0.0 for row in world.solid.segments.tolist()}
        grips = {shape: by_ends[(*shape.a, *shape.b)] for shape in space.static_body.shapes}
        space.gravity = (0.0, -CONSTANTS.gravity)
        for step in range(90):
            for muscle in world.active.tolist():
                swing = world.sine_amplitudes[muscle] * world.drive[step % 60, 0]
                springs[muscle].rest_length = float(world.rest_lengths[muscle] + swing)
            space.step(CONSTANTS.time_step)
            for body in bodies:
                touched: list[pymunk.Shape] = []
                body.each_arbiter(lambda arbiter, found: found.extend(arbiter.shapes), touched)
                mine = touches(*body.position, world.solid.ground, JOINT_RADIUS, TERRAIN_RADIUS)
                assert mine == any(map(grips.get, touched)), f"walker {number}, step {step}, at {body.position}"
                met, missed = met + mine, missed + (not mine)
    assert met > 200
    assert missed > 200


@pytest.mark.parametrize("name", ["Flat", "Bumpy", "Tunnel", "LeftWall", *ALL_TERRAINS[5:9]])
def test_the_engine_and_pymunk_give_the_same_gait(name: str) -> None:
    assert engine_agrees()
    designs = [*random_designs(seed=len(name), count=2), *fast_walkers()[1:3], violent(square(), 3.0)]
    terrains = [make_terrain(name, seed=2)] * len(designs)
    ours = roll_out_many(designs, terrains, 1.5, gait=True)
    plain = roll_out_many(designs, terrains, 1.5, engine="pymunk", gait=True)
    assert ours == plain
    assert np.array([r.gait for r in ours if r.gait]).tobytes() == np.array([r.gait for r in plain if r.gait]).tobytes()
    assert all((r.gait is None) == (r.fault is not None) for r in ours)
    assert sum(r.gait is not None for r in ours) >= 3


def test_a_walker_goes_the_same_in_any_company() -> None:
    together = roll_out_many(walkers(), [FLAT] * len(walkers()), 3.0, gait=True)
    assert [roll_out_many([design], [FLAT], 3.0, gait=True)[0] for design in walkers()] == together


def test_a_gait_is_what_is_seen_in_the_trajectory() -> None:
    """Against the definition, on level ground, where a joint touches when it is as low as its radius."""
    for design in (*walkers(), square()):
        (seen,) = roll_out_many([design], [FLAT], 4.0, record=True, gait=True)
        assert seen.gait is not None
        assert seen.trajectory is not None
        assert len(seen.trajectory) == 4 * FRAME_RATE + 1
        shares = (seen.trajectory[:, :, 1] < JOINT_RADIUS).mean(axis=0)
        assert seen.gait.ground_share == pytest.approx(shares[shares > 0.0].mean(), abs=1e-9)
        assert seen.gait.mean_height == pytest.approx(seen.trajectory[:, :, 1].mean(), abs=1e-9)


def test_one_that_stands_is_always_on_the_ground() -> None:
    (still,) = roll_out_many([passive(square())], [FLAT], 2.0, gait=True)
    assert still.gait is not None
    assert still.gait.ground_share == 1.0
    assert still.gait.mean_height == pytest.approx(5.0, abs=0.5)


def hovering(places: list[list[tuple[float, float]]], terrain: Terrain) -> Gait:
    """The gait of joints that are at some places, instant by instant."""
    world = world_arrays(square(), terrain, 1.0)
    return gait_of(Motion(COMPLETED, 0, True, 0.0, 0.0, np.array(places)), world)


def test_figures_of_a_motion_worked_out_by_hand() -> None:
    low, high = 0.29, 0.31
    # The first foot is down in one of two instants, the second in both, the third joint is no foot.
    share, height = hovering([[(0, low), (2, low), (4, 6.4)], [(0, high), (2, low), (4, 6.4)]], FLAT)
    assert share == 0.75
    assert height == pytest.approx((2 * low + 6.4 + high + low + 6.4) / 6)
    assert hovering([[(0, 3.0), (2, 3.0)]], FLAT) == Gait(0.0, 3.0)


def test_height_is_above_the_floor_and_walls_are_no_ground() -> None:
    stairs = Terrain("stairs", np.array([[-30.0, 0.0], [20.0, 0.0], [20.0, 6.0], [40.0, 6.0], [60.0, 16.0]]))
    assert hovering([[(10.0, 2.0)]], stairs).mean_height == 2.0
    assert hovering([[(30.0, 8.0)]], stairs).mean_height == 2.0
    assert hovering([[(50.0, 12.0)]], stairs).mean_height == pytest.approx(1.0)
    assert hovering([[(30.0, 6.29)]], stairs).ground_share == 1.0
    assert hovering([[(19.72, 4.0)]], stairs).ground_share == 0.0  # it leans against the wall
    roof = make_terrain("Tunnel")
    assert roof.ceiling is not None
    assert hovering([[(24.0, np.interp(24.0, *roof.ceiling.T) - 0.2)]], roof).ground_share == 0.0


# ------------------------------------------------------------------------------------------------------- the Evaluator


def test_an_evaluation_with_a_gait_is_otherwise_the_same() -> None:
    programs = [design.to_program() for design in walkers()]
    with (
        Evaluator(n_jobs=1, duration=2.0) as plain,
        Evaluator(n_jobs=1, duration=2.0, gait=True, robustness=1) as seeing,
    ):
        before, after = plain.evaluate(programs, "Bumpy"), seeing.evaluate(programs, "Bumpy")
        again = seeing.evaluate(programs, "Bumpy")  # remembered
        twin = copy.deepcopy(seeing)
    assert twin.gait
    assert all(e.ground_share is None and e.mean_height is None for e in before)
    unseen = dict.fromkeys(("ground_share", "mean_height", "robust_fitness", "copy_distances"))
    stripped = [dataclasses.replace(e, **unseen) for e in after]
    assert stripped == before
    assert again == after
    ground = make_terrain("Bumpy")
    for evaluation in after:
        assert evaluation.design is not None
        (seen,) = roll_out_many([evaluation.design], [ground], 2.0, gait=True)
        assert seen.gait is not None
        assert (evaluation.ground_share, evaluation.mean_height) == seen.gait


def test_what_does_not_walk_has_no_gait(monkeypatch: pytest.MonkeyPatch) -> None:
    with Evaluator(n_jobs=1, gait=True) as evaluator:
        (bad,) = evaluator.evaluate(["def make_walker(): return 3"], "Flat")
        monkeypatch.setattr(rollout, "CONSTANTS", CONSTANTS._replace(max_speed=0.1))
        (fast,) = evaluator.evaluate([wheel().to_program()], "Flat")
    assert not bad.valid
    assert not fast.valid
    assert (bad.ground_share, bad.mean_height) == (fast.ground_share, fast.mean_height) == (0.0, 0.0)
    assert roll_out_many([wheel()], [FLAT], 1.0)[0].gait is None


def test_a_walk_shorter_than_a_frame_has_the_gait_of_its_start() -> None:
    (start,) = roll_out_many([wheel()], [FLAT], 1e-3, gait=True)
    assert start.gait is not None
    assert start.gait.ground_share == 1.0
