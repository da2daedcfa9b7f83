"""Where an environment's terrains come from: a family, with a seed and a difficulty, or one terrain of the caller's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sodarace_gym.arguments import checked_seed
from sodarace_gym.terrains.distribution import TerrainDraw
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain


class TerrainSource:
    """What the arguments ``terrain``, ``terrain_seed`` and ``difficulty`` of an environment say.

    Args:
        terrain: Name of a family, a terrain, or a TerrainDraw, which is a family, a seed and a difficulty in one.
        terrain_seed: Seed of what is random in the family.
        difficulty: Of the family; None for its middle, or where it has none.

    Attributes:
        own: The terrain of every episode that does not ask for another.

    Raises:
        ValueError: A name is unknown, a number is out of range, or a terrain or a draw is given with a seed or a difficulty.
    """

    def __init__(
        self, terrain: str | Terrain | TerrainDraw, terrain_seed: int = 0, difficulty: float | None = None
    ) -> None:
        if isinstance(terrain, TerrainDraw):
            if difficulty is not None or checked_seed(terrain_seed) != 0:
                name = "terrain_seed" if difficulty is None else "difficulty"
                raise ValueError(f"{name}: a TerrainDraw brings its own; leave it out, or name a family instead.")
            terrain_seed = terrain.seed
            difficulty = None if terrain.family in TERRAIN_NAMES else terrain.difficulty
            terrain = terrain.family
        self._draw = {"terrain_seed": terrain_seed, "difficulty": difficulty}
        self._family = None if isinstance(terrain, Terrain) else terrain
        if isinstance(terrain, Terrain):
            if difficulty is not None:
                raise ValueError("difficulty: a Terrain has none; name a family instead.")
            if checked_seed(terrain_seed) != 0:
                raise ValueError("terrain_seed: a Terrain has none; name a family instead.")
            self.own = terrain
        else:
            self.own = self._make(terrain, self._draw)

    def drawn(self, options: Mapping[str, Any]) -> Terrain:
        """The terrain for an episode.

        Args:
            options: ``terrain_seed`` and ``difficulty``, where the episode wants others than the environment's.

        Raises:
            ValueError: An option is out of range, or a terrain of the caller's own is to be drawn again.
        """
        if not options:
            return self.own
        if self._family is None:
            raise ValueError(
                "options: this environment was given a Terrain, which no seed can change; name a family instead."
            )
        return self._make(self._family, {**self._draw, **options})

    @staticmethod
    def _make(family: str, draw: Mapping[str, Any]) -> Terrain:
        return make_terrain(family, checked_seed(draw["terrain_seed"]), draw["difficulty"])
