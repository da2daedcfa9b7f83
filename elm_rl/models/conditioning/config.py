"""What a policy is made of, as its folder says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from transformers import AutoConfig, PretrainedConfig

from elm_rl.errors import ConfigError
from elm_rl.models.conditioning.encoders import CODES, TERRAIN_ENCODERS

TEXT = "text"
"""Name of the encoding of terrains in the model's own words."""

DEFAULT_PREFIX_LENGTH = 4
"""Slots of a terrain. More slots carry more of the signal at the cost of a few positions."""


DEFAULT_KINDS = 24
"""Kinds of walkers to choose from. In a trial an oracle that chose from 32 walkers came to 97.8 units where one that chose from
1,200 came to 99.6."""


class TerrainPolicyConfig(PretrainedConfig):
    """What a policy is made of.

    Attributes:
        text_config: The configuration of the decoder, of any causal language model.
        terrain_encoder: Name of the encoder in `TERRAIN_ENCODERS`.
        prefix_length: Slots of each terrain.
        kinds: Kinds of walkers among which an encoder that looks chooses.
        bands: Bands of distance that can be asked for, each with an embedding behind the terrain's; 0 for none.
        terrains: The terrains that codes were learnt for, in the order of the codes: each the text that names it, and what
            `Terrain.to_dict` gives; empty for encoders that look. A list, because transformers sorts the keys of what it saves.
        terrain_words: The token ids that terrains are written with, where they are told as text.
        unsampleable_token_ids: Tokens that end no program and stand in none (padding, beginning, separator).
    """

    model_type = "terrain_policy"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 - as transformers declares it
    auto_map: ClassVar[dict[str, str]] = {}  # TRL looks here for code that a model brings along; there is none

    def __init__(
        self,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        terrain_encoder: str = CODES,
        prefix_length: int = DEFAULT_PREFIX_LENGTH,
        kinds: int = DEFAULT_KINDS,
        bands: int = 0,
        terrains: Sequence[tuple[str, dict[str, Any]]] = (),
        terrain_words: Mapping[str, Sequence[int]] | None = None,
        unsampleable_token_ids: Sequence[int] = (),
        **settings: Any,
    ) -> None:
        if isinstance(text_config, dict):
            text_config = AutoConfig.for_model(**text_config)
        self.text_config = AutoConfig.for_model("llama") if text_config is None else text_config
        self.terrain_encoder = terrain_encoder
        self.prefix_length = prefix_length
        self.kinds = kinds
        self.bands = bands
        if isinstance(terrains, Mapping) and terrains:
            raise ConfigError(
                "The policy was saved before its terrains were kept in order, so that nobody can tell which code is whose; "
                "train it again."
            )
        self.terrains = [(text, terrain) for text, terrain in terrains or ()]
        self.terrain_words = dict(terrain_words or {})
        self.unsampleable_token_ids = list(unsampleable_token_ids)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings"):
            settings.setdefault(name, getattr(self.text_config, name, None))
        super().__init__(**settings)

    @property
    def vocab_size(self) -> int:
        """Tokens that a program is written in; ids from here on are terrains."""
        return int(self.get_text_config().vocab_size)

    @property
    def terrain_texts(self) -> list[str]:
        """The terrains that codes were learnt for, in their order; empty for encoders that look."""
        return [text for text, _ in self.terrains]

    @property
    def stride(self) -> int:
        """Ids of each terrain: its slots, and behind them the bands."""
        return self.prefix_length + self.bands

    @property
    def prompt_length(self) -> int:
        """Ids in front of a program: the slots, and the band if there are any."""
        return self.prefix_length + (self.bands > 0)


def check_encoder(name: str) -> None:
    """Raises ConfigError where there is no such encoder."""
    if name not in (*TERRAIN_ENCODERS, TEXT):
        raise ConfigError(f"terrain_encoder is {name!r}, expected one of {', '.join((*TERRAIN_ENCODERS, TEXT))}.")
