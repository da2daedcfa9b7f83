"""A comment that says what a program's walker is like: ahead of the program it is an order, behind it a prediction.

Lehman et al. 2022, appendix H, gave their language model such comments with height, width, mass and fitness.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from elm_rl.errors import ConfigError

_LINE = re.compile(r"^# height (\d+), width (\d+), mass (\d+), distance (\d+)$", re.MULTILINE)
_TENS = 10


@dataclass(frozen=True)
class Description:
    """What a walker is like, as far as a comment says it.

    Attributes:
        height: Height at the start, whole walker units.
        width: Width at the start, whole walker units.
        mass: Mass, in tens.
        distance: How far it walks, in tens of walker units.
    """

    height: int
    width: int
    mass: int
    distance: int

    @classmethod
    def of(cls, height: float, width: float, mass: float, distance: float) -> Description:
        """Rounds the figures of a walker; what walks backwards walks 0."""
        return cls(round(height), round(width), _tens(mass), max(0, _tens(distance)))

    @classmethod
    def ordered(cls, text: str) -> Description:
        """Reads an order such as ``height=12,width=8,mass=40,distance=100``.

        Raises:
            ConfigError: It is not one.
        """
        pairs = [part.partition("=") for part in text.split(",")]
        names = [name.strip() for name, _, _ in pairs]
        if sorted(names) != ["distance", "height", "mass", "width"]:
            raise ConfigError(f"order is {text!r}; expected height=H,width=W,mass=M,distance=D, each once.")
        try:
            values = {name: float(value) for name, (_, _, value) in zip(names, pairs, strict=True)}
            return cls.of(**values)
        except (ValueError, OverflowError):
            raise ConfigError(f"order is {text!r}; expected a number behind each name.") from None

    @classmethod
    def read(cls, program: str) -> Description | None:
        """The last description in a text; None where there is none."""
        found = _LINE.findall(program)
        return cls(*map(int, found[-1])) if found else None

    @property
    def line(self) -> str:
        """The comment, with its end of line."""
        return f"# height {self.height}, width {self.width}, mass {self.mass}, distance {self.distance}\n"


def undescribed(program: str) -> str:
    """A program without such comments."""
    return "".join(line for line in program.splitlines(keepends=True) if not _LINE.match(line.rstrip("\n")))


def _tens(value: float) -> int:
    return _TENS * round(value / _TENS)
