"""``elm-rl lineage``: how an elite came about, in words, diffs and one picture, from a run that may still be going on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

from tyro.conf import Positional, arg

from elm_rl.errors import ConfigError, ElmError
from elm_rl.report.ancestry import Generation, most_telling, parse_choice, read_lineage, run_settings
from elm_rl.report.lineage_strip import draw_lineage
from elm_rl.runs.path_settings import take_paths
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.terrains.texts import terrain_from_text


@dataclass(frozen=True, kw_only=True)
class LineageConfig:
    """Settings of ``elm-rl lineage``."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of an evolution run; it may still be going on."""
    elite: Annotated[Positional[tuple[str, ...]], arg(metavar="{ID | best | niche N}")] = ("best",)
    """Which elite: the number of a record (its id in admitted.jsonl), 'best', or 'niche' and the number of a niche."""
    archive: str | None = None
    """Look for the best, or for the niche, in this archive alone."""
    rows: int = 8
    """Generations in the picture: the seed, the elite, and those that raised the distance most."""
    frames: int = 5
    """Moments of each walk in the picture."""
    diff_lines: int = 16
    """Lines of each diff to print; 0 for no diffs."""
    out: Path | None = None
    """Where to write the picture; lineage_ID.png in the folder of the run when left out."""

    def __post_init__(self) -> None:
        take_paths(self)
        parse_choice(self.elite, self.archive)
        for name, low, high in (("rows", 2, 100), ("frames", 2, 24), ("diff_lines", 0, 1_000_000)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} to {high}.")
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise ConfigError(f"out is '{self.out}'; expected the name of a picture that ends in .png.")


def run_lineage(config: LineageConfig) -> Path:
    """Prints the ancestry of an elite and draws it.

    Returns:
        The path of the picture.

    Raises:
        ElmError: The folder holds no evolution run, the run no such elite, this version not its terrain, or the disk is full.
    """
    settings = run_settings(config.run)
    lineage = read_lineage(config.run, parse_choice(config.elite, config.archive))
    elite = lineage[-1].record
    terrain, duration = _ground(elite, settings)
    path = config.out or config.run / f"lineage_{elite['id']}.png"
    draw_lineage(most_telling(lineage, config.rows), lineage, terrain, duration, config.frames, path)
    # Last: who reads but the first lines of it gets the picture too.
    for line in describe(lineage, terrain.name, config.diff_lines, colours=_takes_colours(sys.stdout)):
        print(line)
    return path


def _ground(elite: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Terrain, float]:
    """What the elite was scored on, and for how long it walked, s."""
    # Older runs name their only terrain in the settings alone.
    name, duration = elite.get("terrain", settings.get("terrain")), settings.get("duration")
    if not isinstance(duration, int | float) or not duration > 0:
        raise ElmError(f"The run's config.json has duration = {duration!r}; expected seconds: restore it from a copy.")
    try:
        return terrain_from_text(str(name)), float(duration)
    except ValueError as error:
        raise ElmError(f"The terrain of record {elite['id']} cannot be made: {error}") from None


def describe(lineage: Sequence[Generation], terrain: str, diff_lines: int, colours: bool = False) -> Iterator[str]:
    """A lineage in words, from the seed on.

    What programs and messages hold that a terminal would obey (a model may write anything) is spelled out.

    Args:
        lineage: The generations.
        terrain: What they were scored on.
        diff_lines: Lines of each diff at most.
        colours: Whether to colour for a terminal.

    Yields:
        Lines.
    """
    paint = _Paint(colours)
    last = lineage[-1]
    steps = f"{len(lineage) - 1} generation{'s' * (len(lineage) != 2)}"
    yield paint.bold(
        f"Record {last.record['id']} of archive {_safe(last.record['archive'])}: {steps} after its seed, on {terrain}, fitness "
        f"{lineage[0].fitness:.2f} to {last.fitness:.2f}"
    )
    for generation in lineage:
        record = generation.record
        yield ""
        yield paint.bold(f"generation {generation.number}: record {record['id']}, fitness {generation.fitness:.2f}") + (
            f" ({_signed(paint, generation.change)})" if generation.number else ""
        )
        details = [f"iteration {record['iteration']}", f"niche {record['niche']}", f"by {_safe(record['operator'])}"]
        if generation.other_parents:
            details.append(f"crossed with {', '.join(map(str, generation.other_parents))}")
        yield f"  {', '.join(details)}"
        if record.get("message"):
            yield f"  {_safe(record['message'])}"
        diff = generation.diff()
        yield from (f"  {paint.diff(_safe(line))}" for line in diff[:diff_lines])
        if len(diff) > diff_lines:
            yield paint.faint(f"  ({len(diff) - diff_lines} more lines of the diff)")
        if generation.number and not diff:
            yield paint.faint("  (the same lines)")


def _signed(paint: _Paint, change: float) -> str:
    return paint.better(f"{change:+.2f}") if change > 0 else paint.worse(f"{change:+.2f}")


def _safe(words: object) -> str:
    """Text in which control characters and what else is not printable are spelled out, so that no terminal obeys them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(words))


def _takes_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user has not switched colours off (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Paint:
    """Colours for a terminal, or none."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def _as(self, code: str, words: str) -> str:
        return f"\x1b[{code}m{words}\x1b[0m" if self._colours else words

    def bold(self, words: str) -> str:
        return self._as("1", words)

    def faint(self, words: str) -> str:
        return self._as("2", words)

    def better(self, words: str) -> str:
        return self._as("32", words)

    def worse(self, words: str) -> str:
        return self._as("31", words)

    def diff(self, line: str) -> str:
        """A line of a unified diff."""
        code = {"+": "32", "-": "31", "@": "36"}.get(line[:1])
        return self._as(code, line) if code else line
