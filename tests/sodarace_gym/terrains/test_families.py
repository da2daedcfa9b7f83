"""The families beyond the paper's five: what each promises, that difficulty grades it, and that physics copes with it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sodarace_gym.physics.constants import ESCAPE_DEPTH
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.terrains.families import (
    FAMILIES,
    SECTION_FAMILIES,
    Burrow,
    Cave,
    DownSlope,
    Gaps,
    Hills,
    Hurdles,
    Ledges,
    Mixed,
    Pits,
    Rough,
    Stairs,
    Stalactites,
    UpSlope,
)
from sodarace_gym.terrains.family import COURSE_LENGTH, SUMMIT, Stretch, TerrainFamily, join
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import SKY, START_HALF_WIDTH, WORLD_HALF_WIDTH, Terrain
from sodarace_gym.walkers.walker import MAX_HEIGHT
from tests.sodarace_gym.sample_walkers import fast_walkers, wheel

CASES = [(name, difficulty) for name in FAMILIES for difficulty in (0.0, 0.5, 1.0)]
SEEDS = st.integers(0, 2**32)
DIFFICULTIES = st.floats(0.0, 1.0)


def sides(line: np.ndarray) -> list[np.ndarray]:
    """The right and the left side of a line, going outwards from the start area, without the far ends."""
    right, left = line[line[:, 0] >= START_HALF_WIDTH], line[line[:, 0] <= -START_HALF_WIDTH][::-1] * [-1.0, 1.0]
    return [side[:-1] for side in (right, left)]


def drawn(family: TerrainFamily, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Floor and ceiling of both sides of a terrain of a family."""
    terrain = family.terrain(seed)
    return sides(terrain.floor), [] if terrain.ceiling is None else sides(terrain.ceiling)


def slopes(side: np.ndarray) -> np.ndarray:
    """Angles of the pieces, degrees."""
    run, rise = np.diff(side, axis=0).T
    return np.degrees(np.arctan2(rise, run))


# --------------------------------------------------------------------------------------------------- what all have


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=15)
@given(seed=SEEDS, difficulty=DIFFICULTIES)
def test_every_walker_starts_on_flat_open_ground_and_the_course_is_long(name, seed, difficulty):
    terrain = make_terrain(name, seed, difficulty)
    assert terrain.name == name
    xs = np.linspace(-START_HALF_WIDTH + 1e-9, START_HALF_WIDTH - 1e-9, 101)
    assert (np.interp(xs, *terrain.floor.T) == 0.0).all()
    if terrain.ceiling is not None:
        assert (np.interp(xs, *terrain.ceiling.T) == SKY).all()
    for line in (terrain.floor, terrain.ceiling):
        if line is not None:
            assert (line[0, 0], line[-1, 0]) == (-WORLD_HALF_WIDTH, WORLD_HALF_WIDTH)
            assert (line[0, 1], line[-1, 1]) == (line[1, 1], line[-2, 1])
            assert len(line) <= 250, "each piece costs time in every roll-out"
            assert (np.diff(line, axis=0) != 0.0).any(axis=1).all()
    assert all(side[-1, 0] >= START_HALF_WIDTH + COURSE_LENGTH - 1e-6 for side in sides(terrain.floor))
    assert terrain.floor[:, 1].max() + MAX_HEIGHT < SKY


@pytest.mark.parametrize("name", FAMILIES)
def test_seed_and_difficulty_make_the_terrain_and_nothing_else(name):
    terrain = make_terrain(name, 7, 0.4)
    assert terrain.key == make_terrain(name, 7, 0.4).key
    assert terrain.key != make_terrain(name, 8, 0.4).key
    assert terrain.key != make_terrain(name, 7, 0.6).key
    assert terrain.key != terrain.mirrored().key, "the two sides are drawn apart"
    assert make_terrain(name, 7).key == make_terrain(name, 7, 0.5).key == FAMILIES[name]().terrain(7).key


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_both_sides_are_hard_and_an_agent_sees_it(name, seed):
    terrain = make_terrain(name, seed, 1.0)
    flat = make_terrain("Flat").profile()
    profile = terrain.profile()
    for half in (slice(None, 20), slice(-20, None)):
        departure = max(np.abs(profile[part] - flat[part])[half].max() for part in ("floor", "ceiling"))
        assert departure > 1.0


