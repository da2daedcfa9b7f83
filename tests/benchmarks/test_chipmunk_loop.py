"""The loop that the engine is measured against: it gives the same bits and leaves nothing behind."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from benchmarks.chipmunk_calls import compiled_calls_supported
from benchmarks.chipmunk_loop import roll_out_compiled
from sodarace_gym.physics.constants import CHECK_EVERY, CONSTANTS, STEP_RATE
from sodarace_gym.physics.world import world_arrays
from sodarace_gym.terrains.making import make_terrain
from tests.sodarace_gym.panel import ALL_TERRAINS, KINDS, drawn_terrain
from tests.sodarace_gym.physics.worlds import AT_ONCE, SHORT, assert_all_same, in_the_engine
from tests.sodarace_gym.sample_walkers import runner, tower, violent, wheel

pytestmark = pytest.mark.skipif(not compiled_calls_supported(), reason="this loop does not run on this platform")


def test_it_gives_the_engines_bits():
    rng = np.random.default_rng(3)
    worlds = [
        world_arrays(KINDS[kind](rng), drawn_terrain(rng, name), 2.0)
        for name in ALL_TERRAINS
        for kind in ("random", "violent", "evolved", "loose")
    ]
    for constants, part in ((SHORT, worlds), (CONSTANTS, worlds[::9])):
        motions = in_the_engine(part, constants, 7)
        assert_all_same([roll_out_compiled(world, constants, 7) for world in part], motions)


@pytest.mark.parametrize(("size", "times"), [("large", 2_000), ("small", 60_000)])
def test_it_leaves_no_memory_behind(size, times):
    # Two large worlds, one of which ends early, show whether bodies, shapes, springs and spaces are freed (13 to 700 MB
    # would stay behind), very many small ones whether the one static body of each world is (16 MB).
    psutil = pytest.importorskip("psutil")
    designs = [wheel(), violent(runner(), 1e4)] if size == "large" else [tower(5.0, 1.0, 2)]
    terrain = make_terrain("Bumpy" if size == "large" else "Flat")
    worlds = [world_arrays(design, terrain, 2 / STEP_RATE) for design in designs]
    steps = AT_ONCE._replace(settling_steps=CHECK_EVERY, calm_checks=2) if size == "large" else AT_ONCE

    def run(count: int) -> None:
        for _ in range(count // len(worlds)):
            for world in worlds:
                roll_out_compiled(world, steps)

    run(times // 10)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for _ in range(20):
        run(times // 20)
        # Looked at all along, so that a leak fails the test before it fills the machine.
        assert psutil.Process().memory_info().rss - before < 6e6
