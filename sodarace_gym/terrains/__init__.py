"""What a walker walks on.

`terrain` has the ground and the ceiling as polylines; `family` is what families share, and `families` are the thirteen beyond
the paper's five. `distribution` draws terrains and fixes the splits; `source` holds the choice of terrain of an environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.terrains.distribution import TerrainDistribution as TerrainDistribution
    from sodarace_gym.terrains.distribution import TerrainDraw as TerrainDraw
    from sodarace_gym.terrains.distribution import terrain_split as terrain_split
    from sodarace_gym.terrains.families import ALL_TERRAIN_NAMES as ALL_TERRAIN_NAMES
    from sodarace_gym.terrains.families import FAMILIES as FAMILIES
    from sodarace_gym.terrains.family import TerrainFamily as TerrainFamily
    from sodarace_gym.terrains.source import TerrainSource as TerrainSource
    from sodarace_gym.terrains.terrain import TERRAIN_NAMES as TERRAIN_NAMES
    from sodarace_gym.terrains.terrain import Polyline as Polyline
    from sodarace_gym.terrains.terrain import Terrain as Terrain
    from sodarace_gym.terrains.terrain import make_terrain as make_terrain

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "distribution": ["TerrainDistribution", "TerrainDraw", "terrain_split"],
        "families": ["ALL_TERRAIN_NAMES", "FAMILIES"],
        "family": ["TerrainFamily"],
        "source": ["TerrainSource"],
        "terrain": ["TERRAIN_NAMES", "Polyline", "Terrain", "make_terrain"],
    },
)
