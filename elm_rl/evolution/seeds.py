"""The four hand-written starting programs of the paper, in the layout that mutation works on.

``sodarace_gym.walkers`` holds them and describes them.
"""

from __future__ import annotations

from functools import cache

from elm_rl.mutation.gp.program_tree import normalise_program
from sodarace_gym.walkers.library import load_walker

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
    return normalise_program(load_walker(name))
