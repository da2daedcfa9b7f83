"""A canvas in world coordinates, drawn by pygame in memory; needs neither a display nor sound."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # a library does not greet people
import pygame

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

SKY_HIGH: Colour = (222, 232, 240)
SKY_LOW: Colour = (249, 249, 246)
INK: Colour = (62, 66, 74)
PAPER: Colour = (255, 255, 255)

_TEXT_SMOOTHING = 3


@dataclass(frozen=True)
class View:
    """The part of the world that a picture shows.

    Attributes:
        left: x of the left edge, walker units.
        bottom: y of the lower edge, walker units.
        scale: Pixels per walker unit.
        size: Width and height, pixels.
    """

    left: float
    bottom: float
    scale: float
    size: tuple[int, int]

    @property
    def right(self) -> float:
        """X of the right edge, walker units."""
        return self.left + self.size[0] / self.scale

    @property
    def top(self) -> float:
        """Y of the upper edge, walker units."""
        return self.bottom + self.size[1] / self.scale

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions in the picture, shape (points, 2), of positions in the world of that shape."""
        return np.stack([points[:, 0] - self.left, self.top - points[:, 1]], axis=1) * self.scale


@dataclass
class Canvas:
    """A picture being drawn: larger than it will be, so that reducing it smooths every edge.

    Attributes:
        view: What it shows.
        smoothing: How many times as wide and high as the finished picture it is drawn.
    """

    view: View
    smoothing: int = 2
    surface: pygame.Surface = field(init=False)
    _labels: list[tuple[pygame.Surface, tuple[float, float]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        width, height = self.view.size
        self.surface = _sky((width * self.smoothing, height * self.smoothing)).copy()

    def _pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.view.pixels(points) * self.smoothing

    def polygon(self, colour: Colour, points: NDArray[np.float64]) -> None:
        """Fills a polygon, shape (points, 2), walker units."""
        pygame.draw.polygon(self.surface, colour, self._pixels(points).tolist())

    def strokes(
        self,
        colours: Sequence[Colour],
        starts: NDArray[np.float64],
        ends: NDArray[np.float64],
        widths: NDArray[np.float64],
    ) -> None:
        """Draws straight strokes: ends of shape (strokes, 2) in walker units, widths of shape (strokes,) in pixels."""
        first, last = self._pixels(starts), self._pixels(ends)
        along = last - first
        length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        across = np.stack([-along[:, 1], along[:, 0]], axis=1) / length * (0.5 * self.smoothing * widths)[:, None]
        corners = np.stack([first + across, last + across, last - across, first - across], axis=1)
        for colour, quad in zip(colours, corners.tolist(), strict=True):
            pygame.draw.polygon(self.surface, colour, quad)

    def polyline(self, colour: Colour, points: NDArray[np.float64], width: float) -> None:
        """Draws joined strokes with rounded corners, ``width`` in pixels."""
        self.strokes([colour] * (len(points) - 1), points[:-1], points[1:], np.full(len(points) - 1, width))
        for x, y in self._pixels(points).tolist():
            pygame.draw.circle(self.surface, colour, (x, y), 0.5 * width * self.smoothing)

    def discs(self, colour: Colour, centres: NDArray[np.float64], radius: float) -> None:
        """Draws discs around centres of shape (discs, 2), radius in pixels."""
        for x, y in self._pixels(centres).tolist():
            pygame.draw.circle(self.surface, colour, (x, y), radius * self.smoothing)

    def text(
        self, words: str, pixel: tuple[float, float], size: int = 18, colour: Colour = INK, align: float = 0.0
    ) -> None:
        """Puts words into the finished picture; ``align`` is 0 for left, 0.5 for centred, 1 for right of ``pixel``."""
        label = _label(words, size, colour)
        self._labels.append((label, (pixel[0] - align * label.get_width(), pixel[1])))

    def caption(self, *lines: tuple[str, int]) -> None:
        """Puts lines, each with its size, on a translucent sheet in the upper left corner of the finished picture."""
        labels = [_label(words, size, INK) for words, size in lines]
        width = max(label.get_width() for label in labels) + 18
        self._labels.append((_sheet(width, sum(label.get_height() + 4 for label in labels) + 10), (8, 8)))
        top = 8 + 7
        for label in labels:
            self._labels.append((label, (8 + 9, top)))
            top += label.get_height() + 4

    def legend(self, *entries: tuple[str, Colour]) -> None:
        """Says what colours mean, on a translucent sheet in the upper right corner of the finished picture."""
        labels = [(_label(words, 17, INK), colour) for words, colour in entries]
        width = sum(label.get_width() + 30 for label, _ in labels) + 4
        left = self.view.size[0] - 8 - width
        self._labels.append((_sheet(width, labels[0][0].get_height() + 10), (left, 8)))
        left += 8
        for label, colour in labels:
            swatch = pygame.Surface((14, 4), depth=24)
            swatch.fill(colour)
            self._labels.append((swatch, (left, 8 + 5 + label.get_height() // 2 - 2)))
            self._labels.append((label, (left + 18, 8 + 6)))
            left += label.get_width() + 30

    def finish(self) -> pygame.Surface:
        """The finished picture."""
        picture = pygame.transform.smoothscale(self.surface, self.view.size)
        for label, position in self._labels:
            picture.blit(label, position)
        return picture


@functools.lru_cache(maxsize=8)
def _sky(size: tuple[int, int]) -> pygame.Surface:
    gradient = pygame.Surface((1, 2), depth=24)
    gradient.set_at((0, 0), SKY_HIGH)
    gradient.set_at((0, 1), SKY_LOW)
    return pygame.transform.smoothscale(gradient, size)


@functools.lru_cache(maxsize=8)
def _sheet(width: int, height: int) -> pygame.Surface:
    """A translucent sheet with rounded corners to write on."""
    large = pygame.Surface((width * _TEXT_SMOOTHING, height * _TEXT_SMOOTHING), pygame.SRCALPHA)
    large.fill((*PAPER, 0))
    pygame.draw.rect(large, (*PAPER, 200), large.get_rect(), border_radius=6 * _TEXT_SMOOTHING)
    return pygame.transform.smoothscale(large, (width, height))


@functools.lru_cache(maxsize=64)
def _label(words: str, size: int, colour: Colour) -> pygame.Surface:
    """Words as a picture. Reduced from a larger one: at small sizes pygame spaces letters by whole pixels."""
    if not pygame.font.get_init():
        pygame.font.init()
    # Fonts are not kept: they cost microseconds, and die with pygame.quit(), which a wrapper of Gymnasium calls.
    large = pygame.font.Font(None, size * _TEXT_SMOOTHING).render(words, True, colour)
    return pygame.transform.smoothscale(
        large, (round(large.get_width() / _TEXT_SMOOTHING), round(large.get_height() / _TEXT_SMOOTHING))
    )


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two: the first where ``share`` is 0, the second where it is 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def to_image(picture: pygame.Surface) -> Image:
    """The picture as an array of shape (height, width, 3), uint8, RGB."""
    width, height = picture.get_size()
    return np.frombuffer(pygame.image.tobytes(picture, "RGB"), dtype=np.uint8).reshape(height, width, 3).copy()
