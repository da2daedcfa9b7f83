"""What a policy is to learn: the best of each terrain by a score that luck does not raise, known or expected."""

from __future__ import annotations

import numpy as np
import pytest

from elm_rl.corpus.cross_table import CrossTable, TableWalker
from elm_rl.errors import ConfigError
from elm_rl.inventor.targets import TargetConfig, best_walkers, choose_targets, drawn_walkers, table_scores
from sodarace_gym.terrains.distribution import TerrainDistribution, TerrainDraw

DRAWS = [TerrainDraw("UpSlope", seed, seed / 12) for seed in range(12)]
WALKERS = [
    TableWalker(f"program {number}", bytes([number]), 0, number, "square", 1.0, 1.0, 1.0, 1.0) for number in range(3)
]


def table() -> CrossTable:
    """A steady walker, a lucky one, and one that is worse on steep terrain."""
    steepness = np.array([draw.difficulty for draw in DRAWS])
    steady = np.stack([np.full(12, 20.0)] * 3, axis=1)
    lucky = np.stack([np.full(12, 50.0), np.full(12, 5.0), np.full(12, 9.0)], axis=1)
    level = np.stack([40.0 - 40.0 * steepness] * 3, axis=1)
    distances = np.stack([steady, lucky, level], axis=1).astype(np.float32)
    return CrossTable(WALKERS, {draw.text: draw.terrain() for draw in DRAWS}, distances)


def test_luck_does_not_count() -> None:
    found = table()
    easy, hard = 0, -1
    for score, best_when_easy, best_when_hard in (("plain", 1, 1), ("least", 2, 0), ("mean", 2, 0)):
        targets = choose_targets(found, TargetConfig(score=score, per_terrain=2))  # type: ignore[arg-type]
        assert [target.text for target in targets] == list(found.terrains)
        assert (targets[easy].walkers[0], targets[hard].walkers[0]) == (best_when_easy, best_when_hard)
        assert all(len(target.walkers) == 2 and target.scores == sorted(target.scores)[::-1] for target in targets)
    assert table_scores(found, "mean")[0].tolist() == pytest.approx([20.0, 7.0, 40.0])


def test_terrains_that_nobody_tried_get_what_is_expected() -> None:
    found = table()
    config = TargetConfig(per_terrain=1, labelled=30, smoothed=True)
    slopes = TerrainDistribution(["UpSlope"], (0.0, 1.0), "validation")
    targets = choose_targets(found, config, slopes, seed=3)
    assert len(targets) == 42
    known = {target.walkers[0] for target in targets}
    assert known == {0, 2}
    for target in targets[12:]:
        difficulty = float(target.text.split("difficulty=")[1].split(",")[0])
        if abs(difficulty - 0.5) > 0.15:  # where the two cross, either may be expected
            assert target.walkers == [2 if difficulty < 0.5 else 0]
    assert choose_targets(found, config, slopes, seed=3) == targets
    assert choose_targets(found, config, slopes, seed=4)[12:] != targets[12:]


@pytest.mark.parametrize("labelled", [0, 20])
def test_a_portfolio_has_someone_for_every_terrain_and_few_in_all(labelled: int) -> None:
    found = table()
    slopes = TerrainDistribution(["UpSlope"], (0.0, 1.0), "validation")
    settings = {"per_terrain": 2, "labelled": labelled, "smoothed": True}
    every, two, one = (
        choose_targets(found, TargetConfig(portfolio=size, **settings), slopes)  # type: ignore[arg-type]
        for size in (0, 2, 1)
    )
    assert {number for target in every for number in target.walkers} == {0, 1, 2}
    assert {number for target in two for number in target.walkers} == {0, 2}  # the lucky one is second best everywhere
    assert [target.walkers[0] for target in two] == [target.walkers[0] for target in every]
    assert all(len(target.walkers) == 1 for target in one)
    assert len({target.walkers[0] for target in one}) == 1


def test_drawn_targets_are_what_a_random_policy_with_that_temperature_writes() -> None:
    scores = np.array([0.0, 30.0, 20.0, -1.0, 10.0])
    drawn = drawn_walkers(scores, 20_000, 10.0, np.random.default_rng(0))
    weights = np.exp([3.0, 2.0, 1.0])
    shares = [drawn.count(number) / 20_000 for number in (1, 2, 4)]
    assert shares == pytest.approx((weights / weights.sum()).tolist(), abs=0.01)
    assert sum(shares) == pytest.approx(1.0)  # what does not move is never drawn
    assert drawn == sorted(drawn, key=lambda number: -scores[number])
    assert set(drawn_walkers(scores, 100, 0.1, np.random.default_rng(0))) == {1}
    assert drawn_walkers([0.0, 0.0], 3, 10.0, np.random.default_rng(0)) == []


def test_targets_are_drawn_terrain_by_terrain() -> None:
    config = TargetConfig(per_terrain=30, temperature=10.0)
    targets = choose_targets(table(), config, seed=1)
    assert targets == choose_targets(table(), config, seed=1) != choose_targets(table(), config, seed=2)
    steep, level = targets[-1], targets[0]
    assert level.walkers.count(2) > 20 > 10 > steep.walkers.count(2)
    part = table()
    fewer = CrossTable(WALKERS, dict(list(part.terrains.items())[:5]), part.distances[:5])
    assert choose_targets(fewer, config, seed=1) == targets[:5]


def test_only_what_moves_is_learnt() -> None:
    assert best_walkers([0.0, 3.0, 5.0, 0.0], 3) == [2, 1]
    still = CrossTable(WALKERS, table().terrains, np.zeros((12, 3, 3), dtype=np.float32))
    with pytest.raises(ConfigError, match="No walker of the table moves"):
        choose_targets(still, TargetConfig())


def test_mistakes_are_explained() -> None:
    with pytest.raises(ConfigError, match="score is 'best'"):
        TargetConfig(score="best")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="temperature is -1"):
        TargetConfig(temperature=-1.0)
    with pytest.raises(ConfigError, match="temperature is inf"):
        TargetConfig(temperature=float("inf"))
    with pytest.raises(ConfigError, match="leave out one of the two"):
        TargetConfig(temperature=1.0, bands=2)
    with pytest.raises(ConfigError, match="per_terrain"):
        TargetConfig(per_terrain=0)
    with pytest.raises(ConfigError, match="nothing says what they are drawn from"):
        choose_targets(table(), TargetConfig(labelled=3))
    plain = CrossTable(WALKERS, table().terrains, table().distances[:, :, :1])
    with pytest.raises(ConfigError, match="no perturbed copies"):
        choose_targets(plain, TargetConfig(score="mean"))
    few = CrossTable(WALKERS, dict(list(table().terrains.items())[:4]), table().distances[:4])
    with pytest.raises(ConfigError, match="10 terrains or more"):
        choose_targets(few, TargetConfig(smoothed=True))
