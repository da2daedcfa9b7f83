"""A walker on a terrain becomes a distance.

`rollout` is the way in, and `constants` has every number. `world` turns a walker, `solid` a terrain into arrays. `batch` hands
many of them to the compiled `engine`, or to pymunk in `reference`, which defines what a distance is: both give the same bits.
`control` steps a world whose muscles somebody else drives, and `robustness` moves a walker's joints by very little. `surfaces`
finds joints in the ground, `gait` says how much of the time they are on it, and `compilation` keeps machine code on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.physics.constants import DRIVE_RATE as DRIVE_RATE
    from sodarace_gym.physics.constants import DURATION as DURATION
    from sodarace_gym.physics.constants import FRAME_RATE as FRAME_RATE
    from sodarace_gym.physics.constants import STEP_RATE as STEP_RATE
    from sodarace_gym.physics.control import ControlledWorld as ControlledWorld
    from sodarace_gym.physics.control import MuscleDrive as MuscleDrive
    from sodarace_gym.physics.gait import Gait as Gait
    from sodarace_gym.physics.robustness import perturbed as perturbed
    from sodarace_gym.physics.rollout import Rollout as Rollout
    from sodarace_gym.physics.rollout import roll_out as roll_out
    from sodarace_gym.physics.rollout import roll_out_many as roll_out_many

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "constants": ["DRIVE_RATE", "DURATION", "FRAME_RATE", "STEP_RATE"],
        "control": ["ControlledWorld", "MuscleDrive"],
        "gait": ["Gait"],
        "robustness": ["perturbed"],
        "rollout": ["Rollout", "roll_out", "roll_out_many"],
    },
)
