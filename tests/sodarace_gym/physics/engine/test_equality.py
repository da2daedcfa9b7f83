"""The engine gives plain pymunk's bits: for any walker, on any terrain, in any company."""

from __future__ import annotations

import gc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sodarace_gym.errors import ProgramError
from sodarace_gym.physics.batch import engine_agrees, roll_out_worlds
from sodarace_gym.physics.constants import CHECK_EVERY, CONSTANTS, STEP_RATE
from sodarace_gym.physics.engine.stepping import COMPLETED, UNSTABLE
from sodarace_gym.physics.robustness import perturbed
from sodarace_gym.physics.world import WorldArrays, world_arrays
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign, build_design
from tests.sodarace_gym.panel import ALL_TERRAINS, KINDS, drawn_terrain, outcome
from tests.sodarace_gym.physics.worlds import (
    AT_ONCE,
    HURRIED,
    SHORT,
    assert_all_same,
    both,
    in_the_engine,
    lifted,
    plainly,
)
from tests.sodarace_gym.sample_walkers import fast_walkers, random_designs, raw_walkers, runner, violent, wheel
from tests.sodarace_gym.terrains.polylines import polylines, start_height


@pytest.fixture(autouse=True, scope="module")
def _the_engine_is_used() -> None:
    assert engine_agrees(), "otherwise pymunk would be compared with itself"


# ------------------------------------------------------------------------------------------------------- any batch at all

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def designs(draw: st.DrawFn) -> WalkerDesign:
    """Random, dense, loose, still, violent and evolved walkers, and whatever a careless program builds."""
    kind = draw(st.sampled_from([*KINDS, "careless"]))
    if kind != "careless":
        return KINDS[kind](np.random.default_rng(draw(SEEDS)))
    try:
        return build_design(*draw(raw_walkers()))[0]
    except ProgramError:
        assume(False)
        raise


@st.composite
def terrains(draw: st.DrawFn) -> Terrain:
    """All families at any difficulty, mirrored ones, custom ones with faces and slopes, and gravel of tiny pieces."""
    kind, rng = (
        draw(st.sampled_from(["family", "mirrored", "custom", "cave", "gravel"])),
        np.random.default_rng(draw(SEEDS)),
    )
    if kind == "custom":
        line = draw(polylines())
        return Terrain("custom", line - start_height(line))
    if kind == "cave":
        line = draw(polylines())
        room = draw(st.floats(3.0, 30.0))
        return Terrain("cave", [[-50.0, 0.0], [50.0, 0.0]], line - [0.0, line[:, 1].min() - room])  # type: ignore[arg-type]
    if kind == "gravel":
        spacing = draw(st.floats(0.15, 1.0))
        return Terrain.from_heightmap(rng.uniform(0.0, draw(st.floats(0.0, 0.5)), int(60 / spacing)), spacing)
    terrain = drawn_terrain(rng, draw(st.sampled_from(ALL_TERRAINS)))
    return terrain.mirrored() if kind == "mirrored" else terrain


@st.composite
def batches(draw: st.DrawFn) -> list[WorldArrays]:
    """Walkers on a few terrains, some with perturbed copies, some moved to where walls, bumps and ceilings are."""
    seconds = draw(st.sampled_from([0, 1, 37, 60])) / STEP_RATE
    grounds = draw(st.lists(terrains(), min_size=1, max_size=3))
    worlds = []
    for _ in range(draw(st.integers(1, 7))):
        design, ground = draw(designs()), draw(st.sampled_from(grounds))
        x = draw(st.just(0.0) | st.floats(-40.0, 40.0))
        for copy in range(draw(st.sampled_from([1, 1, 3]))):
            world = world_arrays(perturbed(design, copy) if copy else design, ground, seconds)
            worlds.append(lifted(world, x, 0.0) if x else world)
    return worlds


@settings(max_examples=250)
@given(
    worlds=batches(),
    lanes=st.sampled_from([1, 2, 3, 16]),
    record_every=st.sampled_from([0, 1, 4, 25]),
    constants=st.sampled_from([AT_ONCE, SHORT, SHORT, HURRIED]),
    data=st.data(),
)
def test_any_batch_moves_as_it_does_in_pymunk_whatever_the_company(worlds, lanes, record_every, constants, data):
    together = roll_out_worlds(worlds, constants, record_every, lanes=lanes)
    assert_all_same(together.motions, plainly(worlds, constants, record_every))
    order = data.draw(st.permutations(range(len(worlds))))
    shuffled = roll_out_worlds([worlds[number] for number in order], constants, record_every, lanes=5)
    assert_all_same(shuffled.motions, [together.motions[number] for number in order])
    assert shuffled.by_pymunk == [together.by_pymunk[number] for number in order]


@pytest.mark.parametrize("lanes", [1, 2, 3, 16])
def test_every_outcome_occurs_side_by_side(lanes):
    rng = np.random.default_rng(4)
    worlds = []
    for name in ALL_TERRAINS:
        terrain = drawn_terrain(rng, name)
        for kind in ("violent", "evolved", "dense", "loose", "random"):
            world = world_arrays(KINDS[kind](rng), terrain, 2.0)
            worlds.append(lifted(world, *rng.uniform((-40.0, -3.0), (40.0, 5.0))) if kind == "random" else world)
    motions = [motion for constants in (SHORT, HURRIED) for motion in both(worlds, constants, 5, lanes)]
    outcomes = Counter(outcome(motion) for motion in motions)
    assert set(outcomes) == {"completed", "unstable", "escaped", "unsettled"}
    assert min(outcomes.values()) >= 3, outcomes


