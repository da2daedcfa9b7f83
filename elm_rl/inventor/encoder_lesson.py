"""The first lesson of a terrain encoder: to choose which kind of walker suits a terrain, before there are programs to write.

A policy that is given an encoder which knows nothing of terrains learns slowly to ask it: most of what there is to learn about
programs has nothing to do with them. Taught first, as a classifier, the encoder chooses; the language model then learns to
write what was chosen, which is far easier than to choose by writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from elm_rl.inventor.targets import Target
from elm_rl.models.conditioning import TerrainPolicy
from elm_rl.models.conditioning.encoders import LookingEncoder

_BATCH = 32
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 0.1


def kinds_of(targets: Sequence[Target], count: int) -> list[int]:
    """The walkers that are to be told apart as kinds: numbers in the table, of the first ``count`` of each target."""
    return sorted({number for target in targets for number in target.walkers[:count]})


def teach_encoder(
    policy: TerrainPolicy,
    targets: Sequence[Target],
    kinds: Sequence[int],
    count: int,
    *,
    steps: int = 4000,
    seed: int = 0,
) -> float:
    """Teaches the network of a policy's encoder, in place, which kinds of walkers are to be written for which terrain.

    torch's global generator is left as it was.

    Args:
        policy: The policy, on the CPU or a GPU; its encoder is a network that chooses among as many kinds.
        targets: What is to be written.
        kinds: The walker of each kind, as `kinds_of` gives them.
        count: How many of each terrain's targets count: those of its first band.
        steps: Steps of 32 terrains.
        seed: Seed of the order of the terrains.

    Returns:
        Mean loss of the last tenth, in nats.
    """
    encoder = policy.encoder
    assert isinstance(encoder, LookingEncoder)
    place = {number: row for row, number in enumerate(kinds)}
    device = policy.device
    wanted = torch.zeros(len(targets), len(kinds), device=device)
    for row, target in enumerate(targets):
        for number in target.walkers[:count]:
            wanted[row, place[number]] += 1.0 / len(target.walkers[:count])
    terrains = _numbers(encoder, targets).to(device)
    losses: list[float] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        optimizer = torch.optim.AdamW(_network(encoder), weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(targets), (_BATCH,)).to(device)
            loss = functional.cross_entropy(encoder.chosen(terrains[rows]), wanted[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    policy.zero_grad()
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


def drawn_kinds(
    policy: TerrainPolicy, targets: Sequence[Target], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """For every target ``count`` kinds, each as likely as its code weighs in what stands for the terrain: (targets, count)."""
    encoder = policy.encoder
    assert isinstance(encoder, LookingEncoder)
    with torch.no_grad():
        parts = _numbers(encoder, targets).to(policy.device).split(_BATCH)
        chances = torch.cat([encoder.chances(part) for part in parts]).double().cpu().numpy()
    sums = chances.cumsum(axis=1)
    points = rng.random((len(targets), count)) * sums[:, -1:]
    return (points[:, :, None] >= sums[:, None, :]).sum(axis=2).clip(max=sums.shape[1] - 1)


@contextmanager
def choice_kept(policy: TerrainPolicy) -> Iterator[None]:
    """Keeps what the encoder chooses as it is while the language model learns to write it."""
    assert isinstance(policy.encoder, LookingEncoder)
    network = _network(policy.encoder)
    for weights in network:
        weights.requires_grad_(False)
    try:
        yield
    finally:
        for weights in network:
            weights.requires_grad_(True)


def _numbers(encoder: LookingEncoder, targets: Sequence[Target]) -> torch.Tensor:
    return torch.tensor([encoder.book.number(target.text) for target in targets])


def _network(encoder: LookingEncoder) -> list[nn.Parameter]:
    """All weights of an encoder but the codes of its kinds."""
    return [weights for name, weights in encoder.named_parameters() if not name.startswith("kinds.")]
