"""A lineage as one picture: a row a generation, from the seed program at the top to the champion at the bottom."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from elm_rl.report.ancestry import Generation
from elm_rl.runs.run_directory import write_bytes
from sodarace_gym.programs.program import compile_program
from sodarace_gym.rendering.film import Moments, walk_moments
from sodarace_gym.terrains.terrain import Terrain

Colour = tuple[int, int, int]

_INK: Colour = (38, 44, 54)
_SOFT: Colour = (112, 120, 132)
_LINE: Colour = (222, 226, 231)
_TRACK: Colour = (238, 241, 244)
_PAPER: Colour = (255, 255, 255)
_BETTER: Colour = (24, 128, 84)
_WORSE: Colour = (176, 66, 56)
_SEED: Colour = (140, 146, 156)

_FRAME = (216, 158)
_GAP = 6
_MARGIN = 28
_WORDS = 264  # width of the column of words
_BAR = 34  # height of the strip below the frames that tells the distance
_LEFT_OUT = 30  # height of the line that says what is not shown
_HEAD = 84
_FOOT = 36
_KEY = (
    "Bars: {}, on one scale; the mark on a bar: the best before it. Muscles: blue ones shorten, orange ones lengthen."
)


def draw_lineage(
    chosen: Sequence[Generation],
    lineage: Sequence[Generation],
    terrain: Terrain,
    duration: float,
    frames: int,
    path: Path,
) -> Path:
    """Draws generations of a lineage, one below the other: words, moments of the walk, and the distance as a bar.

    All bars have one scale. Walkers are simulated here; where that gives another distance than the run's objective (because
    it counts the least of several copies, or another version measured it), the picture speaks of fitness and tells both.

    Args:
        chosen: What to show, in order.
        lineage: All of it.
        terrain: What they were scored on.
        duration: Time to walk, s.
        frames: Moments a row, at least 2.
        path: Where to write the PNG.

    Returns:
        The path.

    Raises:
        ElmError: The disk is full or the folder cannot be written.
    """
    walks = [_walk(generation, terrain, duration, frames) for generation in chosen]
    reach = max([1.0, *(walk.distance for walk in walks if walk), *(generation.fitness for generation in chosen)])
    colours = _operator_colours(lineage)
    gaps = [later.number - earlier.number - 1 for earlier, later in pairwise(chosen)]
    row = _FRAME[1] + _BAR + 22
    width = 2 * _MARGIN + _WORDS + frames * (_FRAME[0] + _GAP) - _GAP
    height = _HEAD + len(chosen) * row + sum(_LEFT_OUT for gap in gaps if gap) + _FOOT
    measured = "fitness" if any(map(_differs, chosen, walks)) else "distance"
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write_head(draw, lineage, chosen, f"{terrain.name}, {measured}", width)
    top = _HEAD
    for number, (generation, walk) in enumerate(zip(chosen, walks, strict=True)):
        if number and gaps[number - 1]:
            _write_left_out(draw, lineage[chosen[number - 1].number + 1 : generation.number], measured, top, width)
            top += _LEFT_OUT
        elif number:
            draw.line((_MARGIN, top - 11, width - _MARGIN, top - 11), fill=_LINE)
        colour = colours[str(generation.record["operator"])]
        _write_words(sheet, draw, generation, walk, colour, top)
        _show_walk(sheet, draw, generation, walk, (reach, frames), colour, top)
        top += row
    draw.text((_MARGIN + _WORDS, height - 30), _cut(_KEY.format(measured), 13, width - _WORDS), _SOFT, _font(13))
    buffer = BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    write_bytes(path, buffer.getvalue())
    return path


def _walk(generation: Generation, terrain: Terrain, duration: float, frames: int) -> Moments | None:
    """Moments of a generation's walk; None where this version cannot build its program."""
    try:
        design = compile_program(str(generation.record["program"]))[0]
    except ValueError:
        return None
    return walk_moments(design, terrain, frames, duration, _FRAME)


def _operator_colours(lineage: Sequence[Generation]) -> Mapping[str, Colour]:
    """A colour an operator, in the order in which they come up; seeds are grey."""
    palette = mpl.colormaps["tab10"]
    names = dict.fromkeys(str(generation.record["operator"]) for generation in lineage if generation.number)
    made: dict[str, Colour] = {str(lineage[0].record["operator"]): _SEED}
    for number, name in enumerate(names):
        red, green, blue, _ = palette(number % palette.N, bytes=True)
        made[name] = int(red), int(green), int(blue)
    return made


def _write_head(
    draw: ImageDraw.ImageDraw, lineage: Sequence[Generation], chosen: Sequence[Generation], measured: str, width: int
) -> None:
    seed, elite = lineage[0], lineage[-1]
    title = f"{_shown(elite.record['archive'])}: from the seed to record {elite.record['id']}"
    draw.text((_MARGIN, 20), _cut(title, 24, width - 2 * _MARGIN, bold=True), _INK, _font(24, bold=True))
    made = Counter(str(generation.record["operator"]) for generation in lineage[1:])
    parts = [
        f"{measured} {seed.fitness:.1f} to {elite.fitness:.1f} in {_count(len(lineage) - 1, 'generation')}",
        *([", ".join(f"{count} by {_shown(name)}" for name, count in made.most_common())] if made else []),
        *([f"{len(lineage) - len(chosen)} left out"] if len(chosen) < len(lineage) else []),
    ]
    draw.text((_MARGIN, 52), _cut("  ·  ".join(parts), 15, width - 2 * _MARGIN), _SOFT, _font(15))


