"""What is reachable: bounds that hold for every walker, builders that hit what they aim at, and the committed result."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.niche_walkers import (
    HIGH,
    SPEC,
    STEP,
    built_for,
    changed,
    every_niche,
    excluded,
    fewest_joints,
    joined,
    least_mass,
    most_mass,
    niche_of,
    scattered,
)
from benchmarks.reachable_niches import Search, bred_masses, build_for_all, climb, heaviest, mass_shares, random_walkers
from benchmarks.tables import RESULTS
from elm_rl.evolution.measures import MEASURES
from sodarace_gym.errors import ProgramError
from sodarace_gym.physics.constants import CONSTANTS
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.walker import MAX_MUSCLES_PER_JOINT, build_design
from tests.sodarace_gym.sample_walkers import raw_walkers

NICHES = list(every_niche())


@settings(max_examples=60, deadline=None)
@given(raw_walkers())
def test_no_walker_breaks_a_bound(parts) -> None:
    try:
        design, _ = build_design(*parts)
    except ProgramError:
        assume(False)
    slack = 1e-9 * (1.0 + design.mass)
    assert least_mass(design.height, design.width) <= design.mass + slack
    assert design.mass <= most_mass(design.height, design.width) + slack
    assert fewest_joints(niche_of(design)) <= len(design.joints)
    assert not excluded(niche_of(design))


def test_the_bounds_exclude_what_nobody_could_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer muscles or finer bins of mass there are niches without walkers, and they are found."""
    assert not any(map(excluded, NICHES))
    monkeypatch.setattr("benchmarks.niche_walkers.MAX_MUSCLES", 100)
    assert excluded((0, 0, 11))  # 64 joints and 100 muscles of 3.2 weigh 224
    assert not excluded((11, 11, 11))
    monkeypatch.setattr("benchmarks.niche_walkers.STEP", STEP * (1.0, 1.0, 0.5))
    assert excluded((11, 11, 0))  # lighter than 12.5, and 35 long
    assert not excluded((0, 0, 0))


@pytest.mark.parametrize("niche", [(0, 0, 0), (2, 2, 6), (11, 11, 0), (11, 11, 11), (3, 8, 4), (0, 11, 7), (11, 0, 2)])
def test_builders_hit_the_niche_they_aim_at(niche) -> None:
    rng = np.random.default_rng(1)
    built = [design for _ in range(60) if (design := built_for(niche, rng)) is not None]
    assert built
    assert {niche_of(design) for design in built} == {niche}
    beside = (min(11, niche[0] + 1), max(0, niche[1] - 1), niche[2])
    moved = [design for one in built for _ in range(5) if (design := changed(one, beside, rng)) is not None]
    assert {niche_of(design) for design in moved} == {beside}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(1.0, 900.0), st.sampled_from(["short", "long", "any", ""]))
def test_muscles_hold_a_walker_together_and_never_pass_the_mass(
    seed: int, joints: int, mass: float, first: str
) -> None:
    rng = np.random.default_rng(seed)
    points = scattered(np.array([20.0, 10.0]), joints, 1.0, rng)
    muscles = joined(points, mass, rng, first)
    if muscles is None:
        return
    design, repairs = build_design([(x, y) for x, y in points.tolist()], muscles)
    assume("merged_joints" not in repairs)
    assert "dropped_parts" not in repairs
    assert "dropped_muscles" not in repairs
    assert design.mass <= mass + 1e-9
    ends = np.array([(muscle.a, muscle.b) for muscle in design.muscles])
    assert np.bincount(ends.ravel()).max() <= max(MAX_MUSCLES_PER_JOINT, joints - 1)


def test_a_search_finds_walkers_for_empty_niches_and_keeps_what_walks_farthest() -> None:
    rng = np.random.default_rng(0)
    search = Search()
    met = random_walkers(60, search, rng, stretch=True)
    assert met.sum() <= 60
    assert set(map(tuple, np.argwhere(met > 0).tolist())) == set(search.walkers)
    some_walker = next(iter(search.walkers.values()))
    wanted = [niche for niche in NICHES[::150] if niche not in search.walkers]
    search.walkers |= {niche: some_walker for niche in search.empty if niche not in wanted}
    assert search.empty == wanted
    before = search.tried
    build_for_all(search, rng, rounds=1)
    assert search.tried - before <= len(wanted)
    reached = [niche for niche in wanted if niche in search.walkers]
    assert len(reached) >= 8
    ground = make_terrain("Flat")
    for niche in reached[:3]:
        assert niche_of(search.walkers[niche]) == niche
        rollout = roll_out(search.walkers[niche], ground)
        assert rollout.fault is None
        assert abs(rollout.displacement) == search.distances[niche]


def test_of_two_walkers_in_a_niche_the_farther_one_stays_and_a_failed_one_reaches_nothing() -> None:
    rng = np.random.default_rng(2)
    built = [design for _ in range(40) if (design := built_for((4, 4, 3), rng)) is not None]
    search = Search()
    search.offer(built)
    distances = [abs(roll_out(design, make_terrain("Flat")).displacement) for design in built]
    assert search.distances == {(4, 4, 3): max(distances)}
    failing = Search()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sodarace_gym.physics.rollout.CONSTANTS", CONSTANTS._replace(max_speed=0.01))
        failing.offer(built[:1])
    assert failing.walkers == {}
    assert failing.faults == {"unstable": 1}


def test_hill_climbing_reaches_a_niche_from_the_one_beside_it() -> None:
    rng = np.random.default_rng(0)
    start = next(design for _ in range(50) if (design := built_for((4, 4, 3), rng)) is not None)
    search = Search()
    search.offer([start])
    others = [niche for niche in NICHES if niche not in {(4, 4, 3), (4, 5, 3)}]
    search.walkers |= dict.fromkeys(others, start)
    climb(search, rng, rounds=3, neighbours=8)
    assert search.empty == []
    assert niche_of(search.walkers[4, 5, 3]) == (4, 5, 3)


def test_masses_of_a_run(tmp_path: Path) -> None:
    records = [
        {"archive": "square", "niche": 1, "mass": 10.0},
        {"archive": "square", "niche": 1, "mass": 20.0},
        {"archive": "radial", "niche": 1, "mass": 900.0},
        {"archive": "square", "niche": 2, "mass": 26.0},
    ]
    (tmp_path / "admitted.jsonl").write_text("\n".join(map(json.dumps, records)))
    shares = bred_masses(tmp_path)
    assert shares["admitted in a run"].tolist() == [0.5, 0.25, *[0.0] * 9, 0.25]
    assert shares["its elites"] == pytest.approx([1 / 3, 1 / 3, *[0.0] * 9, 1 / 3])
    assert mass_shares(np.array([])).tolist() == [0.0] * 12


def test_the_heaviest_walker_is_beyond_the_range_and_within_the_limits() -> None:
    assert HIGH[2] < heaviest(np.random.default_rng(0)) <= most_mass(24.0, 30.0)


def test_the_committed_result_and_the_page_say_the_same() -> None:
    result = (RESULTS / "reachable_niches.md").read_text(encoding="utf-8")
    page = (Path(__file__).resolve().parents[2] / "docs" / "archives.md").read_text(encoding="utf-8")
    assert f"**{math.prod(SPEC.bins):,} of {math.prod(SPEC.bins):,} niches are reached**" in result
    assert "exclude 0 niches" in result
    assert "| 771 | 771 |" in result
    assert "meet 771;" in page
    assert (RESULTS / "reachable_niches.png").exists()
    for measure in MEASURES.values():
        assert f"| `{measure.name}` | {measure.unit} | {measure.low:g} to {measure.high:g} |" in page
