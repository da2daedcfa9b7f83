"""Videos: every frame of a walk is in the file, read back by ffmpeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from sodarace_gym import BoxActions, RecordWalks
from sodarace_gym.envs.env import SodaraceEnv
from sodarace_gym.physics.constants import FRAME_RATE

DURATION = 1.0  # at some lengths (of 0.5 s, say) moviepy rounds the last frame away
WALK = FRAME_RATE + 1
PROGRAM = """
def make_walker():
    wc = walker_creator()
    a, b, c = wc.add_joint(0, 0), wc.add_joint(8, 0), wc.add_joint(4, 7)
    wc.add_muscle(a, b, False, 2.0, 0.0)
    wc.add_muscle(b, c)
    wc.add_muscle(c, a)
    return wc.get_walker()
"""


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*Overwriting existing videos"
)  # Gymnasium warns of every folder there is


def environment() -> gym.Env[Any, Any]:
    return gym.make("Sodarace-Tunnel-v0", render_mode="rgb_array", duration=DURATION)


def read(path: Path) -> tuple[float, list[NDArray[np.uint8]]]:
    """Frames a second and frames of a video."""
    frames = imageio_ffmpeg.read_frames(str(path))
    about = next(frames)
    width, height = about["size"]
    return about["fps"], [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_video_holds_the_whole_walk(tmp_path: Path) -> None:
    env = RecordWalks(environment(), str(tmp_path / "videos"))
    assert isinstance(env, gym.wrappers.RecordVideo)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(PROGRAM)
    assert (terminated, truncated, info["error"]) == (True, False, None)
    inner = env.unwrapped
    assert isinstance(inner, SodaraceEnv)
    walk = inner.walk_images()
    assert np.array_equal(env.render(), walk[-1]), "rendering goes on as without the wrapper"
    env.close()
    assert names(tmp_path / "videos") == ["rl-video-episode-0.mp4"]
    rate, frames = read(tmp_path / "videos" / "rl-video-episode-0.mp4")
    assert (rate, len(frames)) == (FRAME_RATE, WALK)
    for frame, image in zip(frames, walk, strict=True):  # the codec loses a little
        assert np.abs(frame.astype(int) - image).mean() < 4.0
    plain = environment()
    plain.reset(seed=0)
    assert plain.step(PROGRAM)[1] == reward, "recording changes nothing"


def test_triggers_choose_episodes_and_wrappers_stay_between(tmp_path: Path) -> None:
    env = RecordWalks(BoxActions(environment()), str(tmp_path), episode_trigger=lambda k: k % 2 == 1, name_prefix="w")
    for _ in range(4):
        env.reset(seed=0)
        env.step(np.full(24, 0.5, dtype=np.float32))
    env.close()
    assert names(tmp_path) == ["w-episode-1.mp4", "w-episode-3.mp4"]
    assert [len(read(tmp_path / name)[1]) for name in names(tmp_path)] == [WALK, WALK]


def test_recording_may_begin_with_a_step(tmp_path: Path) -> None:
    env = RecordWalks(environment(), str(tmp_path), step_trigger=lambda step: step == 1)
    for _ in range(3):
        env.reset(seed=0)
        env.step(PROGRAM)
    env.close()
    assert names(tmp_path) == ["rl-video-step-1.mp4"]
    assert len(read(tmp_path / "rl-video-step-1.mp4")[1]) == WALK


@pytest.mark.parametrize(("length", "walks"), [(1, 1), (WALK + 2, 2)])
def test_a_video_ends_with_the_walk_that_reaches_its_length(tmp_path: Path, length: int, walks: int) -> None:
    env = RecordWalks(environment(), str(tmp_path), episode_trigger=lambda k: k == 0, video_length=length)
    for episode in range(walks):
        assert env.recording == (episode > 0)
        env.reset(seed=0)
        env.step(PROGRAM)
    assert not env.recording
    env.close()
    (name,) = names(tmp_path)
    assert len(read(tmp_path / name)[1]) == walks * WALK


def test_a_program_that_builds_nothing_leaves_a_picture_of_the_terrain(tmp_path: Path) -> None:
    env = RecordWalks(environment(), str(tmp_path))
    env.reset(seed=0)
    *_, info = env.step("no program")
    assert info["error"] is not None
    expected = env.render()
    env.close()
    (frame,) = read(tmp_path / "rl-video-episode-0.mp4")[1]
    assert np.abs(frame.astype(int) - expected).mean() < 4.0


def test_a_refused_step_leaves_the_length_of_videos_alone(tmp_path: Path) -> None:
    env = RecordWalks(environment(), str(tmp_path), video_length=5)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(PROGRAM)
    assert env.video_length == 5
    env.close()


@pytest.mark.parametrize("mode", [None, "human", "rgb_array_list"])
def test_other_render_modes_are_refused(tmp_path: Path, mode: str | None) -> None:
    env = SodaraceEnv("Flat", render_mode=mode)
    with pytest.raises(ValueError, match='render_mode="rgb_array"'):
        RecordWalks(env, str(tmp_path))
    env.close()
