"""The action space: texts of walker programs."""

from __future__ import annotations

import string
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sodarace_gym.arguments import shown
from sodarace_gym.programs.sandbox import MAX_SOURCE_BYTES
from sodarace_gym.walkers.random_walker import random_design

PROGRAM_CHARACTERS = "\t\n" + "".join(sorted(set(string.printable) - set(string.whitespace) | {" "}))
"""What samples are made of: printable ASCII, newline and tab."""


class WalkerPrograms(spaces.Text):
    """Program texts. Samples are valid random walkers, not random characters.

    A text space of random characters would sample syntax errors only, so that random agents and the checkers of libraries
    would never see a walker move. Here ``sample()`` draws a walker (:func:`sodarace_gym.walkers.random_design`) from
    the space's own generator and writes it out as a program.

    Any ``str`` of at most ``max_length`` characters (what the sandbox accepts) is a member, whatever it says: a program that
    does not work is an action like any other, and its episode says what was wrong. The character set is that of the samples.

    Args:
        seed: Seed or generator for sampling.

    Example:
        >>> space = WalkerPrograms(seed=0)
        >>> space.sample().splitlines()[0]
        'def make_walker():'
        >>> "print('no walker')" in space
        True
    """

    def __init__(self, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(MAX_SOURCE_BYTES, min_length=0, charset=PROGRAM_CHARACTERS, seed=seed)

    def sample(self, mask: None = None, probability: None = None) -> str:  # type: ignore[override]
        """Draws the program of a random valid walker.

        Args:
            mask: Not supported: must be None.
            probability: Not supported: must be None.

        Returns:
            A program that runs in the sandbox and builds a walker within all limits.

        Raises:
            ValueError: A mask or a probability was given.
        """
        if mask is not None or probability is not None:
            raise ValueError("expected neither mask nor probability: samples are whole programs; call sample() alone.")
        return random_design(self.np_random).to_program()

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a text that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        """The space as one would write it."""
        return "WalkerPrograms()"

    def __eq__(self, other: object, /) -> bool:
        """Whether both spaces hold the same texts."""
        return isinstance(other, WalkerPrograms)


def check_acts_with_programs(env: gym.Env[Any, Any]) -> None:
    """Refuses an environment whose actions are not programs, for wrappers that write these.

    Raises:
        ValueError: The action space is something else than texts.
    """
    if not isinstance(env.action_space, spaces.Text):
        raise ValueError(
            "env: expected an environment whose actions are walker programs, such as Sodarace-Flat-v0, got one that acts with "
            f"{shown(env.action_space)}."
        )
