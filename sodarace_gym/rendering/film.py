"""Pictures of walkers and terrains, drawn in memory without a display: single frames, whole walks and film strips.

Images are arrays of shape (height, width, 3), uint8, RGB; *scenes* are the same as pygame's surfaces.

What the colours say: an active muscle is blue while its drive shortens it and orange while its drive lengthens it, and it
bulges when short; a plain muscle is grey and reddens as the body strains it; solid ground, walls and ceilings are hatched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.arguments import checked_whole, shown
from sodarace_gym.physics.rollout import DRIVE_RATE, DURATION, FRAME_RATE, JOINT_RADIUS, roll_out, world_arrays
from sodarace_gym.rendering import camera
from sodarace_gym.rendering.canvas import PAPER, SKY_LOW, Canvas, Colour, Image, View, mix, pygame, to_image
from sodarace_gym.terrains.terrain import Polyline, Terrain
from sodarace_gym.walkers.walker import WalkerDesign

FRAME_SIZE = (640, 360)
"""Width and height of a frame, pixels; even, as video codecs want them."""

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


def _surface(view: View, line: Polyline, inwards: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
    shown, solid = _surface(view, line, inwards)
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


def _draw_terrain(canvas: Canvas, terrain: Terrain) -> None:
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


def _draw_start(canvas: Canvas, terrain: Terrain, x: float) -> None:
    """Draws a dashed line where the walk began."""
    view = canvas.view
    ground = float(np.interp(x, *terrain.floor.T))
    top = view.top if terrain.ceiling is None else min(view.top, float(np.interp(x, *terrain.ceiling.T)))
    dashes = np.arange(ground, top - 7.0 / view.scale, 14.0 / view.scale)
    starts = np.stack([np.full_like(dashes, x), dashes], axis=1)
    canvas.strokes([START] * len(dashes), starts, starts + np.array([0.0, 7.0 / view.scale]), np.full(len(dashes), 1.4))


def _gait(design: WalkerDesign, time: float) -> NDArray[np.float64]:
    """How far each muscle is driven ``time`` s after the start, shape (muscles,): -1 shortest, 1 longest; plain ones 0."""
    swings = [(math.copysign(1.0, m.amplitude) * (not m.distance_only), m.phase) for m in design.muscles]
    return np.array([sign * math.sin(DRIVE_RATE * time + phase) for sign, phase in swings])


def _draw_walker(
    canvas: Canvas, design: WalkerDesign, positions: NDArray[np.float64], drives: NDArray[np.float64], fade: float = 0.0
) -> None:
    """Draws a walker: ``positions`` of shape (joints, 2), ``drives`` as ``_gait`` gives them, ``fade`` in [0, 1]."""
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


def _draw_captions(canvas: Canvas, *lines: tuple[str, int]) -> None:
    """Writes captions, and where there is room, what the colours of muscles mean."""
    canvas.caption(*lines)
    if canvas.view.size[0] >= 480:
        canvas.legend(("shortens", SHORTENING), ("lengthens", LENGTHENING), ("plain", PLAIN))


def _usable(design: WalkerDesign, terrain: Terrain, trajectory: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The frames up to a fault; where there are none, the walker as it was put down."""
    if trajectory is not None:
        # Frames after a fault are zero, those just before it may be anywhere.
        largest = np.abs(trajectory).max(axis=(1, 2))
        bad = np.flatnonzero(~((largest > 0.0) & (largest < 1e4)))  # a comparison with NaN is False too
        count = int(bad[0]) if len(bad) else len(trajectory)
        if count:
            return trajectory[:count]
    return world_arrays(design, terrain, DURATION).joints[None]


def walk_scenes(
    design: WalkerDesign,
    terrain: Terrain,
    trajectory: NDArray[np.float64] | None,
    size: tuple[int, int],
    last_only: bool = False,
) -> Iterator[pygame.Surface]:
    """The frames of :func:`frames`, or the last one alone."""
    usable = _usable(design, terrain, trajectory)
    start = float(usable[0, :, 0].mean())
    cameras = camera.follow(terrain, usable, size)
    for index in range(len(usable) - 1 if last_only else 0, len(usable)):
        positions = usable[index]
        canvas = Canvas(cameras[index])
        _draw_terrain(canvas, terrain)
        _draw_start(canvas, terrain, start)
        _draw_walker(canvas, design, positions, _gait(design, index / FRAME_RATE))
        distance = abs(positions[:, 0].mean() - start)
        _draw_captions(canvas, (f"{terrain.name}, {index / FRAME_RATE:.1f} s", 20), (f"distance {distance:.1f}", 26))
        yield canvas.finish()


