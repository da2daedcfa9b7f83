"""The ways of rolling out are compared before they are timed, terrains are prepared once, and goals are judged by medians."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import engine_speed, throughput, timing
from benchmarks.engine_speed import ALONE, BATCH, CALLS, CHIPMUNK, PLAIN
from sodarace_gym.physics import batch
from sodarace_gym.physics.world import world_arrays
from sodarace_gym.terrains.families import ALL_TERRAIN_NAMES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.random_walker import random_design


@pytest.fixture(scope="module")
def designs():
    rng = np.random.default_rng(0)
    return [random_design(rng) for _ in range(18)]


def test_all_ways_give_the_same_bits_and_other_bits_stop_the_benchmark(designs):
    ways = engine_speed.ways([world_arrays(design, make_terrain("Bumpy"), 0.5) for design in designs])
    engine_speed.check("Bumpy", ways)
    assert set(ways) == {PLAIN, CHIPMUNK, ALONE, CALLS, BATCH}
    motions = ways[BATCH]()
    motions[7] = motions[7]._replace(end=np.nextafter(motions[7].end, np.inf))
    with pytest.raises(AssertionError, match="16 lanes gives other bits than pymunk for 1 of 18"):
        engine_speed.check("Bumpy", ways | {BATCH: lambda: motions})


def test_a_run_prepares_each_terrain_once(designs):
    prepared, terrains = engine_speed.preparations(designs[:3])
    assert prepared == terrains > 1


def test_every_family_is_prepared_anew_in_each_turn():
    taken = engine_speed.prepare_terrains(2)
    assert set(taken) == set(ALL_TERRAIN_NAMES)
    assert all(values.shape == (2,) and (values > 0.0).all() for values in taken.values())


def test_the_compiled_part_is_timed_within_the_whole(designs):
    worlds = [world_arrays(design, make_terrain("Flat"), 0.5) for design in designs]
    with timing.time_within(batch, "roll_out_many") as taken:
        whole = timing.processor_seconds(lambda: batch.roll_out_worlds(worlds))
    assert len(taken) == 1
    assert 0.0 < taken[0] < whole


def test_goals_are_judged_by_the_median_over_turns():
    loop = np.array([8.0, 8.0, 8.0])
    ms = {CHIPMUNK: loop, ALONE: loop / 3.0, BATCH: loop / np.array([9.9, 12.0, 10.1])}
    slow = ms | {BATCH: loop / np.array([9.0, 9.8, 20.0])}
    times = {("square", "Flat"): ms, ("square", "Bumpy"): slow}
    table = throughput.goals(times, {"Flat": np.array([0.2]), "Burrow": np.array([1.4])}, (4, 4))
    reached = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in table.splitlines()[2:]}
    assert reached == {
        "square on Flat, 16 lanes: loop / engine": "yes",
        "square on Bumpy, 16 lanes: loop / engine": "**no**",
        "square on Flat, alone: loop / engine": "yes",
        "square on Bumpy, alone: loop / engine": "yes",
        "square, 16 lanes: Bumpy / Flat": "yes",
        "preparing a terrain, ms; the slowest family, Burrow": "**no**",
        "times that each terrain of a run is prepared": "yes",
    }
