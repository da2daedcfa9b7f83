"""The table of environment ids, and its registration with Gymnasium."""

from __future__ import annotations

import gymnasium as gym

from sodarace_gym.terrain import TERRAIN_NAMES

ENVIRONMENT_IDS = {f"Sodarace-{terrain}-v0": terrain for terrain in TERRAIN_NAMES}
"""Every id and the terrain family it stands for."""


def register_environments() -> None:
    """Registers every id of ``ENVIRONMENT_IDS`` with Gymnasium; ids that are registered already are left alone."""
    for environment_id, terrain in ENVIRONMENT_IDS.items():
        if environment_id not in gym.registry:
            # Classes are named and not passed, so that registering imports neither the physics nor the sandbox.
            gym.register(
                id=environment_id,
                entry_point="sodarace_gym.env:SodaraceEnv",
                vector_entry_point="sodarace_gym.vector_env:SodaraceVectorEnv",
                kwargs={"terrain": terrain},
            )
