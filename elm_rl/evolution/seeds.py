"""The programs that a run starts from: the paper's four hand-written ones, others from files, the elites of another run.

``sodarace_gym.walkers`` holds the hand-written ones and describes them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from elm_rl.errors import ConfigError, ElmError
from elm_rl.mutation.gp.program_tree import ProgramTextError, normalise_program
from elm_rl.runs.run_directory import read_text
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


def seed_name(text: str) -> str:
    """The name of the archive of a seed: the seed's own, or that of its file without the ending.

    Raises:
        ConfigError: The text is neither the name of a seed nor that of a Python file.
    """
    if text in SEED_NAMES:
        return text
    if not text.endswith(".py"):
        raise ConfigError(f"seeds has {text!r}; expected one of {', '.join(SEED_NAMES)}, or a Python file.")
    return Path(text).stem


def read_seed(text: str) -> str:
    """Reads a seed program by name or file, in the layout of `load_seed`.

    Raises:
        ElmError: There is no such file, or it holds no program that can be read.
    """
    if text in SEED_NAMES:
        return load_seed(text)
    path = Path(text)
    program = read_text(path, "The seed program")
    try:
        return normalise_program(program)
    except ProgramTextError as error:
        raise ElmError(f"The seed program '{path}' cannot be used: {error}") from None
