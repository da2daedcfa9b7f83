"""What ends a roll-out before its time, in the engine and in plain pymunk."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sodarace_gym.physics.batch import ENGINES, roll_out_worlds
from sodarace_gym.physics.constants import CHECK_EVERY, CONSTANTS, STEP_RATE, WorldConstants
from sodarace_gym.physics.engine.stepping import ESCAPED, UNSTABLE
from sodarace_gym.physics.world import Motion, WorldArrays, world_arrays
from sodarace_gym.terrains.making import make_terrain
from tests.sodarace_gym.physics.worlds import SHORT, lifted
from tests.sodarace_gym.sample_walkers import passive, square, tower, violent, wheel


def roll_out(engine: str, world: WorldArrays, constants: WorldConstants, record_every: int) -> Motion:
    batch = roll_out_worlds([world], constants, record_every, engine)
    assert batch.by_pymunk == [engine == "pymunk"]
    return batch.motions[0]


@pytest.mark.parametrize("engine", ENGINES)
class TestFaults:
    def test_a_joint_inside_the_ground_has_escaped(self, engine):
        arrays = world_arrays(square(), make_terrain("Flat"), 1.0)
        motion = roll_out(engine, lifted(arrays, 0.0, -12.0), CONSTANTS, 3)
        assert (motion.status, motion.settling_steps) == (ESCAPED, CHECK_EVERY)
        assert not motion.settled
        assert (motion.frames == 0.0).all()

    def test_a_walker_behind_the_wall_or_the_ceiling_has_escaped(self, engine):
        for name, x in [("LeftWall", -25.0), ("RightWall", 25.0), ("Tunnel", 40.0), ("Tunnel", -40.0)]:
            arrays = lifted(world_arrays(square(), make_terrain(name), 1.0), x, 0.0)
            assert roll_out(engine, arrays, CONSTANTS, 0).status == ESCAPED

    def test_a_walker_above_the_sky_has_escaped(self, engine):
        arrays = lifted(world_arrays(square(), make_terrain("Flat"), 1.0), 0.0, 300.0)
        assert roll_out(engine, arrays, CONSTANTS, 0).status == ESCAPED

    @pytest.mark.parametrize("speed", [math.inf, math.nan, -1.01 * CONSTANTS.max_speed])
    def test_a_joint_too_fast_is_unstable(self, engine, speed):
        arrays = lifted(world_arrays(square(), make_terrain("Flat"), 1.0), 0.0, 20.0)
        thrown = arrays._replace(nudge=np.full(len(arrays.joints), speed))
        assert roll_out(engine, thrown, CONSTANTS._replace(settling_damping=1.0), 0).status == UNSTABLE

    def test_a_fault_while_walking_stops_the_walk_where_it_was(self, engine):
        # Muscles that are still before they swing: the walker settles as it should and blows up afterwards.
        motion = roll_out(engine, world_arrays(violent(wheel(), 40.0), make_terrain("Flat"), 4.0), SHORT, 1)
        assert motion.status in (UNSTABLE, ESCAPED)
        assert motion.settled
        assert motion.settling_steps == STEP_RATE
        assert motion.start == motion.end
        recorded = (motion.frames != 0.0).any(axis=(1, 2))
        assert recorded[0]
        assert not recorded[-1]
        assert (np.diff(recorded.astype(int)) <= 0).all()

    def test_a_walker_still_moving_at_the_bound_is_not_settled(self, engine):
        arrays = world_arrays(tower(20.0, 1.0, 5, lean=0.5), make_terrain("Flat"), 0.5)
        hurried = roll_out(engine, arrays, CONSTANTS._replace(settling_steps=60), 0)
        assert (hurried.settled, hurried.settling_steps) == (False, 60)
        patient = roll_out(engine, arrays, CONSTANTS, 0)
        assert patient.settled
        assert 60 < patient.settling_steps < CONSTANTS.settling_steps
        assert patient.settling_steps % CHECK_EVERY == 0

    def test_rest_needs_calm_without_a_break(self, engine):
        motion = roll_out(engine, world_arrays(passive(square()), make_terrain("Flat"), 0.5), CONSTANTS, 0)
        assert motion.settled
        assert motion.settling_steps > CONSTANTS.calm_checks * CHECK_EVERY

    def test_speeds_are_looked_at_to_the_very_end(self, engine):
        # A walk that ends between two regular looks: 5 steps, in which the muscles throw the walker apart.
        arrays = world_arrays(violent(wheel(), 400.0), make_terrain("Flat"), 5 / STEP_RATE)
        assert roll_out(engine, arrays, SHORT, 1).status == UNSTABLE
