"""Wrappers around the environments.

`box_actions` and `sequential_actions` give agents without text other ways to write a walker: a vector, or one token at a time.
`terrain_image` adds a picture of the terrain to the observation, `numeric_info` leaves texts out of infos,
and `recording` writes videos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.wrappers.box_actions import BoxActions as BoxActions
    from sodarace_gym.wrappers.numeric_info import NumericInfo as NumericInfo
    from sodarace_gym.wrappers.recording import RecordWalks as RecordWalks
    from sodarace_gym.wrappers.sequential_actions import SequentialActions as SequentialActions
    from sodarace_gym.wrappers.terrain_image import TerrainImage as TerrainImage

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "box_actions": ["BoxActions"],
        "numeric_info": ["NumericInfo"],
        "recording": ["RecordWalks"],
        "sequential_actions": ["SequentialActions"],
        "terrain_image": ["TerrainImage"],
    },
)
