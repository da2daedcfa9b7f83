"""What a walker walks on.

`terrain` has the ground and the ceiling as polylines. `paper` has the paper's five, `families` the thirteen beyond them and
`family` what these share; `making` makes any of them by name, and
`texts` from what a command line says. `distribution` draws terrains and fixes the splits, and `source`
holds an environment's choice of terrain.
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
    from sodarace_gym.terrains.making import make_terrain as make_terrain
    from sodarace_gym.terrains.paper import TERRAIN_NAMES as TERRAIN_NAMES
    from sodarace_gym.terrains.source import TerrainSource as TerrainSource
    from sodarace_gym.terrains.terrain import Polyline as Polyline
    from sodarace_gym.terrains.terrain import Terrain as Terrain
    from sodarace_gym.terrains.texts import terrain_from_text as terrain_from_text

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "distribution": ["TerrainDistribution", "TerrainDraw", "terrain_split"],
        "families": ["ALL_TERRAIN_NAMES", "FAMILIES"],
        "family": ["TerrainFamily"],
        "source": ["TerrainSource"],
        "making": ["make_terrain"],
        "paper": ["TERRAIN_NAMES"],
        "terrain": ["Polyline", "Terrain"],
        "texts": ["terrain_from_text"],
    },
)
