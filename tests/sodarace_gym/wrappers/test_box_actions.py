"""Vectors as actions: every one decodes into a walker, the plan can express what it promises, and SB3 trains through it."""

from __future__ import annotations

import math
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import sodarace_gym
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.programs.program import compile_program
from sodarace_gym.walkers.walker import build_design
from sodarace_gym.wrappers.box_actions import PARAMETERS, BoxActions, decode, decode_design

NAMES = list(PARAMETERS)
DISCRETE = {"shape", "columns", "rows", "reach", "legs", "hub_drive"}
# Hypothesis prefers simple numbers: ends, zero, and whatever made an earlier example interesting.
vectors = st.lists(st.floats(-1.0, 1.0), min_size=len(NAMES), max_size=len(NAMES))


def vector(base: float = -1.0, **entries: float) -> list[float]:
    values = dict.fromkeys(NAMES, base)
    assert entries.keys() <= values.keys()
    return list((values | entries).values())


# The wheel of the paper: eight rim joints of radius 1.5, a hub far up and to the side, spokes with growing phase.
WHEEL = vector(
    columns=0.05, size=-5 / 6, lean=0.0, hub_x=-6 / 14, hub_y=10 / 14, hub_drive=0.9, hub_lag=0.0, column_wave=1.0,
    row_wave=0.0, column_slope=0.0, row_slope=0.0,
)  # fmt: skip
FLAT_WAVES = {"column_slope": 0.0, "row_slope": 0.0, "column_wave": 0.0, "row_wave": 0.0, "leg_wave": 0.0}
GRID = vector(
    shape=1.0, columns=-0.1, rows=1.0, size=-0.2, thickness=0.0, lean=0.0, near_drive=0.5, far_drive=0.5, reach=1.0,
    **FLAT_WAVES,
)  # fmt: skip
TABLE = {
    "shape": 1.0,
    "columns": 0.5,
    "size": 0.0,
    "thickness": 0.0,
    "lean": 0.0,
    "legs": 1.0,
    "leg_length": 0.0,
} | FLAT_WAVES


@given(vectors)
@settings(max_examples=150)
def test_every_vector_decodes_into_a_walker_that_needs_no_repair(values: list[float]) -> None:
    design = decode_design(values)
    again, repairs = build_design(design.joints, design.muscles)
    assert again == design
    assert not repairs


@given(vectors)
@settings(max_examples=25)
def test_the_program_builds_the_same_walker_in_the_sandbox(values: list[float]) -> None:
    assert compile_program(decode(values)) == (decode_design(values), {})


@given(vectors, st.integers(0, 2**32 - 1))
@settings(max_examples=100)
def test_a_small_step_of_the_continuous_entries_is_a_small_change_of_the_walker(values: list[float], seed: int) -> None:
    step = 1e-3
    rng = np.random.default_rng(seed)
    there = [
        value if name in DISCRETE else float(np.clip(value + step * rng.uniform(-1.0, 1.0), -1.0, 1.0))
        for name, value in zip(NAMES, values, strict=True)
    ]
    first, second = decode_design(values), decode_design(there)
    # Where the hub meets another joint, the two become one; that edge is documented.
    assume(
        len(first.joints) == len(second.joints) and [m[:2] for m in first.muscles] == [m[:2] for m in second.muscles]
    )
    # 14 units for half the range of the hub's place are the steepest; bodies of at most 30 shrink and shear by less.
    np.testing.assert_allclose(second.joints, first.joints, atol=60.0 * step + 2e-3)
    amplitudes = [[m.amplitude for m in design.muscles] for design in (first, second)]
    np.testing.assert_allclose(*amplitudes, atol=60.0 * step + 2e-3)
    for one, other in zip(first.muscles, second.muscles, strict=True):
        if not (one.distance_only or other.distance_only):
            assert abs(one.phase - other.phase) < 30.0 * step


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_matters(name: str) -> None:
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(20):
        values = rng.uniform(-1.0, 1.0, len(NAMES))
        other = values.copy()
        other[NAMES.index(name)] *= -1.0
        changed += decode(values) != decode(other)
    assert changed >= 3


