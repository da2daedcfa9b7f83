"""The panel and the order of difficulty."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.difficulty import mean_distances, measure, ranks
from benchmarks.panel import breed, distances, load_panel
from sodarace_gym.physics.rollout import Rollout
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.walker import build_design


def test_the_panel_is_fifty_walkers_within_the_limits_that_walk():
    panel = load_panel()
    assert len(set(panel)) == 50
    for design in panel:
        assert build_design(design.joints, design.muscles) == (design, {})
    reached = distances(panel, make_terrain("Flat"))
    assert np.median(reached) > 20.0
    heights = [design.height for design in panel]
    assert min(heights) < 7.0
    assert max(heights) > 14.0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_harder_a_terrain_the_less_far_the_panel_gets(family):
    means = mean_distances(measure(load_panel()[::2], family, (0.0, 0.5, 1.0), seeds=[0, 1]))
    assert (np.diff(means) < -1.0).all(), means


def test_a_fault_counts_nothing_and_ranks_go_by_the_mean():
    rollouts = [
        [Rollout(3.0, None, 1.0), Rollout(-5.0, None, 1.0)],
        [Rollout(0.0, "escaped", 1.0), Rollout(7.0, None, 1.0)],
    ]
    assert mean_distances([rollouts, rollouts[:1]]).tolist() == [3.75, 4.0]
    assert ranks(rollouts).tolist() == [0.0, 1.0]


def test_breeding_is_repeatable_and_does_not_lose_ground():
    terrain = make_terrain("Flat")
    short, again, longer = breed(terrain, 3, 1), breed(terrain, 3, 1), breed(terrain, 3, 3)
    assert short == again
    assert distances([longer], terrain) >= distances([short], terrain) > [0.0]