def _write_left_out(
    draw: ImageDraw.ImageDraw, left_out: Sequence[Generation], measured: str, top: int, width: int
) -> None:
    low, high = min(g.fitness for g in left_out), max(g.fitness for g in left_out)
    span = f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
    words = f"{_count(len(left_out), 'generation')} left out, {measured} {span}"
    middle = top + 2
    draw.line((_MARGIN, middle, width - _MARGIN, middle), fill=_LINE)
    half = _font(13).getlength(words) / 2 + 12
    draw.rectangle((width / 2 - half, middle - 10, width / 2 + half, middle + 10), fill=_PAPER)
    draw.text((width / 2, middle), words, _SOFT, _font(13), anchor="mm")


def _write_words(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    generation: Generation,
    walk: Moments | None,
    colour: Colour,
    top: int,
) -> None:
    record = generation.record
    name = "seed program" if generation.number == 0 else f"generation {generation.number}"
    draw.text((_MARGIN, top), name, _INK, _font(16, bold=True))
    big = f"{generation.fitness:.1f}"
    draw.text((_MARGIN, top + 60), big, _INK, _font(36, bold=True), anchor="ls")
    if generation.number:
        after = _MARGIN + _font(36, bold=True).getlength(big) + 10
        tone = _BETTER if generation.change > 0 else _WORSE
        draw.text((after, top + 60), f"{generation.change:+.1f}", tone, _font(17, bold=True), anchor="ls")
    y = top + 72
    operator = _cut(_shown(record["operator"]), 13, _WORDS - 46, bold=True)
    chip = _font(13, bold=True).getlength(operator) + 18
    _pill(sheet, (_MARGIN, y, _MARGIN + chip, y + 22), colour)
    draw.text((_MARGIN + chip / 2, y + 11), operator, _PAPER, _font(13, bold=True), anchor="mm")
    y += 30
    for line, tone in _details(generation, walk):
        draw.text((_MARGIN, y), line, tone, _font(13))
        y += 17


def _details(generation: Generation, walk: Moments | None) -> Iterator[tuple[str, Colour]]:
    """The small lines of a row."""
    record = generation.record
    message = textwrap.wrap(_shown(record.get("message") or ""), 34, max_lines=2, placeholder=" …")
    yield from ((line, _INK) for line in message)
    yield f"record {record['id']}, iteration {record['iteration']}", _SOFT
    yield f"niche {record['niche']}", _SOFT
    if generation.other_parents:
        others = ", ".join(map(str, generation.other_parents))
        yield _cut(f"crossed with {others}", 13, _WORDS - 24), _SOFT
    if walk is not None and _differs(generation, walk):
        yield (f"here: {walk.fault}" if walk.fault else f"this walk: {walk.distance:.1f}"), _WORSE


def _differs(generation: Generation, walk: Moments | None) -> bool:
    """Whether the walk drawn is not what the run's objective says."""
    return walk is not None and (walk.fault is not None or abs(walk.distance - generation.fitness) > 0.05)


def _show_walk(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    generation: Generation,
    walk: Moments | None,
    scale: tuple[float, int],
    colour: Colour,
    top: int,
) -> None:
    """The moments side by side and the distance below them; ``scale``: what the whole bar stands for, and the moments a row."""
    reach, frames = scale
    left = _MARGIN + _WORDS
    long = frames * (_FRAME[0] + _GAP) - _GAP
    if walk is None:
        draw.rounded_rectangle((left, top, left + long, top + _FRAME[1]), radius=8, fill=_TRACK)
        words = "this version cannot build its program"
        draw.text((left + long / 2, top + _FRAME[1] / 2), words, _SOFT, _font(15), anchor="mm")
    else:
        for column, picture in enumerate(walk.images):
            sheet.paste(Image.fromarray(picture), (left + column * (_FRAME[0] + _GAP), top))
    y = top + _FRAME[1] + 10
    room = long - 64  # the rest is for the number behind the longest bar
    end = left + room * generation.fitness / reach
    end = max(end, left + 12)
    _pill(sheet, (left, y, left + room, y + 12), _TRACK)
    _pill(sheet, (left, y, end, y + 12), colour)
    if generation.number:
        best = left + room * generation.before / reach
        draw.line((best, y - 3, best, y + 15), fill=_INK, width=2)
        end = max(end, best)
    draw.text((end + 10, y + 6), f"{generation.fitness:.1f}", _INK, _font(14, bold=True), anchor="lm")


def _pill(sheet: Image.Image, box: tuple[float, float, float, float], colour: Colour) -> None:
    """Fills a box with round ends. Reduced from a larger one, because Pillow does not smooth edges."""
    left, top, right, bottom = (round(edge) for edge in box)
    size = (right - left, bottom - top)
    mask = Image.new("L", (4 * size[0], 4 * size[1]), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * size[0] - 1, 4 * size[1] - 1), radius=2 * size[1], fill=255)
    sheet.paste(colour, (left, top), mask.resize(size, Image.Resampling.LANCZOS))


def _shown(words: object) -> str:
    """Words on one line, what cannot be printed left out."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(words)).split())


def _cut(words: str, size: int, width: float, bold: bool = False) -> str:
    """Words that are no wider than so many pixels."""
    font = _font(size, bold)
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(words + " …") > width:
        words = words[:-1]
    return words.rstrip() + " …"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, which is on every machine that draws reports."""
    weight = "bold" if bold else "normal"
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight=weight)), size)
