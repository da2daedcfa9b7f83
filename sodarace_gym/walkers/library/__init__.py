"""A small library of walkers: one program a module, read as text and never imported.

Four are the seeds that evolution starts from, barely functional on purpose (facts: Lehman et al. 2022, "Evolution through
Large Models", section on seeds):

- ``square``: four corners of a 10 x 10 square and a centre; sides and one spoke plain, three spokes active. The
  amplitudes asked for exceed the cap of 0.3 x rest length on purpose: the environment clamps them.
- ``radial``: eight joints on a circle of radius 5 around a hub; rim plain, spokes active with amplitude and phase
  growing with the index.
- ``cppn_fixed``: an 8 x 3 grid with spacing 1.5 whose muscles, amplitudes and phases are functions of the joints'
  grid positions: 24 joints, 75 muscles. The grid routine ``query_cppn`` is given by the environment, so it cannot evolve.
- ``cppn_mutable``: the same walker, with the grid routine written out in the program, so that it can.

Four walk well, all towards +x:

- ``wheel``: eight rim joints of radius 1.5 around a hub far up and to the side, with spokes of growing phase, after the
  paper's wheel: 9 joints, 24 muscles. It rolls.
- ``runner``: a grid of 8 x 5 joints with spacing 2 whose active muscles join columns four or more apart while plain ones
  join neighbours, after the paper's runner: 40 joints, 373 muscles. It gallops.
- ``biped``: a stiff trunk on two legs of three muscles each: 6 joints, 12 muscles. It steps.
- ``worm``: seven segments whose lower and upper edge shorten in waves: 14 joints, 31 muscles. It crawls.

Phases are in radians.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

WALKER_NAMES: tuple[str, ...] = (
    "square",
    "radial",
    "cppn_fixed",
    "cppn_mutable",
    "wheel",
    "runner",
    "biped",
    "worm",
)
"""Every name that ``load_walker`` knows."""


@cache
def load_walker(name: str) -> str:
    """Reads the program of a walker.

    Args:
        name: One of :data:`WALKER_NAMES`.

    Returns:
        The program text.

    Raises:
        ValueError: There is no walker of that name.
    """
    if name not in WALKER_NAMES:
        raise ValueError(f"There is no walker {name!r}; expected one of {', '.join(WALKER_NAMES)}.")
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
