"""The table of environment ids, and its registration with Gymnasium."""

from __future__ import annotations

import gymnasium as gym

from sodarace_gym.terrain_families import ALL_TERRAIN_NAMES

ENVIRONMENT_IDS = {f"Sodarace-{terrain}-v0": terrain for terrain in ALL_TERRAIN_NAMES}
"""Every id whose action is a program for one terrain family, and the family's name: the paper's five first."""
CONTROL_IDS = {f"SodaraceControl-{terrain}-v0": terrain for terrain in ALL_TERRAIN_NAMES}
"""Every id whose action drives the muscles of a given walker, and the terrain family it stands for."""
RANDOM_ID = "Sodarace-Random-v0"
"""The id of the environment that draws a terrain at each reset."""


def register_environments() -> None:
    """Registers every id of these tables with Gymnasium; ids that are registered already are left alone."""
    # Classes are named and not passed, so that registering imports neither the physics nor the sandbox.
    families = {
        "sodarace_gym.env:SodaraceEnv": ENVIRONMENT_IDS,
        "sodarace_gym.control_env:SodaraceControlEnv": CONTROL_IDS,
    }
    for entry_point, ids in families.items():
        for environment_id, terrain in ids.items():
            if environment_id not in gym.registry:
                gym.register(id=environment_id, entry_point=entry_point, kwargs={"terrain": terrain})
    if RANDOM_ID not in gym.registry:
        gym.register(id=RANDOM_ID, entry_point="sodarace_gym.random_terrain_env:RandomTerrainEnv")
