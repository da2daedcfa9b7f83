"""Committed trajectories: whoever changes the physics changes these, and has to say so.

Five walkers (the paper's square, wheel and runner, and two random ones) on the five terrains; the centre of mass at each
second. Each is compared closely for as long as rounding does not matter, which the committed file says (the time for which
the mirrored walker on the mirrored terrain is an exact mirror image), and loosely, as a crowd, after that: machines differ
in the last bit of a sine, and chaos makes much of it.

After a wanted change of constants, terrains or limits, run

    python -m tests.sodarace_gym.regenerate_golden

(with ``--search`` to look for fast walkers anew as well) and commit what it writes together with the change.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from sodarace_gym.physics.constants import DURATION, FRAME_RATE
from sodarace_gym.physics.rollout import Rollout, roll_out
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.walkers.walker import build_design
from tests.sodarace_gym.sample_walkers import GOLDEN, design_from_json, fast_walkers

DATA = json.loads((GOLDEN / "trajectories.json").read_text())
CASES = [(walker, name) for walker in DATA["walkers"] for name in TERRAIN_NAMES]
HINT = "the physics changed; if it was meant to, run: python -m tests.sodarace_gym.regenerate_golden"


@pytest.fixture(scope="module")
def rollouts() -> dict[tuple[str, str], Rollout]:
    return {
        (walker, name): roll_out(design_from_json(DATA["walkers"][walker]["design"]), make_terrain(name), record=True)
        for walker, name in CASES
    }


def committed(walker: str, name: str) -> np.ndarray:
    """Centres of mass at 0, 1, ... seconds, shape (seconds + 1, 2)."""
    return np.array(DATA["walkers"][walker]["terrains"][name]["centres"])


def measured(rollout: Rollout) -> np.ndarray:
    assert rollout.trajectory is not None
    return rollout.trajectory[::FRAME_RATE].mean(axis=1)


def test_the_committed_file_is_worth_comparing_with():
    assert DATA["duration"] == DURATION, HINT
    assert len(DATA["walkers"]) >= 4
    for walker, name in CASES:
        assert committed(walker, name).shape == (round(DURATION) + 1, 2)
        assert DATA["walkers"][walker]["terrains"][name]["trusted_seconds"] >= 3
    distances = [abs(committed(*case)[-1, 0] - committed(*case)[0, 0]) for case in CASES]
    assert max(distances) > 10.0


@pytest.mark.parametrize("walker", DATA["walkers"])
def test_walkers_move_as_they_did(rollouts, walker):
    for name in TERRAIN_NAMES:
        rollout = rollouts[walker, name]
        assert rollout.fault is None, HINT
        seconds = DATA["walkers"][walker]["terrains"][name]["trusted_seconds"]
        apart = np.abs(measured(rollout) - committed(walker, name)).max(axis=1)
        assert apart[:4].max() < 1e-6, f"{name}: {HINT}"
        # Later the same, with room for a machine that rounds differently.
        assert apart[: seconds + 1].max() < 1e-2, f"{name}: {HINT}"


def test_the_crowd_gets_as_far_as_it_did(rollouts):
    apart = [np.abs(measured(rollouts[case])[-1] - committed(*case)[-1]).max() for case in CASES]
    assert np.mean(np.array(apart) < 0.1) >= 0.8, HINT


def test_the_committed_fast_walkers_are_within_todays_limits():
    walkers = fast_walkers()
    assert len(set(walkers)) == len(walkers) >= 10
    for design in walkers:
        assert build_design(design.joints, design.muscles) == (design, {}), HINT
