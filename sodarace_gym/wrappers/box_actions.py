"""Actions for libraries that cannot write texts: vectors that decode into walker programs.

:func:`decode` is a body plan with :data:`PARAMETERS` numbers. A *sheet* of joints in columns and rows is either laid flat (a
grid) or rolled up (a wheel whose columns are spokes and whose rows are rings, the first row outermost). Muscles join lattice
neighbours (*near*) and, if asked for, columns far apart (*far*). A *hub* joint anywhere may be joined to the last row: the top
of a grid, the innermost ring of a wheel. *Legs* (a knee and a foot each, braced by two joints of the first row) stand below
a grid or around a wheel. Each group of muscles has a strength and a lag; waves of phase and slopes of strength run over all of
them along columns and rows. A group of strength 0 or less is plain.

Joint positions, amplitudes and phases change continuously with the vector except where one of the four counts or two switches
(marked in :data:`PARAMETERS`) changes, and where the hub meets another joint. Every vector decodes into a valid walker.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sodarace_gym.envs.spaces import check_acts_with_programs
from sodarace_gym.walkers.walker import (
    MAX_AMPLITUDE_RATIO,
    MAX_HEIGHT,
    MAX_MUSCLES,
    MAX_WIDTH,
    WalkerDesign,
    build_design,
)

Observation = dict[str, NDArray[np.float32]]

PARAMETERS: dict[str, str] = {
    "shape": "switch: below 0 the sheet is rolled into a wheel, else it lies flat as a grid",
    "columns": "count: 5 to 10 around a wheel, 2 to 8 along a grid",
    "rows": "count: 1 to 3 rings of a wheel, 2 to 8 rows of a grid (at most 40 joints)",
    "size": "outer radius of a wheel, 1 to 7; distance of columns in a grid, 1 to 3.5",
    "thickness": "share of the radius that the rings fill, 0.3 to 0.8; distance of rows in a grid, 1 to 3",
    "lean": "height over width of a wheel, 2/3 to 3/2; sideways shift per height of a grid, -0.7 to 0.7",
    "hub_x": "the hub's place right of the sheet's middle, -14 to 14",
    "hub_y": "the hub's place above the sheet's middle, -14 to 14",
    "hub_drive": "switch: below 0 there is no hub; strength of the muscles at the hub",
    "near_drive": "strength of the near muscles",
    "far_drive": "strength of the far muscles",
    "reach": "count: columns that far muscles must at least span; below 0 there are none, at 1 two columns suffice",
    "legs": "count: 0 to 4",
    "leg_length": "from the hips to the foot, 1 to 6",
    "leg_bend": "sideways place of the knee in half leg lengths, -1 to 1",
    "leg_drive": "strength of the muscles that swing a foot",
    "column_wave": "phase gained from the first column to the last, -2 pi to 2 pi",
    "row_wave": "phase gained from the first row to the last, -2 pi to 2 pi",
    "far_lag": "phase of the far muscles, -pi to pi",
    "hub_lag": "phase of the muscles at the hub, -pi to pi",
    "leg_lag": "phase of the legs, -pi to pi",
    "leg_wave": "phase gained from one leg to the next, -pi to pi",
    "column_slope": "how much more strength (relative) the last column has than the middle, -1 to 1",
    "row_slope": "how much more strength (relative) the last row has than the middle, -1 to 1",
}
"""The entries of a vector, in order: name and meaning. Each lies in [-1, 1]; lengths are in walker units, phases in radians."""

_GRID_JOINTS = 40
_DECIMALS = 3  # of lengths and phases in the program: below what matters, and programs stay readable


class _Link(NamedTuple):
    """A muscle of the plan: joints, strength in [-1, 1], and its phase in radians."""

    a: int
    b: int
    strength: float = 0.0
    phase: float = 0.0


def decode(vector: ArrayLike) -> str:
    """Decodes a vector into the program of a walker.

    Args:
        vector: Shape (24,), one number for each of ``PARAMETERS``; values outside [-1, 1] are clipped.

    Returns:
        A program that builds a walker within all limits, without repairs.

    Raises:
        ValueError: The shape is wrong or a number is not finite.
    """
    return decode_design(vector).to_program()


def decode_design(vector: ArrayLike) -> WalkerDesign:
    """Decodes a vector into a walker: the one that the program of :func:`decode` builds.

    Args:
        vector: As for :func:`decode`.

    Returns:
        A walker within all limits.

    Raises:
        ValueError: The shape is wrong or a number is not finite.
    """
    values = np.asarray(vector, dtype=np.float64)
    if values.shape != (len(PARAMETERS),):
        raise ValueError(
            f"vector: expected the shape ({len(PARAMETERS)},), one number for each of PARAMETERS, got {values.shape}."
        )
    if not np.isfinite(values).all():
        name = list(PARAMETERS)[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise ValueError(f"vector: expected finite numbers, got {values[~np.isfinite(values)][0]} for {name!r}.")
    return _Plan(dict(zip(PARAMETERS, np.clip(values, -1.0, 1.0).tolist(), strict=True))).design()


class _Plan:
    """One vector's body being put together; joints of the sheet come first, column by column."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values
        self.rolled = values["shape"] < 0.0
        if self.rolled:
            self.columns, self.rows = self._count("columns", 5, 10), self._count("rows", 1, 3)
        else:
            self.columns = self._count("columns", 2, 8)
            self.rows = self._count("rows", 2, min(8, _GRID_JOINTS // self.columns))
        self.joints = self._sheet()

    def design(self) -> WalkerDesign:
        """The walker."""
        links = self._near()
        if self.values["hub_drive"] >= 0.0:
            links += self._hub()
        links += self._legs()
        links += self._far(MAX_MUSCLES - len(links))
        points = np.array(self.joints)
        # A margin for rounding; the whole body shrinks, so that its form stays.
        shrink = max(1.0, *(np.ptp(points, axis=0) / (MAX_WIDTH - 0.1, MAX_HEIGHT - 0.1)))
        joints = [(x, y) for x, y in (points / shrink).round(_DECIMALS).tolist()]
        muscles = []
        for a, b, strength, phase in links:
            bound = MAX_AMPLITUDE_RATIO * math.dist(joints[a], joints[b]) * max(0.0, strength)
            amplitude = math.floor(bound * 10**_DECIMALS) / 10**_DECIMALS  # downwards: never above the limit
            muscles.append((a, b, amplitude == 0.0, amplitude, round(phase, _DECIMALS)))
        return build_design(joints, muscles)[0]

    def _range(self, name: str, low: float, high: float) -> float:
        return low + (high - low) * 0.5 * (self.values[name] + 1.0)

    def _count(self, name: str, low: int, high: int) -> int:
        return min(high, int(self._range(name, low, high + 1)))

    def _index(self, column: int, row: int) -> int:
        return column % self.columns * self.rows + row

    def _sheet(self) -> list[tuple[float, float]]:
        places = [(column, row) for column in range(self.columns) for row in range(self.rows)]
        if self.rolled:
            radius, filled = self._range("size", 1.0, 7.0), self._range("thickness", 0.3, 0.8)
            stretch = 1.5 ** (0.5 * self.values["lean"])
            joints = []
            for column, row in places:
                angle, ring = math.tau * column / self.columns, radius * (1.0 - filled * row / self.rows)
                joints.append((ring * math.cos(angle) / stretch, ring * math.sin(angle) * stretch))
            return joints
        dx, dy, shift = self._range("size", 1.0, 3.5), self._range("thickness", 1.0, 3.0), 0.7 * self.values["lean"]
        middle_column, middle_row = 0.5 * (self.columns - 1), 0.5 * (self.rows - 1)
        return [
            (dx * (column - middle_column) + shift * dy * (row - middle_row), dy * (row - middle_row))
            for column, row in places
        ]

    def _link(self, a: int, b: int, drive: str, column: float, row: float, lag: float = 0.0) -> _Link:
        """A muscle whose middle is at a place of the sheet: waves and slopes depend on it."""
        along = column / (self.columns if self.rolled else self.columns - 1)
        up = row / max(1, self.rows - 1)
        slope = 1.0 + self.values["column_slope"] * (2.0 * along - 1.0) + self.values["row_slope"] * (2.0 * up - 1.0)
        phase = lag + math.tau * (self.values["column_wave"] * along + self.values["row_wave"] * up)
        return _Link(a, b, self.values[drive] * min(1.0, max(0.0, slope)), phase)

    def _near(self) -> list[_Link]:
        """Neighbours along columns, rows and diagonals; in a wheel of one ring, second neighbours brace it."""
        links = []
        for column in range(self.columns):
            for row in range(self.rows):
                here = self._index(column, row)
                steps = [(0, 1), (1, 0), (1, 1), (1, -1)]
                if self.rolled and self.rows == 1:
                    steps.append((2, 0))
                for right, up in steps:
                    if not 0 <= row + up < self.rows or (column + right >= self.columns and not self.rolled):
                        continue
                    there = self._index(column + right, row + up)
                    links.append(self._link(here, there, "near_drive", column + 0.5 * right, row + 0.5 * up))
        return links

    def _far(self, budget: int) -> list[_Link]:
        """All pairs of joints whose columns are far apart, the farthest columns first, as many columns as fit."""
        farthest = self.columns // 2 if self.rolled else self.columns - 1
        if self.values["reach"] < 0.0 or farthest < 2:
            return []
        nearest = 2 + min(farthest - 2, int((1.0 - self.values["reach"]) * (farthest - 1)))
        lag = math.pi * self.values["far_lag"]
        links: list[_Link] = []
        for span in range(farthest, nearest - 1, -1):
            # Half around a wheel of even columns, every pair would come twice.
            firsts = self.columns if self.rolled else self.columns - span
            firsts = span if self.rolled and 2 * span == self.columns else firsts
            if len(links) + firsts * self.rows**2 > budget:
                break
            for column in range(firsts):
                for low in range(self.rows):
                    for high in range(self.rows):
                        a, b = self._index(column, low), self._index(column + span, high)
                        links.append(self._link(a, b, "far_drive", column + 0.5 * span, 0.5 * (low + high), lag))
        return links

    def _hub(self) -> list[_Link]:
        hub = self._add(14.0 * self.values["hub_x"], 14.0 * self.values["hub_y"])
        last, lag = self.rows - 1, math.pi * self.values["hub_lag"]
        return [self._link(hub, self._index(c, last), "hub_drive", c, last, lag) for c in range(self.columns)]

    def _legs(self) -> list[_Link]:
        count = min(self._count("legs", 0, 4), self.columns if self.rolled else self.columns - 1)
        length = self._range("leg_length", 1.0, 6.0)
        links = []
        for leg in range(count):
            if self.rolled:
                column = leg * self.columns // count
            else:
                column = round(leg * (self.columns - 2) / (count - 1)) if count > 1 else (self.columns - 2) // 2
            hips = self._index(column, 0), self._index(column + 1, 0)
            hip = 0.5 * np.add(self.joints[hips[0]], self.joints[hips[1]])
            out = hip / np.linalg.norm(hip) if self.rolled else np.array([0.0, -1.0])
            aside = np.array([-out[1], out[0]])
            knee = self._add(*(hip + 0.5 * length * (out + self.values["leg_bend"] * aside)))
            foot = self._add(*(hip + length * out))
            phase = math.pi * (self.values["leg_lag"] + leg * self.values["leg_wave"])
            links += [_Link(hips[0], knee), _Link(hips[1], knee), _Link(knee, foot)]
            # Pulling one side while the other yields swings the foot.
            links += [_Link(hips[i], foot, self.values["leg_drive"], phase + math.pi * i) for i in (0, 1)]
        return links

    def _add(self, x: float, y: float) -> int:
        self.joints.append((float(x), float(y)))
        return len(self.joints) - 1


class BoxActions(gym.ActionWrapper[Observation, NDArray[np.float32], str], gym.utils.RecordConstructorArgs):
    """Lets an agent act with a vector that decodes into a walker program.

    ## Action Space
    `Box(-1, 1, (24,), float32)`: see `PARAMETERS` for the meaning of each entry and `decode` for the body plan. Everything
    else passes through, so that Stable-Baselines3 plays with its `MultiInputPolicy`.

    Example:
        >>> import gymnasium as gym
        >>> from sodarace_gym import BoxActions
        >>> env = BoxActions(gym.make("Sodarace-Flat-v0"))
        >>> observation, info = env.reset(seed=0)
        >>> _ = env.action_space.seed(0)
        >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        >>> info["error"] is None
        True

    Args:
        env: An environment whose actions are walker programs.

    Raises:
        ValueError: Its actions are something else.
    """

    def __init__(self, env: gym.Env[Observation, str]) -> None:
        check_acts_with_programs(env)
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (len(PARAMETERS),), np.float32)

    def action(self, action: ArrayLike) -> str:
        """The program that a vector decodes into; see :func:`decode`."""
        return decode(action)