def test_the_families_have_names_of_their_own():
    assert len(FAMILIES) >= 10
    assert all(family.__name__ == name for name, family in FAMILIES.items())
    assert len({make_terrain(name).key for name in FAMILIES}) == len(FAMILIES)


def test_a_climb_ends_below_the_sky():
    floor = UpSlope(angle=45.0).terrain(1).floor
    assert floor[:, 1].max() == floor[0, 1] == floor[-1, 1] == SUMMIT


# ------------------------------------------------------------------------------------------------------ parameters


def test_difficulty_moves_every_parameter_along_its_line():
    for family in FAMILIES.values():
        easy, middle, hard = (family.at(difficulty) for difficulty in (0.0, 0.5, 1.0))
        assert family() == middle
        for parameter, grade in family.grades().items():
            assert getattr(easy, parameter) == grade.easy
            assert getattr(hard, parameter) == grade.hard
            assert getattr(middle, parameter) == pytest.approx(0.5 * (grade.easy + grade.hard))
            assert grade.least <= min(grade.easy, grade.hard)
            assert grade.most >= max(grade.easy, grade.hard)
            assert grade.unit
            assert grade.meaning


def test_a_parameter_set_by_hand_is_not_graded():
    family = Gaps.at(0.3, width=6.5)
    assert family.width == 6.5
    assert family.spacing == Gaps.at(0.3).spacing
    assert make_terrain("Gaps", 2, 0.3, width=6.5).key == family.terrain(2).key
    assert make_terrain("Gaps", 2, np.float32(0.5), width=np.int64(6)).key == Gaps.at(0.5, width=6).terrain(2).key


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"difficulty": 1.01}, "difficulty: expected a number from 0"),
        ({"difficulty": -0.1}, "-0.1"),
        ({"difficulty": math.nan}, "nan"),
        ({"difficulty": True}, "True"),
        ({"difficulty": "hard"}, "'hard'"),
        ({"depht": 3.0}, "no parameter 'depht'; expected one of width, spacing, depth"),
        ({"width": 0.0}, "width: expected 0.1 to 100 units, got 0.0"),
        ({"width": math.inf}, "got inf"),
        ({"spacing": "wide"}, "got 'wide'"),
        ({"seed": -1}, "at least 0"),
    ],
)
def test_bad_arguments_are_refused_with_what_was_expected(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_terrain("Gaps", **arguments)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=15)
@given(data=st.data())
def test_every_parameter_within_its_bounds_makes_a_terrain(name, data):
    grades = FAMILIES[name].grades()
    values = {key: data.draw(st.floats(grade.least, grade.most), label=key) for key, grade in grades.items()}
    assert isinstance(FAMILIES[name](**values).terrain(data.draw(SEEDS)), Terrain)


# -------------------------------------------------------------------------------- what each family's parameters say


@given(SEEDS, DIFFICULTIES)
def test_hills_roll_between_the_start_and_their_height(seed, difficulty):
    family = Hills.at(difficulty)
    for side in drawn(family, seed)[0]:
        assert side[:, 1].min() >= -1e-9
        assert 0.6 * family.height <= side[:, 1].max() <= family.height + 1e-9
        assert np.abs(slopes(side)).max() < 65.0


@given(SEEDS, DIFFICULTIES)
def test_slopes_go_up_and_down_at_their_angle(seed, difficulty):
    up, down = UpSlope.at(difficulty), DownSlope.at(difficulty)
    for side in drawn(up, seed)[0]:
        assert (slopes(side) > 0.6 * up.angle).all()
        assert (slopes(side) < 1.3 * up.angle + 1e-9).all()
    for side in drawn(down, seed)[0]:
        # Every third piece is ground between ridges, the others are a ridge's two faces.
        assert np.allclose(slopes(side)[::3], -down.angle)
        line = -math.tan(math.radians(down.angle)) * (side[:, 0] - START_HALF_WIDTH)
        heights = (side[:, 1] - line)[2::3]
        assert (heights <= down.ridge + 1e-9).all()
        assert (heights >= 0.6 * down.ridge - 1e-9).all()


