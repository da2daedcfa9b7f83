"""An input embedding that understands terrains: ids beyond the vocabulary go to an encoder, all others to the table."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from elm_rl.models.conditioning.config import TEXT, TerrainPolicyConfig, check_encoder
from elm_rl.models.conditioning.encoders import CODES, TERRAIN_ENCODERS, TerrainEncoder
from elm_rl.models.conditioning.terrain_book import TerrainBook
from elm_rl.models.conditioning.terrain_text import TerrainText
from sodarace_gym.terrains.terrain import Terrain


class TerrainWords:
    """What an input embedding is besides, once it understands terrains; see `teach_terrains`."""

    encoder: TerrainEncoder | TerrainText
    bands: nn.Embedding | None
    num_embeddings: int

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Embeds ids (batch, length) -> (batch, length, hidden)."""
        virtual = input >= self.num_embeddings
        if not bool(virtual.any()):  # every step of generation after the first
            return self._words(input)
        own = self.encoder.shape[0]
        stride = own + (0 if self.bands is None else self.bands.num_embeddings)
        places = input[virtual] - self.num_embeddings
        distinct, rows = (places // stride).unique(return_inverse=True)
        slots = places % stride
        codes = self.encoder(distinct)[rows, slots.clamp(max=own - 1)]
        if isinstance(self.encoder, TerrainText):
            words = self._words(input.index_put((virtual,), codes))
            codes = words[virtual]
        else:
            words = self._words(input.masked_fill(virtual, 0))
        if self.bands is not None:
            codes = torch.where((slots >= own)[:, None], self.bands((slots - own).clamp(min=0)), codes)
        return words.index_put((virtual,), codes.to(words.dtype))

    def _words(self, ids: torch.Tensor) -> torch.Tensor:
        words: torch.Tensor = super().forward(ids)  # type: ignore[misc]
        return words


def teach_terrains(model: PreTrainedModel, config: TerrainPolicyConfig) -> TerrainBook:
    """Has a decoder's input embedding send the ids of terrains to an encoder; returns the book of them.

    The embedding gets another class and stays the object that it is: its weight may be tied to the output head, and some
    decoders scale what it says.
    """
    check_encoder(config.terrain_encoder)
    known = [(text, Terrain.from_dict(terrain)) for text, terrain in config.terrains]
    book = TerrainBook(known, closed=config.terrain_encoder == CODES)
    words = model.get_input_embeddings()
    kind = type(words)
    words.__class__ = type(f"Terrain{kind.__name__}", (TerrainWords, kind), {})
    words.encoder = (
        TerrainText(book, config.terrain_words)
        if config.terrain_encoder == TEXT
        else TERRAIN_ENCODERS[config.terrain_encoder](book, config.prefix_length, words.embedding_dim, config.kinds)
    )
    words.bands = nn.Embedding(config.bands, words.embedding_dim) if config.bands else None
    return book
