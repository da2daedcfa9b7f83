"""Videos of episodes that are a single step long."""

from __future__ import annotations

import sys
from typing import Any, SupportsFloat

from gymnasium.core import ActType, ObsType
from gymnasium.wrappers import RecordVideo


class RecordWalks(RecordVideo[ObsType, ActType]):
    """Records videos of episodes: ``gymnasium.wrappers.RecordVideo``, but of a step it keeps the whole walk.

    Gymnasium's wrapper renders once a step, and one step is all of an episode here: its videos would last a tenth of a second.
    This one keeps every frame of the walk, ``metadata["render_fps"]`` of them a second; of a program that builds no walker, it
    keeps a picture of the terrain. Everything else, the choice of episodes and the names of files included, is Gymnasium's;
    ``video_length`` counts frames, and a video ends with the walk that reaches it.

    Example:
        >>> import gymnasium as gym
        >>> from sodarace_gym import RecordWalks
        >>> env = gym.make("Sodarace-Flat-v0", render_mode="rgb_array")
        >>> env = RecordWalks(env, "videos", episode_trigger=lambda episode: episode % 100 == 0)  # doctest: +SKIP

    Args:
        env: An environment whose action is a program, wrapped or not, with the render mode "rgb_array".
        video_folder: Where the videos go, one mp4 file each.
        **settings: The other arguments of ``gymnasium.wrappers.RecordVideo``.

    Raises:
        ValueError: The render mode is another one, or an episode of the environment has many steps.
        gymnasium.error.DependencyNotInstalled: moviepy is missing; ``pip install "sodarace-gym[video]"`` installs it.
    """

    def __init__(self, env: Any, video_folder: str, **settings: Any) -> None:
        if env.render_mode != "rgb_array":
            raise ValueError(
                f'env: expected an environment made with render_mode="rgb_array", got {env.render_mode!r}; '
                "its walks are drawn frame by frame from there."
            )
        if not env.has_wrapper_attr("walk_images"):
            raise ValueError(
                f"env: expected an environment whose action is a program, got {env.unwrapped}; gymnasium.wrappers.RecordVideo "
                "records others, a frame for each step."
            )
        super().__init__(env, video_folder, **settings)

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps through the environment, and adds the walk to the video if one is being recorded."""
        # Gymnasium would compare the length before the walk is there.
        length, self.video_length = self.video_length, sys.maxsize
        try:
            result = super().step(action)
        finally:
            self.video_length = length
        if self.recording:
            # The last two frames show the terrain (unless recording began with this step) and the end of the walk.
            self.recorded_frames[-2:] = self.get_wrapper_attr("walk_images")()
            if len(self.recorded_frames) >= self.video_length:
                self.stop_recording()
        return result
