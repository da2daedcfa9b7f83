"""Words that decode into walkers: a small language of tokens, and a mask that says which may follow.

A *word* is a sequence of :data:`TOKENS`, written by a pen that stands on a joint::

    word = [pen] polygon {item} ["stop"]
    item = [pen] (step | hub | "join far" | copy | wave)

:class:`sodarace_gym.SequentialActions` says what each token writes. New joints are braced by others, so that bodies hold
together, and copies double what is there, so that short words make large bodies. Every word decodes into a walker within all
limits, without repairs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.walkers.walker import (
    MAX_AMPLITUDE_RATIO,
    MAX_HEIGHT,
    MAX_JOINTS,
    MAX_MUSCLES,
    MAX_MUSCLES_PER_JOINT,
    MAX_WIDTH,
    WalkerDesign,
    build_design,
)

SPACING = 2.0
"""Side of a polygon and length of a straight step, walker units."""
HUB_DISTANCE = 9.0
"""How far a hub stands from the middle of the body, walker units."""
PHASES = 8
"""Phases that the pen knows: eighths of a turn."""

_CELL = 2.0  # side of a cell of the picture, walker units
PICTURE = (math.ceil(MAX_HEIGHT / _CELL), math.ceil(MAX_WIDTH / _CELL))
"""Rows and columns of a body's picture."""

_DIRECTIONS = ("right", "up right", "up", "up left", "left", "down left", "down", "down right")
_SIDES = (3, 4, 5, 6, 8)
_COPIES = ("repeat right", "repeat up", "mirror")

TOKENS: tuple[str, ...] = (
    "stop",
    "plain",
    *(f"phase {k}" for k in range(PHASES)),
    *(f"polygon {sides}" for sides in _SIDES),
    *(f"step {direction}" for direction in _DIRECTIONS),
    *(f"hub {direction}" for direction in _DIRECTIONS),
    "join far",
    *_COPIES,
    "wave right",
    "wave up",
)
"""The tokens in the order of the action space."""

_STOP, _PLAIN, _POLYGON, _STEP, _HUB, _JOIN, _COPY, _WAVE = (
    TOKENS.index(first)
    for first in ("stop", "plain", "polygon 3", "step right", "hub right", "join far", _COPIES[0], "wave right")
)
_PENS = range(_PLAIN, _POLYGON)

_COMPASS = np.array([(dx, dy) for dx, dy in ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))])
_STEPS = SPACING * _COMPASS
_HUBS = HUB_DISTANCE * _COMPASS / np.linalg.norm(_COMPASS, axis=1, keepdims=True)
_SNAP = 0.4 * SPACING  # a point nearer than this to a joint is that joint
_NEAR = 1.5 * SPACING  # copies are joined where they are nearer than this: neighbours and diagonals of a lattice
_FAR = 1.9 * SPACING  # "join far" joins what is further apart than this along x
_BRACES = 3  # muscles that hold a new joint or a copy, at least
_DECIMALS = 3  # of lengths and phases in the program

Phase = float | None  # of a muscle, in turns; None where it is plain