def frames(
    design: WalkerDesign,
    terrain: Terrain,
    trajectory: NDArray[np.float64] | None,
    size: tuple[int, int] = FRAME_SIZE,
) -> Iterator[Image]:
    """Draws a walk, one frame for each of the trajectory's, ``physics.FRAME_RATE`` a second.

    Args:
        design: The walker.
        terrain: The terrain it walked on.
        trajectory: What ``physics.roll_out(..., record=True)`` recorded, shape (frames, joints, 2). Frames from a fault on
            are left out; without any (or with None) there is one frame, of the walker as it was put down.
        size: Width and height of a frame, pixels, at least ``camera.SMALLEST_SIDE``.

    Yields:
        Images of shape (height, width, 3), uint8.

    Raises:
        ValueError: The size is too small.
    """
    for picture in walk_scenes(design, terrain, trajectory, size):
        yield to_image(picture)


def pose_image(
    design: WalkerDesign,
    terrain: Terrain,
    positions: NDArray[np.float64],
    drives: NDArray[np.float64],
    start: NDArray[np.float64],
    time: float,
    size: tuple[int, int] = FRAME_SIZE,
) -> Image:
    """Draws one moment of a walk that is still going on.

    Args:
        design: The walker.
        terrain: The terrain.
        positions: Its joints now, shape (joints, 2).
        drives: How far each muscle is driven, shape (muscles,): -1 shortest, 1 longest, 0 for plain ones.
        start: Its joints when the walk began, shape (joints, 2).
        time: Time since then, s.
        size: Width and height of the image, pixels.

    Returns:
        An image of shape (height, width, 3), uint8.
    """
    return to_image(pose_scene(size, design, terrain, positions, drives, start, time))


def pose_scene(
    size: tuple[int, int],
    design: WalkerDesign,
    terrain: Terrain,
    positions: NDArray[np.float64],
    drives: NDArray[np.float64],
    start: NDArray[np.float64],
    time: float,
) -> pygame.Surface:
    """The picture of :func:`pose_image`."""
    if not np.abs(positions).max() < 1e4:  # after a fault there may be nothing to see
        positions = start
    centre, origin = float(positions[:, 0].mean()), float(start[:, 0].mean())
    canvas = Canvas(camera.live(terrain, design, centre, size))
    _draw_terrain(canvas, terrain)
    _draw_start(canvas, terrain, origin)
    _draw_walker(canvas, design, positions, drives)
    canvas.caption((f"{terrain.name}, {time:.1f} s", 20), (f"displacement {centre - origin:+.1f}", 26))
    return canvas.finish()


def last_frame(
    design: WalkerDesign,
    terrain: Terrain,
    trajectory: NDArray[np.float64] | None,
    size: tuple[int, int] = FRAME_SIZE,
) -> Image:
    """Draws the end of a walk: the last of :func:`frames`, without the others."""
    return to_image(next(walk_scenes(design, terrain, trajectory, size, last_only=True)))


def terrain_image(terrain: Terrain, size: tuple[int, int] = FRAME_SIZE, span: float = 64.0) -> Image:
    """Draws a terrain around the start.

    Args:
        terrain: The terrain.
        size: Width and height of the image, pixels, at least ``camera.SMALLEST_SIDE``.
        span: Width of what is shown, walker units; more is shown where the picture is very wide.

    Returns:
        An image of shape (height, width, 3), uint8.
    """
    return to_image(terrain_scene(terrain, size, span))


def terrain_sheet(terrains: Sequence[Terrain], columns: int = 3, size: tuple[int, int] = (400, 150)) -> Image:
    """Draws terrains side by side in one image, row by row.

    Args:
        terrains: The terrains, at least one.
        columns: How many stand in a row.
        size: Width and height of each picture, pixels.

    Returns:
        An image of shape (height, width, 3), uint8.

    Raises:
        ValueError: There are no terrains, or ``columns`` is less than 1.
    """
    if not terrains or columns < 1:
        raise ValueError(f"expected at least one terrain and one column, got {len(terrains)} and {columns}.")
    gap = 4
    rows = math.ceil(len(terrains) / columns)
    sheet = pygame.Surface((columns * (size[0] + gap) - gap, rows * (size[1] + gap) - gap), depth=24)
    sheet.fill(PAPER)
    for index, terrain in enumerate(terrains):
        row, column = divmod(index, columns)
        sheet.blit(terrain_scene(terrain, size, 112.0), (column * (size[0] + gap), row * (size[1] + gap)))
    return to_image(sheet)


