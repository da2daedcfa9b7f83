"""What a model has read of some rows of tokens: questions, and answers that grow behind them, side by side or as branches."""

from __future__ import annotations

import copy
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

    def row(self, number: int, length: int) -> _RoomyLayer:
        """The last ``length`` columns of a row, which grow by themselves."""
        layer = copy.copy(self)
        layer.keys = self.keys[number : number + 1, :, -length:]
        layer.values = self.values[number : number + 1, :, -length:]
        layer._rooms = None
        return layer


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

    def row(self, number: int, length: int) -> Reader:
        """A reader that has read what a row has, the last ``length`` columns of this one, and goes on by itself."""
        reader = Reader(self._model)
        reader._cache = Cache(layers=[layer.row(number, length) for layer in self._cache.layers])
        reader._mask = None if self._mask is None else self._mask[number : number + 1, -length:]
        return reader

    def likelihoods(self, branches: Sequence[Sequence[int]]) -> np.ndarray:
        """How likely each of several continuations of the one row is, all read at once, none of which sees another.

        The reader cannot go on afterwards.

        Args:
            branches: Ids, at least two each; the first is given.

        Returns:
            The log-likelihood of the other ids of each, (len(branches),).
        """
        begin = self.columns
        device = self._model.device
        lengths = torch.tensor([len(branch) for branch in branches], device=device)
        ids = torch.tensor([each for branch in branches for each in branch], device=device)
        positions = torch.cat([torch.arange(begin, begin + len(branch), device=device) for branch in branches])
        numbers = torch.repeat_interleave(torch.arange(len(branches), device=device), lengths)
        own = (numbers[:, None] == numbers[None, :]).tril()
        seen = torch.cat([torch.ones(len(ids), begin, dtype=torch.bool, device=device), own], dim=1)
        hidden = self._model.base_model(
            input_ids=ids[None],
            attention_mask=seen[None, None],
            position_ids=positions[None],
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state[0, :-1]
        told = numbers[:-1] == numbers[1:]
        logits = self._model.get_output_embeddings()(hidden[told]).float()
        logs = -torch.nn.functional.cross_entropy(logits, ids[1:][told], reduction="none")
        result = np.zeros(len(branches))
        np.add.at(result, numbers[1:][told].cpu().numpy(), logs.double().cpu().numpy())
        return result
