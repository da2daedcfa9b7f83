"""Checks of settings that many stages have."""

from __future__ import annotations

from elm_rl.errors import ConfigError
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.terrains.texts import terrain_from_text


def check_threads(n_jobs: int) -> None:
    """Raises ConfigError where a setting ``n_jobs`` is no number of threads."""
    if n_jobs == 0 or n_jobs < -1:
        raise ConfigError(f"n_jobs is {n_jobs}; expected -1 (one a core) or 1 or more.")


def named_terrain(text: str) -> Terrain:
    """The terrain that a setting names; see :func:`sodarace_gym.terrains.texts.terrain_from_text`.

    Raises:
        ConfigError: It names none.
    """
    try:
        return terrain_from_text(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None
