"""Which terrains a stage draws to learn from, as settings that several stages share."""

from __future__ import annotations

from dataclasses import dataclass

from elm_rl.errors import ConfigError
from sodarace_gym.terrains.distribution import TerrainDistribution
from sodarace_gym.terrains.families import FAMILIES

HELD_OUT_FAMILIES = ("Pits", "Burrow", "Mixed")
"""Families that no terrain to learn from is drawn from by default, so that they stay unseen."""


@dataclass(frozen=True, kw_only=True)
class DrawnTerrains:
    """What terrains are drawn from."""

    families: tuple[str, ...] = tuple(name for name in FAMILIES if name not in HELD_OUT_FAMILIES)
    """Families that terrains are drawn from."""
    most_difficult: float = 0.8
    """Greatest difficulty that is drawn."""

    def __post_init__(self) -> None:
        try:
            self.distribution()
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def distribution(self, split: str = "train") -> TerrainDistribution:
        """The distribution over the seeds of a split."""
        return TerrainDistribution(self.families, (0.0, self.most_difficult), split)
