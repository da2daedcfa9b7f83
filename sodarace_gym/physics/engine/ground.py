"""The terrain as the engine meets it: its segments in the order in which Chipmunk finds them, and where to look for them.

Chipmunk keeps static segments in a tree of bounding boxes and visits it depth first. The contacts of one joint are solved in
the order in which the visit finds them, which shows in the distances. Here the tree is built once to number the segments in
its order; from then on bins over x say which of them a joint's box may meet, always in that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sodarace_gym.physics.compilation import ZERO, Floats, Ints, compiled, inner
from sodarace_gym.physics.surfaces import surface_height

# A segment's fields in ``Ground.segments``.
AX, AY, DX, DY, LENGTH_SQUARED, LEFT, BOTTOM, RIGHT, TOP, BEFORE_X, BEFORE_Y, AFTER_X, AFTER_Y, FRICTION, ELASTICITY = (
    range(15)
)
SEGMENT_FIELDS = 16
"""Floats for each segment: start point; vector to its end; length squared; bounding box with its thickness; from its ends to
the neighbouring segments' far ends; friction and elasticity. The last one is unused."""

BIN_WIDTHS = (2.0, 8.0)
"""Widths of the bins, walker units. A bin of width w holds all segments that a box of width w may meet which begins in it: the
narrow ones are for joints up to 13 units/s, the wide ones for all that are no faster than a walker may be."""
_SLACK = 1e-6  # what a bin holds beyond its ends: far above what rounding moves a box across an edge


class Ground(NamedTuple):
    """One or several terrains, end to end.

    Attributes:
        segments: Shape (segments, SEGMENT_FIELDS), each terrain's in the order of its tree.
        floor, ceiling: Where the solid begins, shape (points, 2).
        bins: For both widths, where the members of each bin begin and end, shape (bins + 1,) for each terrain and width.
        members: The segments of each bin.
        open: Heights between which there is no solid, for every narrow bin, shape (narrow bins, 2).
        spans: Where each terrain's parts begin and end in the arrays above: segments, floor, ceiling, narrow bins, wide bins
            (begin, number), open; shape (terrains, 12).
        heights: For each terrain the left end of the bins, and the heights between which there is no solid anywhere; shape
            (terrains, 3).
    """

    segments: Floats
    floor: Floats
    ceiling: Floats
    bins: Ints
    members: Ints
    open: Floats
    spans: Ints
    heights: Floats


(FIRST, LAST, FLOOR, FLOOR_END, CEILING, CEILING_END, NARROW, NARROW_COUNT, WIDE, WIDE_COUNT, OPEN, _) = range(12)
LEFT_END, LOWEST, HIGHEST = range(3)


def prepare(segments: Floats, floor: Floats, ceiling: Floats, radius: float, depth: float) -> Ground:
    """Prepares a terrain.

    Args:
        segments: Shape (segments, 10), see ``WorldArrays``.
        floor: Where solid ground begins, shape (points, 2).
        ceiling: Where the solid ceiling begins.
        radius: Half thickness of the segments, walker units.
        depth: How deep a joint may get into the solid, walker units.
    """
    rows = segment_rows(segments[tree_order(segments, radius)], radius)
    left_end = math.floor(rows[:, LEFT].min() / BIN_WIDTHS[1]) * BIN_WIDTHS[1] - BIN_WIDTHS[1]
    reach = rows[:, RIGHT].max() - left_end
    bins, members, counts, first = [], [], [], 0
    for width in BIN_WIDTHS:
        count = int(reach / width) + 2
        starts, listed = fill_bins(rows, left_end, width, count)
        bins.append(starts + first)
        members.append(listed)
        counts.append(count)
        first += len(listed)
    gaps = open_heights(floor, ceiling, left_end, BIN_WIDTHS[0], counts[0], depth)
    spans = [0, len(rows), 0, len(floor), 0, len(ceiling), 0, counts[0], counts[0] + 1, counts[1], 0, 0]
    heights = [left_end, *_open_everywhere(floor, ceiling, depth)]
    return Ground(
        rows, floor, ceiling, np.concatenate(bins), np.concatenate(members), gaps,
        np.array([spans], np.int64), np.array([heights]),
    )  # fmt: skip


