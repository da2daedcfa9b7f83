"""The table of environment ids, and its registration with Gymnasium."""

from __future__ import annotations

import gymnasium as gym

from sodarace_gym.terrains.families import ALL_TERRAIN_NAMES

ENVIRONMENT_IDS = {f"Sodarace-{terrain}-v0": terrain for terrain in ALL_TERRAIN_NAMES}
"""Every id whose action is a program for one terrain family, and the family's name: the paper's five first."""
CONTROL_IDS = {f"SodaraceControl-{terrain}-v0": terrain for terrain in ALL_TERRAIN_NAMES}
"""Every id whose action drives the muscles of a given walker, and the terrain family it stands for."""
RANDOM_ID = "Sodarace-Random-v0"
"""The id of the environment that draws a terrain at each reset."""


def register_environments() -> None:
    """Registers every id of these tables with Gymnasium; ids that are registered already are left alone."""
    # Classes are named and not passed, so that registering imports neither the physics nor the sandbox.
    rooms = "sodarace_gym.envs"
    for environment_id, terrain in ENVIRONMENT_IDS.items():
        _register(environment_id, f"{rooms}.env:SodaraceEnv", f"{rooms}.vector:SodaraceVectorEnv", terrain=terrain)
    _register(RANDOM_ID, f"{rooms}.random_terrain:RandomTerrainEnv", f"{rooms}.vector:RandomTerrainVectorEnv")
    for environment_id, terrain in CONTROL_IDS.items():
        _register(environment_id, f"{rooms}.control:SodaraceControlEnv", terrain=terrain)


def _register(environment_id: str, entry_point: str, vector_entry_point: str | None = None, **arguments: str) -> None:
    if environment_id not in gym.registry:
        gym.register(environment_id, entry_point, vector_entry_point=vector_entry_point, kwargs=arguments)
