"""Terrains and walkers as shapes on a canvas.

What the colours say: an active muscle is blue while its drive shortens it and orange while its drive lengthens it, and it
bulges when short; a plain muscle is grey and reddens as the body strains it; solid ground, walls and ceilings are hatched.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.physics.constants import DRIVE_RATE, JOINT_RADIUS
from sodarace_gym.rendering.canvas import SKY_LOW, Canvas, Colour, View, mix
from sodarace_gym.terrains.terrain import Polyline, Terrain
from sodarace_gym.walkers.walker import WalkerDesign

SOLID: Colour = (221, 212, 198)
SURFACE: Colour = (112, 98, 84)
HATCH: Colour = (186, 172, 153)
JOINT: Colour = (38, 56, 74)
JOINT_CORE: Colour = (236, 240, 243)
PLAIN: Colour = (150, 160, 170)
STRAINED: Colour = (170, 60, 70)
NEUTRAL: Colour = (196, 184, 192)
SHORTENING: Colour = (33, 102, 172)
LENGTHENING: Colour = (230, 97, 1)
START: Colour = (120, 140, 120)


def visible_surface(view: View, line: Polyline, inwards: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a view shows of a polyline, and the polygon that is solid below (``inwards`` = 1) or above (-1) it."""
    inside = (line[:, 0] > view.left) & (line[:, 0] < view.right)
    # Heights just within the view: where its edge meets a vertical face, the other side of the face must not show.
    within = np.array([np.nextafter(view.left, np.inf), np.nextafter(view.right, -np.inf)])
    edges = np.stack([[view.left, view.right], np.interp(within, *line.T)], axis=1)
    shown = np.vstack([edges[:1], line[inside], edges[1:]])
    depth = min(view.bottom, shown[:, 1].min()) - 1.0 if inwards > 0.0 else max(view.top, shown[:, 1].max()) + 1.0
    return shown, np.vstack([shown, [[view.right, depth], [view.left, depth]]])


def _draw_solid(canvas: Canvas, line: Polyline, inwards: float) -> None:
    """Fills what is below (``inwards`` = 1) or above (-1) a polyline, and hatches its edge."""
    view = canvas.view
    shown, solid = visible_surface(view, line, inwards)
    canvas.polygon(SOLID, solid)

    # Strokes at fixed places of the line, so that they stand still in the world while the camera moves.
    along = np.diff(line, axis=0)
    lengths = np.linalg.norm(along, axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(lengths)])
    places = np.arange(0.0, travelled[-1], _round_step(9.0 / view.scale))
    starts = np.stack([np.interp(places, travelled, line[:, axis]) for axis in (0, 1)], axis=1)
    seen = (starts[:, 0] >= view.left - 1.0) & (starts[:, 0] <= view.right + 1.0)
    piece = np.clip(np.searchsorted(travelled, places[seen], side="right") - 1, 0, len(along) - 1)
    tangent = along[piece] / np.maximum(lengths[piece], 1e-9)[:, None]
    normal = inwards * np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    starts = starts[seen]
    ends = starts + (normal - 0.8 * tangent) * (9.0 / view.scale)
    buried = inwards * (np.interp(ends[:, 0], *line.T) - ends[:, 1]) > 0.0  # at sharp corners some would stick out
    canvas.strokes([HATCH] * int(buried.sum()), starts[buried], ends[buried], np.full(int(buried.sum()), 1.4))
    canvas.polyline(SURFACE, shown, 2.6)


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is at least ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step for factor in (1.0, 2.0, 5.0, 10.0) if (step := factor * power) >= least * 0.999)