def _open_everywhere(floor: Floats, ceiling: Floats, depth: float) -> tuple[float, float]:
    """Heights between which a joint is nowhere deeper than ``depth`` in the solid; none if a line slopes at its ends.

    Beyond its ends a line goes on as it did.
    """
    if any(line[0, 1] != line[1, 1] or line[-2, 1] != line[-1, 1] for line in (floor, ceiling)):
        return math.inf, -math.inf
    return floor[:, 1].max() - depth + _SLACK, ceiling[:, 1].min() + depth - _SLACK


def join(grounds: Sequence[Ground]) -> Ground:
    """Puts terrains end to end: terrain i of the result is ``grounds[i]``, each of which is a single one."""
    if len(grounds) == 1:
        return grounds[0]
    spans = np.concatenate([ground.spans for ground in grounds])
    sizes = {name: [0, *np.cumsum([len(getattr(ground, name)) for ground in grounds])] for name in Ground._fields[:6]}
    shifted = dict(segments=(FIRST, LAST), floor=(FLOOR, FLOOR_END), ceiling=(CEILING, CEILING_END),
                   bins=(NARROW, WIDE), open=(OPEN,))  # fmt: skip
    for name, columns in shifted.items():
        spans[:, columns] += np.array(sizes[name][:-1])[:, None]
    plain = ("segments", "floor", "ceiling", "open")
    whole = {name: np.concatenate([getattr(ground, name) for ground in grounds]) for name in plain}
    bins = [ground.bins + first for ground, first in zip(grounds, sizes["members"], strict=False)]
    members = [ground.members + first for ground, first in zip(grounds, sizes["segments"], strict=False)]
    heights = np.concatenate([ground.heights for ground in grounds])
    return Ground(bins=np.concatenate(bins), members=np.concatenate(members), spans=spans, heights=heights, **whole)


@compiled
def tree_order(segments: Floats, radius: float) -> Ints:
    """Numbers of the segments in the order in which Chipmunk's tree of static shapes is visited.

    The tree (cpBBTree) takes the segments one by one: each goes down, at every node to the child whose box then grows less,
    and shares a new node with the leaf at which it arrives.

    Args:
        segments: Shape (segments, at least 4), in the order in which they are added; ends (ax, ay), (bx, by).
        radius: Half their thickness.
    """
    count = segments.shape[0]
    box = np.empty((2 * count, 4))  # left, bottom, right, top
    child = np.full((2 * count, 2), -1, np.int64)
    leaf = np.full(2 * count, -1, np.int64)
    path = np.empty(2 * count, np.int64)
    root, used = 0, 0
    for segment in range(count):
        ax, ay, bx, by = segments[segment, 0], segments[segment, 1], segments[segment, 2], segments[segment, 3]
        new, used = used, used + 1
        leaf[new] = segment
        box[new, 0], box[new, 1] = min(ax, bx) - radius, min(ay, by) - radius
        box[new, 2], box[new, 3] = max(ax, bx) + radius, max(ay, by) + radius
        if segment == 0:
            continue
        node, depth, side = root, 0, 0
        while leaf[node] < 0:
            a, b = child[node, 0], child[node, 1]
            cost_a = _area(box[b]) + _merged_area(box[a], box[new])
            cost_b = _area(box[a]) + _merged_area(box[b], box[new])
            if cost_a == cost_b:
                cost_a, cost_b = _proximity(box[a], box[new]), _proximity(box[b], box[new])
            path[depth] = node
            depth += 1
            side = 1 if cost_b < cost_a else 0
            node = b if cost_b < cost_a else a
        parent, used = used, used + 1
        child[parent, 0], child[parent, 1] = new, node
        _merge(box[parent], box[node], box[new])
        if depth == 0:
            root = parent
        else:
            child[path[depth - 1], side] = parent
        for level in range(depth):
            _merge(box[path[level]], box[path[level]], box[new])
    order = np.empty(count, np.int64)
    found, waiting = 0, 1
    path[0] = root
    while waiting > 0:
        waiting -= 1
        node = path[waiting]
        if leaf[node] >= 0:
            order[found] = leaf[node]
            found += 1
        else:
            path[waiting], path[waiting + 1] = child[node, 1], child[node, 0]
            waiting += 2
    return order


