"""Infos of numbers only."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from sodarace_gym import NumericInfo, SodaraceControlEnv, SodaraceEnv


def test_numbers_stay_and_texts_and_none_go() -> None:
    env = NumericInfo(SodaraceEnv(duration=0.2))
    assert env.reset(seed=0)[1] == {}
    program = env.action_space.sample()
    info = env.step(program)[-1]
    env.reset()
    full = env.env.step(program)[-1]
    assert info == {key: full[key] for key in ("displacement", "height", "width", "mass", "repairs")}
    env.reset()
    assert env.step("no program")[-1].keys() == info.keys()


def test_vector_environments_stack_them_into_arrays_of_numbers() -> None:
    envs = gym.vector.SyncVectorEnv([lambda: NumericInfo(SodaraceControlEnv(duration=0.2))] * 2)
    envs.reset(seed=0)
    infos = envs.step(envs.action_space.sample())[-1]
    assert infos.keys() == {"displacement", "_displacement", "time", "_time"}
    assert all(np.issubdtype(values.dtype, np.number) or values.dtype == bool for values in infos.values())
