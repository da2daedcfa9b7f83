"""Draws and splits: what may be drawn, that it is reproducible, and that nothing of one split is in another."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.distribution import (
    SPLIT_DIFFICULTIES,
    SPLITS,
    TerrainDistribution,
    TerrainDraw,
    terrain_split,
)
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.texts import terrain_from_text
from tests.sodarace_gym.sample_walkers import square

NAMES = (*TERRAIN_NAMES, *FAMILIES)


@given(
    families=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    bounds=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2).map(sorted).map(tuple) | st.floats(0.0, 1.0),
    split=st.sampled_from(sorted(SPLITS)),
    seed=st.integers(0, 2**32),
)
def test_draws_are_repeatable_and_within_what_is_allowed(families, bounds, split, seed):
    distribution = TerrainDistribution(families, bounds, split)
    draws = [distribution.draw(rng) for rng in (np.random.default_rng(seed), np.random.default_rng(seed))]
    assert draws[0] == draws[1]
    draw = draws[0]
    least, greatest = bounds if isinstance(bounds, tuple) else (bounds, bounds)
    assert draw.family in families
    assert draw.seed in SPLITS[split]
    assert least <= draw.difficulty <= greatest
    assert draw.terrain().name == draw.family
    assert draw.terrain().key == draws[1].terrain().key


def test_everything_allowed_comes_up():
    rng = np.random.default_rng(0)
    draws = [TerrainDistribution().draw(rng) for _ in range(400)]
    assert {draw.family for draw in draws} == set(FAMILIES)
    assert len({draw.seed for draw in draws}) > 390
    assert np.histogram([draw.difficulty for draw in draws], bins=4, range=(0.0, 1.0))[0].min() > 60


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_names_its_terrain(name):
    expected = make_terrain(name, 5) if name in TERRAIN_NAMES else make_terrain(name, 5, 0.25)
    assert TerrainDraw(name, 5, 0.25).terrain().key == expected.key
    assert terrain_from_text(TerrainDraw(name, 5, 0.25).text).key == expected.key


def test_splits_share_no_seed_and_no_terrain():
    for one, other in itertools.combinations(SPLITS.values(), 2):
        assert not set(one[:: len(one) - 1]) & set(other)
        assert one.stop <= other.start or other.stop <= one.start
    keys = {split: {draw.terrain().key for draw in terrain_split(split)} for split in SPLITS}
    for one, other in itertools.combinations(keys.values(), 2):
        assert not one & other
    assert {len(found) for found in keys.values()} == {len(FAMILIES) * len(SPLIT_DIFFICULTIES) * 2}


def test_a_split_lists_the_same_terrains_for_everybody():
    draws = terrain_split("test", ["Gaps", "Flat"])
    assert draws[:3] == [
        TerrainDraw("Gaps", 2_000_000, 0.0),
        TerrainDraw("Gaps", 2_000_001, 0.0),
        TerrainDraw("Gaps", 2_000_000, 0.25),
    ]
    assert [draw.family for draw in draws] == ["Gaps"] * 10 + ["Flat"] * 2
    assert terrain_split("test", ["Gaps", "Flat"]) == draws
    assert [draw for draw in terrain_split("test") if draw.family == "Gaps"] == draws[:10]


def test_a_draw_is_taken_wherever_a_terrain_is():
    draws = [TerrainDraw("Gaps", 5, 0.25), TerrainDraw("Bumpy", 3, 0.7), TerrainDraw("Flat", 0, 0.0)]
    program = square().to_program()
    with Evaluator(n_jobs=1, duration=1.0) as evaluator:
        expected = evaluator.evaluate([program] * 3, [draw.terrain() for draw in draws])
        assert evaluator.evaluate([program] * 3, draws) == expected
        assert evaluator.evaluate([program] * 3, [draws[0], draws[1].terrain(), "Flat"]) == expected
        assert evaluator.evaluate([program] * 2, draws[0]) == [expected[0]] * 2
        for wrong in (TerrainDraw("Moon", 0, 0.0), [TerrainDraw("Gaps", [], 0.0)], TerrainDraw("Gaps", 0, "hard")):
            with pytest.raises(ValueError, match=r"unknown terrain 'Moon'|seed: expected|difficulty: expected"):
                evaluator.evaluate([program], wrong)
    for draw in draws:
        for name in ("Sodarace-Flat-v0", "SodaraceControl-Flat-v0"):
            env = gym.make(f"sodarace_gym:{name}", terrain=draw).unwrapped
            env.reset()
            assert env.terrain == draw.terrain()
    env = gym.make("sodarace_gym:Sodarace-Flat-v0").unwrapped
    env.reset(options={"terrain": draws[0]})
    assert env.terrain == draws[0].terrain()
    env = gym.make("sodarace_gym:Sodarace-Flat-v0", terrain=draws[0]).unwrapped
    env.reset(options={"terrain_seed": 6})
    assert env.terrain == TerrainDraw("Gaps", 6, 0.25).terrain()
    with pytest.raises(ValueError, match="terrain_seed: a TerrainDraw brings its own"):
        gym.make("sodarace_gym:Sodarace-Flat-v0", terrain=draws[0], terrain_seed=4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"families": ["Moon"]}, "families: .*Hills.*Moon"),
        ({"families": "Hills"}, "in a list, got 'Hills'"),
        ({"families": []}, "one or more"),
        ({"difficulty": 1.5}, "difficulty.*1.5"),
        ({"difficulty": (0.5, 0.2)}, "least before the greatest"),
        ({"difficulty": (0.1, 0.2, 0.3)}, "least, greatest"),
        ({"difficulty": (0.1, float("nan"))}, "nan"),
        ({"split": "exam"}, "train, validation, test.*'exam'"),
    ],
)
def test_bad_distributions_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        TerrainDistribution(**arguments)
    if "split" in arguments:
        with pytest.raises(ValueError, match=words):
            terrain_split(**arguments)
