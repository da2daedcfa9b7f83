"""`Sodarace-Random-v0`: another terrain at each reset, repeatable, named in the info, and chosen by options."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import data_equivalence

from sodarace_gym.envs.random_terrain import RandomTerrainEnv
from sodarace_gym.terrains.distribution import SPLITS, TerrainDraw, terrain_split
from sodarace_gym.terrains.making import make_terrain

SHORT = 1.0  # s of walking


def infos(env: gym.Env[Any, Any], count: int, seed: int | None = None) -> list[dict[str, Any]]:
    return [env.reset(seed=seed if k == 0 else None)[1] for k in range(count)]


def test_each_reset_draws_a_terrain_and_the_seed_repeats_all_of_them() -> None:
    env, other = (gym.make("Sodarace-Random-v0", duration=SHORT) for _ in range(2))
    drawn = infos(env, 12, seed=5)
    assert infos(other, 12, seed=5) == drawn
    assert infos(other, 12, seed=6) != drawn
    assert len({tuple(sorted(info.items())) for info in drawn}) == 12
    assert all(info["terrain_seed"] in SPLITS["train"] for info in drawn)


def test_the_info_names_the_terrain_of_the_episode() -> None:
    env = RandomTerrainEnv(duration=SHORT)
    program = env.action_space.sample()
    for _ in range(4):
        observation, info = env.reset()
        named = make_terrain(info["terrain"], info["terrain_seed"], info["difficulty"])
        assert env.terrain.key == named.key
        assert data_equivalence(observation, named.profile(), exact=True)
        observation, *_, told = env.step(program)
        assert {key: told[key] for key in info} == info
        assert data_equivalence(observation, named.profile(), exact=True)


def test_options_hold_for_one_episode() -> None:
    env = RandomTerrainEnv(["Hills"], difficulty=0.25, duration=SHORT)
    assert env.reset(seed=0)[1].items() >= {"terrain": "Hills", "difficulty": 0.25}.items()
    info = env.reset(options={"families": ["Gaps"], "difficulty": (0.9, 1.0), "split": "validation"})[1]
    assert info["terrain"] == "Gaps"
    assert info["difficulty"] >= 0.9
    assert info["terrain_seed"] in SPLITS["validation"]
    info = env.reset()[1]
    assert info.items() >= {"terrain": "Hills", "difficulty": 0.25}.items()
    assert info["terrain_seed"] in SPLITS["train"]


def test_a_split_can_be_played_terrain_by_terrain() -> None:
    env = RandomTerrainEnv(duration=SHORT)
    for draw in terrain_split("test", ["Stalactites"])[:4]:
        assert env.reset(options={"terrain": draw.terrain()})[1] == {"terrain": "Stalactites"}
        assert env.terrain.key == draw.terrain().key


def test_the_papers_terrains_can_be_drawn_too() -> None:
    env = RandomTerrainEnv(["Bumpy"], duration=SHORT)
    info = env.reset(seed=1)[1]
    assert env.terrain.key == make_terrain("Bumpy", info["terrain_seed"]).key
    assert env.terrain.key == TerrainDraw("Bumpy", info["terrain_seed"], info["difficulty"]).terrain().key


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"families": ["Moon"]}, "Moon"),
        ({"difficulty": 2.0}, "2.0"),
        ({"split": "exam"}, "exam"),
        ({"terrain_seed": 1}, "'families', 'difficulty', 'split', 'terrain'"),
        ({"terrain": "Hills"}, "expected a Terrain"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RandomTerrainEnv().reset(options=options)


def test_a_copy_goes_on_with_the_same_draws() -> None:
    env = RandomTerrainEnv(duration=SHORT)
    env.reset(seed=3)
    twin = pickle.loads(pickle.dumps(env))
    program = env.action_space.sample()
    assert data_equivalence(twin.step(program), env.step(program), exact=True)
    assert infos(twin, 5) == infos(env, 5)


def test_vectors_of_environments_draw_apart() -> None:
    envs = gym.make_vec("Sodarace-Random-v0", num_envs=3, vectorization_mode="sync", duration=SHORT)
    try:
        _, told = envs.reset(seed=0)
        assert len(set(told["terrain_seed"])) == 3
        *_, after = envs.step(envs.action_space.sample())
        assert list(after["terrain"]) == list(told["terrain"])
        assert list(after["difficulty"]) == list(told["difficulty"])
    finally:
        envs.close()
