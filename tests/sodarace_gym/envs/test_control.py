"""The control environment: Gymnasium's contract, what its docstring promises, and the gait as its baseline."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

from sodarace_gym.envs.control import SodaraceControlEnv
from sodarace_gym.envs.senses import BOUNDS, LOOK_POINTS
from sodarace_gym.errors import ProgramError
from sodarace_gym.physics.constants import STEP_RATE
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.programs.program import compile_program
from sodarace_gym.registration import CONTROL_IDS
from sodarace_gym.terrains.families import ALL_TERRAIN_NAMES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.library import load_walker
from tests.sodarace_gym.control_plays import PIT, SHORT, at_random, make, own_gait, parts, play
from tests.sodarace_gym.sample_walkers import passive, wheel


@pytest.mark.parametrize("environment_id", CONTROL_IDS)
def test_gymnasium_finds_nothing_to_complain_about(environment_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(environment_id, duration=0.2)
        assert isinstance(env.unwrapped, SodaraceControlEnv)
        assert env.unwrapped.terrain.key == make_terrain(CONTROL_IDS[environment_id]).key
        check_env(env.unwrapped)
        env.close()


def test_every_terrain_has_an_id() -> None:
    assert list(CONTROL_IDS.items()) == [(f"SodaraceControl-{name}-v0", name) for name in ALL_TERRAIN_NAMES]


def test_stable_baselines_finds_nothing_to_complain_about() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(SodaraceControlEnv(walker="wheel", duration=SHORT))


# -------------------------------------------------------------------------------------------------- gait and reward


@pytest.mark.parametrize("terrain", ["Flat", "Bumpy", "Tunnel"])
@pytest.mark.parametrize("walker", ["biped", "runner"])
@pytest.mark.parametrize("rate", [20, 15])
def test_residual_zeros_are_the_roll_out_to_the_last_bit(terrain: str, walker: str, rate: int) -> None:
    env = make(terrain=terrain, walker=walker, residual=True, duration=2.0, control_rate=rate)
    expected = roll_out(env.design, env.terrain, 2.0).displacement
    rewards, (*_, info) = play(env, own_gait)
    assert info["displacement"] == expected
    assert len(rewards) == 2 * rate
    assert sum(rewards) == pytest.approx(expected, abs=1e-9)
    assert not env.open_loop_action().any()


@pytest.mark.parametrize("walker", ["biped", "wheel", "worm", "square"])
def test_the_gait_driven_at_every_physics_step_goes_as_far_as_the_roll_out(walker: str) -> None:
    # Actions are float32, hence not to the last bit; five seconds leave chaos no time to make much of it.
    env = make(walker=walker, duration=5.0, control_rate=STEP_RATE)
    expected = roll_out(env.design, env.terrain, 5.0).displacement
    rewards, _ = play(env, own_gait)
    assert sum(rewards) == pytest.approx(expected, abs=0.01)
    assert abs(expected) > 1.0


@pytest.mark.parametrize("walker", ["wheel", "worm"])
def test_the_gait_driven_at_the_usual_rate_goes_about_as_far(walker: str) -> None:
    env = make(walker=walker, duration=10.0)
    expected = roll_out(env.design, env.terrain).displacement
    rewards, _ = play(env, own_gait)
    assert sum(rewards) == pytest.approx(expected, rel=0.1)


def test_groups_that_swing_alike_keep_the_gait_and_others_nearly_do() -> None:
    single = make(walker="runner", control_rate=STEP_RATE)
    grouped = make(walker="runner", control_rate=STEP_RATE, max_actions=4)
    assert (single.action_space.shape, grouped.action_space.shape) == ((250,), (4,))
    assert single.observation_space == grouped.observation_space
    assert play(single, own_gait)[0] == pytest.approx(play(grouped, own_gait)[0], abs=1e-4)
    fewer = make(walker="runner", max_actions=2)
    assert fewer.action_space.shape == (2,)
    assert np.abs(fewer.open_loop_action()).max() > 0.1


def test_rewards_are_progress_to_the_right_for_a_walker_and_its_mirror() -> None:
    design, _ = compile_program(load_walker("wheel"))
    right, left = (make(walker=body, residual=True, duration=4.0) for body in (design, design.mirrored()))
    forward, backward = play(right, own_gait)[0], play(left, own_gait)[0]
    assert sum(forward) > 3.0
    assert forward == pytest.approx([-reward for reward in backward], abs=1e-6)


def test_actions_matter_one_by_one() -> None:
    reached = []
    for muscle in range(6):
        env = make()
        action = np.zeros(6, dtype=np.float32)
        action[muscle] = 1.0
        rewards, _ = play(env, lambda _, action=action: action)
        reached.append(sum(rewards))
    assert len({round(value, 6) for value in reached}) == 6
    still = make()
    assert abs(sum(play(still, lambda _: np.zeros(6, dtype=np.float32))[0])) < 0.05, "without a drive nothing walks"


def test_values_beyond_one_are_cut_off() -> None:
    one, two = make(), make()
    action = np.linspace(-1.0, 1.0, 6)
    cut = np.clip(4.0 * action, -1.0, 1.0)
    assert data_equivalence(one.step(4.0 * action), two.step(cut), exact=True)


# ------------------------------------------------------------------------------------------------------ observations


def test_observations_say_what_the_table_says() -> None:
    env = make(terrain=Terrain("Pit", PIT), walker="wheel")
    observation, info = env.reset()
    assert info == {"displacement": 0.0, "time": 0.0, "fault": None, "terrain": "Pit"}
    clock, positions, velocities, stretch, drive, floor, ceiling = parts(env, observation)
    assert clock.tolist() == [0.0, 1.0]
    assert np.allclose(positions.reshape(-1, 2).mean(axis=0), 0.0, atol=1e-6)
    assert 0.3 < np.abs(positions).max() < 2.5
    assert np.abs(velocities).max() < 0.05
    assert np.abs(stretch).max() < 1.0
    assert np.abs(drive).max() < 1e-6
    lowest = positions.reshape(-1, 2)[:, 1].min() * 0.5 * max(env.design.width, env.design.height)
    assert floor[8] == pytest.approx((lowest - 0.3) / 10, abs=0.03), "the floor is a joint's radius below the lowest"
    assert floor[0] == pytest.approx(floor[8])
    assert floor[-1] == BOUNDS[-1], "the wall on the right is too high to be seen whole"
    assert (ceiling == BOUNDS[-1]).all()
    held = np.full(8, 0.5, dtype=np.float32)
    for _ in range(10):
        observation, _, _, _, info = env.step(held)
    clock, _, velocities, stretch, drive, *_ = parts(env, observation)
    assert info["time"] == 0.5
    assert clock == pytest.approx([np.sin(1.5), np.cos(1.5)])
    assert np.abs(velocities).max() > 0.001
    assert drive == pytest.approx(held)
    assert stretch.mean() > 0.1, "longer rest lengths stretch the muscles"


def test_observations_move_with_the_walker() -> None:
    env = make(terrain="Bumpy", walker="wheel", residual=True, duration=4.0)
    first, _ = env.reset()
    _, (last, *_, info) = play(env, own_gait)
    moved = round(info["displacement"])
    assert 3 < moved < 24
    seen, was = parts(env, last)[5], parts(env, first)[5]
    profile = was - was[0]
    assert np.abs(seen - seen[0]).max() > 0.1, "the bumps have come near"
    # Heights seen at the start, moved_units further on, are the heights seen now (up to a fraction of a unit of x).
    assert np.corrcoef((seen - seen[0])[: LOOK_POINTS - moved], profile[moved:])[0, 1] > 0.8


@pytest.mark.parametrize("walker", ["biped", "square"])
def test_observations_stay_in_their_space_whatever_is_done(walker: str) -> None:
    env = make(terrain="Bumpy", walker=walker, duration=3.0)
    env.action_space.seed(1)
    over = False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(np.sign(env.action_space.sample()))
        assert observation in env.observation_space
        assert type(reward) is float
        over = terminated or truncated


# --------------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"terrain": "Moon"}, "Flat, LeftWall"),
        ({"walker": "horse"}, "biped, worm"),
        ({"walker": passive(wheel())}, "at least one active muscle"),
        ({"render_mode": "rgb_array_list"}, "human, rgb_array"),
        ({"duration": 0.001}, "duration"),
        ({"duration": float("inf")}, "duration"),
        ({"control_rate": 25}, "divisor of 60"),
        ({"control_rate": 0}, "divisor of 60"),
        ({"control_rate": 7.5}, "divisor of 60"),
        ({"max_actions": 0}, "max_actions"),
        ({"start_noise": -1.0}, "start_noise"),
        ({"fault_penalty": float("nan")}, "fault_penalty"),
        ({"terrain_seed": -1}, "terrain_seed"),
        ({"terrain": Terrain("Pit", PIT), "terrain_seed": -1}, "terrain_seed"),
        ({"terrain": "Hills", "difficulty": 1.5}, r"difficulty.*1\.5"),
        ({"terrain": "Hills", "difficulty": True}, "difficulty"),
        ({"terrain": "Bumpy", "difficulty": 0.5}, "paper's terrains"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SodaraceControlEnv(**arguments)


def test_walkers_come_as_names_programs_and_designs() -> None:
    text = load_walker("biped")
    envs = [make(walker=walker) for walker in ("biped", text, compile_program(text)[0])]
    assert len({env.design for env in envs}) == 1
    with pytest.raises(ProgramError, match="no_make_walker"):
        make(walker="def walk():\n    pass")


def test_a_walker_that_cannot_settle_is_refused_at_reset() -> None:
    slope = Terrain("Slope", np.array([[-900.0, 1800.0], [900.0, -1800.0]]))
    with pytest.raises(ProgramError, match="Slope"):
        SodaraceControlEnv(slope, "wheel").reset()


@pytest.mark.parametrize(
    ("action", "words"), [(np.zeros(5), r"\(6,\), got \(5,\)"), (0.0, "shape"), (np.full(6, np.nan), "NaN")]
)
def test_bad_actions_are_refused(action: Any, words: str) -> None:
    env = make()
    with pytest.raises(ValueError, match=words):
        env.step(action)
    assert env.step(np.zeros(6))[4]["time"] == pytest.approx(1 / 20), "and the episode goes on"


# --------------------------------------------------------------------------------------------------------- rendering


def test_pictures_show_the_walker_as_it_is_now() -> None:
    env = SodaraceControlEnv(render_mode="rgb_array", residual=True, duration=SHORT)
    terrain = env.render()
    env.reset(seed=0)
    start = env.render()
    assert np.array_equal(env.render(), start)
    for _ in range(10):
        env.step(env.open_loop_action())
    moved = env.render()
    for image in (terrain, start, moved):
        assert image.shape == (360, 640, 3)
        assert image.dtype == np.uint8
    assert not np.array_equal(terrain, start)
    from sodarace_gym.rendering.drawing import LENGTHENING, SHORTENING

    def count(image: Any, colour: Any) -> int:
        return int((np.abs(image.astype(int) - colour).max(axis=2) < 40).sum())

    for colour in (LENGTHENING, SHORTENING):
        assert count(start, colour) == 0, "at rest nothing is driven"
        assert count(moved, colour) > 50


def test_windows_open_with_the_episode_and_close_twice() -> None:
    pygame = pytest.importorskip("pygame")
    env = SodaraceControlEnv(render_mode="human", duration=0.1)
    env.reset(seed=0)
    play(env, at_random)
    assert pygame.display.get_surface() is not None
    assert env.render() is None
    env.close()
    env.close()
    assert not pygame.display.get_init()


def test_the_documentation_has_its_headings_and_every_key() -> None:
    text = SodaraceControlEnv.__doc__ or ""
    headings = [line.strip("# ").strip() for line in text.splitlines() if line.strip().startswith("##")]
    assert headings == ["Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End",
                        "Rendering", "Wrappers", "Arguments", "Determinism", "Version History", "References"]  # fmt: skip
    *_, info = make().step(np.zeros(6))
    assert all(f"`{key}`" in text for key in info)
