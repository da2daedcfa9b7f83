"""The regressor and the choices from a table, on walkers whose distances are a known function of the terrain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from elm_rl.corpus.walker_regressor import WalkerRegressor, terrain_summary
from elm_rl.errors import ConfigError
from elm_rl.judging.selection_baselines import best_single, greedy_portfolio, nearest_terrain, regressor_choice
from sodarace_gym.terrains.terrain import Terrain


def slope(steepness: float) -> Terrain:
    floor = np.array([[-40.0, 0.0], [17.0, 0.0], [80.0, 63.0 * steepness]])
    return Terrain("slope", floor)


STEEPNESS = np.linspace(-0.4, 0.4, 33)
TERRAINS = [slope(each) for each in STEEPNESS]
# Three walkers: one for slopes downhill, one for the level, one for slopes uphill; and one that is never best.
BEST_AT = np.array([-0.4, 0.0, 0.4])
CLEAN = np.concatenate([60.0 * np.exp(-20.0 * (STEEPNESS[:, None] - BEST_AT) ** 2), np.full((33, 1), 25.0)], axis=1)


def test_a_summary_sees_floor_roughness_and_room() -> None:
    flat, uphill = slope(0.0), slope(0.3)
    assert terrain_summary(flat).shape == (48,)
    assert not terrain_summary(flat)[:32].any()
    assert terrain_summary(uphill)[15] > terrain_summary(uphill)[12] > 0
    low = Terrain("low", flat.floor, np.array([[-50.0, 30.0], [20.0, 30.0], [21.0, 5.0], [40.0, 5.0]]))
    assert terrain_summary(low)[32:].min() == pytest.approx(5.0)


def test_a_regressor_smooths_luck_and_knows_terrains_it_never_saw() -> None:
    rng = np.random.default_rng(0)
    lucky = np.maximum(0.0, CLEAN + rng.normal(0.0, 12.0, CLEAN.shape))
    shown = np.arange(33) % 3 != 1
    regressor = WalkerRegressor(list(itertools.compress(TERRAINS, shown)), lucky[shown])
    predicted = regressor.predict(list(itertools.compress(TERRAINS, ~shown)))
    error = np.abs(predicted - CLEAN[~shown]).mean()
    assert error < 0.85 * np.abs(lucky - CLEAN).mean()
    choice = [each[0] for each in regressor_choice(regressor, [slope(-0.35), slope(0.01), slope(0.38)])]
    assert choice == [0, 1, 2]
    assert regressor.error == pytest.approx(12.0, rel=0.5)


def test_choices_from_a_table() -> None:
    assert best_single(CLEAN) == [1]
    assert best_single(CLEAN, 4)[0] == 1
    assert nearest_terrain(TERRAINS, CLEAN, [slope(-0.36), slope(0.02), slope(0.33)]) == [[0], [1], [2]]
    portfolio = greedy_portfolio(CLEAN, 3)
    assert portfolio[0] == 1
    assert sorted(portfolio) == [0, 1, 2]
    assert sorted(greedy_portfolio(CLEAN, 9)) == [0, 1, 2, 3]


def test_no_greedy_portfolio_is_far_from_the_best_one() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        distances = rng.gamma(1.0, 20.0, size=(12, 9))
        found = distances[:, greedy_portfolio(distances, 3)].max(axis=1).mean()
        best = max(distances[:, list(each)].max(axis=1).mean() for each in itertools.combinations(range(9), 3))
        assert best >= found >= best / 1.59


def test_too_few_terrains_are_explained() -> None:
    with pytest.raises(ConfigError, match="10 terrains or more"):
        WalkerRegressor(TERRAINS[:5], CLEAN[:5])
    with pytest.raises(ConfigError, match="shape"):
        WalkerRegressor(TERRAINS, CLEAN[:5])
