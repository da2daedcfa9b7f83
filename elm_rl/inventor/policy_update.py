"""One policy gradient step: programs that were written for terrains, ranked, raise or lower their own probability.

The loss of a token is the clipped one of PPO (Schulman et al. 2017, equation 7), with the rank of its program within its
terrain as advantage (Williams 1992 with the ranks of Wierstra et al. 2014), plus the Kullback-Leibler divergence from the
policy to a reference. The divergence is the exact one of the two distributions over the next token, not an estimate by the
token that was drawn: its gradient has no noise, and it also holds those tokens that are never drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from elm_rl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class UpdateSettings:
    """How a policy takes a step."""

    learning_rate: float = 2e-4
    """Learning rate of Adam. At twice as much a policy of 1M parameters came to write one walker for everything."""
    epochs: int = 2
    """Passes over the programs of an update."""
    mini_batch: int = 64
    """Programs in a step of the optimiser."""
    clip: float = 0.2
    """How far the probability of a token may move in an update, as a ratio."""
    kl: float = 0.5
    """What a nat of divergence from the start costs at each token, in units of the advantage, which goes from -1 to 1. With a
    tenth of it walkers went a little further, and only 3 to 8 different ones were left of 20."""
    max_grad_norm: float = 1.0
    """Largest norm of a gradient."""
    temperature: float = 1.0
    """Temperature at which programs are drawn; the policy that is trained is the one at this temperature."""

    def __post_init__(self) -> None:
        for name in ("epochs", "mini_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        for name in ("learning_rate", "clip", "max_grad_norm", "temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a number above 0.")
        if not 0 <= self.kl < float("inf"):
            raise ConfigError(f"kl is {self.kl}; expected 0 or more.")


@dataclass(frozen=True)
class WrittenPrograms:
    """Programs behind their prompts, as a batch.

    Attributes:
        ids: Token ids, padded on the right, int64 (programs, length).
        mask: What is no padding, bool (programs, length).
        learnt: Positions of ``ids[:, 1:]`` that the policy wrote, bool (programs, length - 1).
    """

    ids: torch.Tensor
    mask: torch.Tensor
    learnt: torch.Tensor

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], pad: int = 0) -> WrittenPrograms:
        """Puts answers behind their prompts."""
        length = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
        ids = torch.full((len(prompts), length), pad)
        mask = torch.zeros((len(prompts), length), dtype=torch.bool)
        learnt = torch.zeros((len(prompts), length - 1), dtype=torch.bool)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            end = len(prompt) + len(answer)
            ids[row, :end] = torch.tensor([*prompt, *answer])
            mask[row, :end] = True
            learnt[row, len(prompt) - 1 : end - 1] = True
        return cls(ids, mask, learnt)

    def rows(self, chosen: torch.Tensor) -> WrittenPrograms:
        """Some of the programs, without the padding that none of them needs."""
        length = int(self.mask[chosen].sum(1).max())
        return WrittenPrograms(self.ids[chosen, :length], self.mask[chosen, :length], self.learnt[chosen, : length - 1])


class PolicyUpdate:
    """Takes the steps.

    Args:
        policy: Trained in place, in evaluation mode: dropout would make it another policy than the one that wrote.
        reference: What the divergence is measured from: called with ids and mask it returns an object with ``logits``.
        settings: Of the steps.
    """

    def __init__(self, policy: PreTrainedModel, reference: nn.Module, settings: UpdateSettings) -> None:
        self.policy = policy.eval()
        self.reference = reference.eval().requires_grad_(False)
        self.settings = settings
        self._parameters = [p for p in policy.parameters() if p.requires_grad]
        self._optimizer = torch.optim.Adam(self._parameters, settings.learning_rate)

    def state(self) -> dict[str, Any]:
        """The optimiser's state, for a checkpoint."""
        return self._optimizer.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back an optimiser's state."""
        self._optimizer.load_state_dict(state)

    def step(self, batch: WrittenPrograms, advantages: NDArray[np.floating], seed: int) -> dict[str, float]:
        """Learns from a batch.

        Args:
            batch: What the policy, as it is now, has written.
            advantages: Of each program, (programs,).
            seed: Of the order of the programs.

        Returns:
            ``loss``, ``kl`` from the reference in nats a token, ``entropy`` in nats a token and ``clip_fraction`` of the
            tokens, means over the steps.
        """
        device = self.policy.device
        batch = WrittenPrograms(batch.ids.to(device), batch.mask.to(device), batch.learnt.to(device))
        worth = torch.as_tensor(advantages, dtype=torch.float32, device=device)
        order = torch.Generator().manual_seed(seed)
        count, size = len(worth), self.settings.mini_batch
        before: dict[int, torch.Tensor] = {}
        with torch.no_grad():
            for begin in range(0, count, size):
                chosen = torch.arange(begin, min(begin + size, count))
                part = batch.rows(chosen)
                said = _picked(self._log_probabilities(self.policy, part), part)
                before |= {int(place): row[each] for place, row, each in zip(chosen, said, part.learnt, strict=True)}
        figures: list[list[float]] = []
        for _ in range(self.settings.epochs):
            for chosen in torch.randperm(count, generator=order).split(size):
                part = batch.rows(chosen)
                old = torch.cat([before[int(place)] for place in chosen])
                figures.append(self._learn(part, old, worth[chosen.to(device)]))
        mean = np.mean(figures, axis=0)
        return dict(zip(("loss", "kl", "entropy", "clip_fraction"), mean.tolist(), strict=True))

    def _learn(self, part: WrittenPrograms, old: torch.Tensor, worth: torch.Tensor) -> list[float]:
        now = self._log_probabilities(self.policy, part)
        with torch.no_grad():
            then = self._log_probabilities(self.reference, part)[part.learnt]
        ratio = (_picked(now, part)[part.learnt] - old).exp()
        every = worth[:, None].expand_as(part.learnt)[part.learnt]
        low, high = 1.0 - self.settings.clip, 1.0 + self.settings.clip
        gain = torch.minimum(ratio * every, ratio.clamp(low, high) * every)
        said = now[part.learnt]
        likely = said.exp()
        apart = (likely * (said - then)).sum(-1)
        loss = self.settings.kl * apart.mean() - gain.mean()
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, self.settings.max_grad_norm)
        self._optimizer.step()
        entropy = -(likely * said).sum(-1).mean()
        clipped = ((ratio < low) | (ratio > high)).float().mean()
        return torch.stack([loss, apart.mean(), entropy, clipped]).tolist()

    def _log_probabilities(self, model: nn.Module, part: WrittenPrograms) -> torch.Tensor:
        """Of every token at every position but the last, (programs, length - 1, vocabulary)."""
        logits = model(input_ids=part.ids, attention_mask=part.mask).logits[:, :-1]
        return (logits.float() / self.settings.temperature).log_softmax(-1)


def _picked(log_probabilities: torch.Tensor, part: WrittenPrograms) -> torch.Tensor:
    """Those of the tokens that stand there, (programs, length - 1); 0 at terrain ids, which nobody writes."""
    tokens = part.ids[:, 1:].masked_fill(~part.learnt, 0)
    return log_probabilities.gather(-1, tokens[..., None]).squeeze(-1)
