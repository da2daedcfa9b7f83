"""The vector environment: single environments bit for bit, each program and walker once, and what it refuses."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import sodarace_gym
from sodarace_gym.envs import vector
from sodarace_gym.envs.env import SodaraceEnv
from sodarace_gym.envs.random_terrain import RandomTerrainEnv
from sodarace_gym.envs.spaces import WalkerPrograms
from sodarace_gym.envs.vector import RandomTerrainVectorEnv, SodaraceVectorEnv
from sodarace_gym.evaluation import Evaluator, jobs
from sodarace_gym.physics.rollout import roll_out, roll_out_many
from sodarace_gym.programs.program import compile_programs
from sodarace_gym.registration import ENVIRONMENT_IDS
from sodarace_gym.terrains.making import make_terrain
from tests.sodarace_gym.envs.short_episodes import GOOD, ID, SHORT, identical, make
from tests.sodarace_gym.sample_walkers import random_designs, wheel

# A failure of each sort among the good ones, a twin, and things that are no text at all.
MIXED = [
    GOOD[0],
    "def",
    GOOD[1],
    GOOD[0],
    None,
    "def make_walker():\n    return walker_creator().get_walker()",
    GOOD[2],
    3.5,
]


def make_sync(num_envs: int, mode: str = "NextStep", **kwargs: Any) -> gym.vector.VectorEnv:
    return gym.make_vec(
        ID, num_envs=num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode},
        **({"duration": SHORT} | kwargs),
    )  # fmt: skip


def play(envs: gym.vector.VectorEnv, batches: list[list[Any]]) -> list[Any]:
    told: list[Any] = [envs.reset(seed=5)]
    told += [envs.step(tuple(batch)) for batch in batches]
    told += [envs.reset(seed=[None, *range(envs.num_envs - 1)], options={"terrain_seed": 4})]
    told += [envs.step(tuple(batch)) for batch in batches]
    envs.close()
    return told


# ------------------------------------------------------------------------------------------- single environments


def test_256_environments_are_256_single_ones() -> None:
    rng = np.random.default_rng(8)
    programs = [*MIXED, *[design.to_program() for design in random_designs(seed=32, count=40)]]
    actions = tuple(programs[k] for k in [*range(len(programs)), *rng.integers(len(programs), size=256)][:256])
    native, sync = make(256), make_sync(256)
    for envs in (native, sync):
        envs.told = [envs.reset(seed=1), envs.step(actions), envs.step(actions)]
        envs.close()
    assert identical(native.told, sync.told)
    rewards = native.told[1][1]
    assert (rewards[: len(programs)] > 0).sum() > 20
    single = SodaraceEnv("Bumpy", duration=SHORT)
    for k in range(0, 256, 37):
        single.reset()
        assert single.step(actions[k])[1] == rewards[k]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_every_mode_is_that_of_gymnasium(mode: str) -> None:
    batches = [MIXED, MIXED[::-1], MIXED[3:] + MIXED[:3]]
    assert identical(
        play(make(8, autoreset_mode=mode, invalid_reward=-1.0), batches),
        play(make_sync(8, mode, invalid_reward=-1.0), batches),
    )


def test_each_environment_draws_its_own_terrains() -> None:
    programs = [design.to_program() for design in random_designs(seed=12, count=4)]
    native = gym.make_vec("Sodarace-Random-v0", num_envs=4, duration=SHORT, families=["Hills", "Gaps"])
    assert type(native) is RandomTerrainVectorEnv
    single = [lambda: RandomTerrainEnv(families=["Hills", "Gaps"], duration=SHORT)] * 4
    sync = gym.vector.SyncVectorEnv(single)
    told = [[envs.reset(seed=3), *(envs.step(tuple(programs)) for _ in range(4))] for envs in (native, sync)]
    assert identical(told[0], told[1])
    assert len({*told[0][0][1]["terrain_seed"].tolist(), *told[0][2][4]["terrain_seed"].tolist()}) > 4
    native.close()
    sync.close()


def test_without_autoreset_a_mask_says_who_is_reset() -> None:
    mask = np.array([True, False, True])
    told = []
    for envs in (make(3, autoreset_mode=AutoresetMode.DISABLED), make_sync(3, "Disabled")):
        assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
        told.append([envs.reset(seed=2), envs.step(tuple(GOOD[:3]))])
        told[-1].append(envs.reset(options={"reset_mask": mask, "terrain_seed": 9}))
        with pytest.raises((AssertionError, gym.error.ResetNeeded)):
            envs.step(tuple(GOOD[:3]))  # the second is still over
        told[-1].append(envs.reset())
        envs.close()
    assert identical(told[0], told[1])


def test_processes_agree() -> None:
    asynchronous = gym.make_vec(ID, num_envs=2, vectorization_mode="async", duration=SHORT)
    native = make(2)
    for envs in (native, asynchronous):
        envs.told = [envs.reset(seed=3), envs.step((GOOD[3], "def")), envs.step((GOOD[3], "def"))]
        envs.close()
    assert identical(native.told, asynchronous.told)


@pytest.mark.parametrize("environment_id", ENVIRONMENT_IDS)
def test_make_vec_finds_it(environment_id: str) -> None:
    envs = gym.make_vec(environment_id, num_envs=3, duration=SHORT)
    assert type(envs) is sodarace_gym.SodaraceVectorEnv
    assert envs.spec is not None
    assert envs.spec.id == environment_id
    assert envs.single_action_space == WalkerPrograms()
    envs.action_space.seed(4)
    actions = envs.action_space.sample()
    assert len(set(actions)) == 3
    assert actions in envs.action_space
    observations, infos = envs.reset(seed=0)
    assert observations in envs.observation_space
    assert infos["terrain"].tolist() == [ENVIRONMENT_IDS[environment_id]] * 3
    observations, rewards, terminated, truncated, _ = envs.step(actions)
    assert observations in envs.observation_space
    assert rewards.shape == (3,)
    assert terminated.all()
    assert not truncated.any()
    envs.close()
    envs.close()


def test_programs_come_as_any_sequence_of_texts() -> None:
    rewards = []
    for actions in (tuple(GOOD), GOOD, np.array(GOOD), np.array(GOOD, dtype=object)):
        envs = make(len(GOOD))
        envs.reset()
        rewards.append(envs.step(actions)[1])
        envs.close()
    assert all(identical(rewards[0], other) for other in rewards)


def test_environments_may_differ() -> None:
    program = wheel().to_program()
    envs = make(4, duration=4.0, per_env=[{}, {"terrain_seed": 7}, {"terrain": "Flat"}, {"invalid_reward": -3.0}])
    _, infos = envs.reset(seed=0)
    assert infos["terrain"].tolist() == ["Bumpy", "Bumpy", "Flat", "Bumpy"]
    observations, rewards, *_ = envs.step([program] * 3 + ["def"])
    envs.close()
    for k, terrain in enumerate((make_terrain("Bumpy", 0), make_terrain("Bumpy", 7), make_terrain("Flat"))):
        assert identical(observations["floor"][k], terrain.profile()["floor"])
        assert rewards[k] == abs(roll_out(wheel(), terrain, 4.0).displacement)
    assert rewards[3] == -3.0


def test_it_shows_what_its_environments_show() -> None:
    native, sync = (maker(2, render_mode="rgb_array") for maker in (make, make_sync))
    for envs in (native, sync):
        envs.told = [envs.reset(seed=3), envs.render(), envs.step(tuple(GOOD[:2])), envs.render()]
        envs.close()
    assert identical(native.told, sync.told)


def test_a_copy_goes_on_where_the_original_was() -> None:
    envs = make(4, per_env=[{"terrain_seed": n} for n in range(4)])
    envs.reset(seed=6)
    twin = pickle.loads(pickle.dumps(envs))
    for actions in (GOOD[:4], GOOD[1:5], GOOD[2:6]):
        assert identical(twin.step(actions), envs.step(actions))
    assert len({id(env._evaluator) for env in twin.envs}) == 1
    envs.close()
    assert pickle.loads(pickle.dumps(envs)).closed
    twin.close()


# --------------------------------------------------------------------------------------------------- duplicates


def test_duplicates_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    walked, run = [], []

    def counting_roll_outs(designs: Sequence[Any], terrains: Sequence[Any], *others: Any, **named: Any) -> Any:
        walked.extend(designs)
        return roll_out_many(designs, terrains, *others, **named)

    def counting_compile(programs: Iterable[str], **named: Any) -> Any:
        def noted() -> Iterator[str]:
            for program in programs:
                run.append(program)
                yield program

        return compile_programs(noted(), **named)

    monkeypatch.setattr(jobs, "roll_out_many", counting_roll_outs)
    monkeypatch.setattr(jobs, "compile_programs", counting_compile)
    envs = make(12, per_env=[{"terrain_seed": n // 6} for n in range(12)], autoreset_mode="SameStep")
    envs.reset(seed=0)
    respelt = GOOD[0].replace("    ", "  ")
    rewards = envs.step([GOOD[0], respelt, GOOD[1], GOOD[0], "def", "def"] * 2)[1]
    assert len(run) == 4, "every distinct text once"
    assert len(walked) == 4, "every distinct walker once on each of two terrains"
    envs.step([GOOD[1], GOOD[0], respelt, GOOD[0], "def", None] * 2)
    assert (len(run), len(walked)) == (4, 4), "nor again in a later step"
    assert rewards[0] == rewards[1] == rewards[3] != rewards[2]
    envs.close()
    # However few programs an evaluator remembers by itself.
    monkeypatch.setattr(vector, "PROGRAM_CACHE_SIZE", 2)
    run.clear()
    envs = make(len(GOOD))
    envs.reset(seed=0)
    envs.step(GOOD)
    assert len(run) == len(GOOD)
    envs.close()


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_envs": 0}, "num_envs: expected a whole number of at least 1, got 0"),
        ({"num_envs": 2, "per_env": [{}]}, "2 environments, got 1"),
        ({"num_envs": 1, "per_env": [{"duration": 2.0}]}, "one duration"),
        ({"num_envs": 2, "terrain": "Moon"}, "Moon"),
        ({"num_envs": 2, "n_jobs": 0}, "n_jobs"),
        ({"num_envs": 2, "backend": "abacus"}, "abacus"),
        ({"num_envs": 2, "autoreset_mode": "Never"}, "Never"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SodaraceVectorEnv(**arguments)


def test_a_wrong_number_of_programs_changes_nothing() -> None:
    envs = make(3)
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(GOOD[:3])
    envs.reset()
    for actions, words in ((GOOD[:2], "got 2"), (GOOD[0], "got '")):
        with pytest.raises(ValueError, match=words):
            envs.step(actions)
    assert envs.step(GOOD[:3])[2].all()
    envs.close()


def test_an_evaluator_of_another_duration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3 s, got 10 s"):
        SodaraceEnv(duration=3.0).use_evaluator(Evaluator(n_jobs=1))


# --------------------------------------------------------------------------------------------------- robustness


def test_with_copies_the_least_distance_is_the_reward_in_every_kind_of_environment() -> None:
    with Evaluator(n_jobs=1, duration=4.0, robustness=2) as evaluator:
        expected = evaluator.evaluate(GOOD, "Bumpy")
    least = [evaluation.robust_fitness for evaluation in expected]
    assert any(one != evaluation.fitness for one, evaluation in zip(least, expected, strict=True))
    envs = gym.make_vec("Sodarace-Bumpy-v0", num_envs=len(GOOD), duration=4.0, robustness=2)
    envs.reset(seed=0)
    _, rewards, _, _, infos = envs.step(GOOD)
    assert rewards.tolist() == least
    assert infos["robust_fitness"].tolist() == least
    assert infos["displacement"].tolist() == [evaluation.displacement for evaluation in expected]
    envs.close()
    env = gym.make("Sodarace-Bumpy-v0", duration=4.0, robustness=2, invalid_reward=-1.0)
    env.reset(seed=0)
    assert env.step(GOOD[0])[1] == least[0]
    env.reset()
    assert env.step("def")[1] == -1.0, "a program that fails earns what it always does"
    env.close()
    with pytest.raises(ValueError, match="copies"):
        gym.make("Sodarace-Flat-v0", robustness=-1)
    with pytest.raises(ValueError, match="robustness"):
        gym.make_vec("Sodarace-Flat-v0", num_envs=1, per_env=[{"robustness": 1}])
    plain = gym.make("Sodarace-Flat-v0", duration=4.0)
    with pytest.raises(ValueError, match="copies"):
        plain.unwrapped.use_evaluator(evaluator)
    plain.reset(seed=0)
    assert "robust_fitness" not in plain.step(GOOD[0])[4]
