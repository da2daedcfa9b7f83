"""The environment's contract: what Gymnasium expects, and what the class promises in its docstring."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

import sodarace_gym
from sodarace_gym.envs.env import REPAIRS, SodaraceEnv
from sodarace_gym.envs.spaces import WalkerPrograms
from sodarace_gym.errors import ERROR_KINDS
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.programs.sandbox_library import NUMPY_NAMES
from sodarace_gym.registration import ENVIRONMENT_IDS, RANDOM_ID, register_environments
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain

SHORT = 1.0  # s of walking: enough to move

WALKER = """
def make_walker():
    wc = walker_creator()
    a = wc.add_joint(0, 0)
    b = wc.add_joint(5, 0)
    c = wc.add_joint(2, 4)
    wc.add_muscle(a, b)
    wc.add_muscle(b, c, False, 1.0, 0.0)
    wc.add_muscle(c, a, False, 1.0, 3.14)
    return wc.get_walker()
"""
SLOPPY = """
def make_walker():
    wc = walker_creator()
    a, b, c = wc.add_joint(0, 0), wc.add_joint(5, 0), wc.add_joint(2, 4)
    wc.add_joint(2, 4.01)
    wc.add_joint(20, 20)
    for x, y in ((a, b), (b, c), (c, a), (a, b), (a, a)):
        wc.add_muscle(x, y, False, 9.0, 0.0)
    return wc.get_walker()
"""

ROLLER = """
def make_walker():
    wc = walker_creator()
    turn = math.pi / 4
    rim = [wc.add_joint(1.5 * math.cos(k * turn), 1.5 * math.sin(k * turn)) for k in range(8)]
    hub = wc.add_joint(-6, 10)
    for k in range(8):
        wc.add_muscle(rim[k], rim[(k + 1) % 8])
        wc.add_muscle(rim[k], rim[(k + 2) % 8])
        wc.add_muscle(hub, rim[k], False, 3.0, k * turn)
    return wc.get_walker()
"""


def make(**kwargs: Any) -> SodaraceEnv:
    env = SodaraceEnv(**({"duration": SHORT} | kwargs))
    env.reset(seed=0)
    return env


@pytest.mark.parametrize("environment_id", [*ENVIRONMENT_IDS, RANDOM_ID])
def test_gymnasium_finds_nothing_to_complain_about(environment_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(environment_id, duration=SHORT)
        check_env(env.unwrapped)
        env.close()


def test_every_family_is_registered_once() -> None:
    paper = ["Flat", "LeftWall", "RightWall", "Bumpy", "Tunnel"]
    assert list(ENVIRONMENT_IDS) == [f"Sodarace-{name}-v0" for name in (*paper, *FAMILIES)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Gymnasium warns where an id is registered again
        register_environments()
    for environment_id, name in ENVIRONMENT_IDS.items():
        env = gym.make(environment_id)
        assert isinstance(env.unwrapped, SodaraceEnv)
        _, info = env.reset(seed=0)
        assert info == {"terrain": name}
        assert env.unwrapped.terrain.key == make_terrain(name).key


def test_importing_is_light_and_ids_can_name_the_module(tmp_path: Path) -> None:
    code = """
