"""What an entrant writes: a generator of walker programs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sodarace_gym.arguments import checked_number, checked_whole
from sodarace_gym.suite.errors import SuiteError
from sodarace_gym.suite.task import Task


@dataclass(frozen=True)
class Training:
    """What it took to make a generator, before the first task.

    Attributes:
        evaluations: Programs that were scored on a terrain, each with its perturbed copies.
        model_calls: Times a language model was asked.
        tokens: Tokens that models learnt from or wrote.
        seconds: Wall time, s.
    """

    evaluations: int = 0
    model_calls: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Takes numpy's numbers too.

        Raises:
            ValueError: A count is no whole number, or one is negative.
        """
        for name in ("evaluations", "model_calls", "tokens"):
            object.__setattr__(self, name, checked_whole(name, getattr(self, name), "a whole number, 0 or more"))
        object.__setattr__(self, "seconds", checked_number("seconds", self.seconds, "a number, 0 or more", least=0.0))


class Generator(Protocol):
    """Anything that writes programs for a terrain.

    The suite makes a new one for each task, by calling the class with the settings of the command line, so that nothing is
    carried from one task to the next. What takes long to load (a model) is for a function with ``functools.lru_cache``.

    A generator that has learnt before has a ``training`` too: a :class:`Training`.

    Attributes:
        name: In tables; up to 80 characters.
    """

    name: str

    def generate(self, task: Task, rng: np.random.Generator) -> Iterable[str] | None:
        """Writes programs for ``task.terrain``.

        A generator that looks at nothing returns programs, best guess first: the suite takes as many as ``task.budget``
        allows. One that searches calls ``task.evaluate(programs)`` as often as there is something left, and returns nothing,
        or programs for the evaluations that are left.

        Args:
            task: The terrain and the budget.
            rng: Source of all randomness.
        """
        ...


def checked_generator(made: Any, where: str) -> Generator:
    """A generator, if that is what an entrant's class makes.

    Args:
        made: What the class made.
        where: Which class, for messages.

    Raises:
        SuiteError: It has no name, no method ``generate(task, rng)``, or a ``training`` that is none.
    """
    name = getattr(made, "name", None)
    if not isinstance(name, str) or not 0 < len(name) <= 80 or not name.isprintable() or "|" in name:
        raise SuiteError(
            f"{where}: expected an attribute `name` for the tables (1 to 80 characters, no |), got {name!r}."
        )
    generate = getattr(made, "generate", None)
    try:
        inspect.signature(generate).bind(None, None)  # type: ignore[arg-type] # a TypeError tells what it is
    except (TypeError, ValueError):
        what = "none" if generate is None else repr(generate)
        raise SuiteError(
            f"{where}: expected a method `generate(self, task, rng)` that returns programs, got {what}."
        ) from None
    training = getattr(made, "training", Training())
    if not isinstance(training, Training):
        raise SuiteError(
            f"{where}: expected `training` to be a sodarace_gym.suite.Training(evaluations=...), got {training!r}."
        )
    generator: Generator = made
    return generator


def training_of(generator: Generator) -> Training:
    """What a generator has declared, nothing if it has not."""
    training: Training = getattr(generator, "training", Training())
    return training
