"""A window that plays walks."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.physics.constants import FRAME_RATE
from sodarace_gym.rendering.canvas import pygame
from sodarace_gym.rendering.film import FRAME_SIZE, pose_scene, terrain_scene, walk_scenes
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign


class Window:
    """A window that plays walks in real time. The user may resize it, which scales the picture, and close it, for good.

    pygame has one window for all of a process: several of these share it, each showing its picture when it has a new one.

    Args:
        size: Width and height, pixels, to begin with.
        title: What stands above it.
    """

    _sharing: ClassVar[weakref.WeakSet[Window]] = weakref.WeakSet()

    def __init__(self, size: tuple[int, int] = FRAME_SIZE, title: str = "Sodarace") -> None:
        pygame.display.init()
        pygame.display.set_caption(title)
        self.size = size
        if pygame.display.get_surface() is None:
            pygame.display.set_mode(size, pygame.RESIZABLE)
        self._sharing.add(self)
        self._clock = pygame.time.Clock()

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it: the user, this program, or another that uses pygame in this process."""
        return self in self._sharing and pygame.display.get_surface() is not None

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
        if not self.is_open:
            return
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()
            return
        # Asked for every time, as resizing makes another surface. Not pygame.SCALED, which does all this by itself, but cannot
        # open a window a second time: it fails to create a renderer, or kills the process (pygame 2.6).
        surface = pygame.display.get_surface()
        if picture.get_size() != surface.get_size():
            scale = min(np.divide(surface.get_size(), picture.get_size()))
            picture = pygame.transform.smoothscale_by(picture, scale)
            surface.fill((0, 0, 0))
        surface.blit(picture, picture.get_rect(center=surface.get_rect().center))
        pygame.display.flip()

    def close(self) -> None:
        """Closes the window, once nobody shares it any more; closing twice is fine."""
        if self in self._sharing:
            self._sharing.discard(self)
            if not self._sharing:
                pygame.display.quit()
