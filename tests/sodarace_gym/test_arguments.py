"""Whatever is wrong with an argument: a ValueError that names it, says what was expected, and shows what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sodarace_gym import BoxActions, RecordWalks, SequentialActions, SodaraceEnv, Terrain, make_terrain, terrain_split
from sodarace_gym.arguments import checked_number, checked_whole
from sodarace_gym.envs.control import SodaraceControlEnv
from sodarace_gym.envs.random_terrain import RandomTerrainEnv
from sodarace_gym.envs.vector import SodaraceVectorEnv
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.rendering.film import film_strip
from sodarace_gym.walkers.walker import build_design

PAIR = build_design([(0.0, 0.0), (3.0, 0.0)], [(0, 1, False, 0.5, 0.0)])[0]
FLAT = make_terrain("Flat")


def control(**arguments: Any) -> SodaraceControlEnv:
    return SodaraceControlEnv(**arguments)


def stepped(env: gym.Env[Any, Any], action: Any) -> None:
    env.reset(seed=0)
    env.step(action)


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "duration, a text": (
        lambda: SodaraceEnv(duration="10"),
        "duration: expected a positive number of seconds, got '10'",
    ),
    "duration, none": (lambda: control(duration=None), "duration: expected at least one physics step .* got None"),
    "duration, a bool": (lambda: Evaluator(duration=True), "duration: .* got True"),
    "invalid_reward": (lambda: SodaraceEnv(invalid_reward="x"), "invalid_reward: expected a finite number, got 'x'"),
    "start_noise": (lambda: control(start_noise="x"), "start_noise: expected a number of at least 0, got 'x'"),
    "max_actions": (lambda: control(max_actions=2.5), "max_actions: expected None or a whole number .* got 2.5"),
    "walker, none": (lambda: control(walker=None), "walker: expected a name, .* got None"),
    "terrain, a list": (lambda: SodaraceEnv(["Flat"]), r"unknown terrain \['Flat'\]; expected one of Flat"),
    "terrain, an array": (lambda: SodaraceEnv(FLAT.floor), "unknown terrain array"),
    "terrain and seed": (lambda: SodaraceEnv(FLAT, terrain_seed=5), "terrain_seed: a Terrain has none"),
    "render_mode": (lambda: SodaraceEnv(render_mode=["human"]), "render_mode: expected None or one of human"),
    "options of reset": (lambda: SodaraceEnv().reset(options=5), "options: expected None or a dict .* got 5"),
    "options of control": (lambda: control().reset(options=[1]), r"options: .* got \[1\]"),
    "seed of a terrain": (lambda: make_terrain("Hills", seed=1.5), "seed: expected a whole number .* got 1.5"),
    "split, a list": (lambda: terrain_split(["train"]), r"split: expected one of train, .* got \['train'\]"),
    "families, a set": (lambda: RandomTerrainEnv({"Hills", "Gaps"}), "families: expected .* in a list, got {"),
    "families, an array": (lambda: RandomTerrainEnv(np.array(["Hills"])), "families: .* got array"),
    "families, a number": (lambda: RandomTerrainEnv(5), "families: .* got 5"),
    "heights": (lambda: Terrain.from_heightmap("abc"), "heights: expected a list of numbers, got 'abc'"),
    "n_jobs, a text": (lambda: Evaluator(n_jobs="2"), "n_jobs: expected a positive number of workers .* got '2'"),
    "n_jobs, a half": (lambda: Evaluator(n_jobs=1.5), "n_jobs: .* got 1.5"),
    "robustness": (lambda: Evaluator(robustness=1.5), "robustness: expected a number of copies, 0 or more, got 1.5"),
    "cache_size": (lambda: Evaluator(cache_size=None), "cache_size: .* got None"),
    "program_cache_size": (lambda: Evaluator(program_cache_size=-1), "program_cache_size: .* got -1"),
    "a terrain for all": (
        lambda: Evaluator(1).evaluate(["x"], 5),
        "terrain: expected a Terrain, .* or the name .* got 5",
    ),
    "a terrain for each": (lambda: Evaluator(1).evaluate(["x"], [None]), "terrain: expected a Terrain, .* got None"),
    "num_envs": (lambda: SodaraceVectorEnv("3"), "num_envs: expected a whole number of at least 1, got '3'"),
    "per_env": (lambda: SodaraceVectorEnv(2, per_env=5), "per_env: expected a list with a dict for each of 2 .* got 5"),
    "actions": (lambda: stepped(SodaraceVectorEnv(2), None), "actions: expected a program for each of 2 .* got None"),
    "terrain of a film strip": (lambda: film_strip(PAIR, 5), "terrain: expected a Terrain, .* got 5"),
    "max_tokens": (
        lambda: SequentialActions(SodaraceEnv(), 5.5),
        "max_tokens: expected a whole number from 2 to 40, got 5.5",
    ),
    "a token": (
        lambda: stepped(SequentialActions(SodaraceEnv()), 10.7),
        "action: expected the index of a token, .* got 10.7",
    ),
    "vectors for muscles": (lambda: BoxActions(control()), r"env: .* programs, .* acts with Box\(-1.0, 1.0"),
    "words for muscles": (lambda: SequentialActions(control()), r"env: .* programs, .* acts with Box"),
    "vectors for carts": (lambda: BoxActions(gym.make("CartPole-v1")), r"env: .* acts with Discrete\(2\)"),
    "walks of control": (
        lambda: RecordWalks(control(render_mode="rgb_array"), "never"),
        r"env: .*SodaraceControlEnv.*; gymnasium.wrappers.RecordVideo",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_refused_by_name(name: str) -> None:
    call, words = CALLS[name]
    with pytest.raises(ValueError, match=words) as refusal:
        call()
    assert len(str(refusal.value)) < 700


def test_numbers_of_numpy_are_numbers() -> None:
    assert checked_number("x", np.float32(0.5)) == 0.5
    assert checked_number("x", np.int64(2), least=2.0) == 2.0
    assert type(checked_whole("x", np.int64(2), "two", 2, 2)) is int
    assert SodaraceEnv(duration=np.float64(3.0)).duration == 3.0
    for wrong in (np.bool_(True), np.float64(2.0), np.array(2), 1, 3):
        with pytest.raises(ValueError, match="x: expected two, got"):
            checked_whole("x", wrong, "two", 2, 2)
    for number in (np.nan, np.inf, -0.1, 1 + 2j):
        with pytest.raises(ValueError, match="x: expected small, got"):
            checked_number("x", number, "small", least=0.0)
    with pytest.raises(ValueError, match="x: expected more, got 0"):
        checked_number("x", 0, "more", above=0.0)


def test_a_token_may_be_any_kind_of_whole_number() -> None:
    env = SequentialActions(SodaraceEnv())
    for token in (13, np.int64(13), np.array(13)):
        env.reset()
        assert not env.step(token)[2]
        assert env.word == (13,)
