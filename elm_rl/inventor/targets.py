"""What a policy learns to write for each terrain: the walkers of a cross table that are best there, and not by luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from elm_rl.corpus.cross_table import CrossTable
from elm_rl.corpus.walker_regressor import WalkerRegressor
from elm_rl.errors import ConfigError
from elm_rl.judging.selection_baselines import greedy_portfolio
from sodarace_gym.terrains.distribution import TerrainDistribution

ScoreName = Literal["plain", "least", "mean"]


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """Which walkers of a cross table are learnt for which terrain."""

    score: ScoreName = "least"
    """What counts: the distance as simulated (plain), or of the walker and its perturbed copies the least or the mean."""
    smoothed: bool = False
    """Count what a regression over all terrains of the table expects, instead of what was rolled out; needs 10 terrains."""
    per_terrain: int = 40
    """Walkers learnt for each terrain."""
    temperature: float = 0.0
    """Above 0, these are drawn, in proportion to exp(score / temperature), in walker units: what a policy would write that is
    to earn much and to stay random. 0 for the best ones."""
    portfolio: int = 0
    """Only so many walkers are learnt: a greedy choice, so that one of them suits each terrain. In a trial on 200 terrains
    the regression's choice from 32 of 1,200 walkers went as far as its choice from all (74.8 and 74.1). 0 for all walkers."""
    bands: int = 0
    """With 2 or more, so many times as many walkers are learnt: the best in a first band, those of the next ranks in a
    second, and so on. The policy is told the band, and asked for the first. 0 for none."""
    labelled: int = 0
    """Further terrains, drawn as those of the table, that nobody was rolled out on: the regression chooses their walkers. Only
    for policies that look at terrains."""

    def __post_init__(self) -> None:
        if self.score not in ("plain", "least", "mean"):
            raise ConfigError(f"score is {self.score!r}; expected plain, least or mean.")
        if self.bands < 0 or self.bands == 1:
            raise ConfigError(f"bands is {self.bands}; expected 2 or more, or 0 for none.")
        for name, low in (("per_terrain", 1), ("labelled", 0), ("portfolio", 0), ("temperature", 0)):
            if not low <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        if self.temperature and self.bands:
            raise ConfigError("Bands are of ranks, and with a temperature nothing is ranked; leave out one of the two.")


@dataclass(frozen=True)
class Target:
    """What is learnt for one terrain.

    Attributes:
        text: What names the terrain.
        walkers: Numbers of the walkers in the table, best first; one that was drawn several times stands there as often.
        scores: What is expected of them, walker units.
    """

    text: str
    walkers: list[int]
    scores: list[float]


def table_scores(table: CrossTable, score: ScoreName) -> NDArray[np.float64]:
    """The scores (terrains, walkers) of a table that a name means, walker units.

    Raises:
        ConfigError: The table has no copies to take a mean over.
    """
    if score == "mean" and table.distances.shape[2] < 2:
        raise ConfigError(
            "The table has no perturbed copies; use the score plain, or make one with robustness above 0."
        )
    found = {"plain": lambda: table.plain, "least": lambda: table.least, "mean": lambda: table.mean}[score]()
    return found.astype(np.float64)


def choose_targets(
    table: CrossTable,
    config: TargetConfig,
    drawn_from: TerrainDistribution | None = None,
    seed: int = 0,
    only: Sequence[int] | None = None,
) -> list[Target]:
    """Chooses what to learn.

    Args:
        table: Walkers on terrains.
        config: How to choose.
        drawn_from: What further terrains are drawn from; needed with ``config.labelled``.
        seed: Seed of these, and of what is drawn with ``config.temperature``.
        only: Numbers of the walkers to choose from; by default all, or a portfolio if ``config`` says so.

    Returns:
        The targets of the table's terrains, then those of the others. One on which nothing moves is left out.

    Raises:
        ConfigError: There is nothing to learn, or too little for a regression.
    """
    scores = table_scores(table, config.score)
    terrains = list(table.terrains.values())
    texts = list(table.terrains)
    if config.smoothed or config.labelled:
        regressor = WalkerRegressor(terrains, scores)
        if config.smoothed:
            scores = regressor.predict(terrains)
        if config.labelled:
            if drawn_from is None:
                raise ConfigError("labelled asks for further terrains, and nothing says what they are drawn from.")
            rng = np.random.default_rng([seed, 2])
            more = {draw.text: draw for draw in (drawn_from.draw(rng) for _ in range(config.labelled))}
            new = {text: draw.terrain() for text, draw in more.items() if text not in table.terrains}
            scores = np.concatenate([scores, regressor.predict(list(new.values()))])
            texts = [*texts, *new]
    if only is None and config.portfolio:
        only = greedy_portfolio(scores, config.portfolio)
    if only is not None:
        others = np.ones(scores.shape[1], dtype=bool)
        others[list(only)] = False
        scores[:, others] = 0.0
    targets = []
    for number, (text, row) in enumerate(zip(texts, scores, strict=True)):
        if config.temperature:
            chosen = drawn_walkers(
                row, config.per_terrain, config.temperature, np.random.default_rng([seed, 3, number])
            )
        else:
            chosen = best_walkers(row, config.per_terrain * max(1, config.bands))
        if chosen:
            targets.append(Target(text, chosen, row[chosen].tolist()))
    if not targets:
        raise ConfigError("No walker of the table moves on any terrain; let evolution run longer.")
    return targets


def best_walkers(scores: Sequence[float] | NDArray[np.float64], count: int) -> list[int]:
    """Numbers of the walkers that are best and move at all, best first."""
    order = np.argsort(-np.asarray(scores), kind="stable")[:count].tolist()
    return [number for number in order if scores[number] > 0]


def drawn_walkers(
    scores: Sequence[float] | NDArray[np.float64], count: int, temperature: float, rng: np.random.Generator
) -> list[int]:
    """Numbers of walkers that move, drawn with replacement in proportion to exp(score / temperature), best first."""
    found = np.asarray(scores, dtype=np.float64)
    moving = np.flatnonzero(found > 0)
    if not len(moving):
        return []
    weights = np.exp((found[moving] - found[moving].max()) / temperature)
    drawn = moving[rng.choice(len(moving), size=count, p=weights / weights.sum())]
    return drawn[np.argsort(-found[drawn], kind="stable")].tolist()
