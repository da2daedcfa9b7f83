"""Image observations: they show the profile's terrain, and pass where Gymnasium's environments pass."""

from __future__ import annotations

import pickle
import warnings
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from sodarace_gym import BoxActions, TerrainImage
from sodarace_gym.envs.env import SodaraceEnv
from sodarace_gym.rendering.film import terrain_observation
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import WORLD_HALF_WIDTH, Terrain


def image_environment(name: str = "Bumpy", size: tuple[int, int] = (64, 128), **settings: Any) -> TerrainImage[Any]:
    return TerrainImage(gym.make(f"Sodarace-{name}-v0", duration=0.5, **settings), size)


heights = st.lists(st.integers(-12, 12), min_size=32, max_size=32)


def staircase(levels: list[int]) -> np.ndarray:
    """Vertical faces at x = -48, -45, ..., 48 and flat pieces between them."""
    xs = np.repeat(np.linspace(-48.0, 48.0, 33), 2)[1:-1]
    line = np.stack([xs, np.repeat(np.array(levels, dtype=float), 2)], axis=1)
    ends = np.array([(-WORLD_HALF_WIDTH, levels[0]), (WORLD_HALF_WIDTH, levels[-1])])
    return np.vstack([ends[:1], line, ends[1:]])


@settings(max_examples=40)
@given(floor=heights, ceiling=st.none() | st.lists(st.integers(13, 30), min_size=32, max_size=32))
def test_every_pixel_is_dark_where_the_terrain_is_solid(floor: list[int], ceiling: list[int] | None) -> None:
    floor[15:17] = [min(0, level) for level in floor[15:17]]  # where walkers are put down
    terrain = Terrain("Random", staircase(floor), None if ceiling is None else staircase(ceiling))
    image = terrain_observation(terrain, (192, 96))
    x = (np.arange(192) + 0.5) / 2 - 48.0
    y = 32.0 - (np.arange(96) + 0.5) / 2
    solid = y[:, None] < np.interp(x, *terrain.floor.T)
    if terrain.ceiling is not None:
        solid |= y[:, None] > np.interp(x, *terrain.ceiling.T)
    # Edges lie between pixels; pygame's polygons reach a little over theirs, by up to half a pixel at a corner.
    assert np.array_equal(image.max(axis=2) < 138, solid)


@pytest.mark.parametrize("name", TERRAIN_NAMES)
def test_observations_hold_the_image_of_their_terrain(name: str) -> None:
    env = image_environment(name, (40, 60))
    first, _ = env.reset(seed=0)
    last = env.step(env.action_space.sample())[0]
    for observation in (first, last):
        assert env.observation_space.contains(observation)
        assert set(observation) == {"floor", "ceiling", "image"}
        assert np.array_equal(observation["image"], terrain_observation(make_terrain(name), (60, 40)))


def test_every_terrain_has_its_own_image() -> None:
    images = {terrain_observation(make_terrain(name), (128, 64)).tobytes() for name in TERRAIN_NAMES}
    assert len(images) == len(TERRAIN_NAMES)


def test_the_image_follows_the_episode_and_belongs_to_the_caller() -> None:
    env = image_environment("Bumpy")
    own = env.reset()[0]["image"]
    other = env.reset(options={"terrain_seed": 5})[0]["image"]
    assert np.array_equal(other, terrain_observation(make_terrain("Bumpy", 5), (128, 64)))
    assert not np.array_equal(own, other)
    other[:] = 0
    assert env.reset(options={"terrain_seed": 5})[0]["image"].any()
    assert np.array_equal(env.reset()[0]["image"], own)


def test_it_passes_gymnasiums_checks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*different from the unwrapped version.*")
        check_env(TerrainImage(SodaraceEnv("Tunnel", duration=0.5)), skip_render_check=True)


@pytest.mark.parametrize("vector", [gym.vector.SyncVectorEnv, gym.vector.AsyncVectorEnv])
def test_vector_environments_stack_the_images(vector: type[gym.vector.VectorEnv[Any, Any, Any]]) -> None:
    names = ["Tunnel", "Bumpy"]
    env = vector([partial(image_environment, name) for name in names])  # type: ignore[call-arg]
    observation, _ = env.reset(seed=0)
    assert observation["image"].shape == (2, 64, 128, 3)
    assert observation["image"].dtype == np.uint8
    for name, image in zip(names, observation["image"], strict=True):
        assert np.array_equal(image, terrain_observation(make_terrain(name), (128, 64)))
    observation = env.step(env.action_space.sample())[0]
    assert env.observation_space.contains(observation)
    env.close()


def test_copies_and_specifications_make_the_same_environment() -> None:
    env = image_environment("Tunnel", (48, 96))
    expected = env.reset(seed=0)[0]["image"]
    assert np.array_equal(pickle.loads(pickle.dumps(env)).reset()[0]["image"], expected)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert np.array_equal(again.reset()[0]["image"], expected)


def test_stable_baselines_plays_from_images() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.vec_env import VecTransposeImage

    agent = sb3.PPO("MultiInputPolicy", BoxActions(image_environment()), n_steps=2, batch_size=2, n_epochs=1, seed=0)
    env = agent.get_env()
    assert isinstance(env, VecTransposeImage)
    assert env.reset()["image"].shape == (1, 3, 64, 128)
    agent.learn(2)
    assert agent.num_timesteps == 2


@pytest.mark.parametrize("size", [(64,), (64, 128, 3), (0, 64), (64.0, 64), (7, 64), (64, 5000), 64, "64"])
def test_bad_sizes_are_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="two whole numbers"):
        TerrainImage(SodaraceEnv("Flat"), size)


def test_flat_observations_are_refused() -> None:
    flat = gym.wrappers.FlattenObservation(SodaraceEnv("Flat"))
    with pytest.raises(ValueError, match="Dict"):
        TerrainImage(flat)