def draw_terrain(canvas: Canvas, terrain: Terrain) -> None:
    """Draws ground and ceiling, and a scale of distances from x = 0 in the ground."""
    view = canvas.view
    _draw_solid(canvas, terrain.floor, 1.0)
    if terrain.ceiling is not None:
        _draw_solid(canvas, terrain.ceiling, -1.0)
    step = _round_step(64.0 / view.scale)
    marks = np.arange(math.ceil(view.left / step), math.floor(view.right / step) + 1) * step
    if not len(marks):
        return
    ground = np.stack([marks, np.interp(marks, *terrain.floor.T)], axis=1)
    canvas.strokes([SURFACE] * len(marks), ground, ground - np.array([0.0, 8.0 / view.scale]), np.full(len(marks), 2.0))
    for mark, (x, y) in zip(marks, view.pixels(ground), strict=True):
        canvas.text(f"{mark:g}", (x, y + 13), 17, SURFACE, align=0.5)


def draw_start(canvas: Canvas, terrain: Terrain, x: float) -> None:
    """Draws a dashed line where the walk began."""
    view = canvas.view
    ground = float(np.interp(x, *terrain.floor.T))
    top = view.top if terrain.ceiling is None else min(view.top, float(np.interp(x, *terrain.ceiling.T)))
    dashes = np.arange(ground, top - 7.0 / view.scale, 14.0 / view.scale)
    starts = np.stack([np.full_like(dashes, x), dashes], axis=1)
    canvas.strokes([START] * len(dashes), starts, starts + np.array([0.0, 7.0 / view.scale]), np.full(len(dashes), 1.4))


def gait(design: WalkerDesign, time: float) -> NDArray[np.float64]:
    """How far each muscle is driven ``time`` s after the start, shape (muscles,): -1 shortest, 1 longest; plain ones 0."""
    swings = [(math.copysign(1.0, m.amplitude) * (not m.distance_only), m.phase) for m in design.muscles]
    return np.array([sign * math.sin(DRIVE_RATE * time + phase) for sign, phase in swings])


def draw_walker(
    canvas: Canvas, design: WalkerDesign, positions: NDArray[np.float64], drives: NDArray[np.float64], fade: float = 0.0
) -> None:
    """Draws a walker: ``positions`` of shape (joints, 2), ``drives`` as ``gait`` gives them, ``fade`` in [0, 1]."""
    ends = np.array([(m.a, m.b) for m in design.muscles])
    starts, stops = positions[ends[:, 0]], positions[ends[:, 1]]
    strain = np.linalg.norm(stops - starts, axis=1) / np.array(design.rest_lengths) - 1.0
    thickness = canvas.view.scale * 0.34 / (1.0 + len(design.muscles) / 70.0)
    plain, colours, widths = [], [], []
    for muscle, stretch, drive in zip(design.muscles, strain.tolist(), drives.tolist(), strict=True):
        plain.append(muscle.distance_only)
        if muscle.distance_only:
            colour, width = mix(PLAIN, STRAINED, min(1.0, 5.0 * abs(stretch))), 0.55
        else:
            colour = mix(NEUTRAL, LENGTHENING if drive > 0.0 else SHORTENING, abs(drive))
            width = 1.0 - 0.35 * drive
        colours.append(mix(colour, SKY_LOW, fade))
        widths.append(max(1.2, thickness * width))
    order = np.argsort(~np.array(plain), kind="stable")  # plain ones first: active ones are drawn over them
    canvas.strokes([colours[i] for i in order], starts[order], stops[order], np.array(widths)[order])
    radius = max(2.0, JOINT_RADIUS * canvas.view.scale)
    canvas.discs(mix(JOINT, SKY_LOW, fade), positions, radius)
    canvas.discs(mix(JOINT_CORE, SKY_LOW, fade), positions, 0.45 * radius)


def draw_captions(canvas: Canvas, *lines: tuple[str, int]) -> None:
    """Writes captions, and where there is room, what the colours of muscles mean."""
    canvas.caption(*lines)
    if canvas.view.size[0] >= 480:
        canvas.legend(("shortens", SHORTENING), ("lengthens", LENGTHENING), ("plain", PLAIN))
