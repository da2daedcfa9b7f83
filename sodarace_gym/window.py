"""A window that plays walks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.canvas import pygame
from sodarace_gym.physics import FRAME_RATE
from sodarace_gym.rendering import FRAME_SIZE, pose_scene, terrain_scene, walk_scenes
from sodarace_gym.terrain import Terrain
from sodarace_gym.walker import WalkerDesign


class Window:
    """A window that plays walks in real time. The user may resize it, which scales the picture, and close it, for good.

    Args:
        size: Width and height, pixels, to begin with.
        title: What stands above it.
    """

    def __init__(self, size: tuple[int, int] = FRAME_SIZE, title: str = "Sodarace") -> None:
        pygame.display.init()
        pygame.display.set_caption(title)
        self.size = size
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "no fast renderer")  # fast enough for 20 frames a second
            surface = pygame.display.set_mode(size, pygame.SCALED | pygame.RESIZABLE)
        self._surface: pygame.Surface | None = surface
        self._clock = pygame.time.Clock()

    @property
    def is_open(self) -> bool:
        """Whether neither the user nor the program has closed it."""
        return self._surface is not None

    def show_terrain(self, terrain: Terrain) -> None:
        """Shows a terrain without a walker."""
        self._show(terrain_scene(terrain, self.size))

    def play(self, design: WalkerDesign, terrain: Terrain, trajectory: NDArray[np.float64] | None) -> None:
        """Plays a walk in real time, or until the window is closed; see :func:`sodarace_gym.rendering.frames`."""
        for picture in walk_scenes(design, terrain, trajectory, self.size):
            if not self.is_open:
                return
            self._show(picture)
            self._clock.tick(FRAME_RATE)

    def show_pose(self, *pose: Any, frame_rate: int) -> None:
        """Shows one moment, as :func:`sodarace_gym.rendering.pose_image` draws it, for ``1 / frame_rate`` seconds."""
        if self.is_open:
            self._show(pose_scene(self.size, *pose))
            self._clock.tick(frame_rate)

    def _show(self, picture: pygame.Surface) -> None:
        if self._surface is None:
            return
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()
            return
        self._surface.blit(picture, (0, 0))
        pygame.display.flip()

    def close(self) -> None:
        """Closes the window; closing twice is fine."""
        if self._surface is not None:
            self._surface = None
            pygame.display.quit()