import json, sys
import gymnasium as gym
before = set(sys.modules)
import sodarace_gym
added = set(sys.modules) - before
assert "Sodarace-Flat-v0" in gym.registry
env = gym.make("sodarace_gym:Sodarace-Tunnel-v0", duration=0.2)
env.reset(seed=0)
reward = env.step(env.action_space.sample())[1]
print(json.dumps({"added": sorted(added), "reward": reward, "pygame": "pygame" in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)  # and nothing else was printed
    heavy = {"numba", "pymunk", "pygame", "joblib", "pydantic_monty", "sodarace_gym.envs.env"}
    assert not heavy & set(told["added"])
    assert told["reward"] >= 0.0
    assert not told["pygame"], "an episode that is not rendered needs no pygame"


def test_public_names_resolve_and_others_do_not() -> None:
    for name in sodarace_gym.__all__:
        assert getattr(sodarace_gym, name) is not None
        assert name in dir(sodarace_gym)
    assert sodarace_gym.SodaraceEnv is SodaraceEnv
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = sodarace_gym.Nonsense


def test_the_reward_is_what_the_evaluator_says() -> None:
    (expected,) = Evaluator(n_jobs=1, duration=SHORT).evaluate([WALKER], "Flat")
    assert expected.fitness > 0.0
    env = make()
    observation, reward, terminated, truncated, info = env.step(WALKER)
    assert type(reward) is float
    assert reward == expected.fitness == abs(info["displacement"])
    assert (terminated, truncated) == (True, False)
    assert data_equivalence(observation, make_terrain("Flat").profile(), exact=True)
    assert (info["height"], info["width"], info["mass"]) == (expected.height, expected.width, expected.mass)
    assert info["error"] is info["error_message"] is None
    assert info["repairs"] == dict.fromkeys(REPAIRS, 0)
    assert env.evaluation is not None
    assert env.evaluation.design == expected.design


def test_a_longer_duration_is_used() -> None:
    rewards = {make(duration=duration).step(WALKER)[1] for duration in (0.5, 1.0, 2.0)}
    assert len(rewards) == 3


def test_repairs_are_counted_by_name() -> None:
    *_, info = make().step(SLOPPY)
    expected = {"merged_joints": 1, "dropped_muscles": 2, "dropped_parts": 1, "clamped_amplitudes": 3}
    assert info["repairs"] == dict.fromkeys(REPAIRS, 0) | expected
    assert info["error"] is None


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("", "no_make_walker"),
        ("def make_walker(:", "syntax_error"),
        ("def make_walker():\n    return walker_creator().get_walker()", "no_joints"),
        ("def make_walker():\n    return open('/etc/passwd')", "unknown_name"),
        ("x" * 70_000, "source_too_long"),
        (None, "not_text"),
        (3.5, "not_text"),
        (WALKER.encode(), "not_text"),
        (["def make_walker(): pass"], "not_text"),
        (np.zeros(24, dtype=np.float32), "not_text"),
    ],
)
def test_a_bad_action_earns_the_invalid_reward_and_is_explained(action: Any, kind: str) -> None:
    env = make(invalid_reward=-2.5)
    observation, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated) == (-2.5, True, False)
    assert observation in env.observation_space
    assert info["error"] == kind
    assert kind in ERROR_KINDS
    assert info["error_message"].endswith((".", "!"))
    assert (info["displacement"], info["height"], info["width"], info["mass"]) == (0.0, 0.0, 0.0, 0.0)
    env.reset()
    *_, good = env.step(WALKER)
    assert good.keys() == info.keys()
    assert good["error"] is None


def test_text_of_numpy_is_text() -> None:
    assert make().step(np.str_(WALKER))[1] == make().step(WALKER)[1]


def test_an_episode_is_one_step() -> None:
    env = SodaraceEnv(duration=SHORT)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(WALKER)
    env.reset()
    env.step(WALKER)
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(WALKER)
    env.reset()
    assert env.evaluation is None
    assert env.step(WALKER)[2]


def test_the_terrain_is_fixed_unless_an_option_draws_another() -> None:
    env = SodaraceEnv("Bumpy", duration=SHORT, terrain_seed=4)
    own, info = env.reset(seed=1)
    assert info["terrain"] == "Bumpy"
    assert data_equivalence(own, make_terrain("Bumpy", 4).profile(), exact=True)
    assert data_equivalence(env.reset(seed=2)[0], own, exact=True), "no seed of reset changes the terrain"
    drawn, _ = env.reset(options={"terrain_seed": 5})
    assert data_equivalence(drawn, make_terrain("Bumpy", 5).profile(), exact=True)
    assert not data_equivalence(drawn, own)
    assert data_equivalence(env.step(WALKER)[0], drawn, exact=True), "the episode ends on the terrain it began on"
    assert data_equivalence(env.reset()[0], own, exact=True), "for that one episode"


def test_seed_and_difficulty_name_a_terrain_of_the_family() -> None:
    env = SodaraceEnv("Gaps", duration=SHORT, terrain_seed=3, difficulty=0.2)
    own = make_terrain("Gaps", 3, 0.2)
    for options, expected in [
        (None, own),
        ({"difficulty": 0.9}, make_terrain("Gaps", 3, 0.9)),
        ({"terrain_seed": 4}, make_terrain("Gaps", 4, 0.2)),
        ({"difficulty": 0.9, "terrain_seed": 4}, make_terrain("Gaps", 4, 0.9)),
        ({"terrain": make_terrain("Pits", 1)}, make_terrain("Pits", 1)),
        ({}, own),
    ]:
        observation, info = env.reset(options=options)
        assert env.terrain.key == expected.key
        assert info == {"terrain": expected.name}
        assert data_equivalence(observation, expected.profile(), exact=True)
        assert env.step(WALKER)[-1]["terrain"] == expected.name


