"""What a policy is held near by PPO: the language model that it began as, which knows no terrain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from elm_rl.models.conditioning.policy import without


class TerrainBlindModel(nn.Module):
    """A language model that takes conditioned sequences and answers as if the terrain were not there.

    PPO measures how far the policy has gone from the stage 2 model; that model never saw a terrain, so its answer to
    "terrain, <bos> program" is its answer to "<bos> program". The virtual ids are hidden from the attention, and
    positions are counted without them.

    Args:
        language_model: Any causal language model.
        vocab_size: Ids from here on are terrain ids.
        unsampleable: Tokens that the policy cannot sample either, so that both distributions are over the same tokens.
    """

    def __init__(self, language_model: PreTrainedModel, vocab_size: int, unsampleable: Sequence[int] = ()) -> None:
        super().__init__()
        self.language_model = language_model
        self.vocab_size = vocab_size
        self.unsampleable = list(unsampleable)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> CausalLMOutputWithPast:
        """Logits of ids (batch, length) -> (batch, length, vocabulary); those at virtual ids mean nothing."""
        visible = input_ids < self.vocab_size
        mask = visible if attention_mask is None else attention_mask.bool() & visible
        output = self.language_model(
            input_ids=input_ids.masked_fill(~visible, 0),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        )
        return CausalLMOutputWithPast(logits=without(output.logits, self.unsampleable))
