"""Encoders: a terrain becomes a few embeddings, which stand in front of the program as if they were words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from elm_rl.models.conditioning.terrain_book import TerrainBook
from sodarace_gym.terrains.terrain import PROFILE_POINTS

LOOKS_SPREAD = 0.05
"""What a network adds to the embedding that it starts near, in standard deviations of the word embeddings: little, so that
the program part of the model still knows what it reads."""


class TerrainEncoder(nn.Module, ABC):
    """Maps terrains to prefix embeddings; asked once a forward pass, about the distinct terrains of the batch.

    Args:
        book: The terrains by number.
        slots: Embeddings a terrain.
        hidden: Width of an embedding.
    """

    def __init__(self, book: TerrainBook, slots: int, hidden: int) -> None:
        super().__init__()
        self.book = book
        self.shape = (slots, hidden)

    @abstractmethod
    def forward(self, terrains: torch.Tensor) -> torch.Tensor:
        """Prefix embeddings of terrain numbers: (n,) -> (n, slots, hidden)."""

    @abstractmethod
    def start_near(self, embedding: torch.Tensor, spread: float) -> None:
        """Makes all prefix embeddings start around one embedding (hidden,), ``spread`` (standard deviation) apart."""


class DiscreteCodes(TerrainEncoder):
    """A learned code for every slot of every terrain: the paper's discrete codes."""

    def __init__(self, book: TerrainBook, slots: int, hidden: int) -> None:
        super().__init__(book, slots, hidden)
        self.table = nn.Embedding(len(book) * slots, hidden)

    def forward(self, terrains: torch.Tensor) -> torch.Tensor:
        """Looks the codes up: (n,) -> (n, slots, hidden)."""
        return self.table.weight.view(-1, *self.shape)[terrains]

    @torch.no_grad()
    def start_near(self, embedding: torch.Tensor, spread: float) -> None:
        """Draws the codes around ``embedding`` from torch's global generator."""
        self.table.weight.copy_(embedding + spread * torch.randn_like(self.table.weight))


class LookingEncoder(TerrainEncoder):
    """An encoder that looks at terrains with a network; `features` of them become all slots at once."""

    def __init__(self, book: TerrainBook, slots: int, hidden: int, features: int) -> None:
        super().__init__(book, slots, hidden)
        self.slots = nn.Linear(features, slots * hidden)

    @abstractmethod
    def look(self, terrains: torch.Tensor) -> torch.Tensor:
        """Features of terrain numbers: (n,) -> (n, features)."""

    def forward(self, terrains: torch.Tensor) -> torch.Tensor:
        """Looks at the terrains: (n,) -> (n, slots, hidden)."""
        found: torch.Tensor = self.slots(self.look(terrains))
        return found.view(-1, *self.shape)

    @torch.no_grad()
    def start_near(self, embedding: torch.Tensor, spread: float) -> None:
        """Lets the slots start around ``embedding``, each a little elsewhere, with small weights behind the features.

        The network begins as torch has it begin, and not as the decoder that it is put into would.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                module.reset_parameters()
        noise = spread * torch.randn(self.shape, dtype=embedding.dtype, device=embedding.device)
        self.slots.bias.copy_((embedding + noise).flatten())
        nn.init.normal_(self.slots.weight, std=LOOKS_SPREAD * spread)


class ProfileEncoder(LookingEncoder):
    """A small convolutional network over the heights of floor and ceiling."""

    CHANNELS = (32, 64)

    def __init__(self, book: TerrainBook, slots: int, hidden: int) -> None:
        first, second = self.CHANNELS
        super().__init__(book, slots, hidden, features=second)
        self.narrow = nn.Conv1d(2, first, kernel_size=5, stride=2, padding=2)
        self.wide = nn.Conv1d(first, second, kernel_size=5, stride=2, padding=2)
        self.mix = nn.Linear(second * PROFILE_POINTS // 4, second)

    def look(self, terrains: torch.Tensor) -> torch.Tensor:
        """Convolutions over both profiles, whose places are kept apart."""
        seen = self.book.profiles(terrains).to(self.mix.weight.dtype)
        seen = functional.silu(self.wide(functional.silu(self.narrow(seen))))
        return functional.silu(self.mix(seen.flatten(1)))


class _Residual(nn.Module):
    """Two convolutions beside a shortcut, half as wide and high (He et al. 2016, without normalisation)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1)
        self.second = nn.Conv2d(after, after, kernel_size=3, padding=1)
        self.shortcut = nn.Conv2d(before, after, kernel_size=1, stride=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        change: torch.Tensor = self.second(functional.silu(self.first(image)))
        return functional.silu(self.shortcut(image) + change)


class ImageEncoder(LookingEncoder):
    """A small residual network over the picture of the terrain, as the paper's ResNet18 was, a hundredth of its size."""

    CHANNELS = (1, 8, 16, 32, 32)

    def __init__(self, book: TerrainBook, slots: int, hidden: int) -> None:
        super().__init__(book, slots, hidden, features=64)
        self.blocks = nn.Sequential(
            *(_Residual(before, after) for before, after in zip(self.CHANNELS, self.CHANNELS[1:], strict=False))
        )
        self.mix = nn.Linear(self.CHANNELS[-1] * 8 * 4, 64)  # 128 x 64 pixels, halved four times

    def look(self, terrains: torch.Tensor) -> torch.Tensor:
        """Convolutions over the image, whose places are kept apart."""
        seen = self.book.images(terrains).to(self.mix.weight.dtype)
        return functional.silu(self.mix(self.blocks(seen).flatten(1)))


TERRAIN_ENCODERS: dict[str, Callable[[TerrainBook, int, int], TerrainEncoder]] = {
    "codes": DiscreteCodes,
    "profile": ProfileEncoder,
    "image": ImageEncoder,
}
"""The encoders that a configuration can name."""
CODES = "codes"
