"""The Gymnasium environments.

`env` takes a program and pays the distance; `random_terrain` draws a terrain at each reset, `vector` evaluates many programs as
one batch, and `control` hands the muscles of a given walker to the agent. `spaces` has the space of programs, `senses` what a
driven walker feels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from sodarace_gym.envs.control import SodaraceControlEnv as SodaraceControlEnv
    from sodarace_gym.envs.env import SodaraceEnv as SodaraceEnv
    from sodarace_gym.envs.random_terrain import RandomTerrainEnv as RandomTerrainEnv
    from sodarace_gym.envs.spaces import WalkerPrograms as WalkerPrograms
    from sodarace_gym.envs.vector import RandomTerrainVectorEnv as RandomTerrainVectorEnv
    from sodarace_gym.envs.vector import SodaraceVectorEnv as SodaraceVectorEnv

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "control": ["SodaraceControlEnv"],
        "env": ["SodaraceEnv"],
        "random_terrain": ["RandomTerrainEnv"],
        "spaces": ["WalkerPrograms"],
        "vector": ["RandomTerrainVectorEnv", "SodaraceVectorEnv"],
    },
)