# ------------------------------------------------------------------------------------------------------- longer roll-outs


@pytest.mark.parametrize("name", ALL_TERRAINS)
def test_whole_roll_outs_agree_bit_for_bit(name):
    terrain = make_terrain(name, seed=3)
    worlds = [world_arrays(design, terrain, 10.0) for design in [*random_designs(8, 6), *fast_walkers()[:4], wheel()]]
    motions = both(worlds, CONSTANTS, 3)
    assert all(motion.status == COMPLETED for motion in motions)
    assert len({motion.settling_steps for motion in motions}) > 1
    assert max(abs(motion.end - motion.start) for motion in motions) > 1.0


@pytest.mark.parametrize("name", TERRAIN_NAMES)
def test_violent_walkers_agree_too(name):
    terrain = make_terrain(name)
    designs = [violent(design, factor) for design in [*random_designs(21, 6), wheel()] for factor in (4.0, 12.0)]
    statuses = [motion.status for motion in both([world_arrays(d, terrain, 4.0) for d in designs], SHORT, 5)]
    assert {COMPLETED, UNSTABLE} <= set(statuses)


@pytest.mark.parametrize("lanes", [1, 16])
def test_the_largest_walker_agrees(lanes):
    both([world_arrays(runner(), make_terrain(name), 2.0) for name in ("Bumpy", "Stairs")], SHORT, 7, lanes)


@pytest.mark.parametrize("record_every", [0, 1, 9, 10, 1000])
def test_recording_changes_nothing_but_the_frames(record_every):
    world = world_arrays(wheel(), make_terrain("Flat"), 1.0)
    (quiet,), (motion,) = in_the_engine([world], SHORT, 0), both([world], SHORT, record_every)
    assert motion[:-1] == quiet[:-1]
    steps = STEP_RATE
    assert len(motion.frames) == (steps // record_every + 1 if record_every else 0)
    if record_every:
        centres = motion.frames[:, :, 0].mean(axis=1)
        assert centres[0] == pytest.approx(motion.start, abs=1e-12)
        if steps % record_every == 0:
            assert centres[-1] == pytest.approx(motion.end, abs=1e-12)


def test_threads_do_not_disturb_each_other():
    worlds = [
        world_arrays(design, make_terrain(name), 3.0)
        for design in [*random_designs(5, 5), wheel(), violent(wheel(), 12.0)]
        for name in TERRAIN_NAMES
    ]
    together = in_the_engine(worlds, SHORT, 10)
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda start: in_the_engine(worlds[start::5], SHORT, 10, 3), list(range(5)) * 2))
    for start, part in enumerate(parts):
        assert_all_same(part, together[start % 5 :: 5])


@pytest.mark.parametrize("constants", [AT_ONCE, SHORT], ids=["at once", "settled"])
def test_negative_zeros_and_walks_of_no_steps(constants):
    design = build_design([(-2.0, 1.0), (0.0, 0.0), (2.0, 1.0)], [(0, 1, True, 0.0, 0.0), (1, 2, False, 0.5, 1.0)])[0]
    world = world_arrays(design, make_terrain("Flat"), 0.0)
    mirrored = world._replace(joints=world.joints * [-1.0, 1.0])
    assert np.signbit(mirrored.joints[1, 0])
    motions = both([world, mirrored, world], constants, 1)
    assert all(motion.settled and motion.start == motion.end and len(motion.frames) == 1 for motion in motions)


def test_no_walkers_are_no_trouble_and_walkers_that_walk_for_different_times_are_refused():
    assert roll_out_worlds([]).motions == []
    worlds = [world_arrays(wheel(), make_terrain("Flat"), seconds) for seconds in (1.0, 2.0)]
    with pytest.raises(ValueError, match="equally long"):
        roll_out_worlds(worlds)


def test_batches_leave_no_memory_behind():
    psutil = pytest.importorskip("psutil")
    worlds = [
        world_arrays(design, make_terrain(name), 2 / STEP_RATE)
        for name in ("Bumpy", "Flat")
        for design in (wheel(), violent(runner(), 1e4))
    ]
    steps = AT_ONCE._replace(settling_steps=CHECK_EVERY, calm_checks=2)

    def run(count: int) -> None:
        for _ in range(count):
            in_the_engine(worlds, steps, 1)

    run(30)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for _ in range(10):
        run(30)
        # Looked at all along, so that a leak fails the test before it fills the machine. A batch takes 0.5 MB.
        assert psutil.Process().memory_info().rss - before < 20e6


def test_fast_walkers_are_fast():
    """The committed winners, which other tests throw at walls, still are what they are meant to be."""
    flat = make_terrain("Flat")
    motions = in_the_engine([world_arrays(design, flat, 10.0) for design in fast_walkers()], CONSTANTS)
    distances = [abs(motion.end - motion.start) for motion in motions]
    assert max(distances) > 30.0
    assert sorted(distances)[len(distances) // 2] > 15.0
