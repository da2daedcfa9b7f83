"""Models that are told which terrain to write for.

`terrain_book` numbers terrains, `encoders` turn them into embeddings (learned codes, a network over the profile, a network
over the image), `terrain_text` writes them in the model's own words, `terrain_words` has an input embedding understand them,
and `policy` (its `config`) puts these in front of the program in any causal language model, and makes the critic.
"""

from __future__ import annotations

from elm_rl.models.conditioning.config import DEFAULT_PREFIX_LENGTH, TEXT, TerrainPolicyConfig
from elm_rl.models.conditioning.encoders import TERRAIN_ENCODERS, TerrainEncoder
from elm_rl.models.conditioning.policy import (
    DEFAULT_TERRAINS,
    TerrainPolicy,
    TerrainValue,
    condition,
    make_value_model,
    prompts_of,
)
from elm_rl.models.conditioning.terrain_book import TerrainBook

__all__ = [
    "DEFAULT_PREFIX_LENGTH",
    "DEFAULT_TERRAINS",
    "TERRAIN_ENCODERS",
    "TEXT",
    "TerrainBook",
    "TerrainEncoder",
    "TerrainPolicy",
    "TerrainPolicyConfig",
    "TerrainValue",
    "condition",
    "make_value_model",
    "prompts_of",
]
