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

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names
from sodarace_gym.registration import register_environments

if TYPE_CHECKING:
    from sodarace_gym.envs import RandomTerrainEnv as RandomTerrainEnv
    from sodarace_gym.envs import SodaraceControlEnv as SodaraceControlEnv
    from sodarace_gym.envs import SodaraceEnv as SodaraceEnv
    from sodarace_gym.envs import SodaraceVectorEnv as SodaraceVectorEnv
    from sodarace_gym.envs import WalkerPrograms as WalkerPrograms
    from sodarace_gym.errors import ProgramError as ProgramError
    from sodarace_gym.evaluation import Evaluation as Evaluation
    from sodarace_gym.evaluation import Evaluator as Evaluator
    from sodarace_gym.programs import compile_program as compile_program
    from sodarace_gym.programs import compile_programs as compile_programs
    from sodarace_gym.terrains import FAMILIES as FAMILIES
    from sodarace_gym.terrains import TERRAIN_NAMES as TERRAIN_NAMES
    from sodarace_gym.terrains import Terrain as Terrain
    from sodarace_gym.terrains import TerrainDistribution as TerrainDistribution
    from sodarace_gym.terrains import TerrainDraw as TerrainDraw
    from sodarace_gym.terrains import TerrainFamily as TerrainFamily
    from sodarace_gym.terrains import make_terrain as make_terrain
    from sodarace_gym.terrains import terrain_split as terrain_split
    from sodarace_gym.walkers import WALKER_NAMES as WALKER_NAMES
    from sodarace_gym.walkers import Muscle as Muscle
    from sodarace_gym.walkers import WalkerDesign as WalkerDesign
    from sodarace_gym.walkers import build_design as build_design
    from sodarace_gym.walkers import load_walker as load_walker
    from sodarace_gym.wrappers import BoxActions as BoxActions
    from sodarace_gym.wrappers import NumericInfo as NumericInfo
    from sodarace_gym.wrappers import RecordWalks as RecordWalks
    from sodarace_gym.wrappers import SequentialActions as SequentialActions
    from sodarace_gym.wrappers import TerrainImage as TerrainImage

__version__ = "0.1.0"

__all__ = [
    "FAMILIES",
    "TERRAIN_NAMES",
    "WALKER_NAMES",
    "BoxActions",
    "Evaluation",
    "Evaluator",
    "Muscle",
    "NumericInfo",
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
    "compile_programs",
    "load_walker",
    "make_terrain",
    "terrain_split",
]


__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "envs": ["RandomTerrainEnv", "SodaraceControlEnv", "SodaraceEnv", "SodaraceVectorEnv", "WalkerPrograms"],
        "errors": ["ProgramError"],
        "evaluation": ["Evaluation", "Evaluator"],
        "programs": ["compile_program", "compile_programs"],
        "terrains": [
            "FAMILIES",
            "TERRAIN_NAMES",
            "Terrain",
            "TerrainDistribution",
            "TerrainDraw",
            "TerrainFamily",
            "make_terrain",
            "terrain_split",
        ],
        "walkers": ["WALKER_NAMES", "Muscle", "WalkerDesign", "build_design", "load_walker"],
        "wrappers": ["BoxActions", "NumericInfo", "RecordWalks", "SequentialActions", "TerrainImage"],
    },
)

register_environments()
