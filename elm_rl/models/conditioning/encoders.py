"""Encoders: a terrain becomes a few embeddings, which stand in front of the program as if they were words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from elm_rl.models.conditioning.terrain_book import TerrainBook
from sodarace_gym.terrains.terrain import PROFILE_POINTS

PROFILE_SCALE = 8.0
"""Profiles come as shares of the greatest height, and most terrains use a small part of that: times 8, a unit is 4 walker
units high."""

SHARPNESS = 2.0
"""How much the likelier kinds are preferred to others when their codes are averaged."""


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
    """A learned code for every slot of every terrain: the paper's discrete codes. Here every terrain is a kind."""

    def __init__(self, book: TerrainBook, slots: int, hidden: int, kinds: int) -> None:
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
    """An encoder that looks at terrains with a network, and chooses for each among kinds of walkers.

    Every kind has a learned code, which takes all slots. A terrain is told as the mean of the codes, weighted by how well each
    kind suits it (`chances`): what is to be written is the network's to learn, how it is written the decoder's.

    Terrains look much alike to a fresh network. In a trial its features differed by 0.003 from one to another, and the policy
    learnt one answer for all. So it sees what is elsewhere than on flat ground, its convolutions have no biases, which all
    terrains would have in common, and its features are normalised.

    Args:
        book: The terrains by number.
        slots: Embeddings a terrain.
        hidden: Width of an embedding.
        kinds: Kinds of walkers to choose from.
        features: What the network finds in a terrain, as so many numbers.
    """

    def __init__(self, book: TerrainBook, slots: int, hidden: int, kinds: int, features: int) -> None:
        super().__init__(book, slots, hidden)
        self.choice = nn.Linear(features, kinds)
        self.kinds = nn.Embedding(kinds, slots * hidden)

    @abstractmethod
    def look(self, terrains: torch.Tensor) -> torch.Tensor:
        """What the network finds in terrains, by their numbers: (n,) -> (n, features)."""

    def features(self, terrains: torch.Tensor) -> torch.Tensor:
        """Features of terrain numbers, with mean 0 and standard deviation 1 for each: (n,) -> (n, features)."""
        found = self.look(terrains)
        return functional.layer_norm(found, found.shape[-1:])

    def chosen(self, terrains: torch.Tensor) -> torch.Tensor:
        """Logits of the kinds: (n,) -> (n, kinds)."""
        logits: torch.Tensor = self.choice(self.features(terrains))
        return logits

    def chances(self, terrains: torch.Tensor) -> torch.Tensor:
        """How much each kind weighs in what stands for a terrain, 1 together: (n,) -> (n, kinds)."""
        return functional.softmax(SHARPNESS * self.chosen(terrains), dim=-1)

    def forward(self, terrains: torch.Tensor) -> torch.Tensor:
        """Looks at the terrains: (n,) -> (n, slots, hidden)."""
        return (self.chances(terrains) @ self.kinds.weight).view(-1, *self.shape)

    @torch.no_grad()
    def start_near(self, embedding: torch.Tensor, spread: float) -> None:
        """Draws the codes of the kinds around ``embedding`` from torch's global generator.

        The network begins as torch has it begin, and not as the decoder that it is put into would.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                module.reset_parameters()
        codes = self.kinds.weight.view(-1, embedding.shape[0])
        codes.copy_(embedding + spread * torch.randn_like(codes))


class ProfileEncoder(LookingEncoder):
    """A small convolutional network over the heights of floor and ceiling."""

    CHANNELS = (32, 64)

    def __init__(self, book: TerrainBook, slots: int, hidden: int, kinds: int) -> None:
        first, second = self.CHANNELS
        super().__init__(book, slots, hidden, kinds, features=second)
        self.narrow = nn.Conv1d(2, first, kernel_size=5, stride=2, padding=2, bias=False)
        self.wide = nn.Conv1d(first, second, kernel_size=5, stride=2, padding=2, bias=False)
        self.mix = nn.Linear(second * PROFILE_POINTS // 4, second)

    def look(self, terrains: torch.Tensor) -> torch.Tensor:
        """Convolutions over both profiles, whose places are kept apart."""
        profiles = self.book.profiles(terrains).to(self.mix.weight.dtype)
        # Where there is no ceiling its height is 1, and on flat ground that of the floor is 0.
        seen = PROFILE_SCALE * torch.stack([profiles[:, 0], profiles[:, 1] - 1.0], dim=1)
        seen = functional.silu(self.wide(functional.silu(self.narrow(seen))))
        found: torch.Tensor = self.mix(seen.flatten(1))
        return found


class _Residual(nn.Module):
    """Two convolutions beside a shortcut, half as wide and high (He et al. 2016).

    What comes out is divided by its root mean square over the image, for a batch holds few different terrains.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, after, kernel_size=1, stride=2, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        change: torch.Tensor = self.second(functional.silu(self.first(image)))
        found = self.shortcut(image) + change
        return functional.silu(functional.rms_norm(found, found.shape[1:], eps=1e-5))


class ImageEncoder(LookingEncoder):
    """A small residual network over the picture of the terrain, as the paper's ResNet18 was, a hundredth of its size."""

    CHANNELS = (1, 8, 16, 32, 32)

    def __init__(self, book: TerrainBook, slots: int, hidden: int, kinds: int) -> None:
        super().__init__(book, slots, hidden, kinds, features=64)
        self.blocks = nn.Sequential(
            *(_Residual(before, after) for before, after in zip(self.CHANNELS, self.CHANNELS[1:], strict=False))
        )
        self.mix = nn.Linear(self.CHANNELS[-1] * 8 * 4, 64)  # 128 x 64 pixels, halved four times

    def look(self, terrains: torch.Tensor) -> torch.Tensor:
        """Convolutions over the image, whose places are kept apart."""
        seen = self.book.images(terrains).to(self.mix.weight.dtype)
        found: torch.Tensor = self.mix(self.blocks(seen).flatten(1))
        return found


TERRAIN_ENCODERS: dict[str, Callable[[TerrainBook, int, int, int], TerrainEncoder]] = {
    "codes": DiscreteCodes,
    "profile": ProfileEncoder,
    "image": ImageEncoder,
}
"""The encoders that a configuration can name."""
CODES = "codes"
