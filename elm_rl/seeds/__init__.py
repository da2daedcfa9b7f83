"""The hand-written starting programs: one module each, read as text and never imported.

Each is a barely functional walker (facts: Lehman et al. 2022, "Evolution through Large Models", section on seeds):

- ``square``: four corners of a 10 x 10 square and a centre; sides and one spoke plain, three spokes active. The
  amplitudes asked for exceed the cap of 0.3 x rest length on purpose: the environment clamps them.
- ``radial``: eight joints on a circle of radius 5 around a hub; rim plain, spokes active with amplitude and phase
  growing with the index.
- ``cppn_fixed``: an 8 x 3 grid with spacing 1.5 whose muscles, amplitudes and phases are functions of the joints'
  grid positions. The grid routine ``query_cppn`` is given by the environment, so it cannot evolve.
- ``cppn_mutable``: the same walker, with the grid routine written out in the program, so that it can.

Phases are in radians.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from elm_rl.mutation.program_tree import normalise_program

SEED_NAMES: tuple[str, ...] = ("square", "radial", "cppn_fixed", "cppn_mutable")


@cache
def load_seed(name: str) -> str:
    """Reads one seed program, in the layout every mutated program has (no blank lines, ends with a newline).

    Args:
        name: One of :data:`SEED_NAMES`.

    Returns:
        The program text.

    Raises:
        ValueError: There is no seed of that name.
    """
    if name not in SEED_NAMES:
        raise ValueError(f"There is no seed program {name!r}; expected one of {', '.join(SEED_NAMES)}.")
    return normalise_program(resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8"))
