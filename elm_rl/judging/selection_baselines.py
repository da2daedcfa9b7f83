"""What a conditional model has to beat: ways of taking a walker from a cross table for a terrain that is not in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elm_rl.corpus.walker_regressor import WalkerRegressor, terrain_summary
from sodarace_gym.terrains.terrain import Terrain


def best_single(distances: NDArray[np.floating], count: int = 1) -> list[int]:
    """The walkers with the greatest mean over the terrains of a table (terrains, walkers), best first."""
    return np.argsort(-distances.mean(axis=0), kind="stable")[:count].tolist()


def nearest_terrain(
    terrains: Sequence[Terrain], distances: NDArray[np.floating], asked: Sequence[Terrain], count: int = 1
) -> list[list[int]]:
    """For each terrain that is asked about, the best walkers of the table's terrain that looks most like it.

    Args:
        terrains: Those of the table.
        distances: (terrains, walkers).
        asked: Others.
        count: Walkers for each.
    """
    known = np.array([terrain_summary(each) for each in terrains])
    scale = known.std(axis=0) + 1e-9
    looks = np.array([terrain_summary(each) for each in asked])
    apart = (((looks[:, None] - known[None]) / scale) ** 2).sum(axis=2)
    return [np.argsort(-distances[near], kind="stable")[:count].tolist() for near in apart.argmin(axis=1)]


def regressor_choice(regressor: WalkerRegressor, asked: Sequence[Terrain], count: int = 1) -> list[list[int]]:
    """For each terrain, the walkers that a regressor expects the most of, best first."""
    return np.argsort(-regressor.predict(asked), axis=1, kind="stable")[:, :count].tolist()


def greedy_portfolio(distances: NDArray[np.floating], size: int = 8) -> list[int]:
    """Walkers of which the best on each terrain is, on average, as good as a greedy choice makes it.

    Each next one is the walker that raises the mean over the terrains of the best so far the most; the first is the best single
    one. The mean of a maximum is submodular, so that no portfolio of the size is better by more than a factor of 1.58
    (Nemhauser et al. 1978).
    """
    best = np.zeros(len(distances))
    chosen: list[int] = []
    for _ in range(min(size, distances.shape[1])):
        means = np.maximum(best[:, None], distances).mean(axis=0)
        means[chosen] = -np.inf
        chosen.append(int(means.argmax()))
        best = np.maximum(best, distances[:, chosen[-1]])
    return chosen
