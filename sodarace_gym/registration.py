"""The table of environment ids, and its registration with Gymnasium."""

from __future__ import annotations

import gymnasium as gym

from sodarace_gym.terrain import TERRAIN_NAMES

ENVIRONMENT_IDS = {f"Sodarace-{terrain}-v0": terrain for terrain in TERRAIN_NAMES}
"""Every id whose action is a program, and the terrain family it stands for."""
CONTROL_IDS = {f"SodaraceControl-{terrain}-v0": terrain for terrain in TERRAIN_NAMES}
"""Every id whose action drives the muscles of a given walker, and the terrain family it stands for."""


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
