"""Pictures of environments whose action is a program: the terrain, the walk, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from sodarace_gym.evaluation import Evaluation
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.terrains.terrain import Terrain

if TYPE_CHECKING:
    from sodarace_gym.rendering.window import Window
    from sodarace_gym.walkers.walker import WalkerDesign


class WalkPictures:
    """The part of an environment that draws; the environment sets the attributes.

    Attributes:
        spec: What ``gymnasium.make`` made the environment from.
        render_mode: None, "human", "rgb_array" or "rgb_array_list".
        duration: Time that a walker walks, s.
        terrain: The terrain of this episode.
        evaluation: What became of this episode's program; None before the step.
    """

    spec: EnvSpec | None
    render_mode: str | None
    duration: float
    terrain: Terrain
    evaluation: Evaluation | None
    _unshown = False  # whether something happened since frames were last handed out as a list
    _window: Window | None = None

    def render(self) -> Any:
        """Draws what the render mode asks for; see the class.

        Returns:
            Nothing for ``"human"``, an array of shape (height, width, 3), uint8, for ``"rgb_array"``, a list of such arrays
            for ``"rgb_array_list"``.
        """
        if self.render_mode is None:
            warn_without_render_mode(self.spec)
            return None
        if self.render_mode == "human":
            if self.evaluation is None:
                self._open_window().show_terrain(self.terrain)
            return None
        if self.render_mode == "rgb_array_list":
            images = self.walk_images() if self._unshown else []
            self._unshown = False
            return images
        from sodarace_gym.rendering.film import last_frame, terrain_image

        design = None if self.evaluation is None else self.evaluation.design
        if design is None:
            return terrain_image(self.terrain)
        return last_frame(design, self.terrain, self._trajectory(design))

    def walk_images(self) -> list[NDArray[np.uint8]]:
        """Draws the whole walk of this episode, in any render mode.

        Returns:
            Images of shape (height, width, 3), uint8, RGB, 20 for each second; a single one, of the terrain, before the step
            and after a program that built no walker.
        """
        from sodarace_gym.rendering.film import frames, terrain_image

        design = None if self.evaluation is None else self.evaluation.design
        if design is None:
            return [terrain_image(self.terrain)]
        return list(frames(design, self.terrain, self._trajectory(design)))

    def _trajectory(self, design: WalkerDesign) -> NDArray[np.float64] | None:
        """The motion of this episode's walker, simulated again, which gives the same floats."""
        return roll_out(design, self.terrain, self.duration, record=True).trajectory

    def _open_window(self) -> Window:
        from sodarace_gym.rendering.window import Window

        if self._window is None:
            self._window = Window(title=f"Sodarace: {self.terrain.name}")
        return self._window


def warn_without_render_mode(spec: EnvSpec | None) -> None:
    """Says why ``render()`` does nothing, and how to make the environment so that it does."""
    making = f'gym.make("{spec.id}", render_mode="rgb_array")' if spec else 'the argument render_mode="rgb_array"'
    gym.logger.warn(f"render() does nothing without a render mode: make the environment with {making}.")
