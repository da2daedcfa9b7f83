"""Sodarace as Gymnasium environments: the agent writes a program, the program builds a walker, the walker walks.

Importing the package registers the environments ``Sodarace-{Flat,LeftWall,RightWall,Bumpy,Tunnel}-v0`` of the paper,
``Sodarace-<Family>-v0`` for each of the families beyond it, ``Sodarace-Random-v0`` and, for agents that drive a given walker's
muscles, ``SodaraceControl-<Terrain>-v0``. It does little else: the names below load what they need when they are first used.

Example:
    >>> import gymnasium as gym
    >>> import sodarace_gym
    >>> env = gym.make("Sodarace-Tunnel-v0")
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    >>> terminated
    True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sodarace_gym.registration import register_environments

if TYPE_CHECKING:
    from sodarace_gym.action_wrappers import BoxActions as BoxActions
    from sodarace_gym.control_env import SodaraceControlEnv as SodaraceControlEnv
    from sodarace_gym.env import SodaraceEnv as SodaraceEnv
    from sodarace_gym.errors import ProgramError as ProgramError
    from sodarace_gym.evaluation import Evaluation as Evaluation
    from sodarace_gym.evaluation import Evaluator as Evaluator
    from sodarace_gym.observation_wrappers import TerrainImage as TerrainImage
    from sodarace_gym.program import compile_program as compile_program
    from sodarace_gym.random_terrain_env import RandomTerrainEnv as RandomTerrainEnv
    from sodarace_gym.recording import RecordWalks as RecordWalks
    from sodarace_gym.sequential_actions import SequentialActions as SequentialActions
    from sodarace_gym.spaces import WalkerPrograms as WalkerPrograms
    from sodarace_gym.terrain import TERRAIN_NAMES as TERRAIN_NAMES
    from sodarace_gym.terrain import Terrain as Terrain
    from sodarace_gym.terrain import make_terrain as make_terrain
    from sodarace_gym.terrain_distribution import TerrainDistribution as TerrainDistribution
    from sodarace_gym.terrain_distribution import TerrainDraw as TerrainDraw
    from sodarace_gym.terrain_distribution import terrain_split as terrain_split
    from sodarace_gym.terrain_families import FAMILIES as FAMILIES
    from sodarace_gym.terrain_family import TerrainFamily as TerrainFamily
    from sodarace_gym.vector_env import SodaraceVectorEnv as SodaraceVectorEnv
    from sodarace_gym.walker import Muscle as Muscle
    from sodarace_gym.walker import WalkerDesign as WalkerDesign
    from sodarace_gym.walker import build_design as build_design
    from sodarace_gym.walkers import WALKER_NAMES as WALKER_NAMES
    from sodarace_gym.walkers import load_walker as load_walker

__version__ = "0.1.0"

# Where each public name lives. Compiled physics, the sandbox and pygame are costly to import, and many processes (those that
# only list environments, say) never use them.
_HOMES = {
    "BoxActions": "action_wrappers",
    "Evaluation": "evaluation",
    "Evaluator": "evaluation",
    "FAMILIES": "terrain_families",
    "Muscle": "walker",
    "ProgramError": "errors",
    "RandomTerrainEnv": "random_terrain_env",
    "RecordWalks": "recording",
    "SequentialActions": "sequential_actions",
    "SodaraceControlEnv": "control_env",
    "SodaraceEnv": "env",
    "SodaraceVectorEnv": "vector_env",
    "TERRAIN_NAMES": "terrain",
    "Terrain": "terrain",
    "TerrainDistribution": "terrain_distribution",
    "TerrainDraw": "terrain_distribution",
    "TerrainFamily": "terrain_family",
    "TerrainImage": "observation_wrappers",
    "WALKER_NAMES": "walkers",
    "WalkerDesign": "walker",
    "WalkerPrograms": "spaces",
    "build_design": "walker",
    "compile_program": "program",
    "load_walker": "walkers",
    "make_terrain": "terrain",
    "terrain_split": "terrain_distribution",
}

__all__ = [
    "FAMILIES",
    "TERRAIN_NAMES",
    "WALKER_NAMES",
    "BoxActions",
    "Evaluation",
    "Evaluator",
    "Muscle",
    "ProgramError",
    "RandomTerrainEnv",
    "RecordWalks",
    "SequentialActions",
    "SodaraceControlEnv",
    "SodaraceEnv",
    "SodaraceVectorEnv",
    "Terrain",
    "TerrainDistribution",
    "TerrainDraw",
    "TerrainFamily",
    "TerrainImage",
    "WalkerDesign",
    "WalkerPrograms",
    "__version__",
    "build_design",
    "compile_program",
    "load_walker",
    "make_terrain",
    "terrain_split",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_environments()
