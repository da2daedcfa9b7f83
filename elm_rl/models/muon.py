"""Muon for a model's matrices, AdamW for the rest, as one optimiser.

Muon (Jordan et al. 2024) makes each update of a matrix orthogonal, so that no direction of it is left behind. For small models
that see few examples, where AdamW spends long on the directions that are common, that saves much of the training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

MATRIX_RATE = 7.0
"""Muon's learning rate, as a multiple of AdamW's."""


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for the matrices between a model's embeddings and its output, AdamW for embeddings, norms and biases.

    Args:
        model: What is trained.
        lr: Learning rate of AdamW; that of Muon is :data:`MATRIX_RATE` times as high.
        weight_decay: Weight decay of the matrices.
    """

    def __init__(self, model: PreTrainedModel, lr: float, weight_decay: float) -> None:
        tables = {id(parameter) for part in _tables(model) for parameter in part.parameters()}
        learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in learnt if parameter.ndim == 2 and id(parameter) not in tables]
        chosen = {id(parameter) for parameter in matrices}
        rest = [parameter for parameter in learnt if id(parameter) not in chosen]
        groups = [
            {"params": matrices, "lr": MATRIX_RATE * lr, "weight_decay": weight_decay},
            {"params": rest, "lr": lr, "weight_decay": 0.0},
        ]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        self._parts = (
            torch.optim.Muon(matrices, lr=MATRIX_RATE * lr, weight_decay=weight_decay),
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes a step with the learning rates that the groups have now."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, part in zip(self.param_groups, self._parts, strict=True):
            part.param_groups[0]["lr"] = group["lr"]
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of both, and the learning rates."""
        state = super().state_dict()
        return {**state, "parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        state = dict(state_dict)
        for part, saved in zip(self._parts, state.pop("parts"), strict=True):
            part.load_state_dict(saved)
        super().load_state_dict(state)


def _tables(model: PreTrainedModel) -> Iterator[nn.Module]:
    """Embeddings, with what stands in front of a program, and the output."""
    yield from (part for part in model.modules() if isinstance(part, nn.Embedding))
    yield model.get_input_embeddings()
    if (output := model.get_output_embeddings()) is not None:
        yield output
