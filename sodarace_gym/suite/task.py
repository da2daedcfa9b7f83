"""A task: one terrain and a budget, and the only way to evaluate programs on it."""

from __future__ import annotations

import copy
import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sodarace_gym.arguments import checked_whole
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.suite.errors import BudgetSpent, SuiteError
from sodarace_gym.terrains.terrain import Terrain

FIRST = (1, 8, 64)
"""Of how many first evaluations the best is reported, beside the best of all."""

BEHAVIOUR_BINS = (1.0, 0.05, 0.5)
"""Widths of the bins of displacement, ground share and mean height where a definition says nothing else."""


@dataclass(frozen=True)
class Champion:
    """The best program so far, by what its generator could see.

    Attributes:
        program: Its text.
        score: The least distance of its walker and the copies that walked along, walker units.
    """

    program: str
    score: float


@dataclass
class Books:
    """What a task has been spent on.

    Attributes:
        evaluations: Programs evaluated.
        valid: Those that built a walker that could be simulated.
        behaviours: The different behaviours of these, by their bins.
        scores: What each evaluation was worth, in order, walker units.
        champion: The best of all; None as long as nothing has moved.
        first: The best of the first 1, 8 and 64 evaluations, where there were so many.
        model_calls: Times a language model was asked.
        tokens: Tokens that it wrote.
        seconds: Time that evaluations took, s.
    """

    evaluations: int = 0
    valid: int = 0
    behaviours: set[tuple[int, ...]] = field(default_factory=set)
    scores: list[float] = field(default_factory=list)
    champion: Champion | None = None
    first: dict[int, Champion | None] = field(default_factory=dict)
    model_calls: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Task:
    """A terrain, and so many evaluations on it.

    Args:
        name: What names the terrain, as people write it.
        terrain: The terrain.
        budget: Evaluations.
        evaluator: Does the work; what a program is worth is ``Evaluation.score``.
        bins: See :data:`BEHAVIOUR_BINS`.
    """

    def __init__(
        self,
        name: str,
        terrain: Terrain,
        budget: int,
        evaluator: Evaluator,
        bins: tuple[float, float, float] = BEHAVIOUR_BINS,
    ) -> None:
        self._name, self._terrain = name, terrain
        self._budget = checked_whole("budget", budget, "a number of evaluations, 1 or more", least=1)
        self._evaluator, self._bins = evaluator, bins
        self._books = Books()
        self._lock = threading.Lock()
        self._taken = 0  # evaluations that are done or under way

    @property
    def name(self) -> str:
        """What names the terrain, as in ``Hills,difficulty=0.5,seed=0``."""
        return self._name

    @property
    def terrain(self) -> Terrain:
        """The terrain."""
        return self._terrain

    @property
    def budget(self) -> int:
        """Evaluations in all."""
        return self._budget

    @property
    def left(self) -> int:
        """Evaluations that are left."""
        return self._budget - self._taken

    @property
    def books(self) -> Books:
        """What it has been spent on so far; a copy."""
        with self._lock:
            return copy.deepcopy(self._books)

    @property
    def duration(self) -> float:
        """Simulated seconds that a walker walks."""
        return self._evaluator.duration

    @property
    def robustness(self) -> int:
        """Perturbed copies that walk along with every walker."""
        return self._evaluator.robustness

    def evaluate(self, programs: Iterable[str]) -> list[Evaluation]:
        """Evaluates programs, as many as are left; each costs one evaluation, whatever becomes of it.

        Several threads may call it.

        Args:
            programs: Program texts; no more of them are asked for than can be evaluated.

        Returns:
            An evaluation for each program, in order; fewer than programs where the budget ends among them. What counts
            is its ``score``: the least distance of the walker and its perturbed copies.

        Raises:
            BudgetSpent: Nothing was left.
            SuiteError: A program is no text.
        """
        if isinstance(programs, str):
            raise SuiteError("programs: expected a list of program texts, got one text; put it in a list.")
        if self.left <= 0:
            raise BudgetSpent
        texts = list(itertools.islice(programs, self.left))
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise SuiteError(
                    f"programs: expected program texts (str), got {type(text).__name__} at place {place}, in the task "
                    f"'{self.name}'."
                )
        with self._lock:
            # What writes programs one by one, and other threads, may have evaluated others meanwhile. Of a text that carries
            # a walker of its own (CompiledProgram) the text alone counts.
            if texts and self.left <= 0:
                raise BudgetSpent
            texts = [str.__str__(text) for text in texts[: max(0, self.left)]]
            self._taken += len(texts)
        start = time.perf_counter()
        try:
            evaluations = self._evaluator.evaluate(texts, self._terrain)
        except BaseException:  # nothing came of it
            with self._lock:
                self._taken -= len(texts)
            raise
        with self._lock:
            self._books.seconds += time.perf_counter() - start
            for text, evaluation in zip(texts, evaluations, strict=True):
                self._book(text, evaluation)
        return evaluations

    def spend(self, model_calls: int = 0, tokens: int = 0) -> None:
        """Declares what a language model was asked for in this task.

        Args:
            model_calls: Times it was asked.
            tokens: Tokens that it wrote.

        Raises:
            ValueError: A number is negative.
        """
        calls = checked_whole("model_calls", model_calls, "a number of calls, 0 or more")
        written = checked_whole("tokens", tokens, "a number of tokens, 0 or more")
        with self._lock:
            self._books.model_calls += calls
            self._books.tokens += written

    def _book(self, program: str, evaluation: Evaluation) -> None:
        books = self._books
        books.evaluations += 1
        books.scores.append(evaluation.score)
        if evaluation.valid:
            books.valid += 1
            books.behaviours.add(behaviour(evaluation, self._bins))
        if evaluation.score > (books.champion.score if books.champion else 0.0):
            books.champion = Champion(program, evaluation.score)
        if books.evaluations in FIRST:
            books.first[books.evaluations] = books.champion


def behaviour(evaluation: Evaluation, bins: Sequence[float]) -> tuple[int, ...]:
    """The bin of a walker's behaviour: where it went, how much its feet were on the ground, how high it was meanwhile.

    Args:
        evaluation: Of a walker that could be simulated.
        bins: Widths of the bins, see :data:`BEHAVIOUR_BINS`; only the first where the evaluator does not look at gaits.
    """
    figures = (evaluation.displacement, evaluation.ground_share, evaluation.mean_height)
    return tuple(round(figure / width) for figure, width in zip(figures, bins, strict=True) if figure is not None)