@given(SEEDS, DIFFICULTIES)
def test_stairs_and_ledges_are_made_of_treads_and_risers(seed, difficulty):
    stairs, ledges = Stairs.at(difficulty), Ledges.at(difficulty)
    for family, least, most in ((stairs, stairs.riser, stairs.riser), (ledges, 0.6 * ledges.rise, ledges.rise)):
        for side in drawn(family, seed)[0]:
            run, rise = np.diff(side, axis=0).T
            assert ((run == 0.0) | (rise == 0.0)).all()
            steps = rise[run == 0.0]
            assert (np.abs(steps) >= least - 1e-9).all()
            assert (np.abs(steps) <= most + 1e-9).all()
            assert (steps > 0.0).all() == (family is ledges), "ledges go up, stairs up and down"
            treads = run[run > 0.0]
            mean = stairs.tread if family is stairs else ledges.spacing
            assert (treads >= 0.7 * mean - 1e-9).all()
            # After its last step a flight may turn on the tread it ends on.
            assert (treads <= 1.3 * mean + 1e-9).all()


@given(SEEDS, DIFFICULTIES)
def test_hurdles_and_gaps_stand_out_of_level_ground(seed, difficulty):
    hurdles, gaps = Hurdles.at(difficulty), Gaps.at(difficulty)
    for side in drawn(hurdles, seed)[0]:
        assert set(slopes(side).round(9)) <= {-90.0, 0.0, 90.0}
        heights = side[:, 1][side[:, 1] > 0.0]
        assert (heights >= 0.6 * hurdles.height - 1e-9).all()
        assert (heights <= hurdles.height + 1e-9).all()
    for side in drawn(gaps, seed)[0]:
        assert set(side[:, 1]) == {0.0, -gaps.depth}
        bottoms = side[side[:, 1] < 0.0]
        widths = bottoms[1::2, 0] - bottoms[::2, 0]
        assert (widths >= 0.6 * gaps.width - 1e-9).all()
        assert (widths <= gaps.width + 1e-9).all()


@given(SEEDS, DIFFICULTIES)
def test_pits_go_down_and_rough_ground_stays_within_its_scales(seed, difficulty):
    pits, rough = Pits.at(difficulty), Rough.at(difficulty)
    for side in drawn(pits, seed)[0]:
        assert side[:, 1].max() == 0.0
        assert -pits.depth - 1e-9 <= side[:, 1].min() <= -0.7 * pits.depth
        assert np.abs(slopes(side)).max() <= math.degrees(math.atan2(pits.depth, pits.side)) + 1e-6
    for side in drawn(rough, seed)[0]:
        assert np.abs(side[:, 1]).max() <= rough.height * sum(0.62**octave for octave in range(4))
        assert np.ptp(side[:, 1]) > 0.3 * rough.height


@given(SEEDS, DIFFICULTIES)
def test_roofs_leave_the_clearance_they_promise(seed, difficulty):
    stalactites, cave, burrow = (family.at(difficulty) for family in (Stalactites, Cave, Burrow))
    for ceiling in drawn(stalactites, seed)[1]:
        heights = ceiling[1:, 1]
        assert heights.min() >= stalactites.clearance
        assert heights.min() <= stalactites.clearance + 0.3 * (stalactites.roof - stalactites.clearance)
        assert heights.max() == stalactites.roof
    for ceiling in drawn(cave, seed)[1]:
        assert ceiling[1:, 1].min() >= cave.narrow
        assert ceiling[1:, 1].max() <= cave.wide + 1e-9
    for floor, ceiling in zip(*drawn(burrow, seed), strict=True):
        assert np.allclose(np.interp(floor[1:, 0], *ceiling[1:].T) - floor[1:, 1], burrow.clearance)


