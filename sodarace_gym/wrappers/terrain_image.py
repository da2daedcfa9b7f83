"""Observations for vision models: the terrain as an image."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.core import ActType
from numpy.typing import NDArray

from sodarace_gym.terrains.terrain import Terrain

SMALLEST, LARGEST = 8, 4096
"""Bounds of an image's height and width, pixels."""

Observation = dict[str, NDArray[Any]]


class TerrainImage(gym.ObservationWrapper[Observation, ActType, Observation], gym.utils.RecordConstructorArgs):
    """Adds an image of the terrain to the observation.

    ## Observation Space
    The `Dict` of the environment, with one more key:

    | Key     | Observation                                                        | Min | Max |
    |---------|--------------------------------------------------------------------|-----|-----|
    | `image` | `(height, width, 3)`, `uint8`, RGB: dark is solid, light is open   | 0   | 255 |

    The image shows what the profile shows, |x| <= 48, seen from the side, without text and without a walker: the start is in
    the middle of its width and y = 0 one third of its height above its lower edge. A pixel is `96 / width` units wide and
    high, so it means the same place in every terrain. The same terrain always gives the same image, whatever the render mode.

    Channels come last, as images are in Gymnasium. Stable-Baselines3 recognises the image by its type and moves its channels
    to the front by itself (`VecTransposeImage`); its `MultiInputPolicy` then gives it to a convolutional network, which asks
    for at least 36 pixels each way. With `torch`, `torch.as_tensor(image).permute(2, 0, 1)` does it.

    Example:
        >>> import gymnasium as gym
        >>> from sodarace_gym import TerrainImage
        >>> env = TerrainImage(gym.make("Sodarace-Tunnel-v0"))
        >>> observation, info = env.reset(seed=0)
        >>> observation["image"].shape
        (64, 128, 3)

    Args:
        env: A Sodarace environment, wrapped or not.
        size: Height and width of the image, pixels.

    Raises:
        ValueError: The size is no pair of whole numbers from 8 to 4096, or the observations are no ``Dict``.
    """

    def __init__(self, env: gym.Env[Observation, ActType], size: tuple[int, int] = (64, 128)) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, size=size)
        gym.ObservationWrapper.__init__(self, env)
        pair = tuple(size) if isinstance(size, (tuple, list, np.ndarray)) else ()
        whole = all(isinstance(side, (int, np.integer)) and SMALLEST <= side <= LARGEST for side in pair)
        if len(pair) != 2 or not whole:
            raise ValueError(
                f"size: expected height and width, two whole numbers from {SMALLEST} to {LARGEST}, got {size!r}."
            )
        if not isinstance(env.observation_space, spaces.Dict):
            raise ValueError(
                f"env: expected a Dict of observations to add an image to, got {env.observation_space}; "
                "put this wrapper inside those that flatten observations."
            )
        self.size: tuple[int, int] = (int(pair[0]), int(pair[1]))
        image = spaces.Box(0, 255, (*self.size, 3), np.uint8)
        self.observation_space = spaces.Dict({**env.observation_space.spaces, "image": image})
        self._drawn: tuple[tuple[bytes, bytes], NDArray[np.uint8]] | None = None  # the last terrain, by its key

    def observation(self, observation: Observation) -> Observation:
        """The observation with the image of this episode's terrain; the caller may change it."""
        terrain: Terrain = self.get_wrapper_attr("terrain")
        if self._drawn is None or self._drawn[0] != terrain.key:
            from sodarace_gym.rendering.film import terrain_observation

            self._drawn = terrain.key, terrain_observation(terrain, (self.size[1], self.size[0]))
        return {**observation, "image": self._drawn[1].copy()}