@inner
def _area(box: Floats) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


@inner
def _merged_area(a: Floats, b: Floats) -> float:
    return (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))


@inner
def _proximity(a: Floats, b: Floats) -> float:
    return abs(a[0] + a[2] - b[0] - b[2]) + abs(a[1] + a[3] - b[1] - b[3])


@inner
def _merge(out: Floats, a: Floats, b: Floats) -> None:
    out[0], out[1], out[2], out[3] = min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


@compiled
def segment_rows(segments: Floats, radius: float) -> Floats:
    """The fields of ``Ground.segments`` from those of ``WorldArrays.segments``."""
    rows = np.zeros((segments.shape[0], SEGMENT_FIELDS))
    for number in range(len(rows)):
        row, segment = rows[number], segments[number]
        ax, ay, bx, by = segment[0], segment[1], segment[2], segment[3]
        row[AX], row[AY], row[DX], row[DY] = ax, ay, bx - ax, by - ay
        row[LENGTH_SQUARED] = row[DX] * row[DX] + row[DY] * row[DY]
        row[LEFT], row[BOTTOM] = min(ax, bx) - radius, min(ay, by) - radius
        row[RIGHT], row[TOP] = max(ax, bx) + radius, max(ay, by) + radius
        row[BEFORE_X], row[BEFORE_Y] = segment[4] - ax, segment[5] - ay
        row[AFTER_X], row[AFTER_Y] = segment[6] - bx, segment[7] - by
        row[FRICTION], row[ELASTICITY] = segment[8], segment[9]
    return rows


@compiled
def fill_bins(rows: Floats, left_end: float, width: float, count: int) -> tuple[Ints, Ints]:
    """Which segments a box as wide as a bin may meet that begins in the bin.

    Returns:
        Where each bin's members begin, shape (count + 1,), and the members, in the order of the rows.
    """
    starts = np.zeros(count + 1, np.int64)
    first, last = np.empty(rows.shape[0], np.int64), np.empty(rows.shape[0], np.int64)
    for segment in range(rows.shape[0]):
        # Bin k is met from the left if left <= left_end + (k + 2) width, from the right if right >= left_end + k width.
        first[segment] = max(0, math.ceil((rows[segment, LEFT] - _SLACK - left_end) / width) - 2)
        last[segment] = min(count - 1, math.floor((rows[segment, RIGHT] + _SLACK - left_end) / width))
        for place in range(first[segment], last[segment] + 1):
            starts[place + 1] += 1
    for place in range(count):
        starts[place + 1] += starts[place]
    members = np.empty(starts[count], np.int64)
    filled = starts.copy()
    for segment in range(rows.shape[0]):
        for place in range(first[segment], last[segment] + 1):
            members[filled[place]] = segment
            filled[place] += 1
    return starts, members


@compiled
def open_heights(floor: Floats, ceiling: Floats, left_end: float, width: float, count: int, depth: float) -> Floats:
    """Heights between which a joint that is in a bin is not deeper than ``depth`` in the solid, shape (count, 2)."""
    gaps = np.empty((count, 2))
    on_floor, on_ceiling = ZERO, ZERO
    for place in range(count):
        # ``joint_fault`` looks as far as ``depth`` to both sides.
        left = left_end + place * width - depth - _SLACK
        right = left_end + (place + 1) * width + depth + _SLACK
        low, on_floor = _greatest(floor, left, right, 1.0, on_floor)
        high, on_ceiling = _greatest(ceiling, left, right, -1.0, on_ceiling)
        gaps[place, 0], gaps[place, 1] = low - depth + _SLACK, -high + depth - _SLACK
    return gaps


@inner
def _greatest(line: Floats, left: float, right: float, sign: float, start: int) -> tuple[float, int]:
    """Greatest height, times a sign, of a polyline between two x; and the first point that is not left of them."""
    while start < line.shape[0] and line[start, 0] < left:
        start += 1
    greatest = max(sign * surface_height(line, left), sign * surface_height(line, right))
    point = start
    while point < line.shape[0] and line[point, 0] <= right:
        greatest = max(greatest, sign * line[point, 1])
        point += 1
    return greatest, start