def test_a_walker_meets_the_terrain_of_the_episode() -> None:
    pit = Terrain(
        "Pit", np.array([[-900.0, 50.0], [-16.0, 50.0], [-16.0, 0.0], [16.0, 0.0], [16.0, 50.0], [900.0, 50.0]])
    )
    free, *_ = make(duration=10.0).step(ROLLER)[1:]
    *_, info = make(terrain=pit, duration=10.0).step(ROLLER)
    assert free > 20.0
    assert info["terrain"] == "Pit"
    assert info["error"] is None
    assert abs(info["displacement"]) < 16.0


@pytest.mark.parametrize(
    ("options", "words"),
    [({"terrain_seed": -1}, "at least 0"), ({"terrain_seed": 1.5}, "1.5"), ({"terain_seed": 1}, "'terain_seed'")],
)
def test_bad_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SodaraceEnv("Bumpy").reset(options=options)


def test_a_terrain_of_ones_own_cannot_be_drawn_again() -> None:
    for options in ({"terrain_seed": 1}, {"difficulty": 0.5}):
        with pytest.raises(ValueError, match="name a family"):
            SodaraceEnv(make_terrain("Hills", 3)).reset(options=options)
    with pytest.raises(ValueError, match="name a family"):
        SodaraceEnv(make_terrain("Hills", 3), difficulty=0.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"terrain": "Moon"}, "Flat, LeftWall"),
        ({"render_mode": "ascii"}, "rgb_array_list"),
        ({"duration": 0.0}, "duration"),
        ({"duration": float("nan")}, "duration"),
        ({"invalid_reward": float("inf")}, "invalid_reward"),
        ({"terrain_seed": True}, "terrain_seed"),
        ({"terrain": "Hills", "difficulty": 1.5}, "difficulty"),
        ({"terrain": "Bumpy", "difficulty": 0.5}, "paper"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SodaraceEnv(**arguments)


def test_equal_programs_earn_equal_floats_rendered_or_not() -> None:
    space = WalkerPrograms(seed=11)
    programs = [space.sample() for _ in range(4)]
    plain, drawn = make(terrain="Bumpy"), make(terrain="Bumpy", render_mode="rgb_array")
    for program in programs + programs[::-1]:
        plain.reset()
        drawn.reset()
        drawn.render()
        expected = plain.step(program)
        drawn.render()
        assert data_equivalence(drawn.step(program), expected, exact=True)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_where_the_environment_was(copier: Any) -> None:
    env = make(terrain="Bumpy", terrain_seed=2, render_mode="rgb_array")
    env.action_space.seed(7)
    twin = copier(env)
    assert data_equivalence(twin.step(WALKER), env.step(WALKER), exact=True)
    after = copier(env)
    assert np.array_equal(after.render(), env.render())
    assert after.action_space.sample() == env.action_space.sample()
    with pytest.raises(gym.error.ResetNeeded):
        after.step(WALKER)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments_mix_good_and_bad_programs(mode: str) -> None:
    envs = gym.make_vec("Sodarace-Bumpy-v0", num_envs=3, vectorization_mode=mode, duration=SHORT)
    try:
        observations, _ = envs.reset(seed=0)
        assert observations["floor"].shape == (3, 64)
        assert data_equivalence({k: v[1] for k, v in observations.items()}, make_terrain("Bumpy").profile(), exact=True)
        _, rewards, terminated, _, infos = envs.step((WALKER, "def", SLOPPY))
    finally:
        envs.close()
    single = make(terrain="Bumpy")
    assert rewards[0] == single.step(WALKER)[1]
    assert rewards[1] == 0.0
    assert terminated.all()
    assert list(infos["error"]) == [None, "syntax_error", None]
    assert infos["repairs"]["merged_joints"].tolist() == [0, 0, 1]
    assert infos["height"][0] == 4.0


def test_the_documentation_has_its_headings_and_every_key() -> None:
    text = SodaraceEnv.__doc__ or ""
    headings = [line.strip("# ").strip() for line in text.splitlines() if line.strip().startswith("##")]
    wanted = ["Description", "Action Space", "Action grammar", "Observation Space", "Rewards", "Failure rewards",
              "Starting State", "Episode End", "Arguments", "Determinism", "Version History", "References"]  # fmt: skip
    assert [heading for heading in headings if heading in wanted] == wanted
    *_, info = make().step(WALKER)
    assert all(f"`{key}`" in text for key in info)
    assert f"a small `np`: `{', '.join(NUMPY_NAMES)}`" in " ".join(text.split())