def test_a_wheel_can_be_written_and_rolls() -> None:
    design = decode_design(WHEEL)
    rim = np.array(design.joints[:8])
    assert len(design.joints) == 9
    assert len(design.muscles) == 24
    np.testing.assert_allclose(np.linalg.norm(rim, axis=1), 1.5, atol=2e-3)
    assert design.joints[8] == (-6.0, 10.0)
    spokes = [muscle for muscle in design.muscles if not muscle.distance_only]
    np.testing.assert_allclose([muscle.phase for muscle in spokes], np.arange(8) * math.pi / 4, atol=1e-3)
    (evaluation,) = Evaluator(n_jobs=1).evaluate([decode(WHEEL)], "Flat")
    assert evaluation.fitness > 10.0


def test_a_grid_with_far_columns_can_be_written() -> None:
    design = decode_design(GRID)
    joints = np.array(design.joints).reshape(5, 8, 2)
    np.testing.assert_allclose(np.diff(joints[:, :, 0], axis=0), 2.0, atol=2e-3)
    np.testing.assert_allclose(np.diff(joints[:, :, 1], axis=1), 2.0, atol=2e-3)
    spans = np.array([abs(m.a // 8 - m.b // 8) for m in design.muscles])
    assert {span: int((spans == span).sum()) for span in range(2, 5)} == {2: 3 * 64, 3: 2 * 64, 4: 64}
    assert all(not muscle.distance_only for muscle in design.muscles)


def test_legs_stand_below_the_body_and_walk() -> None:
    walking, standing = (vector(**TABLE, leg_bend=0.5, leg_lag=0.0, leg_drive=drive) for drive in (1.0, -1.0))
    design = decode_design(walking)
    body, legs = np.array(design.joints[:-8]), np.array(design.joints[-8:]).reshape(4, 2, 2)
    knees, feet = legs[:, 0], legs[:, 1]
    assert feet[:, 1].max() < knees[:, 1].min() < body[:, 1].min()
    assert {a for a, b, *_ in design.muscles if b >= len(body)} - set(range(len(body))) == {
        len(body) + 2 * leg for leg in range(4)
    }, "a foot hangs on its knee"
    active = [muscle for muscle in design.muscles if not muscle.distance_only]
    assert {muscle.b for muscle in active} == {len(body) + 2 * leg + 1 for leg in range(4)}, (
        "the muscles swing the feet"
    )
    walked, stood = Evaluator(n_jobs=1).evaluate([decode(walking), decode(standing)], "Flat")
    assert walked.fitness > 2.0
    assert stood.valid
    assert stood.fitness < 0.05


def test_values_outside_are_clipped() -> None:
    assert decode([3.0 * value for value in vector(0.5)]) == decode(vector(1.0))


@pytest.mark.parametrize(
    ("values", "words"), [([0.0] * 3, r"\(24,\)"), ([[0.0] * 24], r"\(1, 24\)"), (vector(legs=math.nan), "'legs'")]
)
def test_what_is_no_vector_is_refused(values: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(values)


def test_the_wrapper_plays_what_decode_writes() -> None:
    plain = gym.make("Sodarace-Flat-v0", duration=2.0)
    env = BoxActions(gym.make("Sodarace-Flat-v0", duration=2.0))
    action = np.array(WHEEL, dtype=np.float32)
    assert env.action_space.contains(action)
    first, _ = env.reset(seed=0)
    second, _ = plain.reset(seed=0)
    assert data_equivalence(first, second, exact=True)
    assert data_equivalence(env.step(action), plain.step(decode(action)), exact=True)
    assert sodarace_gym.BoxActions is BoxActions


def test_stable_baselines3_accepts_it_and_trains_through_it() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    import torch
    from stable_baselines3.common.env_checker import check_env

    env = BoxActions(gym.make("Sodarace-Flat-v0", duration=2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)
    torch.set_num_threads(1)
    agent = sb3.PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, n_epochs=2, seed=0, device="cpu")
    before = [parameter.detach().clone() for parameter in agent.policy.parameters()]
    agent.learn(16)
    moved = [not torch.equal(old, new) for old, new in zip(before, agent.policy.parameters(), strict=True)]
    assert any(moved)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in agent.policy.parameters())
    assert all(episode["l"] == 1 for episode in agent.ep_info_buffer)
    assert max(episode["r"] for episode in agent.ep_info_buffer) > 0.0
