"""Drawing terrains at random, and the fixed splits by which generalisation to new terrains is measured and compared.

A terrain is named by its family, its seed and its difficulty. Splits differ in their seeds, which never overlap: learn on
``train``, choose settings by ``validation``, report ``test``. :func:`terrain_split` lists the terrains to report on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sodarace_gym.arguments import shown
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.family import check_difficulty
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain

SPLITS = {
    "train": range(0, 1_000_000),
    "validation": range(1_000_000, 2_000_000),
    "test": range(2_000_000, 3_000_000),
}
"""The terrain seeds of each split; seed 0, everyone's default, is one to train on."""
SPLIT_DIFFICULTIES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The difficulties of a split's listed terrains."""
SPLIT_SEEDS = 2
"""How many of a split's seeds, from the first on, its listed terrains use."""


class TerrainDraw(NamedTuple):
    """What names a terrain.

    Attributes:
        family: Name of the family.
        seed: Seed of what is random in the family.
        difficulty: From 0 to 1; means nothing to the paper's terrains, which have none.
    """

    family: str
    seed: int
    difficulty: float

    @property
    def text(self) -> str:
        """The terrain as people write it, for :func:`sodarace_gym.terrains.texts.terrain_from_text`."""
        if self.family in TERRAIN_NAMES:
            return f"{self.family},seed={self.seed}"
        return f"{self.family},difficulty={self.difficulty!r},seed={self.seed}"

    def terrain(self) -> Terrain:
        """Makes the terrain.

        Raises:
            ValueError: The family is unknown or the difficulty outside [0, 1].
        """
        return make_terrain(self.family, self.seed, None if self.family in TERRAIN_NAMES else self.difficulty)


def as_terrain(terrain: Terrain | TerrainDraw | str) -> Terrain:
    """The terrain that a caller means: one itself, what names one, or the name of a family, made with seed 0.

    Raises:
        ValueError: It is none of these, or names no terrain.
    """
    if isinstance(terrain, Terrain):
        return terrain
    if isinstance(terrain, TerrainDraw):
        return terrain.terrain()
    if isinstance(terrain, str):
        return make_terrain(terrain)
    raise ValueError(f"terrain: expected a Terrain, a TerrainDraw or the name of a family, got {shown(terrain)}.")


@dataclass(frozen=True)
class TerrainDistribution:
    """Draws terrains: the family, then the seed, then the difficulty, each evenly from what is allowed.

    Attributes:
        families: Names of families, by default all beyond the paper's five; those may be named too.
        difficulty: Least and greatest difficulty, or one number for both.
        split: Which seeds may be drawn: a key of ``SPLITS``.

    Raises:
        ValueError: A name is unknown or there is none, or the difficulties are not an interval within [0, 1].
    """

    families: Sequence[str] = tuple(FAMILIES)
    difficulty: float | tuple[float, float] = (0.0, 1.0)
    split: str = "train"

    def __post_init__(self) -> None:
        object.__setattr__(self, "families", _known_families(self.families))
        _seeds(self.split)
        least, greatest = self._interval()
        check_difficulty(least)
        check_difficulty(greatest)
        if least > greatest:
            raise ValueError(f"difficulty: expected the least before the greatest, got {self.difficulty!r}.")

    def _interval(self) -> tuple[float, float]:
        if not isinstance(self.difficulty, (tuple, list)):
            return self.difficulty, self.difficulty
        if len(self.difficulty) != 2:
            raise ValueError(f"difficulty: expected a number or (least, greatest), got {self.difficulty!r}.")
        return self.difficulty[0], self.difficulty[1]

    def draw(self, rng: np.random.Generator) -> TerrainDraw:
        """Draws what names a terrain; the same state of ``rng`` gives the same draw."""
        seeds = SPLITS[self.split]
        family = self.families[int(rng.integers(len(self.families)))]
        return TerrainDraw(family, int(rng.integers(seeds.start, seeds.stop)), float(rng.uniform(*self._interval())))


def terrain_split(split: str, families: Sequence[str] = tuple(FAMILIES)) -> list[TerrainDraw]:
    """The terrains of a split to measure on: every family at every difficulty of ``SPLIT_DIFFICULTIES``, on two seeds.

    Args:
        split: A key of ``SPLITS``.
        families: Names of families; by default all 13 beyond the paper's five, which makes 130 terrains.

    Returns:
        The draws, family by family, from easy to hard; always the same ones. The paper's terrains come once a seed.

    Raises:
        ValueError: A name is unknown.
    """
    seeds = _seeds(split)[:SPLIT_SEEDS]
    return [
        TerrainDraw(family, seed, difficulty)
        for family in _known_families(families)
        for difficulty in (SPLIT_DIFFICULTIES if family in FAMILIES else (0.0,))
        for seed in seeds
    ]


def _seeds(split: str) -> range:
    if not isinstance(split, str) or split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {shown(split)}.")
    return SPLITS[split]


def _known_families(families: Sequence[str]) -> tuple[str, ...]:
    known = (*TERRAIN_NAMES, *FAMILIES)
    # No sets: their order differs between processes, and with it what a seed draws.
    listed = isinstance(families, (list, tuple)) and len(families) > 0
    if not listed or not all(isinstance(name, str) and name in known for name in families):
        raise ValueError(f"families: expected one or more of {', '.join(known)} in a list, got {shown(families)}.")
    return tuple(families)
