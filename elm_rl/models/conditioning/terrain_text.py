"""The terrain as text: a model reads the heights of floor and roof as numbers, in its own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from elm_rl.errors import ConfigError
from elm_rl.models.conditioning.terrain_book import TerrainBook
from elm_rl.models.tokenizer import encode_text
from sodarace_gym.terrains.terrain import PROFILE_MAX_HEIGHT, PROFILE_POINTS

EVERY = 2
"""Of the points of a profile every second one is told: 32 heights of floor and roof each, 3 units apart."""

_FLOOR, _ROOF, _OPEN, _FILL = "# floor", "\n# roof", " -", "\n"
_HEIGHTS = tuple(f" {height}" for height in range(-int(PROFILE_MAX_HEIGHT), int(PROFILE_MAX_HEIGHT) + 1))
PIECES = (_FLOOR, _ROOF, _OPEN, _FILL, *_HEIGHTS)
"""What terrains are written with."""


def pieces_of(profile: np.ndarray) -> list[str]:
    """What a terrain is written with, in order.

    Args:
        profile: Heights of floor and ceiling, walker units, (2, PROFILE_POINTS), at most ``PROFILE_MAX_HEIGHT`` off zero.
    """
    floor, roof = np.rint(profile[:, EVERY // 2 :: EVERY]).astype(int).tolist()
    top = int(PROFILE_MAX_HEIGHT)
    return [_FLOOR, *(f" {y}" for y in floor), _ROOF, *(_OPEN if y >= top else f" {y}" for y in roof)]


def spell_pieces(tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """The token ids of all pieces, as a model's configuration keeps them."""
    return {piece: encode_text(tokenizer, piece) for piece in PIECES}


def text_length(pieces: Mapping[str, Sequence[int]]) -> int:
    """Tokens set aside for a terrain: the most that any may take."""
    longest = max(len(pieces[piece]) for piece in (_OPEN, *_HEIGHTS))
    return len(pieces[_FLOOR]) + len(pieces[_ROOF]) + 2 * PROFILE_POINTS // EVERY * longest


class TerrainText(nn.Module):
    """Maps terrains to token ids; nothing in it is learnt.

    Args:
        book: The terrains by number.
        pieces: Token ids of each of `PIECES`.
    """

    def __init__(self, book: TerrainBook, pieces: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        if missing := [piece for piece in PIECES if not pieces.get(piece)]:
            raise ConfigError(
                f"The model has no tokens for {missing[0]!r}, with which terrains are written; give condition() the tokenizer."
            )
        self.book = book
        self._pieces = pieces
        self.shape = (text_length(pieces), 0)

    def forward(self, terrains: torch.Tensor) -> torch.Tensor:
        """Token ids of terrain numbers: (n,) -> (n, slots); short texts are filled with line ends."""
        rows = []
        for profile in self.book.profiles(terrains).cpu().numpy():
            ids = [i for piece in pieces_of(profile * PROFILE_MAX_HEIGHT) for i in self._pieces[piece]]
            rows.append([*ids, *[*self._pieces[_FILL]] * self.shape[0]][: self.shape[0]])
        return torch.tensor(rows, device=terrains.device)
