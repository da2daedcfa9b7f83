"""What a model has read of some rows of tokens: questions, and answers that grow behind them, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

_ROOM = 64
"""Columns that are set aside at a time."""


class _RoomyLayer(DynamicLayer):
    """A layer's keys and values with room to grow: what has been read is not copied at each step."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._rooms: list[torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        begin, new = self.get_seq_length(), (key_states, value_states)
        end = begin + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self._rooms is None or self._rooms[0].shape[-2] < end:
            self._rooms = [each.new_empty((*each.shape[:-2], end + _ROOM, each.shape[-1])) for each in new]
            if begin:
                for room, read in zip(self._rooms, (self.keys, self.values), strict=True):
                    room[..., :begin, :] = read
        for room, each in zip(self._rooms, new, strict=True):
            room[..., begin:end, :] = each
        self.keys, self.values = (room[..., :end, :] for room in self._rooms)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)
        self._rooms = None


class Reader:
    """Rows that a model reads piece by piece; what it made of them is kept.

    Args:
        model: A causal language model.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._cache: Any = Cache(layer_class_to_replicate=_RoomyLayer)
        self._mask: torch.Tensor | None = None

    @property
    def columns(self) -> int:
        """How wide it is: the steps of all pieces together."""
        return 0 if self._mask is None else self._mask.shape[1]

    def read(self, pieces: Sequence[Sequence[int]], begin: Sequence[int]) -> torch.Tensor:
        """Reads a piece of each row, whose first token is number ``begin`` of it; returns the last logits of each.

        Those of a row with an empty piece mean nothing.
        """
        width = max(map(len, pieces))
        step = np.zeros((3, len(pieces), width), dtype=np.int64)  # ids, mask, positions
        for row, (piece, first) in enumerate(zip(pieces, begin, strict=True)):
            if piece:
                step[0, row, width - len(piece) :] = piece
                step[1, row, width - len(piece) :] = 1
                step[2, row, width - len(piece) :] = range(first, first + len(piece))
        ids, seen, positions = torch.from_numpy(step).to(self._model.device)
        self._mask = seen if self._mask is None else torch.cat([self._mask, seen], dim=1)
        result = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = result.past_key_values
        logits: torch.Tensor = result.logits[:, -1]
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with some rows, in this order."""
        kept = torch.tensor(rows, dtype=torch.long, device=self._model.device)
        self._cache.batch_select_indices(kept)
        self._mask = self._mask[kept] if self._mask is not None else None

    def forget(self, rows: Sequence[int], columns: int) -> None:
        """Has some rows read nothing but what they read when it was so many columns wide."""
        if self._mask is not None:
            self._mask[rows, columns:] = 0
