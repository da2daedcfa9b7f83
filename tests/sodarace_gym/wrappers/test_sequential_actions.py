"""Words as actions: what the mask allows always decodes into a walker, and MaskablePPO trains through it."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st

import sodarace_gym
from sodarace_gym.errors import ERROR_KINDS
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.programs.program import compile_program
from sodarace_gym.walkers.walker import WalkerDesign, build_design
from sodarace_gym.walkers.words import TOKENS, WalkerWord, decode
from sodarace_gym.wrappers.sequential_actions import LONGEST_WORD, SequentialActions


def tokens(*names: str) -> list[int]:
    return [TOKENS.index(name) for name in names]


def design_of(*names: str) -> WalkerDesign:
    design, repairs = compile_program(decode(tokens(*names)))
    assert not repairs
    return design


def make(max_tokens: int = 12, **kwargs: Any) -> SequentialActions:
    return SequentialActions(gym.make("Sodarace-Flat-v0", **({"duration": 1.0} | kwargs)), max_tokens)


def play(env: gym.Env[Any, Any], word: list[int]) -> list[tuple[Any, ...]]:
    return [env.reset(seed=0), *(env.step(token) for token in word)]


# Which of the allowed tokens comes next, as a share of them: hypothesis can shrink these, and every list is a word.
choices = st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=2, max_size=LONGEST_WORD)
# Bodies that grow as fast as they can, so that limits are met.
greedy = st.lists(st.sampled_from(range(TOKENS.index("polygon 3"), len(TOKENS))), min_size=30, max_size=30)


def written(shares: list[float]) -> WalkerWord:
    word = WalkerWord()
    for share in shares:
        allowed = np.flatnonzero(word.mask())
        if word.over:
            assert not len(allowed)
            break
        assert len(allowed), "there is always something to write"
        word.write(int(allowed[int(share * len(allowed))]))
    return word


@given(choices)
@settings(max_examples=60)
def test_whatever_the_mask_allows_builds_a_walker_that_needs_no_repair(shares: list[float]) -> None:
    word = written(shares)
    design = word.body.design()
    assert build_design(design.joints, design.muscles) == (design, {})
    assert decode(word.tokens) == design.to_program()
    assert len(design.joints) == len(word.body.joints)
    assert len(design.muscles) == len(word.body.muscles)


@given(choices)
@settings(max_examples=10)
def test_the_program_builds_the_same_walker_in_the_sandbox(shares: list[float]) -> None:
    word = written(shares)
    assert compile_program(word.program()) == (word.body.design(), {})


@given(greedy)
@settings(max_examples=40)
def test_no_limit_is_passed_by_a_word_that_writes_all_it_can(wanted: list[int]) -> None:
    word = WalkerWord()
    word.write(TOKENS.index("polygon 4"))
    for token in wanted:
        if word.mask()[token]:
            word.write(token)
    design = word.body.design()
    assert build_design(design.joints, design.muscles) == (design, {})


def test_the_limits_are_reached() -> None:
    # Doubling four joints four times gives all that are allowed; nothing that adds a joint may follow.
    word = WalkerWord()
    for token in tokens("polygon 4", "repeat right", "repeat up", "repeat right", "repeat up"):
        word.write(token)
    assert len(word.body.joints) == 64
    allowed = {TOKENS[token] for token in np.flatnonzero(word.mask())}
    assert not allowed & {"hub up", "repeat right", "repeat up", "mirror", "join far"}
    assert {"stop", "wave up", "phase 0"} <= allowed


def test_a_wheel_with_a_far_hub_is_a_short_word_and_rolls() -> None:
    word = ("polygon 8", "phase 0", "hub up left", "stop")
    design = design_of(*word)
    rim, hub = np.array(design.joints[:8]), np.array(design.joints[8])
    assert np.ptp(np.linalg.norm(rim, axis=1)) < 0.01
    assert np.linalg.norm(hub) == pytest.approx(9.0, abs=0.01)
    spokes = [muscle for muscle in design.muscles if not muscle.distance_only]
    assert {(muscle.a, muscle.b) for muscle in spokes} == {(i, 8) for i in range(8)}
    np.testing.assert_allclose([muscle.phase for muscle in spokes], np.arange(8) * np.pi / 4, atol=1e-3)
    (evaluation,) = Evaluator(n_jobs=1).evaluate([decode(tokens(*word))], "Flat")
    assert evaluation.fitness > 5.0


def test_a_grid_with_far_muscles_is_a_short_word() -> None:
    design = design_of("polygon 4", "repeat right", "repeat right", "phase 2", "join far", "stop")
    joints = np.array(design.joints)
    assert sorted(set(joints[:, 0] - joints[:, 0].min())) == pytest.approx(np.arange(8) * 2.0, abs=2e-3)
    assert len(set(joints[:, 1].round(2))) == 2
    spans = {(m.a, m.b): abs(joints[m.a, 0] - joints[m.b, 0]) for m in design.muscles if not m.distance_only}
    assert min(spans.values()) > 3.8
    assert len(spans) == 4 * sum(range(1, 7)), "all pairs two columns or more apart, none twice"


def test_legs_are_mirrored_and_lag() -> None:
    design = design_of("polygon 4", "phase 1", "step down", "phase 4", "mirror")
    joints = np.array(design.joints)
    feet = np.flatnonzero(joints[:, 1] < joints[:4, 1].min() - 1.0)
    assert len(feet) == 2
    middle = 0.5 * (joints[:, 0].min() + joints[:, 0].max())
    assert joints[feet, 0].sum() == pytest.approx(2.0 * middle, abs=0.01)
    left, right = ([m.phase for m in design.muscles if m.b == foot] for foot in feet)
    assert len(left) == len(right) == 3
    np.testing.assert_allclose(np.mod(np.subtract(right, left), 2 * np.pi), np.pi, atol=2e-3)


def test_a_wave_runs_over_active_muscles_and_leaves_plain_ones() -> None:
    still = design_of("polygon 4", "repeat right", "phase 0", "join far")
    waving = design_of("polygon 4", "repeat right", "phase 0", "join far", "wave right")
    assert still.joints == waving.joints
    assert [m[:3] for m in still.muscles] == [m[:3] for m in waving.muscles]
    moved = [abs(a.phase - b.phase) for a, b in zip(still.muscles, waving.muscles, strict=True)]
    assert [change > 0 for change in moved] == [not m.distance_only for m in still.muscles]


def test_a_step_to_a_joint_redraws_the_muscle_and_adds_nothing() -> None:
    before, after = design_of("polygon 4"), design_of("polygon 4", "phase 3", "step up")
    assert before.joints == after.joints
    assert [m[:2] for m in before.muscles] == [m[:2] for m in after.muscles]
    assert sum(not m.distance_only for m in after.muscles) == 1


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        (["stop"], "token 0 of the word is 'stop'; expected 'phase 0'"),
        (["phase 0", "phase 1"], "token 1 of the word is 'phase 1'; expected 'polygon 3', "),
        (["polygon 3", "polygon 4"], "expected 'stop', "),
        (["polygon 3", "phase 0", "stop"], "token 2 of the word is 'stop'"),
        (["polygon 3", "stop", "stop"], "expected nothing: the word is over"),
        (["phase 0"], "expected a polygon at the beginning"),
        ([], "expected a polygon at the beginning"),
    ],
)
def test_what_is_no_word_is_refused(word: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode(tokens(*word))


@pytest.mark.parametrize("token", [-1, len(TOKENS)])
def test_a_number_that_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match=f"is the number {token}; expected 'phase 0'"):
        decode([token])


def test_the_last_token_earns_what_the_program_earns() -> None:
    word = tokens("phase 0", "polygon 8", "hub up left", "stop")
    steps = play(make(), word)
    plain = gym.make("Sodarace-Flat-v0", duration=1.0)
    terrain, info = plain.reset(seed=0)
    _, reward, _, _, final = plain.step(decode(word))
    assert reward > 0
    assert [step[1] for step in steps[1:]] == [0.0, 0.0, 0.0, reward]
    assert [step[2] for step in steps[1:]] == [False, False, False, True]
    assert data_equivalence({k: v for k, v in steps[-1][4].items() if k != "action_mask"}, final, exact=True)
    for observation, *_ in steps:
        assert data_equivalence({name: observation[name] for name in terrain}, terrain, exact=True)
    assert steps[0][1]["terrain"] == info["terrain"]
    assert sodarace_gym.SequentialActions is SequentialActions


def test_the_longest_word_ends_without_stop() -> None:
    env = make(max_tokens=3)
    *_, (_, reward, terminated, _, info) = play(env, tokens("phase 0", "polygon 3", "hub up"))
    assert terminated
    assert info["error"] is None
    assert reward > 0
    assert not env.action_masks().any()
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        env.step(0)
    env.reset()
    assert env.word == ()


def test_the_observation_tells_words_apart_and_shows_the_body() -> None:
    env = make()
    observations = [step[0] for step in play(env, tokens("phase 0", "polygon 4", "hub up"))]
    assert all(observation in env.observation_space for observation in observations)
    assert env.word == tuple(tokens("phase 0", "polygon 4", "hub up"))
    assert observations[-1]["word"].tolist() == [token + 1 for token in env.word] + [0] * 9
    pictures = [observation["picture"].reshape(3, 12, 15) for observation in observations]
    assert not pictures[0].any()
    assert np.argwhere(pictures[2][0]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert pictures[3][0].sum() == 5
    assert (pictures[3][1:] != pictures[2][1:]).any()
    # Plain muscles have no phase to show.
    *_, (last, *_) = play(env, tokens("polygon 4"))
    assert not last["picture"].reshape(3, 12, 15)[1:].any()


@pytest.mark.parametrize("token", ["stop", "step up"])
def test_a_forbidden_token_ends_the_episode_kindly(token: str) -> None:
    env = make(invalid_reward=-3.0)
    (_, told), (_, reward, terminated, truncated, info) = play(env, tokens(token))
    assert (reward, terminated, truncated) == (-3.0, True, False)
    assert info["error"] == "forbidden_token"
    assert info["error"] in ERROR_KINDS
    assert f"is '{token}'; expected 'phase 0'" in info["error_message"]
    assert not told["action_mask"][TOKENS.index(token)]
    valid = play(make(), tokens("polygon 3", "stop"))[-1][4]
    assert info.keys() == valid.keys(), "vector environments stack them by key"


def test_masks_agree_and_sample() -> None:
    env = make()
    _, info = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(12):
        np.testing.assert_array_equal(info["action_mask"].astype(bool), env.action_masks())
        _, _, terminated, _, info = env.step(env.action_space.sample(mask=info["action_mask"]))
        if terminated:
            break
    assert info["error"] != "forbidden_token"


def test_what_the_caller_does_to_an_observation_stays_there() -> None:
    env = make(terrain="Bumpy")
    first = env.reset()[0]
    floor = first["floor"].copy()
    for values in first.values():
        values[:] = 1
    assert np.array_equal(env.step(tokens("polygon 4")[0])[0]["floor"], floor)


def test_the_same_tokens_earn_the_same_after_pickling_in_the_middle_of_a_word() -> None:
    word = tokens("phase 2", "polygon 6", "hub right", "wave up", "stop")
    env = make()
    play(env, word[:3])
    copy = pickle.loads(pickle.dumps(env))
    ends = [[one.step(token) for token in word[3:]][-1] for one in (env, copy)]
    assert data_equivalence(ends[0], ends[1], exact=True)
    assert data_equivalence(play(make(), word)[-1], ends[0], exact=True)
    assert ends[0][1] > 0


@pytest.mark.parametrize("max_tokens", [1, 41])
def test_a_length_out_of_range_is_refused(max_tokens: int) -> None:
    with pytest.raises(ValueError, match=f"from 2 to 40, got {max_tokens}"):
        make(max_tokens)


def test_stable_baselines3_accepts_it() -> None:
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make())


def test_maskable_ppo_trains_through_it_and_never_forbids_itself() -> None:
    contrib = pytest.importorskip("sb3_contrib")
    import torch

    torch.set_num_threads(1)
    errors = []

    class Watched(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            outcome = self.env.step(int(action))
            errors.append(outcome[4].get("error"))
            return outcome

    agent = contrib.MaskablePPO(
        "MultiInputPolicy", Watched(make()), n_steps=128, batch_size=64, n_epochs=2, seed=0, device="cpu"
    )
    before = [parameter.detach().clone() for parameter in agent.policy.parameters()]
    agent.learn(256)
    moved = [not torch.equal(old, new) for old, new in zip(before, agent.policy.parameters(), strict=True)]
    assert any(moved)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in agent.policy.parameters())
    assert len(errors) == 256
    assert "forbidden_token" not in errors
    assert max(episode["r"] for episode in agent.ep_info_buffer) > 0.0
