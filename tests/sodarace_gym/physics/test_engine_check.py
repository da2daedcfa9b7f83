"""An engine that does not give pymunk's bits is noticed before it is used, and pymunk does the work."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sodarace_gym.physics import batch, control
from sodarace_gym.physics.constants import CONSTANTS
from sodarace_gym.physics.control import ControlledWorld
from sodarace_gym.physics.world import world_arrays
from sodarace_gym.terrains.making import make_terrain
from tests.sodarace_gym.physics.worlds import SHORT, assert_all_same, in_the_engine, plainly
from tests.sodarace_gym.sample_walkers import random_designs, square, violent, wheel

WORLDS = [
    world_arrays(design, make_terrain(name), 1.0)
    for name in ("Bumpy", "Stairs")
    for design in (*random_designs(3, 3), square(), violent(wheel(), 12.0))
]


@pytest.fixture(autouse=True)
def _looked_at_anew() -> Iterator[None]:
    batch.engine_agrees.cache_clear()
    yield
    batch.engine_agrees.cache_clear()


def ulp(array: np.ndarray, at: Any) -> None:
    array[at] = np.nextafter(array[at], np.inf)


# What roll_out_many takes last: frames, where each walker's begin, outcomes.
DEVIATIONS: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "an end": lambda frames, outcomes: ulp(outcomes, (0, 4)),
    "the last start": lambda frames, outcomes: ulp(outcomes, (-1, 3)),
    "a settling time": lambda frames, outcomes: outcomes.__setitem__((2, 1), outcomes[2, 1] + 10.0),
    "a status": lambda frames, outcomes: outcomes.__setitem__((1, 0), 1.0),
    "a recorded position": lambda frames, outcomes: ulp(frames, len(frames) // 2),
    "no room for anybody": lambda frames, outcomes: outcomes.__setitem__((slice(None), 0), 3.0),
}


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_a_deviation_in_the_last_bit_of_anything_is_refused_with_one_warning(monkeypatch, deviation):
    compiled, used = batch.roll_out_many, []

    def deviating(*arguments: Any) -> None:
        compiled(*arguments)
        DEVIATIONS[deviation](arguments[6], arguments[8])
        used.append(len(arguments[8]))

    monkeypatch.setattr(batch, "roll_out_many", deviating)
    with pytest.warns(RuntimeWarning, match="does not give pymunk's bits") as caught:
        first = batch.roll_out_worlds(WORLDS, SHORT, 4)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # not a second time
        second = batch.roll_out_worlds(WORLDS, SHORT, 4)
        world = ControlledWorld(WORLDS[0], CONSTANTS)
    assert len(used) == 1, "the engine was looked at once and used no more"
    assert isinstance(world._walker, control._InPymunk)
    expected = plainly(WORLDS, SHORT, 4)
    for refused in (first, second):
        assert refused.by_pymunk == [True] * len(WORLDS)
        assert_all_same(refused.motions, expected)


def test_an_engine_that_agrees_is_used_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batch.engine_agrees()
        motions = in_the_engine(WORLDS, SHORT, 4)
        world = ControlledWorld(WORLDS[0], CONSTANTS)
    assert isinstance(world._walker, control._InEngine)
    assert_all_same(motions, plainly(WORLDS, SHORT, 4))


def test_the_walkers_it_is_looked_at_with_settle_walk_and_end_in_different_places():
    worlds = [
        world_arrays(design, terrain, 2.0) for terrain in batch._check_terrains() for design in batch._check_walkers()
    ]
    motions = plainly(worlds, CONSTANTS, 0)
    assert all(motion.status == 0 and motion.settled for motion in motions)
    assert len({motion.end for motion in motions}) == len(motions) >= 4
    assert max(abs(motion.end - motion.start) for motion in motions) > 0.5


def test_joints_of_another_mass_are_pymunks():
    heavy = CONSTANTS._replace(joint_mass=2.0, settling_steps=30, drift_speed=100.0)
    done = batch.roll_out_worlds(WORLDS[:2], heavy, 4)
    assert done.by_pymunk == [True, True]
    assert_all_same(done.motions, plainly(WORLDS[:2], heavy, 4))
    assert isinstance(ControlledWorld(WORLDS[0], heavy)._walker, control._InPymunk)
