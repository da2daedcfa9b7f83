"""The agents of the study spend exactly their budget and repeat themselves."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sb3_contrib")

from benchmarks.agents import contests, measure, verdict
from benchmarks.entrants.agents import Learner, RandomActions, make_env
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.suite import BudgetSpent, Task
from sodarace_gym.suite.cell import run_generator
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.walkers.words import TOKENS
from sodarace_gym.wrappers.box_actions import BoxActions
from sodarace_gym.wrappers.sequential_actions import SequentialActions

AGENTS = [agent for rival, learners in contests().values() for agent in (rival, *learners)]


# As the study trains them, but often enough that twenty episodes change what they do.
OFTEN = {"n_steps": 16, "batch_size": 16, "learning_starts": 8}
for agent in AGENTS:
    if isinstance(agent, Learner):
        agent.settings |= {name: value for name, value in OFTEN.items() if name in agent.settings}


def flat(evaluator: Evaluator, budget: int) -> Task:
    return Task("Flat", make_terrain("Flat"), budget, evaluator)


def spent(agent: RandomActions | Learner, seed: int, budget: int = 20) -> Task:
    with Evaluator(n_jobs=1, duration=1.0) as evaluator:
        task = flat(evaluator, budget)
        run_generator(agent, task, np.random.default_rng(seed))
    return task


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_an_agent_spends_its_budget_and_the_same_seed_gives_the_same_distances(agent):
    first, again, other = (spent(agent, seed).books.scores for seed in (1, 1, 2))
    assert len(first) == 20
    assert max(first) > 0
    assert first == again
    assert first != other


def test_what_is_measured_is_what_the_task_booked():
    agent = RandomActions("random vectors", BoxActions)
    figures = measure(agent, "Flat", budget=8, seed=1, duration=1.0)
    distances = spent(agent, seed=1, budget=8).books.scores
    assert figures["best"] == max(distances)
    assert figures["mean"] == pytest.approx(np.mean(distances))
    assert figures["last"] == pytest.approx(np.mean(distances[-2:]))


@pytest.mark.parametrize("wrapper", [BoxActions, SequentialActions])
def test_profiles_reach_the_agent_scaled_and_nothing_else_changes(wrapper):
    with Evaluator(n_jobs=1, duration=1.0) as evaluator:
        env = make_env(wrapper, Task("Tunnel", make_terrain("Tunnel"), 1, evaluator))
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    profile = make_terrain("Tunnel").profile()
    np.testing.assert_allclose(32.0 * observation["ceiling"], profile["ceiling"], rtol=1e-6)
    assert observation.keys() == wrapper(env.unwrapped).observation_space.keys()


def test_the_agent_earns_a_power_of_the_distance_that_is_booked():
    words = iter(["polygon 8", "phase 0", "hub up left", "stop"])
    with Evaluator(n_jobs=1, duration=1.0) as evaluator:
        task = flat(evaluator, 1)
        env = make_env(SequentialActions, task, reward_scale=2.0, reward_power=3.0)
        env.reset(seed=0)
        rewards = [float(env.step(TOKENS.index(word))[1]) for word in words]
        env.reset()
        for word in ("polygon 8", "phase 0", "hub up left"):
            env.step(TOKENS.index(word))
        with pytest.raises(BudgetSpent):
            env.step(TOKENS.index("stop"))
    [distance] = task.books.scores
    assert distance > 0.1
    assert rewards == pytest.approx([0.0, 0.0, 0.0, (distance / 2.0) ** 3])


def test_a_lead_is_judged_by_its_interval():
    assert verdict([5.0, 6.0, 7.0], [1.0, 1.0, 1.0]).endswith("beats")
    assert verdict([1.0, 1.0, 1.0], [5.0, 6.0, 7.0]).endswith("loses")
    assert verdict([1.0, 9.0, 1.0], [5.0, 1.0, 5.0]).endswith("open")
    assert verdict([9.0], [1.0]) == "8.0 open", "one seed proves nothing"
