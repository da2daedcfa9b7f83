"""Terrains by name: the paper's five and the families beyond them."""

from __future__ import annotations

import numpy as np

from sodarace_gym.arguments import checked_seed, shown
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.paper import PAPER_FAMILIES
from sodarace_gym.terrains.terrain import Terrain


def make_terrain(name: str, seed: int = 0, difficulty: float | None = None, **parameters: float) -> Terrain:
    """Makes a terrain of a family.

    Args:
        name: One of ``TERRAIN_NAMES`` or of ``FAMILIES``.
        seed: Seed of what is random in the family (of the paper's five only Bumpy is); the same seed gives the same terrain.
        difficulty: From 0 to 1; None is 0.5. The paper's five have none.
        parameters: Parameters of the family to set, instead of what the difficulty says; each family's class explains its own.

    Returns:
        The terrain.

    Raises:
        ValueError: The name is not a family, the seed is negative, the difficulty is outside [0, 1] or given to a family of
            the paper, or a parameter is unknown or out of its bounds.
    """
    seed = checked_seed(seed, "seed")
    if not isinstance(name, str) or name not in (*PAPER_FAMILIES, *FAMILIES):
        known = ", ".join([*PAPER_FAMILIES, *FAMILIES])
        raise ValueError(f"unknown terrain {shown(name)}; expected one of {known}.")
    if name in FAMILIES:
        return FAMILIES[name].at(0.5 if difficulty is None else difficulty, **parameters).terrain(seed)
    if difficulty is not None or parameters:
        given = "difficulty" if difficulty is not None else next(iter(parameters))
        raise ValueError(
            f"{given}: {name} is one of the paper's terrains, which have no difficulty and no parameters; leave it out or "
            f"take one of {', '.join(FAMILIES)}."
        )
    return PAPER_FAMILIES[name](np.random.default_rng(seed))
