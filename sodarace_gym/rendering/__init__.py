"""Pictures of walkers and terrains, drawn without a display unless a window is asked for.

`film` draws frames, whole walks and film strips from what `drawing` makes of terrains and walkers; `camera` decides what is in
view, `canvas` draws shapes and text, and `window` plays walks on a screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.rendering.canvas import Canvas as Canvas
    from sodarace_gym.rendering.canvas import Image as Image
    from sodarace_gym.rendering.canvas import View as View
    from sodarace_gym.rendering.film import FRAME_SIZE as FRAME_SIZE
    from sodarace_gym.rendering.film import film_strip as film_strip
    from sodarace_gym.rendering.film import frames as frames
    from sodarace_gym.rendering.film import last_frame as last_frame
    from sodarace_gym.rendering.film import pose_image as pose_image
    from sodarace_gym.rendering.film import terrain_image as terrain_image
    from sodarace_gym.rendering.film import terrain_observation as terrain_observation
    from sodarace_gym.rendering.film import terrain_sheet as terrain_sheet
    from sodarace_gym.rendering.film import walk_moments as walk_moments
    from sodarace_gym.rendering.window import Window as Window

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "canvas": ["Canvas", "Image", "View"],
        "film": [
            "FRAME_SIZE",
            "film_strip",
            "frames",
            "last_frame",
            "pose_image",
            "terrain_image",
            "terrain_observation",
            "terrain_sheet",
            "walk_moments",
        ],
        "window": ["Window"],
    },
)