def test_stretches_are_joined_end_to_end():
    up = Stretch([(0.0, 0.0), (5.0, 2.0)])
    low = Stretch([(0.0, 0.0), (4.0, -1.0)], [(0.0, 3.0), (4.0, 2.5)])
    joined = join([up, low, up])
    assert list(dict.fromkeys(joined.floor)) == [(0.0, 0.0), (5.0, 2.0), (9.0, 1.0), (14.0, 3.0)]
    assert joined.ceiling == [(0.0, SKY), (5.0, SKY), (5.0, 5.0), (9.0, 4.5), (9.0, SKY), (14.0, SKY)]
    assert join([up, up]).ceiling is None


def test_mixed_courses_hold_many_families_at_their_difficulty(monkeypatch):
    used = []
    for family in SECTION_FAMILIES:
        original = family.stretch

        def spy(self, rng, length, original=original):
            used.append(self)
            return original(self, rng, length)

        monkeypatch.setattr(family, "stretch", spy)
    for seed in range(10):
        Mixed.at(0.7).terrain(seed)
    assert {type(section) for section in used} == set(SECTION_FAMILIES)
    assert all(section == type(section).at(0.7) for section in used)
    alike = sum(type(one) is type(other) for one, other in itertools.pairwise(used))
    assert alike <= 20, "only where one side ends and the next begins"


# --------------------------------------------------------------------------------------------------------- physics


def burial(terrain: Terrain, points: np.ndarray) -> float:
    """How deep the deepest of the points, shape (points, 2), is inside the ground or the ceiling; 0.0 if none is."""
    deepest = 0.0
    for line, inwards in ((terrain.floor, 1.0), (terrain.ceiling, -1.0)):
        if line is None:
            continue
        # At a vertical face a point counts as inside if it is so on both sides.
        near = [np.interp(np.nextafter(points[:, 0], side), *line.T) for side in (-np.inf, np.inf)]
        surface = np.minimum(*near) if inwards > 0.0 else np.maximum(*near)
        inside = points[inwards * (surface - points[:, 1]) > 0.0]
        if len(inside):
            start, along = line[:-1], np.diff(line, axis=0)
            share = ((inside[:, None] - start) * along).sum(axis=2) / (along**2).sum(axis=1)
            nearest = start + np.clip(share, 0.0, 1.0)[..., None] * along
            deepest = max(deepest, float(np.linalg.norm(inside[:, None] - nearest, axis=2).min(axis=1).max()))
    return deepest


@pytest.mark.parametrize(("name", "difficulty"), CASES)
def test_real_walkers_stay_out_of_the_ground_and_are_not_said_to_be_in_it(name, difficulty):
    terrain = make_terrain(name, 1, difficulty)
    for design in [wheel(), *fast_walkers()[::3]]:
        rollout = roll_out(design, terrain, record=True)
        assert rollout.fault != "escaped"
        if rollout.fault is None:
            assert burial(terrain, rollout.trajectory.reshape(-1, 2)) < 0.75 * ESCAPE_DEPTH


@pytest.mark.parametrize("name", ["Gaps", "Pits", "Hurdles", "Burrow"])
def test_plain_pymunk_walks_there_just_the_same(name):
    terrain = make_terrain(name, 2, 0.8)
    compiled, plain = (roll_out(wheel(), terrain, 4.0, engine=engine) for engine in ("compiled", "pymunk"))
    assert compiled.displacement == plain.displacement != 0.0


def test_a_mirrored_walker_on_the_mirrored_terrain_goes_the_mirrored_way():
    for name in ("Hills", "Gaps", "Stalactites"):
        terrain = make_terrain(name, 3, 0.3)
        there, back = roll_out(wheel(), terrain, 2.0), roll_out(wheel().mirrored(), terrain.mirrored(), 2.0)
        assert there.displacement == pytest.approx(-back.displacement, rel=1e-3)
