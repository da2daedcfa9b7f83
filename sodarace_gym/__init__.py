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
    from sodarace_gym.envs.control import SodaraceControlEnv as SodaraceControlEnv
    from sodarace_gym.envs.env import SodaraceEnv as SodaraceEnv
    from sodarace_gym.envs.random_terrain import RandomTerrainEnv as RandomTerrainEnv
    from sodarace_gym.envs.spaces import WalkerPrograms as WalkerPrograms
    from sodarace_gym.envs.vector import SodaraceVectorEnv as SodaraceVectorEnv
    from sodarace_gym.errors import ProgramError as ProgramError
    from sodarace_gym.evaluation.evaluator import Evaluation as Evaluation
    from sodarace_gym.evaluation.evaluator import Evaluator as Evaluator
    from sodarace_gym.programs.program import compile_program as compile_program
    from sodarace_gym.terrains.distribution import TerrainDistribution as TerrainDistribution
    from sodarace_gym.terrains.distribution import TerrainDraw as TerrainDraw
    from sodarace_gym.terrains.distribution import terrain_split as terrain_split
    from sodarace_gym.terrains.families import FAMILIES as FAMILIES
    from sodarace_gym.terrains.family import TerrainFamily as TerrainFamily
    from sodarace_gym.terrains.terrain import TERRAIN_NAMES as TERRAIN_NAMES
    from sodarace_gym.terrains.terrain import Terrain as Terrain
    from sodarace_gym.terrains.terrain import make_terrain as make_terrain
    from sodarace_gym.walkers.library import WALKER_NAMES as WALKER_NAMES
    from sodarace_gym.walkers.library import load_walker as load_walker
    from sodarace_gym.walkers.walker import Muscle as Muscle
    from sodarace_gym.walkers.walker import WalkerDesign as WalkerDesign
    from sodarace_gym.walkers.walker import build_design as build_design
    from sodarace_gym.wrappers.box_actions import BoxActions as BoxActions
    from sodarace_gym.wrappers.recording import RecordWalks as RecordWalks
    from sodarace_gym.wrappers.sequential_actions import SequentialActions as SequentialActions
    from sodarace_gym.wrappers.terrain_image import TerrainImage as TerrainImage

__version__ = "0.1.0"

# Where each public name lives. Compiled physics, the sandbox and pygame are costly to import, and many processes (those that
# only list environments, say) never use them.
_HOMES = {
    "BoxActions": "wrappers.box_actions",
    "Evaluation": "evaluation.evaluator",
    "Evaluator": "evaluation.evaluator",
    "FAMILIES": "terrains.families",
    "Muscle": "walkers.walker",
    "ProgramError": "errors",
    "RandomTerrainEnv": "envs.random_terrain",
    "RecordWalks": "wrappers.recording",
    "SequentialActions": "wrappers.sequential_actions",
    "SodaraceControlEnv": "envs.control",
    "SodaraceEnv": "envs.env",
    "SodaraceVectorEnv": "envs.vector",
    "TERRAIN_NAMES": "terrains.terrain",
    "Terrain": "terrains.terrain",
    "TerrainDistribution": "terrains.distribution",
    "TerrainDraw": "terrains.distribution",
    "TerrainFamily": "terrains.family",
    "TerrainImage": "wrappers.terrain_image",
    "WALKER_NAMES": "walkers.library",
    "WalkerDesign": "walkers.walker",
    "WalkerPrograms": "envs.spaces",
    "build_design": "walkers.walker",
    "compile_program": "programs.program",
    "load_walker": "walkers.library",
    "make_terrain": "terrains.terrain",
    "terrain_split": "terrains.distribution",
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
