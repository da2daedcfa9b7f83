"""The action space: its samples are walkers, its members are all texts of acceptable length."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from sodarace_gym.envs.spaces import PROGRAM_CHARACTERS, WalkerPrograms
from sodarace_gym.programs.program import compile_program
from sodarace_gym.programs.sandbox import MAX_SOURCE_BYTES


def test_samples_build_walkers_that_need_no_repair() -> None:
    space = WalkerPrograms(seed=1)
    programs = [space.sample() for _ in range(40)]
    assert len(set(programs)) == 40
    for program in programs:
        design, repairs = compile_program(program)
        assert not repairs
        assert any(not muscle.distance_only for muscle in design.muscles) or all(
            m.distance_only for m in design.muscles
        )
        assert program in space


def test_samples_are_made_of_the_declared_characters() -> None:
    space = WalkerPrograms(seed=2)
    seen = set("".join(space.sample() for _ in range(50)))
    assert seen <= space.character_set == set(PROGRAM_CHARACTERS)
    assert {"\n", "\t", " ", "~", "A", "0"} <= space.character_set
    assert all(character.isascii() for character in PROGRAM_CHARACTERS)


def test_samples_follow_the_seed_of_the_space_and_nothing_else() -> None:
    first, second, other = WalkerPrograms(seed=3), WalkerPrograms(seed=3), WalkerPrograms(seed=4)
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    drawn = [first.sample() for _ in range(3)]
    np.random.seed(1)  # noqa: NPY002
    assert [second.sample() for _ in range(3)] == drawn
    assert [other.sample() for _ in range(3)] != drawn
    first.seed(3)
    assert [first.sample() for _ in range(3)] == drawn


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda space: pickle.loads(pickle.dumps(space))])
def test_a_copy_goes_on_where_the_space_was(copier) -> None:  # type: ignore[no-untyped-def]
    space = WalkerPrograms(seed=5)
    space.sample()
    twin = copier(space)
    assert twin == space
    assert twin.sample() == space.sample()


@pytest.mark.parametrize("text", ["", "x", "def make_walker(): pass", "größer 🙂", "\0", "a" * MAX_SOURCE_BYTES])
def test_any_text_that_is_not_too_long_is_a_member(text: str) -> None:
    assert text in WalkerPrograms()


@pytest.mark.parametrize(
    "other", [None, 1, b"def make_walker(): pass", ["x"], np.zeros(3), "a" * (MAX_SOURCE_BYTES + 1)]
)
def test_everything_else_is_not(other: object) -> None:
    assert other not in WalkerPrograms()


def test_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="neither mask nor probability"):
        WalkerPrograms().sample(mask=(None, None))  # type: ignore[arg-type]


def test_it_differs_from_a_space_of_random_characters() -> None:
    plain = spaces.Text(MAX_SOURCE_BYTES, min_length=0, charset=PROGRAM_CHARACTERS)
    assert WalkerPrograms() == WalkerPrograms(seed=9)
    assert WalkerPrograms() != plain


def test_a_batch_of_it_samples_different_walkers() -> None:
    batch = batch_space(WalkerPrograms(seed=0), 3)
    batch.seed(0)
    programs = batch.sample()
    assert len(set(programs)) == 3
    assert all("make_walker" in program for program in programs)
