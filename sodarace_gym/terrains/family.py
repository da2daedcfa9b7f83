"""What terrain families share: named parameters that a difficulty grades, and two independently drawn sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from sodarace_gym.terrains.terrain import SKY, START_HALF_WIDTH, Polyline, Terrain

COURSE_LENGTH = 200.0
"""How far a family's features reach beyond the start area on either side, walker units: twice what the fastest known walkers
cover in an episode. Beyond, the ground goes on level."""

SUMMIT = 150.0
"""No ground rises higher than this, walker units: a walker on top still stands well below the sky."""

Points = list[tuple[float, float]]

_NUMBERS = (int, float, np.integer, np.floating)


class Stretch(NamedTuple):
    """A piece of one side of a terrain, going outwards.

    Attributes:
        floor: Vertices (x, y) from (0, 0) on, x non-decreasing, walker units.
        ceiling: Vertices over the same x, or None for open sky.
    """

    floor: Points
    ceiling: Points | None = None


class Grade(NamedTuple):
    """What a parameter of a family means.

    Attributes:
        easy: Its value at difficulty 0.
        hard: Its value at difficulty 1; in between it lies on a line.
        unit: Its unit.
        meaning: What it is, in a few words.
        least: Smallest value it may be given.
        most: Greatest value it may be given.
    """

    easy: float
    hard: float
    unit: str
    meaning: str
    least: float = 0.0
    most: float = 100.0

    def value(self, difficulty: float) -> float:
        """The value at a difficulty."""
        return (1.0 - difficulty) * self.easy + difficulty * self.hard  # in this form both ends are exact


def graded(easy: float, hard: float, unit: str, meaning: str, least: float = 0.0, most: float = 100.0) -> Any:
    """Declares a parameter: a dataclass field that carries its :class:`Grade`, with the value at difficulty 0.5 as default."""
    grade = Grade(easy, hard, unit, meaning, least, most)
    return field(default=grade.value(0.5), metadata={"grade": grade})


@dataclass(frozen=True)
class TerrainFamily:
    """Base of the families: parameters are fields made by :func:`graded`, ``stretch`` draws one side.

    Raises:
        ValueError: A parameter is no number within its bounds.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        cls.name = cls.__name__

    def __post_init__(self) -> None:
        for parameter, grade in self.grades().items():
            value = getattr(self, parameter)
            # Written so that NaN, too, is outside.
            if isinstance(value, bool) or not isinstance(value, _NUMBERS) or not grade.least <= value <= grade.most:
                raise ValueError(
                    f"{self.name}, {parameter}: expected {grade.least:g} to {grade.most:g} {grade.unit}, got {value!r}; "
                    f"at difficulty 0 it is {grade.easy:g}, at difficulty 1 {grade.hard:g}."
                )
            object.__setattr__(self, parameter, float(value))  # a float32 would make all that follows less precise

    @classmethod
    def grades(cls) -> dict[str, Grade]:
        """What each parameter means, by its name."""
        return {parameter.name: parameter.metadata["grade"] for parameter in dataclasses.fields(cls)}

    @classmethod
    def at(cls, difficulty: float, **parameters: float) -> Self:
        """The family at a difficulty: each parameter lies on the line from its easy to its hard value.

        Args:
            difficulty: From 0 (easiest) to 1 (hardest).
            parameters: Values that are set and not graded, by name, in the units of the class.

        Raises:
            ValueError: The difficulty is outside [0, 1], or a parameter is unknown or out of its bounds.
        """
        check_difficulty(difficulty)
        grades = cls.grades()
        if unknown := sorted(set(parameters) - set(grades)):
            raise ValueError(f"{cls.name} has no parameter {unknown[0]!r}; expected one of {', '.join(grades)}.")
        return cls(**({name: grade.value(float(difficulty)) for name, grade in grades.items()} | parameters))

    def stretch(self, rng: np.random.Generator, length: float) -> Stretch:
        """Draws what lies on one side of the start.

        Args:
            rng: Source of everything random.
            length: How far the features go at least, walker units.
        """
        raise NotImplementedError

    def terrain(self, seed: int = 0) -> Terrain:
        """Draws a terrain: the start area, and on either side a course of its own.

        Args:
            seed: Seed of what is random; the same seed and parameters give the same terrain.
        """
        rng = np.random.default_rng(seed)
        right, left = self.stretch(rng, COURSE_LENGTH), self.stretch(rng, COURSE_LENGTH)
        floor = _both_sides(*([(x, min(y, SUMMIT)) for x, y in side.floor] for side in (right, left)))
        if right.ceiling is None and left.ceiling is None:
            return Terrain(self.name, floor)
        mouth = [(0.0, SKY)]
        return Terrain(self.name, floor, _both_sides(mouth + (right.ceiling or []), mouth + (left.ceiling or [])))


def check_difficulty(difficulty: float) -> None:
    """Refuses what is no difficulty.

    Raises:
        ValueError: It is no number from 0 to 1.
    """
    if isinstance(difficulty, bool) or not isinstance(difficulty, _NUMBERS) or not 0.0 <= difficulty <= 1.0:
        raise ValueError(f"difficulty: expected a number from 0 (easiest) to 1 (hardest), got {difficulty!r}.")


def _both_sides(right: Points, left: Points) -> Polyline:
    """A polyline from two sides that begin at the edges of the start area; beyond their ends a Terrain goes on level."""

    def outwards(side: Points) -> Points:
        return [(START_HALF_WIDTH + x, y) for x, y in side]

    line = np.array([(-x, y) for x, y in reversed(outwards(left))] + outwards(right))
    repeated = np.zeros(len(line), dtype=bool)
    repeated[1:] = (np.diff(line, axis=0) == 0.0).all(axis=1)
    return line[~repeated]


def join(stretches: Sequence[Stretch]) -> Stretch:
    """Stretches in a row, each beginning where the floor of the one before ends; open sky where one has no ceiling."""
    floor: Points = [(0.0, 0.0)]
    ceiling: Points = []
    for piece in stretches:
        x0, y0 = floor[-1]
        floor += [(x0 + x, y0 + y) for x, y in piece.floor]
        overhead = [(0.0, SKY), (piece.floor[-1][0], SKY)]
        if piece.ceiling is None:
            ceiling += [(x0 + x, SKY) for x, _ in overhead]
        else:
            ceiling += [(x0 + x, y0 + y) for x, y in piece.ceiling]
    return Stretch(floor, ceiling if any(piece.ceiling for piece in stretches) else None)
