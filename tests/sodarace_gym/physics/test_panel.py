"""The committed panel: a thousand roll-outs whose bits every later change keeps.

After a wanted change of the physics or of terrains run ``python -m tests.sodarace_gym.regenerate_golden --panel``, by which
plain pymunk writes it anew, and say in the version history that distances change.
"""

from __future__ import annotations

import platform
from collections import Counter

import numpy as np
import pytest

from sodarace_gym.physics.batch import engine_agrees, roll_out_worlds
from sodarace_gym.physics.constants import CONSTANTS
from sodarace_gym.physics.reference import roll_out_plainly
from tests.sodarace_gym.panel import ALL_TERRAINS, FRAMES_EVERY, KINDS, PANEL, SIZE, line, panel

COMMITTED = PANEL.read_text().splitlines()
MACHINE = (platform.system(), platform.machine())
# Roots and products are the same everywhere, powers and exponentials need not be.
written_here = pytest.mark.skipif(MACHINE != ("Linux", "x86_64"), reason="the panel has the bits of Linux on x86-64")


@pytest.fixture(scope="module")
def cases():
    return panel()


def as_line(case, motion):
    name, kind, _ = case
    return line(name, kind, motion)


def in_pymunk(case):
    return roll_out_plainly(case[2], CONSTANTS, FRAMES_EVERY)


def test_the_panel_has_every_terrain_every_kind_of_walker_and_every_outcome():
    columns = list(zip(*(row.split() for row in COMMITTED), strict=True))
    assert len(COMMITTED) == SIZE
    assert set(columns[0]) == set(ALL_TERRAINS)
    assert set(columns[1]) == set(KINDS)
    assert set(columns[2]) == {"completed", "unstable", "escaped", "unsettled"}
    assert Counter(columns[2])["completed"] > 0.8 * SIZE
    assert len(set(columns[3])) > 0.9 * SIZE, "only what starts inside the ground ends alike"


@written_here
@pytest.mark.parametrize("lanes", [16, 3, 1])
def test_the_engine_reproduces_the_panel_in_any_order_on_any_number_of_lanes(cases, lanes):
    assert engine_agrees()
    order = np.random.default_rng(lanes).permutation(SIZE)
    batch = roll_out_worlds([cases[k][2] for k in order], CONSTANTS, FRAMES_EVERY, lanes=lanes)
    assert batch.left_to_pymunk == 0
    different = [
        int(k) for k, motion in zip(order, batch.motions, strict=True) if as_line(cases[k], motion) != COMMITTED[k]
    ]
    # Say at once whether it is the engine that changed, or pymunk, the walkers or the terrains.
    plain = [k for k in different[:50] if as_line(cases[k], in_pymunk(cases[k])) != COMMITTED[k]]
    assert not different, f"{len(different)} of {SIZE} differ: {different[:50]}; in plain pymunk too: {plain}"


@written_here
def test_so_does_plain_pymunk(cases):
    for number in range(0, SIZE, 29):
        assert as_line(cases[number], in_pymunk(cases[number])) == COMMITTED[number]
