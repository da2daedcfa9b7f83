"""Nothing that a program may be brings the vector environment down, or its neighbours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sodarace_gym.envs.vector import SodaraceVectorEnv
from sodarace_gym.errors import ERROR_KINDS
from tests.sodarace_gym.envs.short_episodes import GOOD, identical, make

T = TypeVar("T")

HOSTILE = Path(__file__).resolve().parents[1] / "programs" / "hostile_programs"
HANG_SECONDS = 300.0  # a hang is what is looked for; a busy machine is not


def within_time(function: Callable[[], T]) -> T:
    """Runs a function in a thread and fails if it hangs or raises."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    thread.join(HANG_SECONDS)
    assert not thread.is_alive(), "the vector environment hangs"
    return results[0]


def test_no_hostile_program_brings_it_down() -> None:
    programs = [path.read_bytes().decode("utf-8", "surrogateescape") for path in sorted(HOSTILE.glob("*.py"))]
    assert len(programs) >= 90
    actions = [*programs, *GOOD]  # good neighbours
    envs = make(len(actions), invalid_reward=-1.0)
    envs.reset(seed=0)
    _, rewards, terminated, _, infos = within_time(lambda: envs.step(actions))
    envs.close()
    assert terminated.all()
    failed = np.array([error is not None for error in infos["error"]])
    assert set(infos["error"][failed]) <= set(ERROR_KINDS)
    assert (rewards[failed] == -1.0).all()
    assert np.isfinite(rewards).all()
    assert failed.sum() > 60
    neighbours = make(len(GOOD), invalid_reward=-1.0)
    neighbours.reset(seed=0)
    assert identical(rewards[len(programs) :], neighbours.step(GOOD)[1])
    neighbours.close()


_TOKENS = ["(", ")", ":", "\n", "    ", "j0", "wc", "1e308", "-1", "0", "None", "'", "1/0", "return", "while True: pass\n",
           "for _ in range(99): ", "[", "]", "\0", "\ud800", "π", "lambda: ", "wc.add_joint(0, 0)\n", "9" * 400]  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """A program that worked until tokens were put in, lines moved or characters taken out."""
    lines = draw(st.sampled_from(GOOD)).splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["drop", "double", "swap", "insert", "cut"]))
        column = draw(st.integers(0, len(lines[at])))
        if change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "swap":
            lines[at], lines[-1] = lines[-1], lines[at]
        elif change == "insert":
            lines[at] = lines[at][:column] + draw(st.sampled_from(_TOKENS)) + lines[at][column:]
        else:
            lines[at] = lines[at][:column] + lines[at][column + draw(st.integers(1, 5)) :]
    return "".join(lines)


@pytest.fixture(scope="module")
def eight() -> Any:
    envs = make(8, autoreset_mode="SameStep", invalid_reward=-1.0)
    envs.reset(seed=0)
    yield envs
    envs.close()


@settings(max_examples=12)  # of 8 programs each
@given(actions=st.lists(mutants(), min_size=8, max_size=8))
def test_no_mutant_brings_it_down(eight: SodaraceVectorEnv, actions: list[str]) -> None:
    _, rewards, terminated, _, infos = within_time(lambda: eight.step(actions))
    assert terminated.all()
    for reward, error, message in zip(
        rewards, infos["final_info"]["error"], infos["final_info"]["error_message"], strict=True
    ):
        assert error is None or (error in ERROR_KINDS and message)
        assert reward == -1.0 if error else 0.0 <= reward < 1000.0
    assert identical(eight.step(actions)[1], rewards)
