"""Wrappers around the environments.

`box_actions` and `sequential_actions` give agents without text other ways to write a walker: a vector, or one token at a time.
`terrain_image` adds a picture of the terrain to the observation, and `recording` writes videos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.wrappers.box_actions import BoxActions as BoxActions
    from sodarace_gym.wrappers.recording import RecordWalks as RecordWalks
    from sodarace_gym.wrappers.sequential_actions import SequentialActions as SequentialActions
    from sodarace_gym.wrappers.terrain_image import TerrainImage as TerrainImage

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "box_actions": ["BoxActions"],
        "recording": ["RecordWalks"],
        "sequential_actions": ["SequentialActions"],
        "terrain_image": ["TerrainImage"],
    },
)