@dataclasses.dataclass(frozen=True)
class _Body:
    """What was written so far. Never changed: a token makes a new one."""

    joints: tuple[tuple[float, float], ...] = ()
    muscles: dict[tuple[int, int], Phase] = dataclasses.field(default_factory=dict)  # by joints, the smaller first
    at: int = 0  # the joint on which the pen stands
    pen: int = _PLAIN

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """The joints as an array, shape (joints, 2)."""
        return np.array(self.joints)

    @cached_property
    def links(self) -> NDArray[np.int64]:
        """The joints of each muscle, shape (muscles, 2)."""
        return np.array(list(self.muscles), dtype=np.int64)

    @cached_property
    def corners(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The lower left and the upper right corner, each (x, y)."""
        return self.points.min(axis=0), self.points.max(axis=0)

    @cached_property
    def targets(self) -> NDArray[np.float64]:
        """Where steps and then hubs in each direction lead, shape (16, 2)."""
        low, high = self.corners
        return np.concatenate([self.points[self.at] + _STEPS, 0.5 * (low + high) + _HUBS])

    @cached_property
    def occupants(self) -> NDArray[np.int64]:
        """The joint that each target is taken for, or -1 where there is room for a new one, shape (16,)."""
        gaps = np.hypot(*(self.targets[:, None] - self.points).transpose(2, 0, 1))
        return np.where(gaps.min(axis=1) < _SNAP, gaps.argmin(axis=1), -1)

    def write(self, token: int) -> _Body:
        """The body after an allowed token."""
        if token in _PENS:
            return dataclasses.replace(self, pen=token)
        if token == _STOP:
            return self
        if token < _STEP:
            return self._polygon(_SIDES[token - _POLYGON])
        if token < _HUB:
            return self._step(token - _STEP)
        if token < _JOIN:
            return self._hub(token - _STEP)
        if token == _JOIN:
            added = {(a, b): self._phase() for a, b in self._far_pairs().tolist()}
            return dataclasses.replace(self, muscles=self.muscles | added)
        return self._copy(token) if token < _WAVE else self._wave(token - _WAVE)

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """The tokens that may follow, shape (len(TOKENS),), as far as the body decides."""
        mask = np.zeros(len(TOKENS), dtype=np.bool_)
        mask[_PENS] = True
        mask[self.pen] = False  # it would change nothing
        if not self.joints:
            mask[_POLYGON:_STEP] = True
            return mask
        degrees = np.bincount(self.links.ravel())
        roomy, count = degrees < MAX_MUSCLES_PER_JOINT, len(self.joints)
        low, high = self.corners
        size = np.maximum(high, self.targets) - np.minimum(low, self.targets)
        free = (self.occupants < 0) & _fits_start_area(size) & (count < MAX_JOINTS) & bool(roomy.all())
        mask[_STEP:_HUB] = free[:8] & (len(self.muscles) + _BRACES <= MAX_MUSCLES)
        mask[_HUB:_JOIN] = free[8:] & (len(self.muscles) + count <= MAX_MUSCLES) & (count <= MAX_MUSCLES_PER_JOINT)
        for direction in np.flatnonzero(self.occupants[:8] >= 0).tolist():
            there = int(self.occupants[direction])
            joinable = len(self.muscles) < MAX_MUSCLES and bool(roomy[self.at] and roomy[there])
            mask[_STEP + direction] = joinable or _pair(self.at, there) in self.muscles
        mask[_JOIN] = self._takes(self._far_pairs())
        for token in range(_COPY, _WAVE):
            axes = np.array([token != _COPY + 1, token == _COPY + 1])
            fits = _fits_start_area((high - low) * (1 + axes) + SPACING * axes)
            if fits and 2 * count <= MAX_JOINTS and 2 * len(self.muscles) + _BRACES <= MAX_MUSCLES:
                mask[token] = self._takes(self._mate(token)[1], twice=True)
        mask[[_STOP, _WAVE, _WAVE + 1]] = True
        return mask

    def picture(self) -> NDArray[np.float32]:
        """The body in cells of 2 x 2 walker units, shape (3, rows, columns); see :class:`sodarace_gym.SequentialActions`."""
        picture = np.zeros((3, *PICTURE), dtype=np.float32)
        if self.joints:
            columns, rows = (np.rint(self.points - self.corners[0]) // _CELL).astype(np.int64).T
            rows, columns = np.minimum(rows, PICTURE[0] - 1), np.minimum(columns, PICTURE[1] - 1)
            picture[0, rows, columns] = 1.0
            phases = np.array([math.nan if phase is None else math.tau * phase for phase in self.muscles.values()])
            for layer, values in ((1, np.sin(phases)), (2, np.cos(phases))):
                sums = np.zeros(len(self.joints))
                np.add.at(sums, self.links, np.nan_to_num(values)[:, None])
                np.add.at(picture[layer], (rows, columns), sums)
            picture[1:] /= np.maximum(1.0, np.hypot(*picture[1:]))
        return picture

    def design(self) -> WalkerDesign:
        """The walker."""
        joints = [(round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in self.joints]
        muscles = []
        for (a, b), phase in self.muscles.items():
            bound = MAX_AMPLITUDE_RATIO * math.dist(joints[a], joints[b])
            amplitude = math.floor(bound * 10**_DECIMALS) / 10**_DECIMALS  # downwards: never above the limit
            muscles.append((a, b, phase is None, amplitude, round(math.tau * (phase or 0.0), _DECIMALS)))
        return build_design(joints, muscles)[0]

    def _phase(self, lag: float = 0.0) -> Phase:
        """The pen's phase and a lag, in turns; a plain pen stays plain."""
        return None if self.pen == _PLAIN else ((self.pen - _PLAIN - 1) / PHASES + lag) % 1.0

    def _takes(self, pairs: NDArray[np.int64], twice: bool = False) -> bool:
        """Whether the body, or two copies of it, may have these muscles too."""
        links = [self.links, self.links + len(self.joints)] if twice else [self.links]
        ends = np.concatenate([*links, pairs])
        return len(ends) <= MAX_MUSCLES and int(np.bincount(ends.ravel()).max()) <= MAX_MUSCLES_PER_JOINT

    def _polygon(self, sides: int) -> _Body:
        radius = 0.5 * SPACING / math.sin(math.pi / sides)
        angles = [math.tau * (i + 0.5) / sides - 0.5 * math.pi for i in range(sides)]
        joints = tuple((radius * math.cos(angle), radius * math.sin(angle)) for angle in angles)
        pairs = sorted({_pair(i, (i + hop) % sides) for i in range(sides) for hop in (1, 2)})
        return _Body(joints, {(a, b): self._phase(a / sides) for a, b in pairs}, sides - 1, self.pen)

    def _step(self, direction: int) -> _Body:
        there = int(self.occupants[direction])
        if there >= 0:
            return dataclasses.replace(self, muscles=self.muscles | {_pair(self.at, there): self._phase()}, at=there)
        point = self.targets[direction]
        gaps = np.hypot(*(self.points - point).T)
        gaps[self.at] = -1.0  # the pen's joint comes first
        # Muscles a quarter turn apart lead the new joint round and not only to and fro.
        braces = np.argsort(gaps, kind="stable")[:_BRACES].tolist()
        return self._with_joint(point, {joint: self._phase(0.25 * k) for k, joint in enumerate(braces)}, move=True)

    def _hub(self, target: int) -> _Body:
        count = len(self.joints)
        return self._with_joint(self.targets[target], {joint: self._phase(joint / count) for joint in range(count)})

    def _with_joint(self, point: NDArray[np.float64], braces: dict[int, Phase], move: bool = False) -> _Body:
        new = len(self.joints)
        joints = (*self.joints, (float(point[0]), float(point[1])))
        muscles = self.muscles | {(joint, new): phase for joint, phase in braces.items()}
        return dataclasses.replace(self, joints=joints, muscles=muscles, at=new if move else self.at)

    def _far_pairs(self) -> NDArray[np.int64]:
        """The pairs that "join far" joins, shape (pairs, 2)."""
        xs = self.points[:, 0]
        far = np.triu(np.abs(xs[:, None] - xs) > _FAR)
        far[tuple(self.links.T)] = False
        return np.argwhere(far)

    def _mate(self, token: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The joints of a copy, shape (joints, 2), and the pairs that join it to the body, shape (pairs, 2)."""
        old, (low, high) = self.points, self.corners
        if token == _COPY + 2:
            new = old * (-1.0, 1.0) + (2.0 * high[0] + SPACING, 0.0)
        else:
            new = old + (high - low + SPACING) * ((1.0, 0.0) if token == _COPY else (0.0, 1.0))
        gaps = np.hypot(*(old[:, None] - new).transpose(2, 0, 1)).ravel()
        near = np.argsort(gaps, kind="stable")[: max(_BRACES, int((gaps < _NEAR).sum()))]
        return new, np.stack([near // len(old), near % len(old) + len(old)], axis=1)

    def _copy(self, token: int) -> _Body:
        new, bridges = self._mate(token)
        count, lag = len(self.joints), self._phase() or 0.0
        copied = {
            (a + count, b + count): None if phase is None else (phase + lag) % 1.0
            for (a, b), phase in self.muscles.items()
        }
        muscles = self.muscles | copied | {(a, b): self._phase() for a, b in bridges.tolist()}
        return _Body((*self.joints, *((x, y) for x, y in new.tolist())), muscles, self.at + count, self.pen)

    def _wave(self, axis: int) -> _Body:
        low, high = self.corners
        along = ((self.points - low)[:, axis] / max(SPACING, (high - low)[axis])).tolist()
        muscles = {
            (a, b): None if phase is None else (phase + 0.5 * (along[a] + along[b])) % 1.0
            for (a, b), phase in self.muscles.items()
        }
        return dataclasses.replace(self, muscles=muscles)


def _pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _fits_start_area(sizes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether bodies fit, shape (...,), by width and height, shape (..., 2)."""
    return np.all(sizes <= (MAX_WIDTH - 0.01, MAX_HEIGHT - 0.01), axis=-1)  # a margin for rounding


class WalkerWord:
    """A word being written.

    Attributes:
        tokens: Indices into ``TOKENS``.
        body: What they have built so far.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.body = _Body()

    @property
    def over(self) -> bool:
        """Whether the word was stopped."""
        return bool(self.tokens) and self.tokens[-1] == _STOP

    def mask(self) -> NDArray[np.bool_]:
        """The tokens that may follow, shape (len(TOKENS),); none after "stop"."""
        last = self.tokens[-1] if self.tokens else None
        mask = self.body.allowed.copy()
        if self.over:
            mask[:] = False
        elif last in _PENS:  # an item must follow; a wave always may
            mask[_STOP] = mask[_PENS] = False
        return mask

    def write(self, token: int) -> None:
        """Adds a token.

        Args:
            token: An index into ``TOKENS`` that the mask allows.

        Raises:
            ValueError: The token may not follow; the word stays as it was.
        """
        mask = self.mask()
        if not (0 <= token < len(TOKENS) and mask[token]):
            name = repr(TOKENS[token]) if 0 <= token < len(TOKENS) else f"the number {token}"
            choices = ", ".join(repr(TOKENS[choice]) for choice in np.flatnonzero(mask)) or "nothing: the word is over"
            raise ValueError(f"token {len(self.tokens)} of the word is {name}; expected {choices}.")
        self.tokens.append(token)
        self.body = self.body.write(token)

    def program(self) -> str:
        """The program of the walker so far.

        Raises:
            ValueError: There is no walker yet.
        """
        if not self.body.joints:
            raise ValueError("word: expected a polygon at the beginning, got none.")
        return self.body.design().to_program()


def decode(word: Sequence[int]) -> str:
    """Decodes a word into the program of a walker.

    Args:
        word: Indices into ``TOKENS``; the "stop" at its end may be left out.

    Returns:
        A program that builds a walker within all limits, without repairs.

    Raises:
        ValueError: A token may not stand where it stands, or there is no polygon.
    """
    reader = WalkerWord()
    for token in word:
        reader.write(int(token))
    return reader.program()