def terrain_scene(terrain: Terrain, size: tuple[int, int], span: float = 64.0) -> pygame.Surface:
    """The picture of :func:`terrain_image`."""
    canvas = Canvas(camera.overview(terrain, size, span), smoothing=3)
    _draw_terrain(canvas, terrain)
    _draw_start(canvas, terrain, 0.0)
    canvas.caption((terrain.name, 24))
    return canvas.finish()


def terrain_observation(terrain: Terrain, size: tuple[int, int]) -> Image:
    """Draws a terrain for a vision model: what is solid in one dark colour, the open in a light one, no text and no walker.

    The image shows |x| <= 48, like the profile, with the start in the middle of its width. A pixel is ``96 / width`` units wide
    and high, y = 0 lies one third of the height above the lower edge, so a pixel means the same place in every terrain.

    Args:
        terrain: The terrain.
        size: Width and height of the image, pixels.

    Returns:
        An image of shape (height, width, 3), uint8.
    """
    canvas = Canvas(camera.of_observation(size), smoothing=3)
    for line, inwards in ((terrain.floor, 1.0), (terrain.ceiling, -1.0)):
        if line is not None:
            canvas.polygon(SURFACE, _surface(canvas.view, line, inwards)[1])
    return to_image(canvas.finish())


def film_strip(design: WalkerDesign, terrain: Terrain, n: int = 6, duration: float = DURATION) -> Image:
    """Draws a walk in one image: moments of it side by side, and below them the whole way with the walker at these moments.

    Args:
        design: The walker; it is simulated here.
        terrain: The terrain.
        n: Number of moments, evenly spread from the first to the last.
        duration: Time to walk, s.

    Returns:
        An image of shape (height, width, 3), uint8, where the width grows with ``n``.

    Raises:
        ValueError: ``n`` is less than 2, ``duration`` is not positive, or ``terrain`` is no terrain.
    """
    n = checked_whole("n", n, "at least 2 moments", least=2)
    if not isinstance(terrain, Terrain):
        raise ValueError(f"terrain: expected a Terrain, such as make_terrain('Flat'), got {shown(terrain)}.")
    rollout = roll_out(design, terrain, duration, record=True)
    usable = _usable(design, terrain, rollout.trajectory)
    moments = np.linspace(0, len(usable) - 1, n).round().astype(int).tolist()
    start = float(usable[0, :, 0].mean())
    panel, gap, track = (236, 200), 4, 170
    sheet = pygame.Surface((n * panel[0] + (n - 1) * gap, panel[1] + gap + track), depth=24)
    sheet.fill(PAPER)

    cameras = camera.follow(terrain, usable, panel)
    for column, index in enumerate(moments):
        canvas = Canvas(cameras[index], smoothing=3)
        _draw_terrain(canvas, terrain)
        _draw_start(canvas, terrain, start)
        _draw_walker(canvas, design, usable[index], _gait(design, index / FRAME_RATE))
        canvas.caption((f"{index / FRAME_RATE:.1f} s, {usable[index, :, 0].mean() - start:+.1f}", 20))
        sheet.blit(canvas.finish(), (column * (panel[0] + gap), 0))

    poses = usable[moments]
    low, high = poses.min(axis=(0, 1)), poses.max(axis=(0, 1))
    base = min(0.0, float(low[1]))
    scale = min(sheet.get_width() / (high[0] - low[0] + 12.0), (track - 34) / (high[1] - base + 3.0))
    left = 0.5 * (low[0] + high[0]) - 0.5 * sheet.get_width() / scale
    canvas = Canvas(View(left, base - 34.0 / scale, scale, (sheet.get_width(), track)), smoothing=3)
    _draw_terrain(canvas, terrain)
    _draw_start(canvas, terrain, start)
    for column, index in enumerate(moments):
        drives = _gait(design, index / FRAME_RATE)
        _draw_walker(canvas, design, usable[index], drives, fade=0.75 * (1.0 - column / (n - 1)))
    outcome = f"distance {abs(rollout.displacement):.1f}" if rollout.fault is None else rollout.fault
    _draw_captions(canvas, (f"{terrain.name}, {duration:g} s, {outcome}", 20))
    sheet.blit(canvas.finish(), (0, panel[1] + gap))
    return to_image(sheet)
