"""Episodes of the control environment: how they begin and end, on which terrain, and that copies and batches agree."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sodarace_gym.envs.control import SodaraceControlEnv
from sodarace_gym.physics.constants import STEP_RATE
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain
from tests.sodarace_gym.control_plays import PIT, SHORT, at_random, make, own_gait, parts, play
from tests.sodarace_gym.sample_walkers import random_designs, violent


def test_coming_apart_ends_the_episode_and_never_pays() -> None:
    faults = 0
    for design in random_designs(21, 6):
        env = make(walker=violent(design, 12.0), residual=True, duration=3.0, fault_penalty=7.0)
        expected = roll_out(env.design, env.terrain, 3.0).fault
        rewards, (observation, _, terminated, truncated, info) = play(env, own_gait)
        assert info["fault"] == expected
        assert terminated == (expected is not None) != truncated
        assert observation in env.observation_space
        if terminated:
            faults += 1
            assert info["displacement"] == 0.0
            assert sum(rewards) == pytest.approx(min(0.0, sum(rewards[:-1])) - 7.0)
            with pytest.raises(gym.error.ResetNeeded):
                env.step(env.action_space.sample())
    assert faults


def test_time_runs_out_also_in_the_middle_of_a_step() -> None:
    env = make(duration=0.12)  # seven physics steps: 3 + 3 + 1
    rewards, (*_, terminated, truncated, info) = play(env, own_gait)
    assert len(rewards) == 3
    assert (terminated, truncated) == (False, True)
    assert info["time"] == pytest.approx(7 / STEP_RATE)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(env.action_space.sample())


def test_only_noise_makes_starts_differ() -> None:
    still = make()
    assert np.array_equal(still.reset(seed=1)[0], still.reset(seed=2)[0])
    noisy = make(start_noise=0.5)
    first, again, other = noisy.reset(seed=1)[0], noisy.reset(seed=1)[0], noisy.reset(seed=2)[0]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    changed = [np.abs(a - b).max() > 1e-6 for a, b in zip(parts(still, first), parts(still, other), strict=True)]
    assert changed == [False, False, True, False, False, False, False], "velocities and nothing else"
    velocities = np.concatenate([parts(noisy, noisy.reset()[0])[2] for _ in range(40)])
    assert velocities.std() * 10.0 == pytest.approx(0.5, rel=0.25)


def test_another_terrain_for_one_episode() -> None:
    env = make(terrain="Bumpy", terrain_seed=4)
    own, _ = env.reset()
    other, _ = env.reset(options={"terrain_seed": 5})
    assert not np.array_equal(parts(env, own)[5], parts(env, other)[5])
    assert env.terrain.key == make_terrain("Bumpy", 5).key
    assert np.array_equal(env.reset()[0], own)
    with pytest.raises(ValueError, match="'terain_seed'"):
        env.reset(options={"terain_seed": 1})


def test_seed_and_difficulty_name_a_terrain_of_the_family() -> None:
    env = gym.make("sodarace_gym:SodaraceControl-Rough-v0", duration=SHORT, terrain_seed=3, difficulty=0.2).unwrapped
    assert isinstance(env, SodaraceControlEnv)
    own = make_terrain("Rough", 3, 0.2)
    floors = []
    for options, expected in [
        (None, own),
        ({"difficulty": 0.9}, make_terrain("Rough", 3, 0.9)),
        ({"terrain_seed": 4}, make_terrain("Rough", 4, 0.2)),
        ({"difficulty": None}, make_terrain("Rough", 3)),
        ({"difficulty": 0.9, "terrain_seed": 4}, make_terrain("Rough", 4, 0.9)),
        ({}, own),
    ]:
        observation, info = env.reset(options=options)
        assert env.terrain.key == expected.key
        assert info["terrain"] == expected.name
        floors.append(parts(env, observation)[5].tolist())
    assert len(set(map(tuple, floors))) == 5, "another terrain looks different"
    assert floors[-1] == floors[0]


def test_a_refused_reset_leaves_the_episode_as_it_was() -> None:
    env = make(terrain="Hills", difficulty=0.8)
    env.step(np.zeros(6))
    with pytest.raises(ValueError, match="difficulty"):
        env.reset(options={"difficulty": 1.5})
    assert env.terrain.key == make_terrain("Hills", 0, 0.8).key
    assert env.step(np.zeros(6))[4]["time"] == pytest.approx(2 / 20)


def test_a_terrain_of_ones_own_cannot_be_drawn_again() -> None:
    for options in ({"terrain_seed": 5}, {"difficulty": 0.5}):
        with pytest.raises(ValueError, match="name a family"):
            make(terrain=Terrain("Pit", PIT)).reset(options=options)
    with pytest.raises(ValueError, match="name a family"):
        SodaraceControlEnv(make_terrain("Hills", 3), difficulty=0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"terrain_seed": -1}, "at least 0"), ({"terrain_seed": 1.5}, "1.5"), ({"difficulty": "hard"}, "'hard'")],
)
def test_bad_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(terrain="Hills").reset(options=options)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_where_the_environment_was(copier: Any) -> None:
    env = SodaraceControlEnv("Hills", "wheel", duration=SHORT, start_noise=0.3, terrain_seed=2, difficulty=0.9)
    assert copier(env).reset(seed=3)[0].tolist() == env.reset(seed=3)[0].tolist()
    env.action_space.seed(7)
    for _ in range(7):
        env.step(env.action_space.sample())
    twin = copier(env)
    assert play(twin, at_random)[0] == play(env, at_random)[0]
    with pytest.raises(gym.error.ResetNeeded):
        copier(env).step(env.action_space.sample())
    twin.reset(options={"terrain_seed": 5})
    assert twin.terrain.key == make_terrain("Hills", 5, 0.9).key, "a copy draws anew at the same difficulty"
    assert copier(twin).step(np.zeros(8))[0].tolist() == twin.step(np.zeros(8))[0].tolist()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments_do_what_single_ones_do(mode: str) -> None:
    envs = gym.make_vec("SodaraceControl-Flat-v0", num_envs=2, vectorization_mode=mode, duration=0.3, start_noise=0.2)
    try:
        envs.action_space.seed(0)
        observations, _ = envs.reset(seed=5)
        singles = [make(duration=0.3, start_noise=0.2) for _ in range(2)]
        for index, env in enumerate(singles):
            assert np.array_equal(env.reset(seed=5 + index)[0], observations[index])
        for _ in range(6):
            actions = envs.action_space.sample()
            observations, rewards, _, truncated, _ = envs.step(actions)
            for index, env in enumerate(singles):
                observation, reward, *_ = env.step(actions[index])
                assert np.array_equal(observation, observations[index])
                assert reward == rewards[index]
        assert truncated.all()
    finally:
        envs.close()
